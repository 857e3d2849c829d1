"""`plan` and `apply` as a person meets them: shown, written, reviewed, refused, done."""

import json
import re
import shutil
from unittest.mock import patch
from zipfile import ZipFile

import dagster as dg
import polars as pl
import pytest

from orchestration_project.__main__ import main
from orchestration_project.errors import ConfigurationError
from orchestration_project.instance.storage import open_instance
from orchestration_project.resources.finra import weekly
from orchestration_project.services.plans import Planner, hash_code, hash_statements
from tests import databases, programs
from tests.cli.test_replay import FILE, KEY, settings_of, text_of


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """Load a week from a file."""
    place = tmp_path_factory.mktemp("plan")
    (place / "files").mkdir()
    (place / "files" / FILE).write_text(text_of(100))
    run = ("orchestration_project", "run", "--weeks", "1")
    status, output, error = programs.run(place / "state", *run, **settings_of(place))
    assert status == 0, output + error
    return place


@pytest.fixture
def place(loaded, tmp_path, monkeypatch):
    """A copy of that, which the environment names."""
    copy = shutil.copytree(loaded, tmp_path / "place")
    for name, value in {"STATE_DIR": str(copy / "state"), **settings_of(copy)}.items():
        monkeypatch.setenv(name, value)
    return copy


@pytest.fixture
def doubled():
    """Change the code: it doubles shares."""
    check = weekly.checked_week

    def check_and_double(*arguments, **options):
        validated = check(*arguments, **options)
        rows = validated.rows.with_columns(pl.col("share_quantity") * 2)
        return type(validated)(**{**vars(validated), "rows": rows})

    with patch.object(weekly, "checked_week", check_and_double):
        yield


def tables(place):
    return databases.contents(databases.sqlite_url(place / "state", "real"))


@pytest.mark.slow
def test_nothing_changes_by_the_same_code(place, capfd):
    before = tables(place)
    assert main(["plan"]) == 0
    output = capfd.readouterr().out
    assert "finra_otc_weekly: 0 of 1 partitions change, 1 rows read" in output
    assert tables(place) == before


@pytest.mark.slow
def test_a_change_is_shown_reviewed_and_applied(place, doubled, capfd, tmp_path):
    before = tables(place)
    plan, review = tmp_path / "plan.json", tmp_path / "plan.md"
    assert main(["plan", "--output", str(plan), "--markdown", str(review)]) == 4
    output = capfd.readouterr().out
    assert f"  {KEY}: finra_otc_weekly ~1; finra_symbol_week ~1" in output
    assert "finra_otc_weekly.share_quantity: 1 values" in output
    assert f"{KEY[3:]}|T1|ATS|AAA|XATS: 100.000000 → 200.000000" in output
    assert "| finra_otc_weekly | 0 | 1 | 0 |" in review.read_text()
    assert tables(place) == before
    [partition] = json.loads(plan.read_text())["partitions"]
    assert (partition["partition_key"], partition["token"]) == (KEY, 1)

    assert main(["apply", str(plan), "--dry-run"]) == 0
    assert tables(place) == before
    assert main(["apply", str(plan)]) == 0
    assert "1 partitions changed as planned" in capfd.readouterr().out
    with open_instance() as instance:
        [run] = instance.get_runs(dg.RunsFilter(tags={"plan": json.loads(plan.read_text())["id"]}))
    assert run.job_name == "finra_otc_weekly"
    assert main(["evidence", "export", "--run", run.run_id]) == 0
    with ZipFile(place / "state" / "evidence" / f"evidence-run-{run.run_id}.zip") as archive:
        [kept] = [name for name in archive.namelist() if name.startswith("plans/")]
        assert archive.read(kept) == plan.read_bytes()
        assert archive.read("missing_plans.jsonl") == b""
    [stored] = (place / "state").rglob(kept)
    stored.unlink()
    assert main(["evidence", "export", "--session", run.tags["session"]]) == 0
    [file] = (place / "state" / "evidence").glob("evidence-session-*.zip")
    with ZipFile(file) as archive:
        missing = json.loads(archive.read("missing_plans.jsonl"))
    assert missing["plan"] == json.loads(plan.read_text())["id"]
    after = tables(place)
    assert after["finra_symbol_week"] != before["finra_symbol_week"]
    assert len(after["finra_otc_weekly_history"]) == 1
    assert main(["plan", "finra_otc_weekly"]) == 0
    assert main(["apply", str(plan)]) == 1
    assert f"{KEY} of finra_otc_weekly was delivered since the plan" in capfd.readouterr().err


def test_a_page_has_counts_examples_and_pictures_without_network_or_script(
    place, doubled, tmp_path
):
    file = tmp_path / "plan.html"
    assert main(["plan", "finra_otc_weekly", "--html", str(file)]) == 4
    page = file.read_text()
    assert '<td>finra_otc_weekly</td><td class="number">0</td><td class="number">1</td>' in page
    assert "<td>100.000000</td><td>200.000000</td>" in page
    assert "<title>share_quantity before and after, from 100 to 200</title>" in page
    assert "<script" not in page
    assert set(re.findall(r"[a-z]+://[^\"]+", page)) == {"http://www.w3.org/2000/svg"}


def test_a_sample_says_what_it_bounds(place, doubled, capfd):
    assert main(["plan", "--sample", "1", "--json"]) == 4
    document = json.loads(capfd.readouterr().out)
    assert document["samples"] == []  # one partition is all of them
    assert document["partitions"][0]["differences"][0]["columns"] == {"share_quantity": 1}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["finra_otc_weakly"], "did you mean finra_otc_weekly?"),
        (["finra_symbols"], "table without a plan: 'finra_symbols'"),
        (["--partition", "T1|2020-01-06"], "partition without a recorded delivery"),
    ],
)
def test_names_that_do_not_exist_are_refused(place, capfd, arguments: list[str], message: str):
    assert main(["plan", *arguments]) == 2
    assert message in capfd.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected the JSON of `plan --output`"),
        ("[]", "expected the JSON of `plan --output`"),
        ('{"format": "plan 0"}', "plan 0"),
        ("code", "the code is not the one that the plan was made with"),
        ("failed", "1 that could not be planned"),
        ("edited", "expected the ID of what it says"),
        ("without failures", "expected the ID of what it says"),
    ],
)
def test_what_is_no_plan_of_this_state_is_refused(place, capfd, tmp_path, text, message):
    file = tmp_path / "plan.json"
    document = {"format": "plan 1", "id": "1", "code_sha256": "0", "partitions": [], "failures": []}
    failures = [{"table": "t", "partition_key": "p", "reason": "r"}]
    other = {
        "code": {**document, "id": hash_statements("0", [], [])},
        "failed": {**document, "failures": failures},
        "edited": document,
        "without failures": {**document, "id": hash_statements("0", [], failures)},
    }
    file.write_text(json.dumps(other[text]) if text in other else text)
    assert main(["apply", str(file)]) == 1
    assert message in capfd.readouterr().err


@pytest.mark.parametrize("option", ["--output", "--markdown", "--html"])
def test_a_file_that_cannot_be_written_is_refused_before_the_work(place, capfd, tmp_path, option):
    file = tmp_path / "missing" / "plan"
    assert main(["plan", option, str(file)]) == 1
    captured = capfd.readouterr()
    assert f"{file} cannot be written" in captured.err
    assert "[1/1]" not in captured.err + captured.out


def test_a_plan_that_fails_leaves_the_file_as_it_was(place, tmp_path):
    file = tmp_path / "plan.json"
    file.write_text("before")
    with patch.object(Planner, "finish", side_effect=ConfigurationError("stopped")):
        assert main(["plan", "--output", str(file)]) == 1
    assert [(found.name, found.read_text()) for found in tmp_path.glob("*plan*")] == [
        ("plan.json", "before")
    ]


def test_a_plan_of_a_table_without_replay_names_cause_and_remedy(place, capfd, tmp_path):
    file = tmp_path / "plan.json"
    counts = {"added": 1, "changed": 0, "removed": 0}
    partition = {"table": "other_table", "partition_key": "p", "token": 1, "differences": [counts]}
    document = {
        "format": "plan 1",
        "id": hash_statements(hash_code(), [partition], []),
        "code_sha256": hash_code(),
        "failures": [],
        "partitions": [{**partition, "is_loaded": True}],
    }
    file.write_text(json.dumps(document))
    assert main(["apply", str(file)]) == 2
    error = capfd.readouterr().err
    assert "table without a replay in this installation: 'other_table'" in error
    assert "apply the plan where its domain and dataset are enabled" in error
