"""Targets of the fault matrix: domains that load pieces, each with its source and its tables.

Pieces are FINRA's weeks, or symbols of prices. They have numbers from 0, and a source has each in a
state that tests choose: A is what comes first, B restates nearly every row, C a few of them, and D
breaks the contract, so that it is quarantined.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pytest
from sqlalchemy import Table, TextClause, text

from orchestration_project.domains.finra.tables.weekly import (
    finra_otc_weekly,
    finra_otc_weekly_history,
    finra_symbol_week,
    finra_venue_week,
)
from orchestration_project.domains.prices.tables import (
    prices_daily,
    prices_daily_history,
    prices_symbol_months,
)
from orchestration_project.tables.webhooks import events_webhooks, events_webhooks_history
from tests.faults import documents, price_publisher, publisher
from tests.faults.matrix import DOMAINS, OF_A_LOAD, Domain, stages_of, strikes
from tests.faulty_server import Reply, Request

SITUATIONS = ("new", "restated", "touched", "quarantined")
"""Pieces take turns: one is new, one is restated, one has a few new values, one is quarantined."""

NEXT: Mapping[str, str] = dict(zip(SITUATIONS, "ABCD", strict=True))
"""The state of a piece that the source has next."""

AT_NO_STAGE_OF: Mapping[str, Sequence[str]] = {
    "new": ("history",),
    "restated": (),
    "touched": (),
    "quarantined": ("rows", "history", "derived", "load record"),
}


class Source(Protocol):
    """Answers for every piece in its present state."""

    def __call__(self, request: Request) -> Reply:
        """Answer a request."""
        ...

    def put(self, number: int, state: str) -> None:
        """Have a piece in this state from now on."""
        ...


@dataclass(frozen=True)
class Pipeline:
    """Target of a fault.

    Attributes:
        name: As in the matrix.
        key_of: The key of a piece by its number; a load takes it.
        source: Makes a source that has so many pieces, each in its first state.
        published: What readers see, a line for each piece and part of it: key, part, rows, a sum.
        tables: What is compared where evidence may differ.
        stages: Those that its loads pass.
        unchanged: What a load says that has nothing to do.
        added: What a load says of a piece's first state.
        restated: What it says of its second.
        has_items: Whether pieces are work items, which a load that is killed leaves leased.
    """

    name: Domain
    key_of: Callable[[int], str]
    source: Callable[[int], Source]
    published: TextClause
    tables: Sequence[Table]
    stages: Sequence[str]
    unchanged: str
    added: str
    restated: str
    has_items: bool = False

    def stages_of(self, situation: str) -> list[str]:
        """Return the stages that a load of a piece in this situation passes."""
        left_out = AT_NO_STAGE_OF[situation]
        return [stage for stage in self.stages if stage not in left_out]

    def source_next(self, count: int) -> Source:
        """Return a source that has each piece in the state that follows."""
        source = self.source(count)
        for number in range(count):
            source.put(number, NEXT[situation_of(number)])
        return source


def situation_of(number: int) -> str:
    """Return the situation of a piece by its number."""
    return SITUATIONS[number % len(SITUATIONS)]


def is_large(number: int) -> bool:
    """Whether a week is taken for too large for memory: every other four, one in each situation.

    An item whose number says so is extracted in a worker process.
    """
    return number // len(SITUATIONS) % 2 == 1


def alike(count: int) -> Mapping[tuple[str, bool], Sequence[int]]:
    """Return the pieces, of so many, whose loads pass the same points: situation and size."""
    found: dict[tuple[str, bool], list[int]] = {}
    for number in range(count):
        found.setdefault((situation_of(number), is_large(number)), []).append(number)
    return found


WEEKLY = Pipeline(
    name="weeks",
    key_of=publisher.key_of,
    source=publisher.Publisher,
    published=text(
        """
        SELECT week_start AS piece, 'rows' AS what, count(*) AS n,
          sum(share_quantity_micros) AS total
          FROM finra_otc_weekly GROUP BY 1
        UNION ALL SELECT week_start, 'history', count(*), sum(share_quantity_micros)
          FROM finra_otc_weekly_history GROUP BY 1
        UNION ALL SELECT week_start, 'symbols', count(*), sum(total_share_quantity_micros)
          FROM finra_symbol_week GROUP BY 1
        UNION ALL SELECT week_start, 'venues', count(*), sum(share_quantity_micros)
          FROM finra_venue_week GROUP BY 1
        """
    ),
    tables=(finra_otc_weekly, finra_otc_weekly_history, finra_symbol_week, finra_venue_week),
    stages=OF_A_LOAD,
    unchanged="unchanged; source api",
    added="120 rows added",
    restated="118 rows added",
)

PRICES = Pipeline(
    name="prices",
    key_of=price_publisher.symbol_of,
    source=price_publisher.PricePublisher,
    published=text(
        """
        SELECT symbol AS piece, 'rows' AS what, count(*) AS n, sum(close) AS total
          FROM prices_daily GROUP BY 1
        UNION ALL SELECT symbol, 'history', count(*), sum(close)
          FROM prices_daily_history GROUP BY 1
        UNION ALL SELECT symbol, 'months', count(*), sum(row_count)
          FROM prices_symbol_months WHERE row_count > 0 GROUP BY 1
        """
    ),
    tables=(prices_daily, prices_daily_history, prices_symbol_months),
    stages=stages_of("prices"),
    unchanged="unchanged",
    added="37 rows added",
    restated="37 rows added",
)

ITEMS = Pipeline(
    name="items",
    key_of=documents.document_of,
    source=documents.DocumentPublisher,
    published=text(
        """
        SELECT delivery_id AS piece, 'rows' AS what, count(*) AS n, sum(length(payload)) AS total
          FROM events_webhooks GROUP BY 1
        UNION ALL SELECT delivery_id, 'history', count(*), sum(length(payload))
          FROM events_webhooks_history GROUP BY 1
        """
    ),
    tables=(events_webhooks, events_webhooks_history),
    stages=stages_of("items"),
    unchanged="done",
    added="done",
    restated="done",
    has_items=True,
)

PIPELINES: Mapping[Domain, Pipeline] = {
    pipeline.name: pipeline for pipeline in (WEEKLY, PRICES, ITEMS)
}
"""A domain that loads pieces adds its own here, in the matrix, and to `loads.OPENED`."""


def strikes_on(*names: str, is_in_part: bool = True) -> list[Any]:
    """Return the cases of rows by name, each with its fault, database and pipeline.

    Where they are not ``is_in_part``, those of all domains but the first are slow ones.
    """
    return [
        pytest.param(
            fault,
            database,
            PIPELINES[domain],
            marks=[] if is_in_part or domain == DOMAINS[0] else [pytest.mark.slow],
            id=f"{fault.name if len(names) > 1 else fault.stage}-{database}-{domain}",
        )
        for name in names
        for fault, database in strikes(name)
        for domain in fault.domains
    ]
