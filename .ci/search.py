"""Searches the built site in Debian's chromium, as a reader does; run after `make docs`.

Each word must lead to its page first, and no page may ask another host for anything.
"""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from playwright.sync_api import Page, sync_playwright  # noqa: TID253 - no code location

SITE = Path(__file__).resolve().parents[1] / "site"

FIRST_PAGE = {
    "quarantine": "explanation/validation.html",
    "idempotent": "explanation/guarantees.html",
    "SCD2": "explanation/history.html",
    "upgrade": "how-to/upgrade.html",
    "circuit breaker": "explanation/guarantees.html",
    "exactly once": "explanation/guarantees.html",
    "backfill": "how-to/backfill.html",
    "dead letter": "how-to/retry-failures.html",
}
"""The page that a reader expects first, by what is typed."""

RESULTS = """
() => {
  const roots = [...document.querySelectorAll("*")].map((each) => each.shadowRoot);
  const links = roots.filter(Boolean).map((each) => [...each.querySelectorAll("a[href]")]);
  return links.flat().map((each) => each.href);
}
"""
"""The search keeps its results in a shadow root."""


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and logs nothing."""

    def log_message(self, format: str, *args: object) -> None:
        """Leave out the line of a request."""


@contextmanager
def served() -> Iterator[str]:
    """Serve the site on a free port, and return its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(SITE))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def first_result(page: Page, address: str, words: str) -> str:
    """Type words into a new search and return the page of the first result."""
    page.goto(f"{address}/index.html")
    page.get_by_role("button", name="Search").click()
    page.keyboard.type(words)
    page.wait_for_function(f"({RESULTS})().length > 0")
    page.wait_for_timeout(500)  # results of the first letters are replaced
    found = page.evaluate(RESULTS)[0]
    return found.removeprefix(f"{address}/").partition("#")[0].partition("?")[0]


def main() -> int:
    """Print each result; return 1 if one is another page, or another host was asked."""
    hosts: set[str] = set()
    is_wrong = False
    with served() as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page()
        page.on("request", lambda request: hosts.add(request.url))
        for words, expected in FIRST_PAGE.items():
            found = first_result(page, address, words)
            is_wrong |= found != expected
            note = "" if found == expected else f", expected {expected}"
            print(f"{words}: {found}{note}")
        browser.close()
        others = sorted(each for each in hosts if not each.startswith((address, "data:", "blob:")))
    for each in others:
        print(f"asked another host: {each}")
    return 1 if is_wrong or others else 0


if __name__ == "__main__":
    sys.exit(main())
