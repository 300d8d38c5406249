import pytest

from taxonet.training.schedule import warmup_cosine


def test_the_schedule_at_its_ends() -> None:
    assert warmup_cosine(0, total_steps=10, warmup_steps=0) == 1.0
    assert warmup_cosine(0, total_steps=10, warmup_steps=4) == 0.25
    assert warmup_cosine(3, total_steps=10, warmup_steps=4) == 1.0
    assert warmup_cosine(4, total_steps=10, warmup_steps=4) == 1.0
    assert warmup_cosine(7, total_steps=10, warmup_steps=4) == pytest.approx(0.5)
    assert warmup_cosine(10, total_steps=10, warmup_steps=4, floor=0.25) == pytest.approx(0.25)
    # A warm-up as long as the run has no cosine, and must not divide by nothing.
    assert warmup_cosine(3, total_steps=4, warmup_steps=4) == 1.0
