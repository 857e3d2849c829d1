"""Equations of whole numbers: what came into a stage, and where all of it went.

What came in is counted apart from the code that decides where it goes, so that what this code
drops, or takes twice, is a difference and not an absence.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

BalanceState = Literal["balanced", "unbalanced", "not_counted"]
"""State of an equation; not_counted: what came in cannot be counted apart, as in a PDF."""


@dataclass(frozen=True)
class Balance:
    """One equation of one subject.

    Attributes:
        equation: Name of the equation, such as records.
        came_in: What came in, counted apart; None: it cannot be counted.
        went_to: Where it went: a count by the name of each place, such as rows and rejects.
    """

    equation: str
    came_in: int | None
    went_to: Mapping[str, int]

    @property
    def difference(self) -> int:
        """Count that went nowhere; negative: more went out than came in."""
        return 0 if self.came_in is None else self.came_in - sum(self.went_to.values())

    @property
    def state(self) -> BalanceState:
        """State of the equation."""
        if self.came_in is None:
            return "not_counted"
        return "unbalanced" if self.difference else "balanced"

    @property
    def went_to_json(self) -> str:
        """Places and counts as a JSON object, in their order."""
        return json.dumps(dict(self.went_to))

    @property
    def as_document(self) -> dict[str, object]:
        """The equation as values of JSON."""
        return {
            "equation": self.equation,
            "came_in": self.came_in,
            "went_to": dict(self.went_to),
            "state": self.state,
        }

    def __str__(self) -> str:
        sign = "!=" if self.difference else "="
        came_in = "not counted" if self.came_in is None else str(self.came_in)
        parts = " + ".join(f"{count} {place}" for place, count in self.went_to.items())
        return f"{self.equation}: {came_in} {sign} {parts or 0}"


NOTHING_COUNTED = Balance("records", None, {})
"""Records of a delivery that was refused before they were counted."""


class Imbalance(NamedTuple):
    """Equation with a difference, and the subject that it is of.

    Attributes:
        table_name: Table of the subject; empty: it is of no table.
        subject: Delivery, run, item or day.
        balance: The equation.
    """

    table_name: str
    subject: str
    balance: Balance


def sum_balances(balances: Iterable[Balance]) -> list[Balance]:
    """Return one equation of each name: the sums of all its counts; not counted if one is not."""
    by_name: dict[str, list[Balance]] = {}
    for balance in balances:
        by_name.setdefault(balance.equation, []).append(balance)
    return [_sum_equation(name, alike) for name, alike in by_name.items()]


def _sum_equation(name: str, balances: Sequence[Balance]) -> Balance:
    places = dict.fromkeys(place for balance in balances for place in balance.went_to)
    went_to = {
        place: sum(balance.went_to.get(place, 0) for balance in balances) for place in places
    }
    counted = [balance.came_in for balance in balances if balance.came_in is not None]
    is_counted = len(counted) == len(balances)
    return Balance(name, sum(counted) if is_counted else None, went_to)
