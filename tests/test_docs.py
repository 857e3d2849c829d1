"""Pages that lead a reader through the code name what is there."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestration_project.settings import PROJECT_ROOT
from orchestration_project.settings.loading import NAMED_BY_USERS
from orchestration_project.settings.settings import SECRETS_OF_LIBRARIES
from tests import pictures
from tests.pages import pages
from tests.secrets_planted import SECRET_SETTINGS

PAGE = PROJECT_ROOT / "docs" / "explanation" / "architecture.md"
THREATS = PROJECT_ROOT / "docs" / "explanation" / "security.md"
POLICY = THREATS.with_name("security-policy.md")
CONTRIBUTORS = THREATS.with_name("contributors.md")
FILE = re.compile(r"`([a-z_0-9/]+\.py)`")
PICTURE = re.compile(r"!\[[^]]*\]\(([^)]+)\)")
NAMED_WITH_FILE = re.compile(r"`([a-z_0-9/]+\.py)`,\s+`([\w.]+)`(?:\s+and\s+`([\w.]+)`)?")


def _section(page: Path, heading: str) -> str:
    """Return what stands below a heading of a page, up to the next one."""
    return page.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]


def _way_of_a_row() -> str:
    return _section(PAGE, "One row, step by step")


def _files_and_names() -> Iterator[tuple[str, str]]:
    for file, *names in NAMED_WITH_FILE.findall(_way_of_a_row()):
        yield from ((file, name) for name in names if name)


def _defined(file: str) -> set[str]:
    """Return the functions and classes of a module, and ``Class.method`` of its methods."""
    tree = ast.parse((PROJECT_ROOT / "orchestration_project" / file).read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, kinds):
            found.add(node.name)
            inner = [each.name for each in ast.walk(node) if isinstance(each, kinds)]
            found |= {f"{node.name}.{name}" for name in inner}
    return found


def test_each_secret_has_a_way_to_rotate_it():
    rows = [
        line for line in _section(POLICY, "Rotate a secret").splitlines() if line.startswith("| ")
    ]
    names = {name for row in rows[1:] for name in re.findall(r"`([^`]+)`", row.split(" | ")[0])}
    settings = {name for name in names if re.fullmatch("[A-Z_]+", name)}
    assert settings == {name.upper() for name in SECRET_SETTINGS} | {
        *(*SECRETS_OF_LIBRARIES, "HTTPS_PROXY")
    }
    prefixes = {name.partition("<")[0] for name in names if "<" in name}
    assert prefixes == {
        *("WEBHOOK_SECRET_", "ROUTING_SECRET_", "ROUTING_URL_", "EXPORT_SECRET_", "EXPORT_URL_"),
        *("PLUGIN_SECRET_", "WEB_LOGIN_", "ALERT_URL_"),
    }
    assert {prefix.lower() for prefix in prefixes} >= set(NAMED_BY_USERS)
    assert names >= {"X-API-Key", "Authorization: Bearer", "CHAIN_KEY"}


def test_ten_small_tasks_name_files_that_exist():
    tasks = _section(CONTRIBUTORS, "Small tasks")
    rows = [row for row in tasks.splitlines() if row.startswith("| ")][1:]
    assert len(rows) == 10
    for row in rows:
        files = re.findall(r"`([^`]+)`", row.split(" | ")[1])
        assert files, row
        assert [file for file in files if not (PROJECT_ROOT / file).exists()] == []


def test_every_picture_is_taken_by_a_program_and_is_shown():
    stored = {file.name for file in pictures.IMAGES.iterdir()}
    assert stored == pictures.files() | {"performance.svg"}  # `make bench` draws that
    pages = [PROJECT_ROOT / "README.md", *(PROJECT_ROOT / "docs").rglob("*.md")]
    shown = {Path(name).name for page in pages for name in PICTURE.findall(page.read_text())}
    assert stored <= shown


def test_every_file_that_the_way_of_a_row_names_exists():
    files = set(FILE.findall(_way_of_a_row()))
    assert len(files) > 20
    missing = [
        file for file in files if not (PROJECT_ROOT / "orchestration_project" / file).is_file()
    ]
    assert missing == []


def test_a_newcomer_opens_at_most_twelve_files_from_a_declaration_to_its_row():
    files = list(dict.fromkeys(FILE.findall(_way_of_a_row().split("\n### ")[0])))
    assert files[0] == "catalog/fx.py"
    assert {"engine/document_source.py", "engine/warehouse/loading.py"} <= set(files)
    assert len(files) <= 12


@pytest.mark.slow_after_first
@pytest.mark.parametrize(("file", "name"), sorted(set(_files_and_names())))
def test_every_function_that_the_way_of_a_row_names_is_in_its_file(file, name):
    assert name in _defined(file)


def test_every_threat_names_tests_that_exist():
    rows = [
        row.split("|")[3]
        for row in _section(THREATS, "Threat model").splitlines()
        if row.startswith("| ") and not row.startswith("| threat ")
    ]
    named = [re.findall(r"`(test_\w+\.py)`", row) for row in rows]
    assert len(rows) >= 17
    assert all(named), rows
    there = {path.name for path in (PROJECT_ROOT / "tests").rglob("test_*.py")}
    assert {name for names in named for name in names} <= there


def test_how_to_pages_are_short_and_begin_and_end_alike():
    pages = {path.name: path.read_text() for path in (PROJECT_ROOT / "docs/how-to").glob("*.md")}
    shape = re.compile(
        r"# .*?\n\n[^#]*\n\n\*\*Prerequisites:\*\* .*\n## See also\n\n(.*)", re.DOTALL
    )
    ends = {name: shape.fullmatch(text) for name, text in pages.items()}
    assert [name for name, end in ends.items() if not end or end[1].count("](") > 3] == []
    assert {
        name: len(text.split()) for name, text in pages.items() if len(text.split()) > 480
    } == {}


NAMED_PATH = re.compile(r"`((?:orchestration_project|demo|deploy|docs|tests)/[\w./-]+)`")
"""A path of the checkout in the text of a page."""


def test_every_path_that_pages_of_changes_name_exists():
    pages = [PROJECT_ROOT / "CONTRIBUTING.md", *(PROJECT_ROOT / "docs/how-to").glob("add-a-*.md")]
    named = {
        f"{page.name}: {path}"
        for page in pages
        for path in NAMED_PATH.findall(re.sub(r"(?ms)^```.*?^```", "", page.read_text()))
    }
    assert len(named) > 30
    missing = [name for name in named if not (PROJECT_ROOT / name.split(": ")[1]).exists()]
    assert missing == []


def test_each_page_of_a_change_is_in_the_table_of_contributing():
    table = _section(PROJECT_ROOT / "CONTRIBUTING.md", "To add this, touch these")
    kinds = {"column", "check", "route", "metric", "document-format", "schedule-field", "source"}
    linked = set(re.findall(r"docs/how-to/add-a-([a-z-]+)\.md", table))
    assert linked == kinds


def test_contributing_is_one_page():
    assert len((PROJECT_ROOT / "CONTRIBUTING.md").read_text().splitlines()) <= 100


ON_PATH = re.compile(r"`orchestrate`[^.;]*\bPATH\b|\bPATH\b[^.;]*`orchestrate`|uv run orchestrate")
"""Text of a page on how the command is found."""


def test_one_page_alone_says_how_orchestrate_is_found():
    texts = {str(page.relative_to(PROJECT_ROOT)): page.read_text() for page in pages()}
    found = [name for name, text in texts.items() if ON_PATH.search(" ".join(text.split()))]
    assert found == ["docs/tutorial.md"]
    activated = [name for name, text in texts.items() if ".venv/bin/activate" in text]
    assert activated == ["README.md", "docs/tutorial.md"]  # the first sessions of a clone
