"""Answers of sites as verdicts, rows of fetched pages, and rows of items."""

import hashlib
from collections.abc import Sequence
from datetime import date, datetime
from typing import Literal, NamedTuple

import polars as pl

from orchestration_project.contracts.rules import REJECT_SCHEMA, Validated
from orchestration_project.domains.web.extraction import (
    RULE_VERSION,
)
from orchestration_project.domains.web.sites import ItemRule
from orchestration_project.tables.schema import schema_of
from orchestration_project.tables.web import web_pages

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


def item_rules_version(rule: ItemRule) -> str:
    """Return the version of the rules of items: those of the project, and those of the site."""
    digest = hashlib.sha256(rule.model_dump_json().encode()).hexdigest()[:16]
    return f"{RULE_VERSION} {digest}"


def version_of(day: date, digest: str, *, is_complete: bool) -> str:
    """Return the version of the items of a crawl: its day, completeness and digest of pages."""
    return f"{day} {'complete' if is_complete else 'partial'} {digest[:16]}"
