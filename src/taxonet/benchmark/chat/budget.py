"""What the answers have cost, and whether there is money for another one."""

from threading import Lock

from taxonet.benchmark.chat.questions import Reply
from taxonet.errors import ConfigError, DataError

_PER_MILLION = 1_000_000


class Budget:
    r"""Counts the tokens of the answers of a run, those of earlier, interrupted calls included.

    $$cost = (t_{in} p_{in} + t_{out} p_{out}) / 10^6$$

    Args:
        price_input: Price of a million input tokens, in any currency; None if not known.
        price_output: Price of a million output tokens; None if not known.
        max_cost: The run stops before the first question after this is spent. Questions that are
            under way then are still paid for: as many as there are workers, at most.

    Attributes:
        input_tokens: Sum over the answers.
        output_tokens: Sum over the answers.
        uncounted: Answers whose tokens the endpoint did not count.

    Examples:
        >>> budget = Budget(2.0, 10.0, max_cost=1.0)
        >>> budget.add("a", Reply("...", input_tokens=1_000, output_tokens=100))
        >>> budget.cost
        0.003
    """

    def __init__(
        self,
        price_input: float | None = None,
        price_output: float | None = None,
        *,
        max_cost: float | None = None,
    ) -> None:
        self._prices, self._max_cost = (price_input, price_output), max_cost
        self._lock = Lock()
        self._counted: set[str] = set()
        self.input_tokens = self.output_tokens = self.uncounted = 0

    @property
    def cost(self) -> float | None:
        """What the answers have cost so far; None without prices."""
        price_input, price_output = self._prices
        if price_input is None or price_output is None:
            return None
        spent = self.input_tokens * price_input + self.output_tokens * price_output
        return spent / _PER_MILLION

    def add(self, digest: str, reply: Reply) -> None:
        """Count the answer to a question, once however many photos share it.

        Raises:
            ConfigError: The reply does not tell its tokens, so that no limit could be kept.
        """
        with self._lock:
            if digest in self._counted:
                return
            self._counted.add(digest)
            self.input_tokens += reply.input_tokens or 0
            self.output_tokens += reply.output_tokens or 0
            unknown = reply.input_tokens is None or reply.output_tokens is None
            self.uncounted += unknown
        if unknown and self._max_cost is not None:
            raise ConfigError(
                "The endpoint does not say how many tokens a reply took, so that --max-cost "
                "cannot be kept: leave it out, and watch the cost where the endpoint shows it."
            )

    def require_room(self) -> None:
        """Refuse another question once the limit is spent.

        Raises:
            DataError: It is.
        """
        cost = self.cost
        if self._max_cost is not None and cost is not None and cost >= self._max_cost:
            raise DataError(
                f"--max-cost {self._max_cost:g} is spent: the answers of this run cost {cost:.4g}. "
                "They are kept: the same command with a higher --max-cost goes on after them."
            )
