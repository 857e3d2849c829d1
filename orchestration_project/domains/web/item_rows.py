"""Items of pages as rows of `web_items`; where they are many, they are spilled by ranges of key."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from datetime import date
from functools import partial
from itertools import islice
from typing import Any, NamedTuple, Protocol

import polars as pl

from orchestration_project.domains.web.drift import Baseline, drift_audits, members_of
from orchestration_project.domains.web.extraction import (
    Item,
    Page,
    RejectedItem,
    is_readable,
    items,
)
from orchestration_project.domains.web.figures import ItemFigures
from orchestration_project.domains.web.item_counts import count_items
from orchestration_project.domains.web.sites import ItemRule
from orchestration_project.domains.web.tables import web_items
from orchestration_project.engine.contracts.audits import (
    Audit,
    Validated,
    format_outcome,
)
from orchestration_project.engine.contracts.frame_types import REJECT_SCHEMA
from orchestration_project.engine.contracts.key_ranges import (
    SpilledRanges,
    SpilledRows,
    SpillStore,
    split_keys,
)
from orchestration_project.engine.contracts.rules import escape_bytes
from orchestration_project.engine.contracts.values import derive_schema

REJECTS = "rejects_are_few"
MAX_REJECT_RATIO = 0.2
MAX_HELD_ITEMS, MAX_HELD_CHARACTERS = 5_000, 16_000_000
"""Items and characters of their payloads that are held in memory; more are spilled."""

ROWS = {
    **derive_schema(web_items, [name for name in derive_schema(web_items) if name != "known_from"]),
    "part_number": pl.Int64(),
    "line_number": pl.Int64(),
}
REJECT_ROWS = {**REJECT_SCHEMA, "capture_id": pl.Int64()}


class ReadPage(NamedTuple):
    """A page that items are read from.

    Attributes:
        url: Its URL after redirects.
        body: Its bytes.
        content_type: As its header said.
        capture_id: Capture of its bytes; 0: nothing is loaded.
    """

    url: str
    body: bytes
    content_type: str
    capture_id: int = 0


class CarriedItem(NamedTuple):
    """A loaded item that stays as it is.

    Attributes:
        item_key: Its key.
        url: URL of its page.
        payload: Fields as canonical JSON.
        capture_id: Capture that it was read from.
        reason: Why it stays.
        last_success_on: Day on which its page was last read; None: it is not known.
        is_unread: Whether its page was not read, so that it counts as an item of the crawl.
    """

    item_key: str
    url: str
    payload: str
    capture_id: int
    reason: str
    last_success_on: date | None = None
    is_unread: bool = True


class CarriedItems(Protocol):
    """Loaded items of a site that are carried over."""

    def items(self, unclear_urls: Collection[str]) -> Iterable[CarriedItem]:
        """Return items that stay unless they were read; those of these pages among them."""
        ...

    def add(self, item: CarriedItem) -> None:
        """Count an item that was carried over."""
        ...


class ReadItems(NamedTuple):
    """Items of pages as rows of `web_items`, and their counts."""

    validated: Validated
    figures: ItemFigures


def item_rows(
    pages: Iterable[ReadPage],
    rule: ItemRule,
    *,
    site: str,
    spill: SpillStore,
    baseline: Baseline | None = None,
    is_complete: bool = True,
    mask_key: bytes = b"",
    carried: CarriedItems | None = None,
) -> ReadItems:
    """Return the items of pages as rows of `web_items`, in the order of their keys.

    Of items with the same key one is loaded, as the rule says. Audits quarantine a delivery in
    which rejects are many, or items or fields fewer than before: the site may have another layout.

    Args:
        pages: Pages, in the order in which items with the same key count as first and last.
        rule: Items of the site.
        site: Its name.
        spill: Keeps rows that are too many for memory.
        baseline: Earlier state with which the items are compared; None: none.
        is_complete: Whether the pages are those of a complete crawl.
        mask_key: Secret by which personal values are masked.
        carried: Loaded items that stay; None: none.
    """
    earlier, figures, members = baseline or Baseline(), ItemFigures(), set[str]()
    unclear_urls = set[str]()
    rows, rejects = _Rows(spill), list[tuple[Any, ...]]()
    for part_number, read in enumerate(pages, start=1):
        page = Page(read.url, read.body, read.content_type)
        if read.url in earlier.sampled:
            members |= members_of(page)
        if not is_readable(page, rule):
            unclear_urls.add(read.url)
        went_to = Counter[str]()
        leave_out = partial(went_to.update, ["without_fields"])
        for number, found in enumerate(items(page, rule, mask_key, leave_out), start=1):
            figures.add(found)
            pair = part_number, number
            went_to["items" if isinstance(found, Item) else "rejects"] += 1
            if isinstance(found, Item):
                rows.add((site, found.key, read.url, found.payload, read.capture_id, *pair))
            else:
                unclear_urls.add(read.url)
                rejects.append((*pair, *_format_reject(found), read.capture_id))
        figures.counts.add(count_items(page, rule), went_to)
    carried_count = 0
    if carried is not None:
        carried_count, figures.unread_count = rows.carry_over(site, carried, unclear_urls)
    unique, ranges, repeated = rows.unique(rule)
    rejects += repeated
    row_count = len(unique) if ranges is None else ranges.row_count
    figures.item_count = row_count - carried_count
    names = list(rule.fields)
    drift = drift_audits(figures, frozenset(members), earlier, names, is_complete=is_complete)
    audits = [_reject_audit(figures.item_count, len(rejects)), *drift]
    found = pl.DataFrame(sorted(rejects), REJECT_ROWS, orient="row")
    return ReadItems(Validated(unique, found, audits, ranges), figures)


class _Rows:
    """Rows of items, with those that repeat a key; spilled where they are many."""

    def __init__(self, spill: SpillStore) -> None:
        self._spill = spill
        self._held: list[tuple[Any, ...]] = []
        self._character_count = 0
        self._ranges: SpilledRanges | None = None
        self._counts = pl.DataFrame(schema={"item_key": pl.String, "row_count": pl.Int64})

    def add(self, row: tuple[Any, ...]) -> None:
        """Take in a row."""
        self._held.append(row)
        self._character_count += len(row[3])
        if len(self._held) >= MAX_HELD_ITEMS or self._character_count >= MAX_HELD_CHARACTERS:
            self._put()

    def carry_over(
        self, site: str, carried: CarriedItems, unclear_urls: Collection[str]
    ) -> tuple[int, int]:
        """Take in loaded items whose keys no row has; return how many, and of unread pages."""
        keys = pl.DataFrame({"item_key": [row[1] for row in self._held]}, {"item_key": pl.String})
        keys = pl.concat([self._counts.select("item_key"), keys])
        count, unread_count, waiting = 0, 0, iter(carried.items(unclear_urls))
        while some := {item.item_key: item for item in islice(waiting, MAX_HELD_ITEMS)}:
            absent = pl.DataFrame({"item_key": list(some)}).join(keys, on="item_key", how="anti")
            for key in absent["item_key"]:
                item = some[key]
                carried.add(item)
                unread_count += item.is_unread
                self.add((site, key, item.url, item.payload, item.capture_id, 0, 0))
            keys = pl.concat([keys, absent])
            count += len(absent)
        return count, unread_count

    def _put(self) -> None:
        """Spill the rows that are held."""
        frame = pl.DataFrame(self._held, ROWS, orient="row")
        self._held, self._character_count = [], 0
        self._ranges = self._ranges or SpilledRanges(self._spill, "item_key")
        self._ranges.add(frame)
        remaining_frame = frame.group_by("item_key").agg(row_count=pl.len().cast(pl.Int64))
        rows = pl.concat([self._counts, remaining_frame])
        self._counts = rows.group_by("item_key").agg(pl.col("row_count").sum())

    def unique(
        self, rule: ItemRule
    ) -> tuple[pl.DataFrame, SpilledRows | None, list[tuple[Any, ...]]]:
        """Return one row for each key, in memory or spilled, and the rejects of others."""
        if self._ranges is None:
            rows, rejects = _select_unique(pl.DataFrame(self._held, ROWS, orient="row"), rule)
            return rows, None, rejects
        self._put()
        rejects, places = list[tuple[Any, ...]](), list[tuple[Mapping[str, object], int]]()
        row_count, nothing = 0, pl.DataFrame()
        for span in split_keys(self._counts, MAX_HELD_ITEMS):
            rows, repeated = _select_unique(self._ranges.within(span), rule)
            places.append(({"item_key": span}, self._spill.put(rows)))
            rejects += repeated
            row_count, nothing = row_count + len(rows), rows.clear()
        return nothing, SpilledRows(self._spill, places, row_count), rejects


def _select_unique(
    rows: pl.DataFrame, rule: ItemRule
) -> tuple[pl.DataFrame, list[tuple[Any, ...]]]:
    """Return the row of each key that the rule says, by key; and rejects, if it rejects others."""
    rows = rows.sort("item_key", "part_number", "line_number")
    first = rows.unique("item_key", keep="first", maintain_order=True)
    if len(first) == len(rows) or rule.duplicates == "first":
        return first.drop("line_number"), []
    if rule.duplicates == "last":  # the first with the values that came last
        before = pl.col("payload").shift().over("item_key")
        changed = rows.filter(before.is_null() | (pl.col("payload") != before))
        last = changed.unique("item_key", keep="last", maintain_order=True)
        return last.drop("line_number"), []
    frame = rows.join(first.select("item_key", "url", "payload"), on="item_key", suffix="_first")
    other_frame = frame.filter(pl.col("payload") != pl.col("payload_first"))
    columns = ("item_key", "url_first", "payload", "part_number", "line_number", "capture_id")
    rejects = [
        (*place, *_format_reject(_reject_duplicate(key, url, payload)), capture_id)
        for key, url, payload, *place, capture_id in other_frame.select(columns).iter_rows()
    ]
    return first.drop("line_number"), rejects


def _reject_duplicate(key: str, url: str, payload: str) -> RejectedItem:
    reason = f"the key {key[:100]!a} has other fields at {url}"
    return RejectedItem("duplicate", reason, payload)


def _format_reject(found: RejectedItem) -> tuple[str, str, int, str]:
    """Return reason code, reason, byte offset and record of a reject."""
    return found.reason_code, found.reason, 0, escape_bytes(found.text.encode())


def _reject_audit(item_count: int, reject_count: int) -> Audit:
    total = item_count + reject_count
    return Audit(
        REJECTS,
        format_outcome(reject_count <= total * MAX_REJECT_RATIO),
        f"up to {MAX_REJECT_RATIO:.0%} of items rejected",
        f"{reject_count} of {total}",
    )
