"""Answers of sites as verdicts, rows of fetched pages, and rows of items."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Literal, NamedTuple

import polars as pl

from orchestration_project.contracts.rules import REJECT_SCHEMA, Audit, Validated, in_ascii
from orchestration_project.contracts.rules import verdict as audit_outcome
from orchestration_project.domains.web.drift import Baseline, drift_audits, members_of
from orchestration_project.domains.web.extraction import (
    RULE_VERSION,
    Item,
    Page,
    RejectedItem,
    items,
)
from orchestration_project.domains.web.figures import ItemFigures
from orchestration_project.domains.web.sites import ItemRule
from orchestration_project.tables.schema import schema_of
from orchestration_project.tables.web import web_items, web_pages

PageVerdict = Literal[
    "page",
    "unchanged",
    "blocked",
    "login",
    "gone",
    "redirected",
    "disallowed",
    "refused",
    "failed",
]

REFUSED = ("blocked", "login")
"""Verdicts on pages, and outcomes of crawls, of a site that refuses to be crawled."""

BLOCKED_STATUSES = (403, 429, 503)
LOGIN_STATUSES = (401, 407)
REJECTS = "rejects_are_few"
MAX_REJECT_RATIO = 0.2
_ADDED = ("capture_id", "known_from")


def judge(status: int) -> PageVerdict:
    """Return the verdict on an answer after redirects.

    A block or a login page is never worked around: it ends the crawl.
    """
    if status == 304:
        return "unchanged"
    if 200 <= status < 300:
        return "page"
    if status in BLOCKED_STATUSES:
        return "blocked"
    return "login" if status in LOGIN_STATUSES else "gone"


class FetchedPage(NamedTuple):
    """A row of `web_pages`, without its site and day, run and rule."""

    url: str
    status: int
    content_type: str | None
    etag: str | None
    last_modified: str | None
    final_url: str
    sha256: str
    verdict: str
    fetched_at: datetime


def page_rows(pages: Sequence[FetchedPage], *, site: str, day: date, run_id: str) -> Validated:
    """Return the rows of a slice of a crawl; its captures are in the order of ``pages``."""
    columns = [name for name in schema_of(web_pages) if name not in _ADDED]
    schema = {**schema_of(web_pages, columns), "part_number": pl.Int64()}
    fixed = {
        "site": site,
        "day": day,
        "robots_verdict": "allowed",
        "run_id": run_id,
        "rule": RULE_VERSION,
    }
    rows = [
        {**page._asdict(), **fixed, "part_number": number}
        for number, page in enumerate(pages, start=1)
    ]
    return Validated(pl.DataFrame(rows, schema), pl.DataFrame(schema=REJECT_SCHEMA))


class ReadItems(NamedTuple):
    """Items of pages as rows of `web_items`, and their counts."""

    validated: Validated
    figures: ItemFigures


def item_rows(
    pages: Iterable[tuple[str, bytes, str]],
    rule: ItemRule,
    *,
    site: str,
    baseline: Baseline | None = None,
    is_complete: bool = True,
    mask_key: bytes = b"",
) -> ReadItems:
    """Return the items of pages, each a URL, bytes and content type, as rows of `web_items`.

    Of items with the same key one is loaded, as the rule says. Audits quarantine a delivery in
    which rejects are many, or items or fields fewer than before: the site may have another layout.

    Args:
        pages: Pages in the order of their captures.
        rule: Items of the site.
        site: Its name.
        baseline: Earlier state with which the items are compared; None: none.
        is_complete: Whether the pages are those of a complete crawl.
        mask_key: Secret by which personal values are masked.
    """
    earlier, figures, members = baseline or Baseline(), ItemFigures(), set[str]()
    rows: dict[str, tuple[str, str, str, str, int]] = {}
    rejects: list[tuple[int, int, str, str, int, str]] = []
    for part_number, (url, body, content_type) in enumerate(pages, start=1):
        page = Page(url, body, content_type)
        if url in earlier.sampled:
            members |= members_of(page)
        for number, found in enumerate(items(page, rule, mask_key), start=1):
            figures.add(found)
            reject = found if isinstance(found, RejectedItem) else None
            if isinstance(found, Item):
                own = (site, found.key, url, found.payload, part_number)
                row = rows.setdefault(found.key, own)
                if row[3] != found.payload and rule.duplicates == "last":
                    rows[found.key] = own
                elif row[3] != found.payload and rule.duplicates == "reject":
                    reason = f"the key {found.key[:100]!a} has other fields at {row[2]}"
                    reject = RejectedItem("duplicate", reason, found.payload)
            if reject is not None:
                record = in_ascii(reject.text.encode())
                rejects.append((part_number, number, reject.reason_code, reject.reason, 0, record))
    columns = [name for name in schema_of(web_items) if name not in _ADDED]
    schema = {**schema_of(web_items, columns), "part_number": pl.Int64()}
    figures.item_count = len(rows)
    names = list(rule.fields)
    drift = drift_audits(figures, frozenset(members), earlier, names, is_complete=is_complete)
    validated = Validated(
        pl.DataFrame(list(rows.values()), schema, orient="row"),
        pl.DataFrame(rejects, REJECT_SCHEMA, orient="row"),
        [_reject_audit(len(rows), len(rejects)), *drift],
    )
    return ReadItems(validated, figures)


def _reject_audit(item_count: int, reject_count: int) -> Audit:
    total = item_count + reject_count
    return Audit(
        REJECTS,
        audit_outcome(reject_count <= total * MAX_REJECT_RATIO),
        f"up to {MAX_REJECT_RATIO:.0%} of items rejected",
        f"{reject_count} of {total}",
    )


def item_rules_version(rule: ItemRule) -> str:
    """Return the version of the rules of items: those of the project, and those of the site."""
    digest = hashlib.sha256(rule.model_dump_json().encode()).hexdigest()[:16]
    return f"{RULE_VERSION} {digest}"


def version_of(day: date, pages: Mapping[str, str], *, is_complete: bool) -> str:
    """Return the version of the items of a crawl: its day, completeness and bytes of pages."""
    digest = hashlib.sha256(json.dumps(pages, sort_keys=True).encode()).hexdigest()[:16]
    return f"{day} {'complete' if is_complete else 'partial'} {digest}"
