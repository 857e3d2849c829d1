"""The runbooks: one for each kind of alert, whose queries and commands run as they stand there."""

import re

import click
import pytest
import yaml
from sqlalchemy import text

from deploy.observed_files import RULES
from orchestration_project.__main__ import root
from orchestration_project.services.alerts.alertmanager import COVERED_BY, RUNBOOK
from orchestration_project.services.alerts.rules.decisions import KINDS
from orchestration_project.services.alerts.rules.messages import build_test_message
from orchestration_project.services.alerts.rules.runbooks import (
    RUNBOOKS,
    add_runbook,
    find_link,
)
from orchestration_project.settings import PROJECT_ROOT

PAGES = {path.stem: path.read_text() for path in (PROJECT_ROOT / RUNBOOKS).glob("*.md")}
SHAPE = re.compile(
    r"# Runbook: [a-z_` ]+\n\n\*\*Meaning:\*\* .+?\n\n```(sql|sh)\n(.+?)\n```\n\n\*\*Do:\*\* .+",
    re.DOTALL,
)
MAX_WORDS = 90
FAULTS = {
    *("worker-lost", "clock-differs", "broker-unavailable", "database", "two-releases"),
    *("disk-low", "secret-file-refused", "certificate-expiring", "port-in-use"),
    *("migration-incomplete", "backup-refused", "artifact-missing", "proxy-not-trusted"),
}
"""Failures of a deployment, whether an alert reports them or a program that does not start."""


def queries(language: str) -> dict[str, str]:
    found = {name: SHAPE.fullmatch(page) for name, page in PAGES.items()}
    return {name: value[2] for name, value in found.items() if value and value[1] == language}


def test_each_kind_of_alert_and_each_failure_has_a_page():
    missing = [kind for kind in KINDS if find_link(kind) not in paths()]
    assert missing == []
    assert PAGES.keys() >= FAULTS


def paths() -> set[str]:
    return {f"{RUNBOOKS}/{name}.md" for name in PAGES}


def runbooks_of_rules() -> dict[str, str | None]:
    """Return the runbook of each rule that alerts: that of its kind, or the one that it names."""
    rules = [
        (f"{file.name}: {rule['alert']}", rule)
        for file in sorted(RULES.glob("*.yml"))
        for group in yaml.safe_load(file.read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]
    return {
        name: rule["annotations"].get(RUNBOOK) or find_link(rule["labels"].get(COVERED_BY, ""))
        for name, rule in rules
    }


def test_each_rule_of_prometheus_has_a_page():
    runbooks = runbooks_of_rules()
    assert len(runbooks) > 15
    missing = [f"{rule}: {page}" for rule, page in runbooks.items() if page not in paths()]
    assert not missing, (
        f"rules without a page of {RUNBOOKS}: {missing}; write it, and name its path in the "
        f"annotation {RUNBOOK!r} of the rule"
    )


def test_each_page_is_of_an_alert_a_rule_or_a_failure():
    named = {find_link(kind) for kind in KINDS} | set(runbooks_of_rules().values())
    assert paths() - named <= {f"{RUNBOOKS}/{name}.md" for name in FAULTS}


def test_each_page_has_a_meaning_something_to_look_at_and_something_to_do_in_few_words():
    assert [name for name, page in PAGES.items() if not SHAPE.fullmatch(page)] == []
    assert {name for name, page in PAGES.items() if len(page.split()) > MAX_WORDS} == set()


def test_each_query_runs(warehouse):
    found = queries("sql")
    assert len(found) > 15
    for name, query in found.items():
        with warehouse.reading() as connection:
            assert connection.execute(text(query)).keys(), name


COMMAND = r"(?:(?<!/)|(?<=\.venv/bin/))\borchestrate (?:--state-dir \S+ )?([a-z][a-z-]+)"


def test_each_command_of_ours_is_one_of_the_program():
    named = {word for page in PAGES.values() for word in re.findall(COMMAND, page)}
    assert {"verify", "alerts", "restore", "backup", "migrate", "config"} <= named
    assert named <= set(root.list_commands(click.Context(root)))


@pytest.mark.parametrize(
    ("docs_url", "link"),
    [
        (None, "docs/how-to/runbooks/test.md"),
        ("https://docs.example.org/", "https://docs.example.org/how-to/runbooks/test.html"),
    ],
)
def test_a_message_ends_with_the_link_to_its_runbook(docs_url, link):
    message = build_test_message()
    assert add_runbook(message, docs_url).body == f"{message.body}\nRunbook: {link}"


def test_a_notice_of_an_assets_own_kind_has_no_runbook():
    assert find_link("something_of_an_asset") is None
