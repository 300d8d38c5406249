import pytest

from taxonet.training.schedule import warmup_cosine, warmup_steps_down


def test_the_schedule_at_its_ends() -> None:
    assert warmup_cosine(0, total_steps=10, warmup_steps=0) == 1.0
    assert warmup_cosine(0, total_steps=10, warmup_steps=4) == 0.25
    assert warmup_cosine(3, total_steps=10, warmup_steps=4) == 1.0
    assert warmup_cosine(4, total_steps=10, warmup_steps=4) == 1.0
    assert warmup_cosine(7, total_steps=10, warmup_steps=4) == pytest.approx(0.5)
    assert warmup_cosine(10, total_steps=10, warmup_steps=4, floor=0.25) == pytest.approx(0.25)
    # A warm-up as long as the run has no cosine, and must not divide by nothing.
    assert warmup_cosine(3, total_steps=4, warmup_steps=4) == 1.0


def test_the_rate_falls_with_the_very_step_of_a_milestone() -> None:
    def rate(step: int) -> float:
        return warmup_steps_down(step, warmup_steps=4, milestones=[10, 12, 12], factor=0.1)

    assert [rate(step) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert [rate(9), rate(10), rate(11)] == [1.0, 0.1, 0.1]
    assert rate(12) == pytest.approx(1e-3)
