"""What a step of contrastive learning learns from."""

import pytest
import torch
from torch.nn import functional as F

from taxonet.errors import ConfigError
from taxonet.losses import supcon_loss
from taxonet.losses.hierarchical import HierarchicalSupConLoss
from taxonet.training.objectives import ContrastObjective
from tests.training.test_methods import make, pictures, recipe_of, toy_data

TARGET = torch.tensor([0, 1, 2, 3, 0, 0])


def step(one: ContrastObjective) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the loss of three views of six images, and the images."""
    one.eval()  # batch statistics would tie the views together
    images = torch.cat([pictures(TARGET.numpy(), view) for view in range(3)])
    part = torch.arange(3).repeat_interleave(6)
    output = one(images, TARGET.repeat(3), part, keep=6, key=("step", 0))
    assert output.images == 6
    return output.loss, images


def of(*changes: str, method: str = "bcl") -> ContrastObjective:
    one = make(recipe_of(f"method/{method}", *changes))
    assert isinstance(one, ContrastObjective)
    return one


def test_it_is_the_weighted_sum_of_both_losses() -> None:
    one = of("contrast.weight=0.7", "contrast.classification_weight=3.0")
    loss, images = step(one)
    output = one.network(images)
    classified = one.loss(output.scores[:6], TARGET)
    sphere = F.normalize(one.project_features(output.embedding), dim=1)
    views = torch.stack((sphere[6:12], sphere[12:]), dim=1)
    assert one.project_weights is not None
    centers = F.normalize(one.project_weights(one.network.head.weight), dim=1)
    contrasted = one.contrastive(centers, views, TARGET)
    torch.testing.assert_close(loss, 3.0 * classified + 0.7 * contrasted)


def test_the_first_view_alone_is_classified() -> None:
    one = of("contrast.weight=0.0", "contrast.classification_weight=1.0")
    loss, images = step(one)
    torch.testing.assert_close(loss, one.loss(one.network(images[:6]).scores, TARGET))


@pytest.mark.parametrize("method", ["supcon", "hierarchical-supcon"])
def test_views_may_be_compared_with_one_another_alone(method: str) -> None:
    one = of("contrast.weight=1.0", "contrast.classification_weight=0.0", method=method)
    assert one.project_weights is None
    loss, images = step(one)
    sphere = F.normalize(one.project_features(one.network(images).embedding), dim=1)
    views = torch.stack((sphere[6:12], sphere[12:]), dim=1)
    nodes = torch.tensor(toy_data().classes.class_nodes)[TARGET]
    direct = {
        "supcon": supcon_loss(views, TARGET, temperature=0.1),
        "hierarchical-supcon": HierarchicalSupConLoss(toy_data().taxonomy)(views, nodes),
    }
    torch.testing.assert_close(loss, direct[method])


@pytest.mark.parametrize("method", ["bcl", "supcon", "hierarchical-supcon"])
def test_every_weight_is_trained_and_projections_are_no_part_of_the_network(method: str) -> None:
    """Processes that train together fail on a weight that no gradient reaches."""
    one = of(method=method)
    torch.autograd.backward(step(one)[0])
    inside = {id(parameter) for parameter in one.network.parameters()}
    for name, parameter in one.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
        assert (id(parameter) in inside) != name.startswith("project")


def test_what_a_contrastive_loss_learns_is_not_decayed() -> None:
    one = of("contrast.loss={name: dro, radius: learned}", method="dro")
    assert len(one.loss_parameters()) == 1
    assert one.loss_parameters()[0] is next(iter(one.contrastive.parameters()))


def test_its_first_weights_hang_on_the_seed_alone() -> None:
    torch.manual_seed(5)
    first = next(of().project_features.parameters())
    torch.manual_seed(6)
    assert torch.equal(next(of().project_features.parameters()), first)
    assert not torch.equal(next(of("seed=4").project_features.parameters()), first)


def test_several_experts_are_refused() -> None:
    with pytest.raises(ConfigError, match="contrast to null"):
        make(recipe_of("method/bcl", "model.experts=2"))
