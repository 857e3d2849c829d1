"""Drift of a site: fewer items or fields than before, and other members of its JSON."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from orchestration_project.domains.web.extraction import Page
from orchestration_project.domains.web.figures import ItemFigures
from orchestration_project.engine.contracts.audits import Audit
from orchestration_project.engine.contracts.audits import format_outcome as outcome_of

COUNT, FILL, MEMBERS = "item_count_is_usual", "fields_are_filled", "json_members_are_known"

MAX_FALL = 0.2
"""Fall of the share of items with a field, above which the selector is taken for outdated."""

MIN_ITEMS = 5
"""Items of either state, below which shares are not compared."""

BAND_SHARE, BAND_WIDTH, BAND_ITEMS = 0.3, 4.0, 5
"""Half of the band of item counts: share of the median, median absolute deviations, items."""

SIGMA_OF_MAD = 1.4826
"""A normal distribution's standard deviation, in median absolute deviations."""

MAX_DEPTH, MAX_MEMBERS, MAX_NAMED = 8, 2_000, 10


@dataclass(frozen=True)
class Baseline:
    """Earlier state of a site, with which a crawl is compared.

    Attributes:
        counts: Items of earlier complete crawls whose items were loaded, the latest first.
        loaded: Counts of the loaded items, or of a sample of them.
        members: JSON members of the pages ``sampled``, as they were when these were loaded.
        sampled: URLs of the pages whose JSON is compared.
    """

    counts: Sequence[int] = ()
    loaded: ItemFigures = field(default_factory=ItemFigures)
    members: frozenset[str] = frozenset()
    sampled: Collection[str] = frozenset()


def band_of(counts: Sequence[int]) -> tuple[int, int]:
    """Return the least and greatest usual item count, by earlier ones; there is one at least.

    The latest count, which is the first, is usual too: a change that was allowed stays allowed.
    """
    middle, latest = median(counts), counts[0]
    deviation = median(abs(count - middle) for count in counts) * SIGMA_OF_MAD
    half = max(middle * BAND_SHARE, deviation * BAND_WIDTH, BAND_ITEMS)
    own_half = max(latest * BAND_SHARE, BAND_ITEMS)
    low, high = min(middle - half, latest - own_half), max(middle + half, latest + own_half)
    return max(0, int(low)), int(high)


def drift_audits(
    figures: ItemFigures,
    members: frozenset[str],
    baseline: Baseline,
    fields: Sequence[str],
    *,
    is_complete: bool,
) -> list[Audit]:
    """Return the audits of a crawl's items against an earlier state.

    Fewer items or fields quarantine the delivery. More items, and other JSON, are warnings.

    Args:
        figures: Counts of the crawl's items.
        members: JSON members of its pages that the baseline sampled.
        baseline: The earlier state.
        fields: Fields of the site.
        is_complete: Whether the crawl is complete; the count of a partial one is not judged.
    """
    return [
        _count_audit(figures.present_count, baseline.counts, is_complete=is_complete),
        _fill_audit(figures, baseline.loaded, fields),
        _check_members(members, baseline),
    ]


def _count_audit(count: int, earlier: Sequence[int], *, is_complete: bool) -> Audit:
    if not earlier or not is_complete:
        name = "none was loaded" if is_complete else "this crawl is partial"
        return Audit(COUNT, "not_applicable", "an earlier complete crawl", name)
    low, high = band_of(earlier)
    return Audit(
        COUNT,
        outcome_of(low <= count <= high),
        f"{low} to {high} items, by earlier crawls: {len(earlier)}",
        f"{count} items",
        severity="warning" if count > high else "error",
    )


def fallen_fields(
    figures: ItemFigures, loaded: ItemFigures, fields: Sequence[str]
) -> Mapping[str, tuple[float, float]]:
    """Return the share of items with a value, before and after, of each field that fell."""
    shares = {name: (loaded.fill_rate(name), figures.fill_rate(name)) for name in fields}
    return {name: pair for name, pair in shares.items() if pair[0] - pair[1] > MAX_FALL}


def _fill_audit(figures: ItemFigures, loaded: ItemFigures, fields: Sequence[str]) -> Audit:
    if min(figures.read_count, loaded.read_count) < MIN_ITEMS:
        text = f"{loaded.read_count} loaded and {figures.read_count} read items"
        return Audit(FILL, "not_applicable", f"{MIN_ITEMS} items of either crawl", text)
    fallen = fallen_fields(figures, loaded, fields)
    shown_names = [
        f"{name} {before:.0%} to {after:.0%}" for name, (before, after) in fallen.items()
    ]
    return Audit(
        FILL,
        outcome_of(not fallen),
        f"no field whose share of items fell by more than {MAX_FALL:.0%}",
        ", ".join(shown_names) or "none fell",
        [
            {"field": name, "share_before": round(before, 4), "share_after": round(after, 4)}
            for name, (before, after) in fallen.items()
        ],
    )


def _check_members(members: frozenset[str], baseline: Baseline) -> Audit:
    if not baseline.members or not members:
        member_text = "none" if not baseline.members else "none any more"
        return Audit(
            MEMBERS, "not_applicable", "JSON on the same pages of both crawls", member_text
        )
    new, vanished = sorted(members - baseline.members), sorted(baseline.members - members)
    parts = [
        f"{label}: {', '.join(names[:MAX_NAMED])}{' …' if len(names) > MAX_NAMED else ''}"
        for label, names in (("new", new), ("vanished", vanished))
        if names
    ]
    return Audit(
        MEMBERS,
        outcome_of(not parts),
        f"the {len(baseline.members)} members of {len(baseline.sampled)} earlier pages",
        "; ".join(parts) or "the same",
        [
            {"member": name, "change": change}
            for change, names in (("new", new), ("vanished", vanished))
            for name in names
        ],
        severity="warning",
    )


def members_of(page: Page) -> frozenset[str]:
    """Return the paths of all JSON members of a page: of its body, or of its scripts with JSON.

    Positions count as one: ``$.offers[*].price``. JSON that is broken has none.
    """
    names: set[str] = set()
    for text in _find_json_texts(page):
        try:
            _collect(json.loads(text), "$", MAX_DEPTH, names)
        except (ValueError, RecursionError):
            continue
    return frozenset(names)


def _find_json_texts(page: Page) -> Iterator[str]:
    if page.is_json:
        yield page.text
        return
    for node in page.root.css("script[type*=json]") if page.root is not None else []:
        yield node.text() or ""


def _collect(value: Any, path: str, depth: int, found: set[str]) -> None:
    if not depth or len(found) >= MAX_MEMBERS:
        return
    if isinstance(value, list):
        for item in value:
            _collect(item, f"{path}[*]", depth - 1, found)
    elif isinstance(value, dict):
        for name, inner in value.items():
            found.add(f"{path}.{name[:100]}")
            _collect(inner, f"{path}.{name[:100]}", depth - 1, found)
