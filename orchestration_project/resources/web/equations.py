"""Equation of a crawl: URLs found = those with a verdict + waiting + left out by the limit."""

from collections.abc import Iterator

from sqlalchemy import Connection, Row, func, select

from orchestration_project.domains.web.tables import web_crawls, web_frontier
from orchestration_project.engine.contracts.balance import Balance
from orchestration_project.engine.equations import BalanceFilter, Equation, SubjectBalance

URLS = "urls"


def read_urls(connection: Connection, chosen: BalanceFilter) -> Iterator[SubjectBalance]:
    """Yield the equation of each crawl; of one whose URLs were deleted by age, nothing counts."""
    crawl = web_crawls.c
    columns = (crawl.site, crawl.day, crawl.url_count, crawl.left_out_count)
    statement = select(*columns).where(chosen.holds(crawl.started_at)).order_by(*columns[:2])
    for row in connection.execute(statement).all():
        yield _read_crawl(connection, row)


def _read_crawl(connection: Connection, crawl: Row) -> SubjectBalance:
    column = web_frontier.c
    verdicts = (
        select(func.coalesce(column.verdict, "waiting"), func.count())
        .where(column.site == crawl.site, column.day == crawl.day)
        .group_by(column.verdict)
        .order_by(column.verdict)
    )
    went_to: dict[str, int] = {row[0]: row[1] for row in connection.execute(verdicts)}
    is_kept = bool(went_to) or not crawl.url_count
    went_to["left_by_limit"] = crawl.left_out_count
    came_in = crawl.url_count + crawl.left_out_count
    balance = Balance(URLS, came_in if is_kept else None, went_to)
    return SubjectBalance(web_crawls.name, f"{crawl.site}|{crawl.day}", balance)


EQUATIONS = [
    Equation(
        name=URLS,
        meaning=(
            "URLs that a crawl found = URLs by verdict (page, unchanged, gone, refused, failed and "
            "others) + waiting + left out by the limit"
        ),
        table_names=[web_crawls.name],
        read=read_urls,
    )
]
