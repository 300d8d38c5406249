import pytest
import torch

from taxonet.devices import pick_device
from taxonet.errors import ConfigError


def available(monkeypatch: pytest.MonkeyPatch, *, cuda: bool, mps: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("cuda", "mps", "picked"),
    [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_auto_takes_the_fastest(
    cuda: bool, mps: bool, picked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    available(monkeypatch, cuda=cuda, mps=mps)
    assert pick_device("auto") == torch.device(picked)
    assert pick_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["cuda", "cuda:1", "mps", "gpu", "meta", ""])
def test_a_device_that_is_not_there_is_refused_with_those_that_are(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    available(monkeypatch, cuda=False, mps=False)
    with pytest.raises(ConfigError) as error:
        pick_device(name)
    assert str(error.value) == f"The device {name!r} is not available here. Available: cpu, auto."


def test_one_of_several_gpus_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    available(monkeypatch, cuda=True, mps=False)
    assert pick_device("cuda:1") == torch.device("cuda", 1)
