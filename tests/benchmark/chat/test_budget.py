import pytest

from taxonet.benchmark.chat.budget import Budget
from taxonet.benchmark.chat.questions import Reply
from taxonet.errors import ConfigError, DataError


def reply(tokens_in: int | None, tokens_out: int | None) -> Reply:
    return Reply("", input_tokens=tokens_in, output_tokens=tokens_out)


def test_the_cost_is_that_of_both_prices() -> None:
    budget = Budget(3.0, 15.0)
    budget.add("a", reply(200_000, 10_000))
    budget.add("b", reply(300_000, 30_000))
    assert budget.cost == pytest.approx(0.5 * 3 + 0.04 * 15)
    assert (budget.input_tokens, budget.output_tokens, budget.uncounted) == (500_000, 40_000, 0)


def test_one_answer_is_paid_for_once() -> None:
    budget = Budget(1.0, 1.0)
    budget.add("a", reply(10, 1))
    budget.add("a", reply(10, 1))
    assert (budget.input_tokens, budget.output_tokens) == (10, 1)


def test_without_prices_there_is_no_cost_and_no_limit() -> None:
    budget = Budget()
    budget.add("a", reply(None, 5))
    budget.require_room()
    assert (budget.cost, budget.output_tokens, budget.uncounted) == (None, 5, 1)


def test_the_limit_stops_the_next_question() -> None:
    budget = Budget(1.0, 0.0, max_cost=2.0)
    budget.add("a", reply(1_999_999, 0))
    budget.require_room()
    budget.add("b", reply(1, 0))
    with pytest.raises(DataError, match=r"--max-cost 2 is spent.*cost 2\..*higher --max-cost"):
        budget.require_room()


def test_a_limit_needs_counted_tokens() -> None:
    budget = Budget(1.0, 1.0, max_cost=2.0)
    for number, uncounted in enumerate((reply(None, 1), reply(1, None))):
        with pytest.raises(ConfigError, match="does not say how many tokens"):
            budget.add(str(number), uncounted)
