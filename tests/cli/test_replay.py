"""The `replay` command as a person meets it, after the source is gone."""

import shutil

import pytest

from orchestration_project.__main__ import main
from orchestration_project.domains.finra.contract import FILE_FIELDS
from tests import databases, programs

FILE = "finra_otc_weekly_tier1_20251201.csv"
KEY = "T1|2025-11-10"


def text_of(shares: int) -> str:
    return "\n".join(["|".join(FILE_FIELDS), f"NMS Tier 1|AAA|Inc|Xats|XATS|{shares}|1|2025-12-01"])


@pytest.fixture(scope="module")
def loaded_twice(tmp_path_factory):
    """Load a week from a file, and again when it was restated; then remove the file."""
    place = tmp_path_factory.mktemp("replay")
    (place / "files").mkdir()
    for shares in (100, 7):
        (place / "files" / FILE).write_text(text_of(shares))
        run = ("orchestration_project", "run", "--weeks", "1")
        status, output, error = programs.run(place / "state", *run, **settings_of(place))
        assert status == 0, output + error
    (place / "files" / FILE).unlink()
    return place


def settings_of(place):
    return {"FINRA_SOURCE": "files", "FINRA_FILES_DIR": str(place / "files")}


@pytest.fixture
def place(loaded_twice, tmp_path, monkeypatch):
    """A copy of that, which the environment names."""
    copy = shutil.copytree(loaded_twice, tmp_path / "place")
    for name, value in {"STATE_DIR": str(copy / "state"), **settings_of(copy)}.items():
        monkeypatch.setenv(name, value)
    return copy


@pytest.fixture
def replay(place, capfd):
    def replay(*options: str):
        status = main(["replay", *options])
        return status, "".join(capfd.readouterr()), tables(place)

    return replay


def tables(place):
    return databases.contents(databases.sqlite_url(place / "state", "real"))


@pytest.mark.slow
def test_by_the_same_rules_every_choice_of_partitions_writes_nothing_without_the_source(
    place, replay
):
    before = tables(place)
    for options in ([KEY], ["--all"], ["--tier", "T1", "--from", "2025-11-10"]):
        status, output, after = replay(*options)
        assert status == 0, output
        assert f"[ 1/1] {KEY}: unchanged; source files" in output
        assert "1 of 1 partitions: unchanged, nothing was written" in output
        assert after == before


@pytest.mark.slow
def test_an_older_group_is_refused_and_published_again_with_leave(place, replay):
    group = f"finra_otc_weekly:{KEY}#1"
    status, output, _ = replay("--group", group)
    assert status == 1
    assert f"{group} is older than what is loaded" in output
    older = ("orchestration_project", "replay", "--group", group, "--allow-older")
    status, output, error = programs.run(place / "state", *older, **settings_of(place))
    assert status == 0, error
    assert "0 rows added, 1 changed, 0 removed" in output
    assert [(row[3], row[10]) for row in tables(place)["finra_otc_weekly"]] == [("AAA", 100)]


REFUSED = {
    "name partitions, or a --group, or a choice": [[], [KEY, "--all"]],
    "--tier chooses partitions of finra_otc_weekly": [["--table", "prices_daily", "--tier", "T1"]],
    "nonsense is not a delivery": [["--group", "nonsense"]],
    "2025-11-11 is a Tuesday": [["T1|2025-11-11"]],
    "T1|2025-11-03 has no delivery to replay": [["T1|2025-11-03"]],
    "there is nothing to replay": [["--tier", "OTCE"]],
    "'2025-13-01' does not match the format '%Y-%m-%d'": [
        ["--from", "2025-13-01"],
        ["--to", "2025-13-01"],
    ],
    "'T9' is not one of T1, T2, OTCE": [["--tier", "T9"]],
    "Did you mean 'prices_daily'?": [["--table", "prices_dayly", "--all"]],
}


def expect_refusal(replay, options, capfd) -> str:
    """Return what is said of options that are refused, wrong in themselves or for this database."""
    try:
        status, output, _ = replay(*options)
    except SystemExit as usage:
        return f"{capfd.readouterr().err} {usage.code or pytest.fail('it is not refused')}"
    is_name = "is not a delivery" in output or "is a Tuesday" in output
    assert status == (2 if is_name else 1)
    return output


@pytest.mark.slow
def test_what_cannot_be_replayed_is_refused_with_the_reason(replay, capfd):
    for said, choices in REFUSED.items():
        for options in choices:
            assert said in expect_refusal(replay, options, capfd)
