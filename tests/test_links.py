"""Every relative link of a page leads to a file, and its anchor to a heading there."""

import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from orchestration_project.settings import PROJECT_ROOT

FENCE = re.compile(r"^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"(`+).*?\1", re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
OUTSIDE = re.compile(r"[a-z]+:")


def pages() -> list[str]:
    """Return the pages that git knows or is about to know.

    The heads of generated pages are checked as parts of the pages in docs/reference.
    """
    listed = ["--cached", "--others", "--exclude-standard", "*.md", ":!tools/reference_pages/heads"]
    command = ["git", "ls-files", *listed]
    done = subprocess.run(  # noqa: S603 - git
        command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=True
    )
    return [name for name in done.stdout.split() if (PROJECT_ROOT / name).is_file()]


@cache
def anchors(page: Path) -> frozenset[str]:
    """Return the anchors of a page's headings, as GitHub and the site make them."""
    found: list[str] = []
    for heading in re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text()), re.MULTILINE):
        text = LINK.sub(lambda link: link[0].partition("[")[2].partition("]")[0], heading)
        slug = re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")
        found.append(slug if slug not in found else f"{slug}-{found.count(slug)}")
    return frozenset(found)


def broken(name: str, text: str) -> Iterator[str]:
    """Yield the links of a page's ``text`` that lead nowhere."""
    page = PROJECT_ROOT / name
    for target in LINK.findall(CODE.sub("``", FENCE.sub("", text))):
        if OUTSIDE.match(target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        leads_to_text = not anchor or file.suffix != ".md"
        if not file.exists() or not (leads_to_text or anchor in anchors(file)):
            yield target


@pytest.mark.parametrize("name", pages())
def test_every_link_leads_to_a_file_and_a_heading(name: str):
    assert list(broken(name, (PROJECT_ROOT / name).read_text())) == []


@pytest.mark.parametrize(
    ("link", "is_broken"),
    [
        ("README.md", False),
        ("docs/reference/metrics.md#get-metrics", False),
        ("docs/reference/tables.md#finra_otc_weekly", False),
        ("docs/reference/metrics.md#get-nothing", True),
        ("docs/none.md", True),
        ("#none", True),
        ("https://example.org/none", False),
    ],
)
def test_a_link_that_leads_nowhere_is_found(link: str, is_broken: bool):
    assert bool(list(broken("README.md", f"[text]({link}) `[code](none.md)`"))) is is_broken


def linked_pages(page: Path) -> Iterator[Path]:
    """Yield the pages that a page links."""
    for target in LINK.findall(CODE.sub("``", FENCE.sub("", page.read_text()))):
        file = (page.parent / target.partition("#")[0]).resolve()
        if not OUTSIDE.match(target) and file.suffix == ".md" and file.is_file():
            yield file


def test_every_page_is_reached_from_the_readme_and_the_index():
    waiting = [PROJECT_ROOT / "README.md", PROJECT_ROOT / "docs" / "index.md"]
    reached: set[Path] = set()
    while waiting:
        page = waiting.pop()
        if page not in reached:
            reached.add(page)
            waiting += linked_pages(page)
    documents = {PROJECT_ROOT / name for name in pages() if name.startswith("docs/")}
    assert sorted(str(page) for page in documents - reached) == []
