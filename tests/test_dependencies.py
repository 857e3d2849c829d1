"""The page of runtime dependencies lists what the lock has, under licences that are allowed."""

import runpy

import pytest

from orchestration_project.settings import PROJECT_ROOT

WRITER = runpy.run_path(str(PROJECT_ROOT / ".ci" / "dependencies.py"))


@pytest.fixture(scope="module")
def rows() -> dict[tuple[str, str], list[str]]:
    """Licence, day of release and Pythons, by package and version."""
    return WRITER["rows"](WRITER["PAGE"].read_text())


def test_the_page_lists_the_versions_of_the_lock(rows):
    """Written by `python .ci/dependencies.py --write`."""
    assert rows
    assert {key: pythons for key, (_, _, pythons) in rows.items()} == WRITER["versions"]()


def test_the_page_is_what_its_writer_prints(rows):
    printed = WRITER["page"]({key: day for key, (_, day, _) in rows.items()})
    everywhere = [line for line in printed.splitlines() if line.endswith("|  |")]
    assert everywhere
    assert [line for line in everywhere if line not in WRITER["PAGE"].read_text()] == []


@pytest.mark.slow
def test_declared_dependencies_have_a_purpose_a_weight_and_their_users():
    """Written by `python .ci/dependencies.py --write`, as the page above it."""
    declared, page = WRITER["DECLARED"], WRITER["PAGE"].read_text()
    names = declared["extras"]()
    assert declared["purposes"]().keys() == names.keys()
    written = page[page.index(declared["HEAD"]) :]
    assert written == declared["section"](declared["weights"](written), dict.fromkeys(names, False))


def test_every_licence_is_allowed(rows):
    refused = {key: licence for key, (licence, *_) in rows.items()}
    assert {key: found for key, found in refused.items() if not WRITER["is_allowed"](found)} == {}


@pytest.mark.parametrize(
    ("expression", "allowed"),
    [
        ("MIT", True),
        ("GPL-3.0-only OR MIT", True),
        ("MIT AND GPL-3.0-only", False),
        ("GNU General Public License v3 (GPLv3), MIT", False),
        ("AGPL-3.0-or-later", False),
        ("unknown", False),
    ],
)
def test_a_licence_that_is_not_listed_is_found(expression: str, allowed: bool):
    assert WRITER["is_allowed"](expression) is allowed
