"""The work on symbols as work items: what a run asks the source for, claimed and settled.

An item is a symbol and the months of a run. How a symbol stands in a month does not belong here:
that is in `prices_symbol_months`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, select

from orchestration_project.domains.prices.contract import RULE_VERSION
from orchestration_project.domains.prices.states import LOADED, SymbolStatus
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.work_items import ClaimedItem, ItemSettlement, NewItem
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.work_items import WorkItems
from orchestration_project.errors import OrchestrationError
from orchestration_project.tables.spine import work_items

SYMBOLS_TOPIC = "prices_symbols"

SYMBOL_LEASE = timedelta(hours=1)
"""Longer than a batch of a slow source takes. Leases of ended runs are void."""


class SymbolWork(NamedTuple):
    """A symbol, and the first and the last month that a run requests."""

    symbol: str
    first_month: date
    last_month: date

    @property
    def key(self) -> str:
        """The key of its work item."""
        return f"{self.symbol}|{self.first_month}|{self.last_month}"

    @classmethod
    def of(cls, key: str) -> "SymbolWork":
        """Return the work that a key names."""
        symbol, first, last = key.rsplit("|", 2)
        return cls(symbol, date.fromisoformat(first), date.fromisoformat(last))


class RetriedWork(NamedTuple):
    """Work that a user put back, and when."""

    work: SymbolWork
    retried_at: datetime


def retried_work(warehouse: Warehouse) -> Sequence[RetriedWork]:
    """Return the work that waits for a run; a run that makes an item claims it at once."""
    columns = work_items.c
    query = select(columns.item_key, columns.changed_at).where(
        columns.topic == SYMBOLS_TOPIC, columns.state == "ready"
    )
    with warehouse.reading() as connection:
        rows = connection.execute(query.order_by(columns.item_key)).all()
    return [RetriedWork(SymbolWork.of(row.item_key), row.changed_at) for row in rows]


@dataclass(frozen=True)
class SymbolItems:
    """Claims and settles the work items of a run's symbols.

    Attributes:
        months: The months that the run requests.
        is_under_way: Whether Dagster has a run of this id that has not ended.
        claimed: The run's leases that are not settled, by symbol.
    """

    warehouse: Warehouse
    clock: Clock
    run_id: str
    months: Sequence[date]
    is_under_way: Callable[[str], bool]
    claimed: dict[str, ClaimedItem]

    def end_leases(self) -> None:
        """End the leases of ended runs: a failed attempt, which shows in lists."""
        self._items.end_leases(
            SYMBOLS_TOPIC, lambda run_id: run_id == self.run_id or self.is_under_way(run_id)
        )

    def unsettled(self, connection: Connection, symbols: Sequence[str]) -> set[str]:
        """Return the symbols of which earlier work on the same months is not done."""
        keys = [self._key(symbol) for symbol in symbols]
        names = self._items.unsettled(connection, SYMBOLS_TOPIC, keys)
        return {SymbolWork.of(key).symbol for key in names}

    def claim(self, symbols: Sequence[str], version: str) -> Mapping[str, str]:
        """Lease symbols to the run; return those that another run has, each with its id.

        Of two runs under way, the one whose ``version`` is later, as text, has a symbol.
        """
        if not symbols:
            return {}
        named = self._items.claim_named(
            SYMBOLS_TOPIC,
            [NewItem(self._key(symbol), version) for symbol in symbols],
            run_id=self.run_id,
            until=self.clock.now() + SYMBOL_LEASE,
            is_under_way=self.is_under_way,
        )
        self.claimed.update(
            {SymbolWork.of(key).symbol: value for key, value in named.claimed.items()}
        )
        return {SymbolWork.of(key).symbol: run_id for key, run_id in named.held_by.items()}

    def are_repeated(self, symbols: Sequence[str]) -> bool:
        """Whether earlier work on one of the claimed symbols, in the same version, has ended."""
        claimed = [self.claimed[symbol] for symbol in symbols if symbol in self.claimed]
        return any(item.attempt_count for item in claimed)

    def settle(
        self, connection: Connection, ends: Mapping[str, SymbolStatus | OrchestrationError]
    ) -> None:
        """Record how claimed symbols ended, in the transaction that loads them.

        Of one that another run has claimed meanwhile nothing is recorded: the fence of the symbol
        decides which of the two is loaded.
        """
        results = [
            _settle_symbol(self.claimed[symbol], end)
            for symbol, end in ends.items()
            if symbol in self.claimed
        ]
        if results:
            self._items.settle(connection, results)

    def settle_alone(self, ends: Mapping[str, SymbolStatus | OrchestrationError]) -> None:
        """Record how claimed symbols ended of which nothing was loaded."""
        if self.claimed.keys() & ends.keys():
            with self.warehouse.writing() as connection:
                self.settle(connection, ends)

    def forget(self, symbols: Sequence[str]) -> None:
        """Drop leases that are settled, or end with the run."""
        for symbol in symbols:
            self.claimed.pop(symbol, None)

    @property
    def _items(self) -> WorkItems:
        return WorkItems(self.warehouse, self.clock)

    def _key(self, symbol: str) -> str:
        return SymbolWork(symbol, self.months[0], self.months[-1]).key


def _settle_symbol(item: ClaimedItem, end: SymbolStatus | OrchestrationError) -> ItemSettlement:
    """Return the settlement of a symbol; one that waits or was refused has nothing to load now."""
    if isinstance(end, OrchestrationError):
        return ItemSettlement.of_error(item, end)
    if end == LOADED:
        return ItemSettlement(item, "done", result_version=RULE_VERSION)
    return ItemSettlement(item, "skipped", reason_code=end.state, reason=end.reason)
