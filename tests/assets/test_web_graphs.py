"""Crawls of random sites against a model: what is requested, and which items there are."""

import json

import dagster as dg
import pytest
from hypothesis import given, settings
from sqlalchemy import select, text

from orchestration_project.domains.web.tables import web_crawls
from orchestration_project.tables.spine import balances, work_items
from tests import databases
from tests.properties import bounded
from tests.resources.balances import assert_balanced
from tests.resources.web_graphs import DAY, SITES, Graph, Node, checked_crawls, crawls, graphs


@pytest.mark.slow
def test_50_random_sites_are_crawled_as_the_model_says(url: str, instance: dg.DagsterInstance):
    with checked_crawls(url, instance) as check_crawl:

        @settings(bounded, max_examples=25 // SITES)
        @given(graph=graphs())
        def crawl(graph: Graph) -> None:
            check_crawl(graph)

        crawl()


PAGES = Graph(
    (
        Node("page", (1, 1, 2), 0, is_private=False, spelling=0),
        Node("page", (0,), None, is_private=False, spelling=0),
        Node("page", (), None, is_private=False, spelling=1),
    ),
    starts=(0,),
    max_depth=3,
)
"""Four links to pages within, and one of each page to another site."""


@pytest.mark.slow
def test_each_link_of_a_page_is_queued_known_or_refused(url: str, instance: dg.DagsterInstance):
    with checked_crawls(url, instance) as check_crawl:
        check_crawl(PAGES)
    own = balances.c
    recorded = select(own.came_in, own.went_to).where(own.equation == "links")
    [(count, went_to)] = databases.rows(url, recorded)
    assert count == 7
    assert json.loads(went_to) == {"other_origin": 3, "repeated": 1, "known": 1, "queued": 2}
    assert_balanced(url, "web_crawls")


def test_a_crawl_that_loses_a_link_fails(url: str, instance: dg.DagsterInstance):
    lose = "BEGIN SELECT RAISE(IGNORE); END"
    of_page = "BEFORE INSERT ON web_frontier WHEN NEW.url LIKE '%/page/2'"
    databases.execute(url, text(f"CREATE TRIGGER lose {of_page} {lose}"))
    with crawls(instance) as crawl:
        crawl(PAGES)
    item = work_items.c
    [(state, reason)] = databases.rows(url, select(item.state, item.reason))
    assert state == "dead"
    assert "links: 4 != 1 repeated + 1 other_origin + 0 known + 1 queued" in reason
    assert databases.rows(url, select(web_crawls.c.outcome)) == [("stopped",)]
    failed = select(balances.c.subject, balances.c.came_in).where(balances.c.state == "unbalanced")
    assert databases.rows(url, failed) == [(f"graph_1|{DAY} (failed)", 4)]
