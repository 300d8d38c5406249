from importlib.metadata import version

import pytest

from taxonet.version import __version__
from tests.cli.conftest import Command


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("losses", ["dual_margin base_margin_cos=0.15, scale=32.0", "cross_entropy", "am_softmax"]),
        ("heads", ["cosine scale=32.0", "linear"]),
        ("adapters", ["adaptformer bottleneck_size=64, scale=0.1", "lora rank=4", "layer_norm"]),
        ("transforms", ["crop_flip smallest_area=0.5, flip_prob=0.5", "augmix", "plain", "none"]),
        (
            "recipes",
            ["taxonet TaxoNet: the dual margin, and tail images", "dbm/cifar100-lt/dbm-bs"],
        ),
        ("expert-losses", ["nested_collaborative hard_classes (required), factor=0.6", "ride"]),
        (
            "contrastive-losses",
            [
                "balanced_contrastive temperature=0.1",
                "hierarchical_supcon temperature=0.1, level_weights=None",
                "dro",
            ],
        ),
        ("samplers", ["class_balanced", "instance_balanced", "progressive", "reversed"]),
        ("second-stages", ["tau_norm tau=1.0", "prototype", "crt", "ncm"]),
        ("benchmark-sets", ["cifar100-lt imbalance=100", "inat2018", "places-lt"]),
        (
            "backbones",
            [
                "efficientnet_lite0.packaged 3.4 224 1280 Apache-2.0 no",
                "bioclip-2 304.0 224 768 MIT yes",
                "efficientnet_lite0.packaged drop_path_rate=0.0",
                "resnet10",
                "resnet32",
                "every timm model name works as well",
            ],
        ),
        ("novelty-scores", ["max_logit", "energy", "entropy", "max_softmax", "embedding_norm"]),
        (
            "fitted-novelty-scores",
            ["knn k=10", "mahalanobis shrinkage=None", "nearest_prototype", "vim principal=None"],
        ),
    ],
)
def test_list_shows_names_and_options(kind: str, expected: list[str], taxonet: Command) -> None:
    ran = taxonet("list", kind)
    assert ran.code == 0
    assert ran.err == ""
    text = " ".join(ran.out.replace("│", " ").split())
    for part in expected:
        assert part in text


def test_doctor_says_what_is_installed_and_what_will_be_slow(taxonet: Command) -> None:
    ran = taxonet("doctor")
    assert ran.code == 0
    text = " ".join(ran.out.replace("│", " ").split())
    assert f"taxonet {__version__}" in text
    assert f"torch {version('torch')}" in text
    for line in ("python 3.", "device ", "processors ", "advice "):
        assert line in text
