"""Retention of a site: frontiers, their work items, and earlier states of pages that are old."""

from datetime import UTC, date, datetime, time, timedelta

from sqlalchemy import Connection, delete

from orchestration_project.domains.web.sites import Site
from orchestration_project.resources.web.crawl import topic_of
from orchestration_project.tables.schema import HISTORY
from orchestration_project.tables.spine import work_items
from orchestration_project.tables.web import web_frontier, web_pages

EARLIEST = date(1970, 1, 1)


def forget_old_pages(connection: Connection, site: Site, today: date) -> int:
    """Delete what the retention of a site does not keep; return the number of rows.

    Args:
        connection: Writes.
        site: The site.
        today: UTC day from which its ``pages_days`` count back.
    """
    days = site.retention.pages_days
    if days is None:
        return 0
    first = today - timedelta(days=days)
    history = web_pages.info[HISTORY].c
    old_topics = (
        work_items.c.topic >= topic_of(site.site, EARLIEST),
        work_items.c.topic < topic_of(site.site, first),
    )
    until = datetime.combine(first, time(), UTC)
    statements = (
        delete(web_frontier).where(web_frontier.c.site == site.site, web_frontier.c.day < first),
        delete(work_items).where(*old_topics),
        delete(web_pages.info[HISTORY]).where(history.site == site.site, history.known_to < until),
    )
    return sum(connection.execute(each).rowcount for each in statements)
