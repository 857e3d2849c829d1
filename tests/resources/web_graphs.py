"""Random sites as graphs of pages, and a model of what a crawl requests and finds."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import dagster as dg
from hypothesis import strategies as st
from sqlalchemy import select

from orchestration_project.assets import web
from orchestration_project.domains.web.settings import WebSettings
from orchestration_project.domains.web.sites import Site, read_site
from orchestration_project.domains.web.tables import web_crawls, web_frontier, web_items
from orchestration_project.resources.web.access import WebAccess
from orchestration_project.settings import load_settings
from tests import databases
from tests.faulty_server import FaultyServer, Reply, Request
from tests.resources.definitions import RESOURCES

DAY = "2026-02-01"
SHOP = "http://shop.demo"
MAX_PAGES = 12
SITES = 10
"""Sites of a drawing."""


@dataclass(frozen=True)
class Node:
    """A page of a site.

    Attributes:
        kind: What it answers: a page, a redirect to its first link, or 404.
        links: Numbers of the pages that it links to; ``elsewhere`` of another host.
        product: Number of the item that it has; None: none.
        is_private: Whether robots.txt disallows it.
        spelling: How links to it are written: plain, with a fragment, absolute, or with dots.
    """

    kind: str
    links: tuple[int, ...]
    product: int | None
    is_private: bool
    spelling: int


@dataclass
class Graph:
    """Sites of pages on one host; requests are recorded.

    Attributes:
        nodes: Pages by number.
        starts: Numbers of the start pages.
        max_depth: Links between a start page and a page that is requested, at most.
        requested: Paths that were requested, in order.
    """

    nodes: tuple[Node, ...]
    starts: tuple[int, ...]
    max_depth: int
    requested: list[str] = field(default_factory=list)

    def path_of(self, number: int) -> str:
        """Return the path of a page."""
        return f"/{'private' if self.nodes[number].is_private else 'page'}/{number}"

    def answer(self, request: Request) -> Reply:
        """Return what a page answers."""
        if request.target == "/robots.txt":
            return Reply(body=b"User-agent: *\nDisallow: /private/\n")
        self.requested.append(request.target)
        node = self.nodes[int(request.target.rpartition("/")[2])]
        if node.kind == "gone":
            return Reply(404)
        if node.kind == "moved":
            return Reply(
                302,
                {"Location": self._link(node.links[0]) if node.links else "mailto:a@shop.example"},
            )
        links = "".join(f'<a href="{self._link(link)}">x</a>' for link in node.links)
        item = "" if node.product is None else f"<i class=sku>P{node.product}</i>"
        body = f"<!doctype html>{item}{links}<a href=https://elsewhere.example/>y</a>"
        return Reply(headers={"Content-Type": "text/html; charset=utf-8"}, body=body.encode())

    def _link(self, number: int) -> str:
        path = self.path_of(number)
        forms = (path, f"{path}#part", f"{SHOP}{path}", f"/x/..{path}")
        return forms[self.nodes[number].spelling]

    def site(self, name: str) -> Site:
        """Return its declaration."""
        rule = {"css": "a[href]", "max_depth": self.max_depth}
        return read_site(
            str(
                {
                    "site": name,
                    "base_url": SHOP,
                    "start": [self.path_of(start) for start in self.starts],
                    "follow": [rule],
                    "item": {
                        "key": ["sku"],
                        "fields": {"sku": {"css": ".sku", "required": True}},
                    },
                    "politeness": {"requests_per_second": 1000, "concurrency": 2},
                }
            )
        )


@dataclass(frozen=True)
class Expected:
    """What a crawl has to do.

    Attributes:
        frontier: Verdict by path.
        visits: Paths that are requested as a page of the frontier.
        items: Keys of its items.
    """

    frontier: dict[str, str]
    visits: set[str]
    items: set[str]


def model(graph: Graph) -> Expected:
    """Return what a crawl has to do, found breadth first; it knows no HTTP and no database."""
    depths, waiting = dict.fromkeys(graph.starts, 0), deque(graph.starts)
    frontier: dict[str, str] = {}
    visits: set[str] = set()
    items: set[str] = set()
    while waiting:
        number = waiting.popleft()
        shown, verdict = _followed(graph, number)
        frontier[graph.path_of(number)] = verdict
        if not graph.nodes[number].is_private:
            visits.add(graph.path_of(number))
        if verdict != "page":
            continue
        node = graph.nodes[shown]
        if node.product is not None:
            items.add(f"P{node.product}")
        for link in node.links:
            if link not in depths and depths[number] < graph.max_depth:
                depths[link] = depths[number] + 1
                waiting.append(link)
    return Expected(frontier, visits, items)


def _followed(graph: Graph, number: int) -> tuple[int, str]:
    """Return the page at which the redirects of a page end, and the verdict on it."""
    for _ in range(11):
        node = graph.nodes[number]
        if node.is_private:
            return number, "disallowed"
        if node.kind == "page":
            return number, "page"
        if node.kind == "gone":
            return number, "gone"
        if not node.links:
            return number, "redirected"
        number = node.links[0]
    return number, "redirected"


@st.composite
def graphs(draw: Any) -> Graph:
    """Draw `SITES` sites without links between them, which one crawl visits together."""
    nodes: list[Node] = []
    starts: list[int] = []
    for _ in range(SITES):
        count, start = draw(st.integers(1, MAX_PAGES)), len(nodes)
        starts.append(start)
        numbers = st.integers(start, start + count - 1)
        node = st.builds(
            Node,
            kind=st.sampled_from(["page", "page", "page", "page", "moved", "gone"]),
            links=st.lists(numbers, max_size=5).map(tuple),
            product=st.none() | st.integers(10 * start, 10 * start + 9),
            is_private=st.sampled_from([False, False, False, False, True]),
            spelling=st.integers(0, 3),
        )
        nodes += draw(st.lists(node, min_size=count, max_size=count))
    return Graph(tuple(nodes), tuple(starts), draw(st.integers(1, 4)))


@contextmanager
def crawls(instance: dg.DagsterInstance) -> Iterator[Callable[[Graph], str]]:
    """Give what crawls a drawing as a site of its own, and returns the name of the site."""
    with ExitStack() as stack:
        served: list[Graph] = []
        server = stack.enter_context(FaultyServer(lambda request: served[-1].answer(request)))
        access = WebAccess(WebSettings.of(load_settings()), lambda: server.url)

        def crawl(graph: Graph) -> str:
            served.append(graph)
            name = f"graph_{len(served)}"
            dg.materialize(
                [web.build_site_assets(graph.site(name))],
                instance=instance,
                partition_key=DAY,
                resources={**RESOURCES, "web": access},
            )
            return name

        yield crawl


@contextmanager
def checked_crawls(url: str, instance: dg.DagsterInstance) -> Iterator[Callable[[Graph], None]]:
    """Give what crawls a drawing, and compares the crawl with the model."""
    with crawls(instance) as crawl:

        def check_crawl(graph: Graph) -> None:
            name, expected = crawl(graph), model(graph)
            found = dict(_rows(url, name, web_frontier, "url", "verdict"))
            paths = {urlsplit(key).path: verdict for key, verdict in found.items()}
            assert paths == expected.frontier
            assert {key for (key,) in _rows(url, name, web_items, "item_key")} == expected.items
            assert _rows(url, name, web_crawls, "outcome") == [("complete",)]
            assert expected.visits <= set(graph.requested)
            assert not any(each.startswith("/private/") for each in graph.requested)
            if all(node.kind != "moved" for node in graph.nodes):
                assert sorted(graph.requested) == sorted(expected.visits)

        yield check_crawl


def _rows(url: str, site: str, table: Any, *names: str) -> list[Any]:
    wanted = select(*(table.c[name] for name in names)).where(table.c.site == site)
    return databases.rows(url, wanted)
