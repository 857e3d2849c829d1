"""The engine `browser`, by an installed Chromium: what it renders, and what it may not do."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from orchestration_demo.shop.showroom import PIECES
from sqlalchemy import select

from orchestration_project.catalog.web import shop_demo
from orchestration_project.definitions import defs
from orchestration_project.domains.web.settings import WebSettings
from orchestration_project.domains.web.sites import read_site
from orchestration_project.domains.web.tables import web_crawls, web_items, web_pages
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.errors import ConfigurationError, TransientError
from orchestration_project.resources.web.access import WebAccess
from orchestration_project.resources.web.chromium import find_browser
from orchestration_project.resources.web.rendering import BrowserAccess, open_engine
from orchestration_project.settings import load_settings
from orchestration_project.tables.spine import blobs, captures
from tests import databases
from tests.expecting import expect_present, expect_type
from tests.faulty_server import FaultyServer, Reply, Request
from tests.prepared import Prepared

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium"),
]

SHOP = "http://shop.demo"
DAY = "2026-02-01"
HTML = {"Content-Type": "text/html"}


@pytest.fixture
def url(
    demo_settings: Any, prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    found = prepared.sqlite(tmp_path / "warehouse.sqlite")
    monkeypatch.setenv("DATABASE_URL", found)
    monkeypatch.setenv("DEMO_CLOCK_NOW", f"{DAY}T09:00:00+00:00")
    return found


def test_a_list_that_grows_is_loaded_whole_with_a_picture(url: str, instance: Any):
    try:
        result = defs.resolve_job_def("web_showroom").execute_in_process(
            instance=instance, partition_key=DAY
        )
    finally:
        shop_demo(WebSettings.of(load_settings())).stop()
    assert result.success
    payloads = databases.rows(url, select(web_items.c.item_key, web_items.c.payload))
    found = {key: json.loads(payload) for key, payload in payloads}
    assert found.keys() == {f"S{number:03}" for number in range(1, PIECES + 1)}
    assert found["S060"] == {"sku": "S060", "name": "Piece 60", "price": "1140.90"}
    [crawl] = databases.rows(
        url, select(web_crawls.c.outcome, web_crawls.c.reason, web_crawls.c.request_count)
    )
    assert crawl == ("complete", None, 5)  # the page, its script, and three lists
    assert databases.rows(url, select(web_pages.c.verdict)) == [("page",)]
    wanted = (
        select(blobs.c.byte_count)
        .join(captures, captures.c.sha256 == blobs.c.sha256)
        .where(captures.c.request.contains("screenshot"))
    )
    [(size,)] = databases.rows(url, wanted)
    assert size > 5_000


class ShopServer:
    """A server in the place of the demo's shop, and its pages as the browser renders them."""

    def __init__(self, stack: ExitStack, **changes: Any) -> None:
        self.pages: dict[str, Reply] = {"/robots.txt": Reply(404)}
        self.server = stack.enter_context(FaultyServer(self._reply))
        settings = WebSettings.of(load_settings())
        web = WebAccess(settings, lambda: self.server.url)
        declared = {
            "site": "shop",
            "base_url": SHOP,
            "start": ["/"],
            "engine": "browser",
            "item": {"key": ["sku"], "fields": {"sku": {"css": ".sku", "required": True}}},
            "politeness": {"requests_per_second": 1000},
            "budget": {"page_seconds": 4},
            **changes,
        }
        site = read_site(yaml.safe_dump(declared))
        warehouse = stack.enter_context(open_warehouse(load_settings()))
        opened = expect_type(
            stack.enter_context(open_engine(web, site, warehouse, Clock())), BrowserAccess
        )
        self.access = opened

    def page(self, path: str, html: str) -> None:
        self.pages[path] = Reply(headers=HTML, body=f"<!doctype html>{html}".encode())

    @property
    def paths(self) -> list[str]:
        return [f"{request.method} {request.target}" for request in self.server.requests]

    def _reply(self, request: Request) -> Reply:
        return self.pages.get(request.target, Reply(404))


@pytest.fixture
def shop_server(demo_settings: Any) -> Iterator[ShopServer]:
    with ExitStack() as stack:
        yield ShopServer(stack)


def text_of(shop_server: ShopServer, path: str) -> str:
    response = expect_present(shop_server.access.get(f"{SHOP}{path}", {}).response)
    return response.body.decode()


HOSTILE = """<h1>A page</h1><img src=/i.png><link rel=stylesheet href=http://127.0.0.1:PORT/x.css>
<iframe src="http://169.254.169.254/latest/"></iframe><video src=/v.mp4></video>
<script>
const note = text => { document.body.append(text + ";"); };
const failed = name => () => note(name + " failed");
fetch("http://127.0.0.1:PORT/direct").then(() => note("direct")).catch(failed("direct"));
fetch("http://localhost:PORT/local").then(() => note("local")).catch(failed("local"));
fetch("/basket", {method: "POST", body: "x"}).then(() => note("post")).catch(failed("post"));
fetch("/private").then(() => note("private")).catch(failed("private"));
fetch("/data").then(answer => answer.text()).then(note);
navigator.sendBeacon("/beacon", "x");
new EventSource("/events");
const socket = new WebSocket("ws://127.0.0.1:PORT/socket");
socket.onopen = () => note("socket open");
navigator.serviceWorker?.register("/worker.js").then(() => note("worker")).catch(failed("worker"));
window.open("/popup");
location.href = "/elsewhere";
</script>"""


def test_a_page_reaches_nothing_but_its_site(shop_server: ShopServer):
    port = shop_server.server.url.rpartition(":")[2]
    shop_server.pages["/robots.txt"] = Reply(body=b"User-agent: *\nDisallow: /private\n")
    shop_server.pages["/data"] = Reply(body=b"the data")
    shop_server.page("/", HOSTILE.replace("PORT", port))
    answer = shop_server.access.get(f"{SHOP}/", {})
    assert answer.response is not None
    notes = answer.response.body.decode().rpartition("</script>")[2].split("<")[0].split(";")
    assert sorted(notes[:-1]) == [
        *("direct failed", "local failed", "post failed", "private failed", "the data"),
    ]
    assert shop_server.paths == ["GET /robots.txt", "GET /", "GET /data"]
    assert answer.request_count == 2
    assert "of its requests were refused" in answer.reason
    assert answer.screenshot.startswith(b"\x89PNG")
    agents = {request.headers["user-agent"] for request in shop_server.server.requests}
    assert agents == {shop_server.access.user_agent}


def test_a_page_that_does_not_end_is_a_failure_and_the_next_one_is_rendered(
    shop_server: ShopServer,
):
    shop_server.page("/loop", "<script>setTimeout(() => { while (true) {} }, 50)</script>")
    shop_server.page("/next", "<script>document.write('next')</script>")
    with pytest.raises(TransientError, match="the browser did not render"):
        shop_server.access.get(f"{SHOP}/loop", {})
    assert "next" in text_of(shop_server, "/next")


def test_a_browser_that_was_killed_is_replaced(shop_server: ShopServer):
    shop_server.page("/a", "<script>document.write('a' + 'b')</script>")
    assert "ab" in text_of(shop_server, "/a")
    shop_server.access.kill()
    assert "ab" in text_of(shop_server, "/a")


def test_the_browser_has_its_sandbox_and_is_not_root(shop_server: ShopServer):
    shop_server.page("/a", "<h1>x</h1>")
    text_of(shop_server, "/a")
    renderers = [
        status
        for process in Path("/proc").glob("[0-9]*")
        if (status := renderer_status(process, shop_server.access.program.path))
    ]
    assert renderers
    for status in renderers:
        assert status["Uid"][0] == str(shop_server.access.program.uid) != "0"
        assert status["Seccomp"] == ["2"]
        assert int(status["CapEff"][0], 16) == 0


def renderer_status(process: Path, program: Path) -> dict[str, list[str]]:
    """Return the status of a renderer of Chromium; empty: it is none."""
    try:
        command = (process / "cmdline").read_bytes()
        lines = (process / "status").read_text().splitlines()
    except OSError:
        return {}
    if b"--type=renderer" not in command or program.name.encode() not in command:
        return {}
    return {name: value.split() for name, _, value in (line.partition(":") for line in lines)}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize("user", ["root", "no_such_user"])
def test_it_does_not_run_as_root(user: str):
    with pytest.raises(ConfigurationError, match="does not run as root"):
        find_browser(None, user)


def test_a_missing_browser_is_named(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="no browser for sites"):
        find_browser(tmp_path / "chromium", None)


POSTING = """<main></main><script>
async function more(page) {
  const answer = await fetch("/list", {
    method: "POST",
    headers: {"Content-Type": "application/json", "X-List": "1"},
    body: JSON.stringify({page: page}),
  });
  const found = await answer.json();
  for (const sku of found.skus) {
    const piece = document.createElement("i");
    piece.className = "sku";
    piece.textContent = sku;
    document.querySelector("main").append(piece);
  }
}
more(1).then(() => more(2));
for (const [url, size] of [["/closed", 1], ["/list", 200000], ["http://10.0.0.1/", 1]])
  fetch(url, {method: "POST", body: "x".repeat(size)}).catch(() => 0);
fetch("/list", {method: "DELETE"}).catch(() => 0);
</script><iframe name=frame></iframe>
<form method=post action=/form target=frame><input name=a></form>
<script>document.forms[0].submit()</script>"""


@pytest.mark.parametrize("is_allowed", [True, False])
def test_scripts_send_post_to_the_site_only_if_its_file_allows_it(
    demo_settings: Any, *, is_allowed: bool
):
    with ExitStack() as stack:
        shop_server = ShopServer(stack, browser={"post": is_allowed})
        shop_server.pages["/robots.txt"] = Reply(body=b"User-agent: *\nDisallow: /closed\n")
        json_type = {"Content-Type": "application/json"}
        shop_server.pages["/list"] = Reply(headers=json_type, body=b'{"skus": ["P1"]}')
        shop_server.page("/", POSTING)
        answer = shop_server.access.get(f"{SHOP}/", {})
        assert answer.response is not None
        text = answer.response.body.decode()
        posts = [request for request in shop_server.server.requests if request.method != "GET"]
    if not is_allowed:
        assert posts == []
        assert '<i class="sku">' not in text
        assert "of its requests were refused" in answer.reason
        return
    assert text.count('<i class="sku">P1</i>') == 2
    assert [(post.target, json.loads(post.body)) for post in posts] == [
        ("/list", {"page": 1}),
        ("/list", {"page": 2}),
    ]
    sent = posts[0].headers
    assert (sent["content-type"], sent["x-list"]) == ("application/json", "1")
    assert (sent["origin"], sent["referer"]) == (SHOP, f"{SHOP}/")
    assert "refused" in answer.reason  # robots.txt, size, host, method, and the form
    assert answer.request_count >= 3
