import pytest
import torch

from taxonet.devices import pick_batch_size, pick_device, pick_precision, pick_workers
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


@pytest.mark.parametrize(
    ("asked", "kind", "has_bf16", "expected"),
    [
        ("auto", "cpu", True, "no"),
        ("auto", "mps", True, "no"),
        ("auto", "cuda", True, "bf16"),
        ("auto", "cuda", False, "no"),
        ("no", "cuda", True, "no"),
        ("bf16", "cpu", False, "bf16"),
        ("fp16", "cuda", True, "fp16"),
    ],
)
def test_the_precision_follows_the_device(
    asked: str, kind: str, has_bf16: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def supported(including_emulation: bool = True) -> bool:
        return has_bf16 or including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert pick_precision(asked, torch.device(kind)) == expected


@pytest.mark.parametrize(
    ("asked", "photos", "processors", "processes", "expected"),
    [
        (5, 10, 2, 1, 5),
        (0, 10**6, 64, 1, 0),
        (None, 499, 64, 1, 0),
        (None, 500, 64, 1, 8),
        (None, None, 64, 1, 0),
        (None, 10**6, 1, 1, 0),
        (None, 10**6, 2, 1, 0),
        (None, 10**6, 6, 1, 4),
        (None, 10**6, 16, 4, 2),
    ],
)
def test_workers_are_what_was_asked_for_or_what_the_machine_can_spare(
    asked: int | None,
    photos: int | None,
    processors: int,
    processes: int,
    expected: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("taxonet.devices._usable_processors", lambda: processors)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    assert pick_workers(asked, photos) == expected


def test_batches_are_small_on_the_cpu_unless_somebody_chose() -> None:
    assert pick_batch_size(None, torch.device("cpu")) == 8
    assert pick_batch_size(None, torch.device("cuda")) == 64
    assert pick_batch_size(48, torch.device("cpu")) == 48
    with pytest.raises(ConfigError, match="at least 1, got 0"):
        pick_batch_size(0, torch.device("cpu"))
