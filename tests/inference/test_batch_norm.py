import numpy as np
import pytest
import torch
from torch import Tensor, nn

from taxonet.errors import ConfigError, DataError
from taxonet.inference import adapt_batch_norm, batch_norm_layers
from taxonet.models import build_network
from taxonet.seeds import generator
from tests.reference.batch_norm import slow_statistics


def numbers(*shape: int, key: str = "batch norm") -> Tensor:
    return torch.from_numpy(generator(key).normal(2.0, 3.0, shape)).float()


def statistics(network: nn.Module) -> list[tuple[list[float], list[float]]]:
    """Return mean and variance of each channel, layer by layer."""
    found = []
    for layer in batch_norm_layers(network):
        assert layer.running_mean is not None
        assert layer.running_var is not None
        found.append((layer.running_mean.tolist(), layer.running_var.tolist()))
    return found


def test_statistics_equal_the_loop() -> None:
    """Two layers: the second sees what the first, normalising by each batch, makes of it."""
    outer = nn.BatchNorm1d(1)
    network = nn.Sequential(outer, nn.BatchNorm1d(1, affine=False))
    with torch.no_grad():
        outer.weight.fill_(2.0)
        outer.bias.fill_(1.0)
    values = numbers(9, 1)
    batches = [values[:2], values[2:5], values[5:]]
    adapted = adapt_batch_norm(network, batches)
    first = slow_statistics([batch[:, 0].tolist() for batch in batches])
    found = statistics(adapted)
    assert [*found[0][0], *found[0][1]] == pytest.approx(first, rel=1e-5)
    normalised = []
    for batch in batches:
        own = batch[:, 0].double().numpy()
        normalised.append((2 * (own - own.mean()) / np.sqrt(own.var() + 1e-5) + 1).tolist())
    second = slow_statistics(normalised)
    assert [*found[1][0], *found[1][1]] == pytest.approx(second, rel=1e-4)


def test_two_batches_by_hand() -> None:
    """Means 2 and 7, variances 2 and 1, of two and three images: (4 + 21) / 5 and (4 + 3) / 5."""
    batches = [torch.tensor([[1.0], [3.0]]), torch.tensor([[6.0], [7.0], [8.0]])]
    adapted = adapt_batch_norm(nn.BatchNorm1d(1), batches)
    ((mean, variance),) = statistics(adapted)
    assert (mean[0], variance[0]) == pytest.approx((5.0, 1.4))


def network_with_statistics() -> nn.Module:
    network = build_network(backbone="resnet32", head="linear", classes=3, seed=0)
    network.train()
    network(numbers(8, 3, 32, 32, key="training"))
    return network.eval()


def test_the_network_itself_stays_as_it_is() -> None:
    network = network_with_statistics()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    adapted = adapt_batch_norm(network, [numbers(6, 3, 32, 32)])
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    assert not any(module.training for module in adapted.modules())
    weights = dict(adapted.named_parameters())
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(weights[name], parameter, rtol=0, atol=0)
    layers = [module for module in adapted.modules() if isinstance(module, nn.BatchNorm2d)]
    assert {layer.momentum for layer in layers} == {0.1}


def test_a_row_does_not_depend_on_its_batch_but_on_the_set() -> None:
    network, images = network_with_statistics(), numbers(6, 3, 32, 32)
    adapted = adapt_batch_norm(network, [images])
    with torch.no_grad():
        together = adapted(images).scores
        alone = torch.cat([adapted(image[None]).scores for image in images])
        other = adapt_batch_norm(network, [images + 1])(images).scores
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(together, other, atol=1e-2)


def test_the_order_of_images_and_batches_does_not_matter() -> None:
    network, images = network_with_statistics(), numbers(6, 3, 32, 32)
    one = adapt_batch_norm(network, [images[:4], images[4:]])
    other = adapt_batch_norm(network, [images[[5, 4]], images[[3, 1, 0, 2]]])
    for (name, value), same in zip(
        one.state_dict().items(), other.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(value, same, atol=1e-4, rtol=1e-4, msg=name)


def test_a_change_of_brightness_and_contrast_is_undone() -> None:
    """What a first layer sees through another camera is what it saw before."""
    network, images = nn.BatchNorm2d(3), numbers(8, 3, 5, 5)
    plain = adapt_batch_norm(network, [images])
    camera = 0.5 * images + 4
    adapted = adapt_batch_norm(network, [camera])
    torch.testing.assert_close(adapted(camera), plain(images), atol=1e-3, rtol=1e-3)


def test_nothing_else_behaves_as_in_training() -> None:
    network = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(1))
    values = numbers(50, 1)
    adapted = adapt_batch_norm(network, [values])
    assert statistics(adapted)[0][0] == pytest.approx([values.mean().item()], rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_channel_without_spread_stays_finite(dtype: torch.dtype) -> None:
    images = torch.full((4, 2), 3.0, dtype=dtype)
    adapted = adapt_batch_norm(nn.BatchNorm1d(2).to(dtype), [images])
    assert statistics(adapted)[0][0] == [3.0, 3.0]
    assert bool(adapted(images).isfinite().all())


def test_a_single_image_is_left_out() -> None:
    values = numbers(5, 1)
    with_one = adapt_batch_norm(nn.BatchNorm1d(1), [values[:4], values[4:]])
    without = adapt_batch_norm(nn.BatchNorm1d(1), [values[:4]])
    assert statistics(with_one) == statistics(without)


def test_networks_and_images_that_cannot_do() -> None:
    frozen = nn.BatchNorm1d(1, track_running_stats=False)
    for network in (nn.LayerNorm(1), frozen):
        with pytest.raises(ConfigError, match="no batch norm layer"):
            adapt_batch_norm(network, [numbers(4, 1)])
    with pytest.raises(DataError, match="at least two images"):
        adapt_batch_norm(nn.BatchNorm1d(1), [numbers(1, 1)])
