"""Bounds of qualities get only stricter, in each version that git has and in the folder itself."""

import json
import runpy
import subprocess
from pathlib import Path
from typing import Any

import pytest

from orchestration_project.settings import PROJECT_ROOT

BOUNDS = runpy.run_path(str(PROJECT_ROOT / ".ci" / "bounds.py"))
NAME = BOUNDS["NAME"]


class Repository:
    """A repository whose only file holds bounds."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.git("init", "--quiet", "--initial-branch=main")
        (root / NAME).parent.mkdir()

    def git(self, *arguments: str) -> None:
        options = ["-c", "user.name=ada", "-c", "user.email=ada@example.org"]
        command = ["git", *options, *arguments]
        subprocess.run(command, cwd=self.root, capture_output=True, check=True)  # noqa: S603 - git

    def write(self, falls: dict[str, float], **kinds: dict[str, float]) -> None:
        bounds = {"falls": falls, "rises": {}, "reported": {}, **kinds}
        (self.root / NAME).write_text(json.dumps(bounds))

    def commit(self, falls: dict[str, float], **kinds: dict[str, float]) -> None:
        self.write(falls, **kinds)
        self.git("add", NAME)
        self.git("commit", "--quiet", "--allow-empty", "--message=bounds: change")

    def problems(self) -> list[str]:
        found: list[str] = BOUNDS["check_history"](self.root)
        return [problem.partition(": ")[2] for problem in found]


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def test_stricter_bounds_and_new_ones_pass(repository: Repository):
    repository.commit({"cycles": 2}, rises={"coverage": 80}, reported={"minutes": 40})
    repository.commit({"cycles": 1, "skips": 3}, rises={"coverage": 80.2}, reported={"minutes": 9})
    repository.write({"cycles": 0, "skips": 3}, rises={"coverage": 81}, reported={"minutes": 9})
    assert repository.problems() == []


@pytest.mark.parametrize(
    ("kinds", "problem"),
    [
        ({"falls": {"cycles": 3}}, "cycles in falls was weakened from 2 to 3"),
        ({"falls": {}}, "cycles vanished from falls; its bound was 2"),
        ({"rises": {"coverage": 79}}, "coverage in rises was weakened from 80 to 79"),
        ({"reported": {"minutes": 41}}, "minutes in reported was weakened from 40 to 41"),
        ({"falls": {}, "reported": {"minutes": 40, "cycles": 2}}, "cycles vanished from falls"),
    ],
)
@pytest.mark.parametrize("is_committed", [True, False])
def test_a_weaker_bound_and_a_vanished_one_fail(
    repository: Repository, kinds: dict[str, Any], problem: str, is_committed: bool
):
    before: dict[str, Any] = {
        "falls": {"cycles": 2},
        "rises": {"coverage": 80},
        "reported": {"minutes": 40},
    }
    repository.commit(**before)
    change = repository.commit if is_committed else repository.write
    change(**{**before, **kinds})
    [found] = repository.problems()
    assert found.startswith(problem)


def test_a_bound_that_was_raised_and_lowered_again_still_fails(repository: Repository):
    repository.commit({"cycles": 2})
    repository.commit({"cycles": 4})
    repository.commit({"cycles": 1})
    assert repository.problems() == ["cycles in falls was weakened from 2 to 4"]


def test_a_file_that_is_deleted_and_comes_back_fails(repository: Repository):
    repository.commit({"cycles": 2})
    repository.git("rm", "--quiet", NAME)
    repository.git("commit", "--quiet", "--message=bounds: delete")
    (repository.root / NAME).parent.mkdir(exist_ok=True)
    repository.commit({"cycles": 4})
    assert repository.problems() == ["cycles vanished from falls; its bound was 2"]


def test_branches_that_lower_different_bounds_pass_and_a_merge_that_raises_one_fails(
    repository: Repository,
):
    repository.commit({"cycles": 9, "skips": 9})
    repository.git("checkout", "--quiet", "-b", "other")
    repository.commit({"cycles": 9, "skips": 5})
    repository.git("checkout", "--quiet", "main")
    repository.commit({"cycles": 5, "skips": 9})
    repository.git("merge", "--no-commit", "--strategy=ours", "other")
    repository.commit({"cycles": 5, "skips": 5})
    assert repository.problems() == []
    repository.git("checkout", "--quiet", "-b", "third")
    repository.commit({"cycles": 5, "skips": 2})
    repository.git("checkout", "--quiet", "main")
    repository.commit({"cycles": 1, "skips": 5})
    repository.git("merge", "--no-commit", "--strategy=ours", "third")
    repository.commit({"cycles": 1, "skips": 4})
    assert repository.problems() == ["skips in falls was weakened from 2 to 4"]


def test_a_shallow_clone_compares_the_versions_that_it_has_and_reports_the_rest(
    repository: Repository, tmp_path_factory: pytest.TempPathFactory
):
    for cycles in (1, 4, 3):
        repository.commit({"cycles": cycles})
    assert BOUNDS["describe_history"](repository.root) == f"3 versions of {NAME} compared"
    clone = tmp_path_factory.mktemp("clone")
    url = repository.root.as_uri()
    repository.git("clone", "--quiet", "--depth=2", url, str(clone))
    assert BOUNDS["check_history"](clone) == []
    text = BOUNDS["describe_history"](clone)
    assert text.startswith(f"2 versions of {NAME} compared; this clone is shallow")


def test_values_beyond_their_bound_and_without_one_are_named():
    bounds = {"falls": {"cycles": 1, "skips": 2}, "rises": {"coverage": 80}, "reported": {}}
    values = {"cycles": 2, "skips": 2, "coverage": 79.8, "lines": 7}
    places = BOUNDS["PLACES"]
    assert list(BOUNDS["check_values"](bounds, values)) == [
        f"coverage is 79.8, expected at least 80: {places} coverage",
        f"cycles is 2, expected at most 1: {places} cycles",
        f"lines is 7 and has no bound: add it to {NAME}",
    ]


def test_writing_makes_bounds_stricter_and_never_weaker():
    bounds = {"falls": {"cycles": 3, "skips": 2}, "rises": {"coverage": 80}, "reported": {"m": 4}}
    values = {"cycles": 1, "skips": 9, "coverage": 90, "new": 5}
    assert BOUNDS["tighten"](bounds, values) == {
        "falls": {"cycles": 1, "skips": 2, "new": 5},
        "rises": {"coverage": 90},
        "reported": {"m": 4},
    }


def test_minutes_over_their_limit_are_reported_and_fail_nothing(capsys):
    assert BOUNDS["main"](["--minutes", "minutes of .ci/run", "6000"]) == 0
    assert "minutes of .ci/run: 100.0, over the limit of" in capsys.readouterr().out


def test_this_project_weakened_no_bound():
    assert BOUNDS["check_history"](PROJECT_ROOT) == []
