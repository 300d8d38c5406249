"""Messages on standard error, results on standard output."""

from rich.console import Console, RenderableType


def say(message: str) -> None:
    """Tell the user something, on standard error, so that results can be piped."""
    Console(stderr=True, highlight=False).print(message, markup=False, soft_wrap=True)


def show(result: RenderableType) -> None:
    """Print a result on standard output; without a terminal, at a fixed width."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=110)
    console.print(result)
