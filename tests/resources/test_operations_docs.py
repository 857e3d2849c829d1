"""The SQL of docs/how-to/monitor.md, run as it stands there on both databases."""

import re
from datetime import timedelta

import pytest
from sqlalchemy import text

from orchestration_project.engine.contracts.failures import Category
from orchestration_project.services.ledger import Ledger
from orchestration_project.services.ledger.control_tower import read_observation, write_tower
from orchestration_project.services.ledger.rules.entries import Check, RunFacts, StepFacts
from orchestration_project.services.ledger.rules.standings import build_rows, evaluate_health
from orchestration_project.settings import PROJECT_ROOT
from tests.resources.weeks import NOON, row

DOCS = (PROJECT_ROOT / "docs" / "how-to" / "monitor.md").read_text()
QUESTIONS = dict(re.findall(r"^### (.*?)\n\n```sql\n(.*?)```", DOCS, re.DOTALL | re.MULTILINE))


def facts(run_id, status, minutes, steps=(), **changes) -> RunFacts:
    at = NOON + timedelta(minutes=minutes)
    begun = at - timedelta(seconds=10)
    tags = {"session": "year end", "user": "ada"}
    usual = {"started_at": begun, "ended_at": at, "tags": tags, "steps": steps}
    return RunFacts(run_id, "finra_otc_weekly", status, begun, at, **usual | changes)


@pytest.fixture
def requested(partition_loader, clock):
    """Three runs of a batch: one loaded, one failed, was retried, and failed again."""
    partition_loader.write_batch(
        row("AAA"), row("BBB"), target=partition_loader.target(run_id="good")
    )
    bad = [Check("finra/otc_weekly has_unique_keys", False, "error")]
    failed = StepFacts("load", "FAILURE", ["finra/otc_weekly"], NOON, NOON, 1, bad, ["contract"])
    Ledger(partition_loader.warehouse, clock).record(
        [
            facts("good", "SUCCESS", 0),
            facts("first", "FAILURE", 1, error="no", error_classes=["SourceError"]),
            facts("again", "FAILURE", 2, [failed], error="bad", parent_run_id="first"),
        ]
    )
    now = NOON + timedelta(hours=1)
    found = evaluate_health(
        read_observation(partition_loader.warehouse, now), [], now=now, machine_now=now
    )
    write_tower(partition_loader.warehouse, build_rows(found, now))

    def ask(question):
        with partition_loader.warehouse.reading() as connection:
            return [tuple(record) for record in connection.execute(text(QUESTIONS[question]))]

    return ask


@pytest.mark.slow_on_postgresql
def test_every_question_has_its_answer_here(requested):
    answers = {question: requested(question) for question in QUESTIONS}
    assert [record[1:] for record in answers.pop("Failed runs and their reasons")] == [
        ("finra_otc_weekly", None, "contract", "bad", "again"),
        ("finra_otc_weekly", None, "source", "no", "first"),
    ]
    [(*job, share)] = answers.pop("Rows and speed by job")
    assert job == ["finra_otc_weekly", 3, 2, job[3], pytest.approx(2 / 30)]
    assert float(share) == pytest.approx(1 / 3)
    assert answers.pop("Permanent failures") == [("again", "finra_otc_weekly", None, "contract")]
    [session] = answers.pop("Progress of a session")
    assert session[:-1] == ("FAILED", 3, 1, 1, 1.0, 2)
    [step] = answers.pop("Failed checks by step")
    assert step[:-1] == ("again", "load", "finra/otc_weekly")
    assert answers.pop("User of the run that fetched a row") == [
        ("good", "year end", "person", None, "ada", "SUCCESS")
    ]
    assert answers.pop("Runs in the terms of other workflow systems") == [
        ("finra_otc_weekly", "COMPLETED", None, None, None),
        ("finra_otc_weekly", "FAILED", None, None, None),
        ("finra_otc_weekly", "FAILED", "load", "FAILED", 0),
    ]
    assert [record[:3] for record in answers.pop("Open problems")] == [
        ("finra", "", "failing"),
        ("finra", "finra/otc_weekly", "failing"),
    ]
    assert answers == {}


def test_every_category_of_errors_is_explained():
    page = (PROJECT_ROOT / "docs" / "reference" / "errors.md").read_text()
    explained = re.findall(r"^\| `(\w+)` \|", page.split("| `error_category` |")[1], re.MULTILINE)
    assert explained[: len(Category.__args__)] == list(Category.__args__)
