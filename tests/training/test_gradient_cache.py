import weakref
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from taxonet.errors import ConfigError
from taxonet.losses import ImageTextContrastiveLoss
from taxonet.training.gradient_cache import encode_in_chunks

LABELS = torch.tensor([3, 1, 3, 2, 1, -1, 0, 2, 3, 4])
ROWS = len(LABELS)


def tower(inputs: int, *, dropout: float = 0.0) -> nn.Sequential:
    layers = nn.Linear(inputs, 7), nn.LayerNorm(7), nn.Dropout(dropout), nn.Tanh(), nn.Linear(7, 4)
    return nn.Sequential(*layers).double()


class Model(nn.Module):
    """Two towers and a scale; ``encode`` is how a tower gets its rows."""

    def __init__(self, *, dropout: float = 0.0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.images, self.texts = tower(6, dropout=dropout), tower(5, dropout=dropout)
            self.photos, self.words = (torch.randn(ROWS, n, dtype=torch.float64) for n in (6, 5))
        self.log_scale = nn.Parameter(torch.tensor(1.5, dtype=torch.float64))

    def forward(self, encode: Callable[[nn.Module, Tensor], Tensor]) -> Tensor:
        pairs = (self.images, self.photos), (self.texts, self.words)
        images, texts = (F.normalize(encode(part, given), dim=1) for part, given in pairs)
        loss: Tensor = ImageTextContrastiveLoss()(images, texts, LABELS, self.log_scale.exp())
        return loss

    def gradients(self) -> dict[str, Tensor]:
        return {
            name: weights.grad.clone()
            for name, weights in self.named_parameters()
            if weights.grad is not None
        }


class Watched(nn.Module):
    """Counts its calls, and the activations of it that are kept at once."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.narrow = nn.Linear(3, 50), nn.Linear(50, 2)
        self.calls = self.kept = self.most_kept = 0

    def forward(self, rows: Tensor) -> Tensor:
        self.calls += 1
        hidden = torch.relu(self.wide(rows))
        self.keep(hidden.numel())
        weakref.finalize(hidden.untyped_storage(), self.keep, -hidden.numel())
        features: Tensor = self.narrow(hidden)
        return features

    def keep(self, more: int) -> None:
        self.kept += more
        self.most_kept = max(self.most_kept, self.kept)


def whole(encoder: nn.Module, inputs: Tensor) -> Tensor:
    features: Tensor = encoder(inputs)
    return features


@pytest.mark.parametrize("chunk", [1, 3, 5, ROWS, 100])
def test_value_and_gradients_are_those_of_the_whole_batch(chunk: int) -> None:
    plain, chunked = Model(), Model()
    loss = plain(whole)
    again = chunked(lambda encoder, inputs: encode_in_chunks(encoder, inputs, chunk=chunk))
    torch.testing.assert_close(again, loss, rtol=1e-12, atol=0)
    for value in (loss, again):
        torch.autograd.backward(value)
    expected = plain.gradients()
    assert set(expected) == {name for name, _ in plain.named_parameters()}
    torch.testing.assert_close(chunked.gradients(), expected, rtol=1e-9, atol=1e-12)


def test_dropout_is_the_same_both_times_and_random_numbers_go_on_as_if_there_was_one() -> None:
    def by_hand(encoder: nn.Module, inputs: Tensor) -> Tensor:
        return torch.cat([encoder(part) for part in torch.split(inputs, 4)])

    def chunked(encoder: nn.Module, inputs: Tensor) -> Tensor:
        return encode_in_chunks(encoder, inputs, chunk=4)

    found = []
    for encode in (by_hand, chunked):
        model = Model(dropout=0.5)
        with torch.random.fork_rng():
            torch.manual_seed(3)
            torch.autograd.backward(model(encode))
            found.append(model.gradients() | {"next": torch.rand(3)})
    torch.testing.assert_close(found[1], found[0], rtol=1e-9, atol=1e-12)


def test_activations_are_kept_for_one_chunk() -> None:
    encoder, inputs = Watched(), torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
    features = encode_in_chunks(encoder, inputs, chunk=4)
    assert encoder.kept == 0
    torch.autograd.backward((features @ features.T).logsumexp(1).mean())
    assert (encoder.most_kept, encoder.kept, encoder.calls) == (4 * 50, 0, 6)
    assert encoder(inputs).requires_grad
    assert encoder.most_kept == 10 * 50, "the watch does not see what is kept"


@pytest.mark.parametrize("frozen", [True, False])
def test_without_gradients_it_encodes_once(frozen: bool) -> None:
    encoder, inputs = Watched(), torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
    encoder.requires_grad_(not frozen)
    with torch.set_grad_enabled(frozen):
        features = encode_in_chunks(encoder, inputs, chunk=4)
    assert not features.requires_grad
    assert encoder.calls == 3
    torch.testing.assert_close(features, encoder(inputs))


def test_gradients_reach_the_inputs_and_add_up() -> None:
    encoder, inputs = tower(6), torch.rand(5, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: encode_in_chunks(encoder, x, chunk=2), (inputs,))
    for _ in range(2):
        torch.autograd.backward(encode_in_chunks(encoder, inputs, chunk=2).sum())
    bias = encoder[-1].bias
    assert isinstance(bias, Tensor)
    assert bias.grad is not None
    assert bias.grad.tolist() == [10.0] * 4


def test_autocast_holds_both_times() -> None:
    encoder = tower(6).float()
    with torch.no_grad():
        for number, weights in enumerate(encoder.parameters()):
            weights.copy_(torch.linspace(-1, 1, weights.numel()).view_as(weights) + number / 9)
    inputs, gradients = torch.linspace(0, 1, 30).view(5, 6), []
    for chunk in (None, 2):
        encoder.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            features = encode_in_chunks(encoder, inputs, chunk=chunk) if chunk else encoder(inputs)
        assert features.dtype is torch.bfloat16
        torch.autograd.backward(features.float().square().sum())
        gradients.append([weights.grad for weights in encoder.parameters()])
    torch.testing.assert_close(gradients[1], gradients[0], rtol=0.02, atol=0.02)


def test_a_process_without_images_has_a_batch_of_none() -> None:
    encoder = tower(6)
    features = encode_in_chunks(encoder, torch.zeros(0, 6, dtype=torch.float64), chunk=2)
    assert features.shape == (0, 4)
    torch.autograd.backward(features.sum())
    assert all(
        weights.grad is not None and not weights.grad.any() for weights in encoder.parameters()
    )


def test_batch_norm_that_would_see_chunks_is_refused() -> None:
    encoder = nn.Sequential(nn.Linear(3, 2), nn.Sequential(nn.BatchNorm1d(2)))
    inputs = torch.rand(4, 3)
    with pytest.raises(ConfigError, match=r"layer '1\.0' of the encoder \(BatchNorm1d\).*eval\(\)"):
        encode_in_chunks(encoder, inputs, chunk=2)
    encoder.eval()
    torch.testing.assert_close(encode_in_chunks(encoder, inputs, chunk=2), encoder(inputs))
    without_statistics = nn.BatchNorm1d(3, track_running_stats=False).eval()
    with pytest.raises(ConfigError, match=r"^The encoder \(BatchNorm1d\) normalises"):
        encode_in_chunks(without_statistics, inputs, chunk=2)


@pytest.mark.parametrize("chunk", [0, -1])
def test_chunks_without_rows_are_refused(chunk: int) -> None:
    with pytest.raises(ConfigError, match=f"at least 1, but is {chunk}"):
        encode_in_chunks(tower(6), torch.zeros(2, 6, dtype=torch.float64), chunk=chunk)
