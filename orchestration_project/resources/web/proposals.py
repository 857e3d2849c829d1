"""Proposals of selectors: made from captured pages of two layouts, decided by a person, applied."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

from sqlalchemy import RowMapping, select, update

from orchestration_project.domains.web.differences import (
    FieldDifference,
    ItemDiff,
    compare_items,
)
from orchestration_project.domains.web.drift import fallen_fields
from orchestration_project.domains.web.extraction import Item, Page, items
from orchestration_project.domains.web.figures import ItemFigures, figures_of, figures_of_payloads
from orchestration_project.domains.web.pages import item_rules_version
from orchestration_project.domains.web.proposing import (
    EACH,
    KnownPage,
    ScoredSelector,
    best_selectors,
    keys_of,
    selecting_of,
    site_with,
)
from orchestration_project.domains.web.proposing_each import selectors_with_each
from orchestration_project.domains.web.sites import Site
from orchestration_project.domains.web.tables import web_items, web_proposals
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import insert_absent
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.web.baseline import day_of_items
from orchestration_project.resources.web.held import HeldPages
from orchestration_project.services.status import OpenProposal

Decision = Literal["accept", "reject"]
STATES: Mapping[Decision, str] = {"accept": "accepted", "reject": "rejected"}

ACCEPT_OP, ACCEPT_JOB = "decide_web_proposal", "web_accept_proposal"

MAX_TRIED_PAGES = 300
"""Pages of either layout on which candidates are tried."""

MAX_CANDIDATES = 5
MAX_DIFFERENCES = 200
MAX_DIFFERENCES_PREVIEWED = 50


@dataclass(frozen=True)
class Proposal:
    """A proposal of selectors.

    Attributes:
        proposal_id: Site, and digest of rules and selectors.
        state: open, accepted, rejected or superseded.
        fields: Old and new selector of each field.
        evidence: Counts, fill rates, candidates and differences.
        is_new: Whether it was made now, and did not exist before.
    """

    proposal_id: str
    state: str
    fields: Mapping[str, Mapping[str, Any]]
    evidence: Mapping[str, Any]
    is_new: bool = False


@dataclass(frozen=True)
class Search:
    """Result of a search for selectors.

    Attributes:
        day_before: Day of the crawl whose items are loaded; None: none is.
        day: Day of the latest crawl.
        fallen: Share of items with a value, before and after, of fields that fell.
        unsolved: Fields that fell, and for which no candidate finds enough known values.
        proposal: The proposal; None: there is nothing to propose.
    """

    day_before: date | None
    day: date | None
    fallen: Mapping[str, tuple[float, float]]
    unsolved: Sequence[str] = ()
    proposal: Proposal | None = None


def apply_accepted(warehouse: Warehouse, site: Site) -> Site:
    """Return a site with the accepted selectors, as its pages are read.

    They apply as long as the item rules of the file are those for which they were made.
    """
    columns = web_proposals.c
    query = (
        select(columns.fields)
        .where(
            columns.site == site.site,
            columns.state == "accepted",
            columns.base_rules == item_rules_version(site.item),
        )
        .order_by(columns.decided_at, columns.proposal_id)
    )
    with warehouse.reading() as connection:
        accepted = list(connection.execute(query).scalars())
    for text in accepted:
        site = site_with(site, _select_new_selectors(json.loads(text)))
    return site


def _select_new_selectors(fields: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, str]]:
    return {name: field["new"] for name, field in fields.items()}


class Proposals:
    """Proposals of a database.

    Args:
        warehouse: The database.
        captures: The store of pages.
        clock: The time of proposals and decisions.
        run_id: Dagster's run.
    """

    def __init__(
        self, warehouse: Warehouse, captures: Captures, clock: Clock, *, run_id: str
    ) -> None:
        self._warehouse = warehouse
        self._held = HeldPages(warehouse, captures)
        self._clock = clock
        self._run_id = run_id

    def propose(self, declared: Site) -> Search:
        """Propose selectors for fields that fewer items of the latest crawl have; store it.

        The same proposal again is the stored one; another one supersedes an open one of the site.

        Args:
            declared: The site as its file declares it.

        Raises:
            BlobError: The store lacks the bytes of a page.
        """
        site = apply_accepted(self._warehouse, declared)
        day_before = day_of_items(self._warehouse, site.site)
        day = self._held.latest_day(site.site, prefers_complete=False)
        if day is None or day_before is None:
            return Search(day_before, day, {})
        loaded = self._loaded(site.site)
        before = figures_of_payloads([item.payload for item in loaded])
        pages = self._held.of_day(site, day)
        entries = (item for page in self._held.parsed(pages) for item in items(page, site.item))
        now = figures_of(entries)
        fallen = fallen_fields(now, before, list(site.item.fields))
        if not fallen:
            return Search(day_before, day, fallen)
        known_known_pages = _find_known_pages(self._held.parsed(pages), site, loaded)
        keys = {key for known_page in known_known_pages for key in known_page.known}
        urls = sorted({item.url for item in loaded if item.item_key in keys})
        held_pages = self._held.of_day(site, day_before, urls[:MAX_TRIED_PAGES])
        earlier = _find_known_pages(self._held.parsed(held_pages), site, loaded)
        if site.item.each is not None and not now.read_count:  # no element is found any more
            ranked = selectors_with_each(site.item, known_known_pages, earlier)
        else:
            ranked = {
                name: best_selectors(site.item, name, known_known_pages, earlier) for name in fallen
            }
        unsolved = [name for name, entries in ranked.items() if not entries]
        solved = {name: entries for name, entries in ranked.items() if entries}
        if not solved:
            return Search(day_before, day, fallen, unsolved)
        chosen = {name: entries[0].selector.as_fields for name, entries in solved.items()}
        after = _Extracted.of(site_with(site, chosen), self._held.parsed(pages))
        diff = compare_items(
            {item.item_key: item.payload for item in loaded},
            after.payloads,
            replaces_all=self._held.is_complete(site.site, day),
        )
        fields = {
            name: {"old": selecting_of(site.item, name), "new": dict(selecting)}
            for name, selecting in chosen.items()
        }
        evidence = {
            "day_before": day_before.isoformat(),
            "day": day.isoformat(),
            "page_count": len(pages),
            "items_before": len(loaded),
            "items_without_proposal": now.item_count,
            "items_after": after.figures.item_count,
            "rejects_after": after.figures.reject_count,
            "fill_rates": _fill_rates(ranked, before, now, after.figures),
            "candidates": {name: _render_candidates(entries) for name, entries in solved.items()},
            "unsolved": unsolved,
            **_render_diff(diff),
        }
        proposal = self._store(declared, fields, evidence)
        return Search(day_before, day, fallen, unsolved, proposal)

    def find(self, proposal_id: str) -> RowMapping:
        """Return the row of a proposal.

        Raises:
            ConfigurationError: It does not exist.
        """
        query = select(web_proposals).where(web_proposals.c.proposal_id == proposal_id)
        with self._warehouse.reading() as connection:
            row = connection.execute(query).mappings().one_or_none()
        if row is None:
            raise ConfigurationError(
                f"unknown proposal {proposal_id!r}",
                expected="the proposal_id of a row of the table web_proposals",
                remedy="read the id in the asset web/proposals",
            )
        return row

    def decide(
        self, declared: Site, proposal_id: str, decision: Decision, *, by: str, reason: str
    ) -> None:
        """Record a decision; selectors that are accepted apply from the next crawl or replay on.

        The same decision again changes nothing.

        Raises:
            ConfigurationError: The proposal is not open, or the site file has changed since.
        """
        row = self.find(proposal_id)
        if decision == "accept" and row["base_rules"] != item_rules_version(declared.item):
            raise ConfigurationError(
                f"the proposal {proposal_id} was made for other item rules",
                expected=f"item rules {row['base_rules']}",
                found=item_rules_version(declared.item),
                remedy="the site file has changed: run web_propose_selectors again",
            )
        pair = web_proposals.c.proposal_id == proposal_id, web_proposals.c.state == "open"
        values = {
            "state": STATES[decision],
            "decided_by": by,
            "decision_reason": reason,
            "decided_at": self._clock.now(),
        }
        with self._warehouse.writing() as connection:
            changed = connection.execute(update(web_proposals).where(*pair).values(values))
        if not changed.rowcount and self.find(proposal_id)["state"] != STATES[decision]:
            raise ConfigurationError(
                f"the proposal {proposal_id} cannot be decided",
                expected="state open",
                found=f"state {self.find(proposal_id)['state']}",
                remedy="run web_propose_selectors for another proposal",
            )

    def _loaded(self, site: str) -> Sequence[Any]:
        columns = web_items.c
        query = select(columns.item_key, columns.url, columns.payload).where(columns.site == site)
        with self._warehouse.reading() as connection:
            return connection.execute(query.order_by(columns.item_key)).all()

    def _store(
        self, declared: Site, fields: Mapping[str, Any], evidence: Mapping[str, Any]
    ) -> Proposal:
        base = item_rules_version(declared.item)
        digest = hashlib.sha256(json.dumps([base, fields], sort_keys=True).encode()).hexdigest()
        proposal_id = f"{declared.site}-{digest[:12]}"
        columns = web_proposals.c
        condition = columns.proposal_id == proposal_id
        row = {
            "proposal_id": proposal_id,
            "site": declared.site,
            "state": "open",
            "fields": json.dumps(fields, sort_keys=True),
            "evidence": json.dumps(evidence, sort_keys=True),
            "base_rules": base,
            "made_at": self._clock.now(),
            "run_id": self._run_id,
            **dict.fromkeys(("decided_by", "decision_reason", "decided_at")),
        }
        other_parts = columns.site == declared.site, columns.state == "open", ~condition
        with self._warehouse.writing() as connection:
            connection.execute(update(web_proposals).where(*other_parts).values(state="superseded"))
            if insert_absent(connection, web_proposals, [row]):
                return Proposal(proposal_id, "open", fields, evidence, is_new=True)
            is_superseded = condition, columns.state == "superseded"
            connection.execute(update(web_proposals).where(*is_superseded).values(row))
            state = connection.execute(select(columns.state).where(condition)).scalar_one()
        return Proposal(proposal_id, state, fields, evidence)


@dataclass(frozen=True)
class _Extracted:
    """Items of pages under rules: counts, and payloads by key."""

    figures: ItemFigures
    payloads: Mapping[str, str]

    @classmethod
    def of(cls, site: Site, pages: Iterable[Page]) -> "_Extracted":
        figures, payloads = ItemFigures(), dict[str, str]()
        for found in (item for page in pages for item in items(page, site.item)):
            figures.add(found)
            if isinstance(found, Item):
                payloads.setdefault(found.key, found.payload)
        return cls(figures, payloads)


def _find_known_pages(pages: Iterable[Page], site: Site, loaded: Sequence[Any]) -> list[KnownPage]:
    """Return the first pages of which loaded items are known, by URL or else by key."""
    by_key = {item.item_key: item.payload for item in loaded}
    by_url: dict[str, list[str]] = defaultdict(list)
    for item in loaded:
        by_url[item.url].append(item.item_key)
    known_pages: list[KnownPage] = []
    for page in pages:
        keys = by_url.get(page.url) or keys_of(page, site.item)
        if loads := {key: json.loads(by_key[key]) for key in keys if key in by_key}:
            known_pages.append(KnownPage(page, loads))
        if len(known_pages) == MAX_TRIED_PAGES:
            break
    return known_pages


def _fill_rates(
    ranked: Mapping[str, Sequence[ScoredSelector]],
    before: ItemFigures,
    now: ItemFigures,
    after: ItemFigures,
) -> Mapping[str, Mapping[str, float]]:
    """Return the share of items with a value by field; of `EACH`, that of known items."""
    rates = {
        name: {
            "before": round(before.fill_rate(name), 4),
            "without_proposal": round(now.fill_rate(name), 4),
            "after": round(after.fill_rate(name), 4),
        }
        for name in ranked
        if name != EACH
    }
    if scored_selectors := ranked.get(EACH):
        agreement = round(scored_selectors[0].now.agreement, 4)
        rates[EACH] = {"before": 1.0, "without_proposal": 0.0, "after": agreement}
    return rates


def _render_candidates(found: Sequence[ScoredSelector]) -> list[Mapping[str, Any]]:
    """Return the best candidates of a field as JSON."""
    return [
        {
            "selector": scored_selector.selector.as_fields,
            "kind": scored_selector.selector.kind,
            "agreed_count": scored_selector.now.agreed_count,
            "differing_count": scored_selector.now.differing_count,
            "total_count": scored_selector.now.total_count,
            "agreed_earlier_count": scored_selector.earlier.agreed_count,
            "total_earlier_count": scored_selector.earlier.total_count,
        }
        for scored_selector in found[:MAX_CANDIDATES]
    ]


def _render_diff(diff: ItemDiff) -> Mapping[str, Any]:
    return {
        "difference": diff.in_words,
        "differences": [row._asdict() for row in diff.rows[:MAX_DIFFERENCES]],
    }


def read_open_proposals(
    warehouse: Warehouse, limit: int, accept: tuple[str, str]
) -> list[OpenProposal]:
    """Return the open proposals, the latest first, at most ``limit``.

    Args:
        warehouse: The database.
        limit: Maximum number.
        accept: Job and op that accept one.
    """
    columns = web_proposals.c
    query = select(web_proposals).where(columns.state == "open").order_by(columns.made_at.desc())
    with warehouse.reading() as connection:
        rows = connection.execute(query.limit(limit)).mappings().all()
    return [_open_proposal(row, accept) for row in rows]


def _open_proposal(row: RowMapping, accept: tuple[str, str]) -> OpenProposal:
    fields, evidence = json.loads(row["fields"]), json.loads(row["evidence"])
    rates = evidence.get("fill_rates", {})
    selectors = [
        (name, json.dumps(field["old"]), json.dumps(field["new"])) for name, field in fields.items()
    ]
    filled = [
        (name, *(f"{rate.get(at, 0):.0%}" for at in ("before", "without_proposal", "after")))
        for name, rate in rates.items()
    ]
    differences = [
        [str(difference.get(name, "")) for name in FieldDifference._fields]
        for difference in evidence.get("differences", ())[:MAX_DIFFERENCES_PREVIEWED]
    ]
    before = f"{evidence.get('items_before')} items of {evidence.get('day_before')}"
    after = f"{evidence.get('items_without_proposal')} items of {evidence.get('day')}"
    job, op = accept
    return OpenProposal(
        proposal_id=row["proposal_id"],
        subject=f"{row['site']}: selectors of {', '.join(fields)}",
        made_at=row["made_at"],
        expected=f"{before}, with {', '.join(fields)}",
        found=f"{after}; {evidence.get('items_after')} with the proposal",
        run_id=row["run_id"],
        accept=(job, op, {"proposal_id": row["proposal_id"], "decision": "accept"}),
        preview=[
            ("Selectors", ("Field", "Old", "New"), selectors),
            ("Items with a value", ("Field", "Before", "Now", "With the proposal"), filled),
            ("Differences of items", FieldDifference._fields, differences),
        ],
    )
