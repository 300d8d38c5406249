"""`taxonet data flora`."""

from pathlib import Path

from pydantic import Field

from taxonet.cli.screen import say
from taxonet.data.flora.config import FloraConfig
from taxonet.progress import Progress


class FloraVerb(FloraConfig):
    """Draw the procedural flora: a labelled data set of invented plants, without a download."""

    out: Path = Field(Path("flora"), description="Folder to write; an unfinished one is finished.")


def run(config: FloraVerb) -> None:
    """Write the folder and say what to do with it."""
    from taxonet.data.flora import make_flora, write_flora

    flora = FloraConfig(**config.model_dump(exclude={"out"}))
    with Progress("drawing plants", len(make_flora(flora).plan)) as progress:
        write_flora(config.out, flora, progress=lambda done, total: progress.advance())
    say(
        f"Next: taxonet train {config.out / 'images.csv'} --taxonomy "
        f"{config.out / 'taxonomy.csv'} --out runs/flora"
    )
    print(config.out)  # noqa: T201 - the result, for a pipe
