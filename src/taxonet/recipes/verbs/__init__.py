"""One config a verb, shared by Python and the command line.

The command line makes its arguments, defaults and help from these fields: a field without a
default is an argument, the others are options.
"""

from taxonet.recipes.verbs.base import Device, TaxonomySource
from taxonet.recipes.verbs.chat import ChatConfig
from taxonet.recipes.verbs.demo import DemoConfig
from taxonet.recipes.verbs.judging import AnalyseConfig, EvaluateConfig
from taxonet.recipes.verbs.naming import DecideConfig, EmbedConfig, PredictConfig
from taxonet.recipes.verbs.photos import (
    FetchConfig,
    ImportConfig,
    InspectConfig,
    MatchConfig,
    SplitConfig,
)
from taxonet.recipes.verbs.training import (
    CalibrateConfig,
    FitDiffusionConfig,
    RefitConfig,
    TrainConfig,
    ZeroShotConfig,
)

__all__ = [
    "AnalyseConfig",
    "CalibrateConfig",
    "ChatConfig",
    "DecideConfig",
    "DemoConfig",
    "Device",
    "EmbedConfig",
    "EvaluateConfig",
    "FetchConfig",
    "FitDiffusionConfig",
    "ImportConfig",
    "InspectConfig",
    "MatchConfig",
    "PredictConfig",
    "RefitConfig",
    "SplitConfig",
    "TaxonomySource",
    "TrainConfig",
    "ZeroShotConfig",
]
