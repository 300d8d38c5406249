"""The procedural flora: drawn plants with a true taxonomy, at any size, without a download."""

from taxonet.data.flora.config import FloraConfig
from taxonet.data.flora.drawing import draw
from taxonet.data.flora.plan import Flora, make_flora
from taxonet.data.flora.write import write_flora

__all__ = ["Flora", "FloraConfig", "draw", "make_flora", "write_flora"]
