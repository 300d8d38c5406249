"""`taxonet fit-diffusion`."""

from taxonet.recipes.verbs import FitDiffusionConfig


def run(config: FitDiffusionConfig) -> None:
    """Fit a learned rollup, and say where the new classifier is."""
    from taxonet.training import fit_diffusion

    print(fit_diffusion(config, show_progress=True))  # noqa: T201 - the result, for a pipe
