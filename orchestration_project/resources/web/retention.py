"""Retention of a site: frontiers, their work items, and earlier states of pages that are old."""

from datetime import UTC, date, datetime, time, timedelta

from sqlalchemy import Connection, delete, select

from orchestration_project.domains.web.sites import Site
from orchestration_project.domains.web.tables import web_frontier, web_pages
from orchestration_project.engine.contracts.chain import RETENTION
from orchestration_project.engine.warehouse.chain_amending import record_amendments
from orchestration_project.resources.web.crawl_status import topic_of
from orchestration_project.tables.schema import HISTORY
from orchestration_project.tables.spine import work_items

EARLIEST = date(1970, 1, 1)


def forget_old_pages(connection: Connection, site: Site, now: datetime) -> int:
    """Delete the pages that the retention of a site does not keep; return the number of rows.

    The chain of the pages records which earlier states are deleted.

    Args:
        connection: Writes.
        site: The site.
        now: UTC time from whose day its ``pages_days`` count back.
    """
    days = site.retention.pages_days
    if days is None:
        return 0
    first = now.astimezone(UTC).date() - timedelta(days=days)
    history = web_pages.info[HISTORY].c
    old_topics = (
        work_items.c.topic >= topic_of(site.site, EARLIEST),
        work_items.c.topic < topic_of(site.site, first),
    )
    until = datetime.combine(first, time(), UTC)
    is_old = (history.site == site.site, history.known_to < until)
    statements = [
        delete(web_frontier).where(web_frontier.c.site == site.site, web_frontier.c.day < first),
        delete(work_items).where(*old_topics),
    ]
    count = sum(connection.execute(statement).rowcount for statement in statements)
    if connection.execute(select(history.known_to).where(*is_old).limit(1)).first() is not None:
        reason = f"pages_days of {site.site}"
        with record_amendments(connection, RETENTION, reason, now, {web_pages: [site.site]}):
            old_states = delete(web_pages.info[HISTORY]).where(*is_old)
            count += connection.execute(old_states).rowcount
    return count
