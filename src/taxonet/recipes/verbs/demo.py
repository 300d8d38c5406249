"""The verb that shows everything."""

from pathlib import Path

from pydantic import Field, PositiveInt

from taxonet.recipes.sections import Section


class DemoConfig(Section):
    """See it all happen: draw a flora, train two classifiers, evaluate them, name photos."""

    out: Path = Field(Path("runs/demo"), description="Folder of the demonstration.")
    seed: int = Field(0, ge=0, description="Key of the flora and of training.")
    epochs: PositiveInt = Field(40, description="Passes over the stored features.")
