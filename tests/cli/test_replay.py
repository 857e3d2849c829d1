"""The `replay` command as a person meets it, after the source is gone."""

import pytest

from orchestration_project.domains.finra.contract import FILE_FIELDS
from tests import databases, programs

REPLAY = ("orchestration_project", "replay")
FILE = "finra_otc_weekly_tier1_20251201.csv"
KEY = "T1|2025-11-10"


def text_of(shares: int) -> str:
    return "\n".join(["|".join(FILE_FIELDS), f"NMS Tier 1|AAA|Inc|Xats|XATS|{shares}|1|2025-12-01"])


@pytest.fixture
def replay(tmp_path):
    """Load a week from a file twice, restated in between, remove the file, and give `replay`."""
    folder = tmp_path / "files"
    folder.mkdir()
    state = tmp_path / "state"
    settings = {"FINRA_SOURCE": "files", "FINRA_FILES_DIR": str(folder)}
    for shares in (100, 7):
        (folder / FILE).write_text(text_of(shares))
        status, output, error = programs.run(
            state, "orchestration_project", "run", "--weeks", "1", **settings
        )
        assert status == 0, output + error
    (folder / FILE).unlink()

    def replay(*options: str):
        status, output, error = programs.run(state, *REPLAY, *options, **settings)
        return status, output + error, databases.contents(databases.sqlite_url(state, "files"))

    return replay


def test_by_the_same_rules_every_choice_of_partitions_writes_nothing_without_the_source(replay):
    _, _, before = replay("--help")
    for options in ([KEY], ["--all"], ["--tier", "T1", "--from", "2025-11-10"]):
        status, output, after = replay(*options)
        assert status == 0, output
        assert f"[ 1/1] {KEY}: unchanged; source files" in output
        assert "1 of 1 partitions: unchanged, nothing was written" in output
        assert after == before


def test_an_older_group_is_refused_and_published_again_with_leave(replay):
    group = f"finra_otc_weekly:{KEY}#1"
    status, output, _ = replay("--group", group)
    assert status == 1
    assert f"{group} is older than what is landed" in output
    status, output, after = replay("--group", group, "--older")
    assert status == 0, output
    assert "0 rows added, 1 changed, 0 removed" in output
    assert [(row[3], row[10]) for row in after["finra_otc_weekly"]] == [("AAA", 100)]


REFUSED = {
    "name partitions, or a --group, or a choice": [[], [KEY, "--all"]],
    "nonsense is no delivery": [["--group", "nonsense"]],
    "2025-11-11 is a Tuesday": [["T1|2025-11-11"]],
    "T1|2025-11-03 has no delivery to replay": [["T1|2025-11-03"]],
    "there is nothing to replay": [["--tier", "OTCE"]],
}


def test_what_cannot_be_replayed_is_refused_with_the_reason(replay):
    for said, choices in REFUSED.items():
        for options in choices:
            status, output, _ = replay(*options)
            assert status
            assert said in output
