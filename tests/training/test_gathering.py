"""Two processes that compare images with texts find what one with the whole batch does."""

import pytest
import torch
from accelerate import Accelerator
from torch.nn import functional as F

from taxonet.errors import DataError
from taxonet.training.gathering import gather_rows
from tests.torchrun import torchrun
from tests.two_towers import SPLITS, TREATMENTS, Figures, batch, figures, towers

Found = tuple[dict[str, Figures], dict[str, Figures]]


def test_one_process_alone_gets_its_own_tensors_back() -> None:
    features, labels = torch.rand(3, 2, requires_grad=True), torch.arange(3)
    gathered = gather_rows(Accelerator(cpu=True), features, labels)
    assert gathered[0] is features
    assert gathered[1] is labels


def test_tensors_of_several_lengths_are_refused() -> None:
    with pytest.raises(DataError, match=r"one row for each image.*have \[3, 2\] rows"):
        gather_rows(Accelerator(cpu=True), torch.rand(3, 2), torch.arange(2))


@pytest.mark.parametrize("rank", [0, 1])
def test_rows_of_unequal_processes_come_in_their_order(
    rank: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As process ``rank`` sees it, with the other one played."""
    parts = [torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0]])]
    here = parts[rank].clone().requires_grad_()

    def exchange(sent: torch.Tensor) -> list[torch.Tensor]:
        assert sent.shape == (2, 1)
        of_all = [F.pad(part, (0, 0, 0, 2 - len(part)), value=torch.nan) for part in parts]
        of_all[rank] = sent
        return of_all

    accelerator = Accelerator(cpu=True)
    monkeypatch.setattr(Accelerator, "num_processes", 2)
    monkeypatch.setattr(Accelerator, "gather", lambda self, rows: torch.tensor([2, 1]))
    monkeypatch.setattr("torch.distributed.nn.functional.all_gather", exchange)
    (gathered,) = gather_rows(accelerator, here)
    assert gathered.tolist() == [[1.0], [2.0], [3.0]]
    torch.autograd.backward((gathered[:, 0] * torch.tensor([4.0, 5.0, 6.0])).sum())
    assert here.grad is not None
    assert here.grad.flatten().tolist() == [[4.0, 5.0], [6.0]][rank]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    folder = tmp_path_factory.mktemp("found")
    done = torchrun("-m", "tests.two_towers", str(folder))
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    one, two = (torch.load(folder / f"found.{rank}.pt") for rank in (0, 1))
    return one, two


@pytest.mark.slow
@pytest.mark.parametrize("chunk", [None, 2])
@pytest.mark.parametrize("duplicates", TREATMENTS)
@pytest.mark.parametrize("first", SPLITS)
def test_two_processes_learn_what_one_does(
    found: Found, first: int, duplicates: str, chunk: int | None
) -> None:
    """However the batch is split: evenly or not, with labels in one only, or all in one."""
    model = towers()
    loss = model(*batch(), accelerator=Accelerator(cpu=True), duplicates=duplicates)
    torch.autograd.backward(loss)
    alone = figures(model, loss)
    assert all(figure.abs().max() > 1e-3 for figure in alone.values())
    for process in found:
        together = process[f"{first} {duplicates} {chunk}"]
        torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_goes_both_ways(found: Found, dtype: torch.dtype) -> None:
    """Two rows of the first process and three of the second; each weighs its place, twice."""
    for process, gradient in zip(found, ([2, 4], [6, 8, 10]), strict=True):
        rows = process[str(dtype)]["rows"]
        assert rows.dtype is dtype
        assert rows.flatten().tolist() == [0, 1, 10, 11, 12]
        assert process[str(dtype)]["gradient"].flatten().tolist() == gradient
