"""Answers of sites as verdicts, rows of fetched pages, and rows of items."""

import hashlib
import json
from collections.abc import Sequence
from datetime import date, datetime
from typing import Literal, NamedTuple

import polars as pl

from orchestration_project.domains.web.extraction import RULE_VERSION, Page
from orchestration_project.domains.web.sites import ItemRule
from orchestration_project.domains.web.tables import web_pages
from orchestration_project.engine.contracts.audits import Validated
from orchestration_project.engine.contracts.frame_types import REJECT_SCHEMA
from orchestration_project.engine.contracts.values import derive_schema

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

READ = ("page", "unchanged")
"""Verdicts on pages that were read."""

GONE_STATUSES = (404, 410)
"""The only statuses by which a page is gone (RFC 9110)."""

BLOCKED_STATUSES = (403,)
LOGIN_STATUSES = (401, 407)
PASSING_STATUSES = (408, 425, 429, *range(500, 600))
"""Statuses of failures that may pass: they are retried."""

NO_PAGE_STATUSES = (202, 204, 205, 206, 226)
"""Statuses of success without the whole page, as none of its parts or changes is requested."""

BLANK = b" \t\r\n\0\xef\xbb\xbf"
"""White space, NUL and the mark of UTF-8: a body of these alone is empty."""

_ADDED = ("capture_id", "known_from")


class Judgement(NamedTuple):
    """Verdict on an answer, and its reason; empty: the verdict says it."""

    verdict: PageVerdict
    reason: str = ""


def judge(status: int, body: bytes, content_type: str, *, is_conditional: bool) -> Judgement:
    """Return the verdict on an answer after redirects.

    A block or a login page is never worked around: it ends the crawl. What cannot be read is
    failed or refused; only `GONE_STATUSES` say that a page is gone.

    Args:
        status: HTTP status.
        body: The bytes, whole.
        content_type: As its header says.
        is_conditional: Whether the page was requested on condition that it has changed.
    """
    if status in GONE_STATUSES:
        return Judgement("gone")
    if status in BLOCKED_STATUSES:
        return Judgement("blocked")
    if status in LOGIN_STATUSES:
        return Judgement("login")
    if status == 304:
        reason = "status 304 to a request without a condition"
        return Judgement("unchanged") if is_conditional else Judgement("failed", reason)
    if 300 <= status < 400:
        return Judgement("failed", f"status {status} without a usable Location")
    if 400 <= status < 500 and status not in PASSING_STATUSES:
        return Judgement("refused", f"status {status}")
    if not 200 <= status < 300 or status in NO_PAGE_STATUSES:
        return Judgement("failed", f"status {status}")
    problem = _find_problem(body, content_type)
    return Judgement("failed", problem) if problem else Judgement("page")


def _find_problem(body: bytes, content_type: str) -> str:
    """Return why a body cannot be read as a page; empty: it can."""
    if not body.strip(BLANK):
        return "the body is empty"
    page = Page("", body, content_type)
    if page.is_json:
        try:
            json.loads(page.text)
        except ValueError as error:
            return f"expected JSON, found {type(error).__name__}: {str(error)[:100]}"
        except RecursionError:  # its items are rejects
            return ""
    return ""


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
    columns = [name for name in derive_schema(web_pages) if name not in _ADDED]
    schema = {**derive_schema(web_pages, columns), "part_number": pl.Int64()}
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
