"""A version that databases were migrated by is never edited: they would say that they are new."""

import subprocess
from collections.abc import Sequence
from itertools import dropwhile, pairwise

from orchestration_project.settings import PROJECT_ROOT
from tests.migrations.hashes import HASHES, hashes, read_hashes

BASELINE = "v0086_baseline"
"""The version that replaced all earlier ones, with which the list began again."""


def since_baseline(texts: Sequence[str]) -> Sequence[str]:
    """Return the lists from the first one with the baseline, whatever the later ones have."""
    return [*dropwhile(lambda text: BASELINE not in read_hashes(text), texts)]


def changed(before: str, after: str) -> list[str]:
    """Return the names whose hash is another one, or is gone, in the second of two lists."""
    now = read_hashes(after)
    return [name for name, value in read_hashes(before).items() if now.get(name) != value]


def test_each_merged_version_is_as_it_was():
    listed = read_hashes(HASHES.read_text())
    assert listed.keys() == hashes().keys(), "python -m tests.migrations.hashes --write"
    assert changed(HASHES.read_text(), "".join(f"{n} {v}\n" for n, v in hashes().items())) == [], (
        "write another version: databases have this one"
    )


def test_an_edited_and_a_removed_version_are_found():
    before = "v0001_a 11\nv0002_b 22\nv0003_c 33\n"
    assert changed(before, "v0001_a 11\nv0002_b 23\nv0004_d 44\n") == ["v0002_b", "v0003_c"]
    assert changed(before, before + "v0004_d 44\n") == []


def test_the_list_began_again_with_the_baseline_once():
    earlier, baseline, without = "v0085_b 22\n", f"{BASELINE} 33\n", "v0087_c 44\n"
    texts = [earlier, baseline, without, baseline]
    assert since_baseline(texts) == [baseline, without, baseline]
    assert since_baseline([earlier, without]) == []


def test_no_line_of_the_list_was_changed_since_it_was_added():
    path = str(HASHES.relative_to(PROJECT_ROOT))
    commits = git("log", "--reverse", "--format=%H", "--", path).split()  # as far as a clone goes
    texts = [git("show", f"{commit}:{path}") for commit in commits]
    lists = since_baseline([*texts, HASHES.read_text()])
    assert lists
    assert [changed(before, after) for before, after in pairwise(lists)] == [[]] * (len(lists) - 1)


def git(*arguments: str) -> str:
    command = ["git", *arguments]
    return subprocess.run(  # noqa: S603
        command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=True
    ).stdout
