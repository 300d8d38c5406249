from typing import Any

import numpy as np
import pytest

from taxonet.classifier import implied_prior, prior_weights
from taxonet.recipes import Recipe


@pytest.mark.parametrize(
    ("changes", "prior"),
    [
        ({}, "counts"),
        ({"loss": "dual_margin"}, "counts"),
        ({"loss": "logit_adjustment"}, "uniform"),
        ({"loss": {"name": "dbm", "base": "bs"}}, "uniform"),
        ({"loss": {"name": "dbm", "base": "ce"}}, "counts"),
        ({"sampler": "class_balanced"}, "uniform"),
        ({"sampler": "square_root"}, "counts"),
        ({"second_stage": {"stage": "crt"}}, "uniform"),
    ],
)
def test_the_recipe_tells(changes: dict[str, Any], prior: str) -> None:
    recipe = Recipe.model_validate({"loss": "cross_entropy", **changes})
    assert implied_prior(recipe) == prior


def test_weights_are_shares() -> None:
    assert prior_weights("counts", np.array([6, 3, 1])).tolist() == [0.6, 0.3, 0.1]
    assert prior_weights("uniform", np.array([6, 3, 1, 7])).tolist() == [0.25] * 4
