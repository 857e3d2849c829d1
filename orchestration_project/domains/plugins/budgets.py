"""The part of its budget that a run of a plugin has used."""

from dataclasses import dataclass, field
from typing import Literal

from orchestration_project.domains.plugins.manifest import Budget

Resource = Literal["seconds", "memory_mib", "requests", "bytes", "rows"]

ENDPOINT_SECONDS = 20
"""Most seconds of an endpoint's answer, whatever the budget of runs is."""

MAX_MESSAGES_PER_SECOND = 20_000
"""Lines that a plugin may send, on average, of each second of its budget."""


class BudgetError(ValueError):
    """A plugin used more than its budget.

    Attributes:
        resource: The exceeded part of the budget.
        expected: The limit, with its unit.
    """

    def __init__(self, resource: Resource | Literal["messages"], expected: str) -> None:
        super().__init__(f"budget.{resource}: expected at most {expected}")
        self.resource = resource
        self.expected = expected


@dataclass
class Spending:
    """Counts of a run, each of which is refused above its limit.

    Attributes:
        budget: Limits.
        request_count: Requests so far.
        byte_count: Bytes of answers and of lines of the plugin so far.
        row_count: Emitted rows so far.
        message_count: Lines of the plugin so far.
    """

    budget: Budget
    request_count: int = 0
    byte_count: int = 0
    row_count: int = 0
    message_count: int = 0
    _max_messages: int = field(init=False)

    def __post_init__(self) -> None:
        self._max_messages = self.budget.seconds * MAX_MESSAGES_PER_SECOND

    def add_message(self, byte_count: int) -> None:
        """Count a line.

        Raises:
            BudgetError: There were too many, or of too many bytes.
        """
        self.message_count += 1
        if self.message_count > self._max_messages:
            raise BudgetError("messages", f"{self._max_messages:,} lines")
        self.add_bytes(byte_count)

    def add_request(self) -> None:
        """Count a request before it is made.

        Raises:
            BudgetError: There were too many.
        """
        if self.request_count >= self.budget.requests:
            raise BudgetError("requests", f"{self.budget.requests:,} requests")
        self.request_count += 1

    def add_bytes(self, count: int) -> None:
        """Count bytes of an answer or a line.

        Raises:
            BudgetError: There were too many.
        """
        self.byte_count += count
        if self.byte_count > self.budget.bytes:
            raise BudgetError("bytes", f"{self.budget.bytes:,} bytes")

    def add_rows(self, count: int) -> None:
        """Count emitted rows.

        Raises:
            BudgetError: There were too many.
        """
        self.row_count += count
        if self.row_count > self.budget.rows:
            raise BudgetError("rows", f"{self.budget.rows:,} rows")

    @property
    def bytes_left(self) -> int:
        """Bytes that an answer may still have."""
        return max(self.budget.bytes - self.byte_count, 0)
