"""Sizes are reported by folder, with the difference to where the branch left its base."""

import subprocess
from pathlib import Path

import pytest

from benchmarks.structure.sizes import report_sizes

MODULE = "orchestration_project/engine/loads.py"


def run_git(root: Path, *arguments: str) -> None:
    options = ["-c", "user.name=ada", "-c", "user.email=ada@example.org"]
    subprocess.run(["git", *options, *arguments], cwd=root, capture_output=True, check=True)  # noqa: S603, S607 - git


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


def commit(root: Path, name: str, text: str) -> None:
    write(root, name, text)
    run_git(root, "add", name)
    run_git(root, "commit", "--quiet", "--message=add a file")


@pytest.fixture
def branch(tmp_path: Path) -> Path:
    """A branch beside main, which went on."""
    run_git(tmp_path, "init", "--quiet", "--initial-branch=main")
    commit(tmp_path, MODULE, '"""Loads."""\n\nA = 1\nB = 2\n')
    commit(tmp_path, "docs/how-to/load.md", "# Load\n\nFour words of text\n")
    run_git(tmp_path, "checkout", "--quiet", "-b", "branch")
    run_git(tmp_path, "checkout", "--quiet", "main")
    commit(tmp_path, MODULE, "A = 1\n" * 50)
    run_git(tmp_path, "checkout", "--quiet", "branch")
    return tmp_path


def lines(root: Path, *names: str) -> list[list[str]]:
    return [line.split() for line in report_sizes(root, names)]


def test_a_change_is_compared_with_where_its_branch_left_main(branch: Path):
    commit(branch, MODULE, '"""Loads."""\n\nA = 1\n')
    write(branch, "orchestration_project/tables/spine.py", "A = 1\nB = 2\n# a comment\n")
    head, *sizes = lines(branch, "origin/main", "main")
    assert head[:5] == ["sizes,", "and", "their", "difference", "to"]
    assert sizes == [
        ["code", "lines", "engine", "1", "-1"],
        ["code", "lines", "in", "all", "3", "+1"],
        ["code", "lines", "tables", "2", "+2"],
        ["modules", "in", "all", "2", "+1"],
        ["modules", "tables", "1", "+1"],
        ["words", "of", "pages", "in", "all", "6", "+0"],
    ]


def test_without_a_base_the_totals_are_shown_alone(branch: Path):
    head, *sizes = lines(branch, "origin/main")
    assert " ".join(head).startswith("sizes, without a difference: found neither of origin/main")
    assert ["modules", "in", "all", "1", "+0"] in sizes
