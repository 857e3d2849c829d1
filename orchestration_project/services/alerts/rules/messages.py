"""The texts of alerts: a title, then what failed, why, what to do, and where."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Protocol

from orchestration_project.engine.contracts.problems import (
    ITEMS_FAILED,
    EndedRun,
    FailedBackfill,
    Notice,
    Problem,
    Severity,
    Unit,
)
from orchestration_project.errors import cut
from orchestration_project.services.alerts.rules.decisions import (
    AlertDecision,
    OpenAlert,
    derive_severity,
    find_worst,
)

if TYPE_CHECKING:
    from orchestration_project.services.gate.rules import Finding

MAX_REASON_LENGTH = 1200
"""Characters of an error's own text; the run's page has the rest."""

MAX_BODY_LENGTH = 3500
"""Characters; chat services refuse messages above about 4000."""

LISTED = 5
"""Partitions, reasons and links that are written out; of the rest, how many there are."""

NOTICE_SEVERITIES: dict[str, Severity] = {"restatement": "warning", ITEMS_FAILED: "warning"}
"""Other notices are for information."""

RECOVERED = "recovered"


class Links(Protocol):
    """Links to pages of the UI."""

    def run(self, run_id: str) -> str:
        """Return the page of a run."""
        ...

    def backfill(self, backfill_id: str) -> str:
        """Return the page of a backfill."""
        ...

    def partition(self, asset: str, partition: str) -> str:
        """Return the page of an asset's partition, which is empty where it has none."""
        ...

    def check(self, asset: str, name: str) -> str:
        """Return the page of an asset check."""
        ...

    def automation(self) -> str:
        """Return the page of sensors and schedules."""
        ...

    def deployment(self) -> str:
        """Return the page of Dagster's daemons."""
        ...


@dataclass(frozen=True)
class Message:
    """Message that is stored, and sent to each channel that wants its severity."""

    kind: str
    severity: Severity
    title: str
    body: str
    problems: frozenset[Problem] = frozenset()
    run_id: str | None = None
    job: str | None = None
    assets: Sequence[str] = ()
    partitions: Sequence[str] = ()
    link: str | None = None
    trace_id: str | None = None


def run_messages(run: EndedRun, decision: AlertDecision, links: Links) -> list[Message]:
    """Return the messages about a run: its failure, what recovered, and its notices by kind."""
    link = links.run(run.run_id)
    messages = [_describe_failure(run, decision.raised, links, link)] if decision.raised else []
    if decision.recovered:
        messages.append(build_recovery(decision.recovered, f"by the run {link}", run.run_id, link))
    by_kind = groupby(sorted(run.notices, key=lambda each: each.kind), lambda each: each.kind)
    messages += [_describe_notices(run, kind, list(notices), link) for kind, notices in by_kind]
    return [replace(message, trace_id=run.trace_id) for message in messages]


def build_recovery(
    recovered: Sequence[OpenAlert], how: str, run_id: str | None = None, link: str | None = None
) -> Message:
    """Return the message that the problems of alerts have recovered.

    Alerts without a notification are left out, unless all are such.
    """
    titles = [alert.title for alert in recovered if alert.notifications] or [
        alert.title for alert in recovered
    ]
    return Message(
        kind=RECOVERED,
        severity=find_worst(alert.severity for alert in recovered),
        title=cut(f"Recovered: {titles[0]}{_render_more(len(titles) - 1)}", 200),
        body=_join_body(["Well again:", *titles, "", f"Made well {how}"]),
        run_id=run_id,
        link=link,
    )


def backfill_failure(backfill: FailedBackfill, links: Links) -> Message:
    """Return the message that Dagster's daemon ended a backfill, and what it did not make."""
    units = sorted(backfill.missing)
    subjects = sorted({unit.asset for unit in units})
    partitions = sorted({unit.partition for unit in units if unit.partition})
    link = links.backfill(backfill.backfill_id)
    left = f": {format_list(partitions)} did not load" if partitions else ""
    return Message(
        kind="job_failed" if backfill.job else "failed",
        severity="error",
        title=cut(f"Dagster gave up a backfill of {format_list(subjects)}{left}", 200),
        body=_join_body(
            [
                *([backfill.title] if backfill.title else []),
                cut(backfill.error, MAX_REASON_LENGTH),
                "What to do: mend what the error names, then launch what is missing again",
                "",
                f"Backfill: {link}",
                *_link_pages([] if backfill.job else units, (), links),
            ]
        ),
        problems=backfill.problems,
        job=backfill.job or None,
        assets=[] if backfill.job else subjects,
        partitions=partitions,
        link=link,
    )


def build_tick_failure(name: str, error: str, links: Links) -> Message:
    """Return the message that a sensor or schedule fails."""
    problem = Problem("tick_failed", name)
    link = links.automation()
    return Message(
        kind=problem.kind,
        severity="error",
        title=f"{name} fails: it starts nothing until this is mended",
        body=_join_body([cut(error, MAX_REASON_LENGTH), "", f"Sensors and schedules: {link}"]),
        problems=frozenset([problem]),
        link=link,
    )


def build_condition_failure(problem: Problem, finding: "Finding", links: Links) -> Message:
    """Return the message of a problem outside of the runs."""
    what, _, text = finding.got.partition("; ")
    link = links.deployment()
    return Message(
        kind=problem.kind,
        severity="error",
        title=cut(f"{what[:1].upper()}{what[1:]}", 200),
        body=_join_body(
            [
                cut(text, MAX_REASON_LENGTH),
                f"What to do: {finding.remedy}",
                "",
                f"Dagster's daemons, code and concurrency: {link}",
            ]
        ),
        problems=frozenset([problem]),
        link=link,
    )


def build_database_failure(error: str) -> Message:
    """Return the message that is sent directly when alerts cannot be stored."""
    return Message(
        kind="database",
        severity="error",
        title="The database cannot be used: nothing loads, and alerts wait",
        body=_join_body(
            [cut(error, MAX_REASON_LENGTH), "", "Alerts of ended runs follow once it is back."]
        ),
    )


def build_database_recovery() -> Message:
    """Return the message that alerts can be stored again."""
    return Message(
        kind=RECOVERED,
        severity="error",
        title="Recovered: the database can be used again",
        body="Alerts of the runs that ended meanwhile follow.",
    )


def build_test_message() -> Message:
    """Return the message that `alerts test` sends."""
    return Message(
        kind="test",
        severity="info",
        title="Test: alerts of orchestration_project reach you here",
        body="Nothing failed. `orchestrate alerts test` sent this.",
    )


def format_list(words: Sequence[str]) -> str:
    """Return the first few of ``words``, and how many more there are."""
    return ", ".join(words[:LISTED]) + _render_more(len(words) - LISTED)


def _render_more(count: int) -> str:
    return f" and {count} more" if count > 0 else ""


def _describe_failure(
    run: EndedRun, raised: frozenset[Problem], links: Links, link: str
) -> Message:
    units = sorted(Unit(each.subject, each.detail) for each in raised if not each.is_check)
    partitions = sorted({unit.partition for unit in units if unit.partition})
    assets = sorted({each.subject for each in raised if each.kind != "job_failed"})
    kinds = {problem.kind for problem in raised}
    kind = next((name for name in ("job_failed", "failed", "held_back") if name in kinds), "check")
    return Message(
        kind=kind,
        severity=derive_severity(raised),
        title=cut(_build_title(run, kind, partitions, assets), 200),
        body=_join_body(
            [
                *_list_reasons(run, kind),
                *_list_failed_checks(run),
                "",
                f"Run: {link}",
                *_link_pages(units if kind in ("held_back", "failed") else [], raised, links),
            ]
        ),
        problems=raised,
        run_id=run.run_id,
        job=run.job,
        assets=assets,
        partitions=partitions,
        link=link,
    )


def _build_title(run: EndedRun, kind: str, partitions: Sequence[str], assets: Sequence[str]) -> str:
    name = format_list(assets) if run.job.startswith("__") else run.job  # __ASSET_JOB says nothing
    if kind == "check":
        failed = [f"{check.asset} {check.name}" for check in run.checks if not check.passed]
        return f"Check failed: {format_list(failed)}"
    if kind == "held_back":
        return f"{name}: {len(partitions)} of {len(run.partitions)} partitions did not load: " + (
            format_list(partitions)
        )
    what = "failed" if run.has_started else "never started"
    return f"{name} {what}" + (f": {format_list(partitions)}" if partitions else "")


def _list_reasons(run: EndedRun, kind: str) -> list[str]:
    if kind == "check":
        return []
    reasons = list(
        dict.fromkeys(cut(text, MAX_REASON_LENGTH) for text in (run.refused or {}).values())
    )
    if kind != "held_back":
        reasons = [cut(run.error, MAX_REASON_LENGTH)]
    number = len(reasons) - LISTED
    return [*reasons[:LISTED], *([f"and {number} more reasons: see the run"] if number > 0 else [])]


def _list_failed_checks(run: EndedRun) -> list[str]:
    return [
        f"Check {check.asset} {check.name} failed ({check.severity})"
        + (f": {cut(check.said, 300)}" if check.said else "")
        for check in run.checks
        if not check.passed
    ]


def _link_pages(units: Iterable[Unit], raised: Iterable[Problem], links: Links) -> list[str]:
    """Return lines that lead to partitions and checks in the UI."""
    partitions = [f"{unit.partition or unit.asset}: {links.partition(*unit)}" for unit in units]
    checks = [
        f"{problem.detail}: {links.check(problem.subject, problem.detail)}"
        for problem in sorted(raised)
        if problem.is_check
    ]
    return [*partitions[:LISTED], *checks[:LISTED]]


def _describe_notices(run: EndedRun, kind: str, notices: Sequence[Notice], link: str) -> Message:
    texts = list(dict.fromkeys(cut(notice.text, MAX_REASON_LENGTH) for notice in notices))
    partitions = sorted({notice.unit.partition for notice in notices if notice.unit.partition})
    about = format_list(partitions) or format_list(
        sorted({notice.unit.asset for notice in notices})
    )
    number = len(texts) - LISTED
    return Message(
        kind=kind,
        severity=NOTICE_SEVERITIES.get(kind, "info"),
        title=cut(f"{kind.replace('_', ' ').capitalize()}: {about}", 200),
        body=_join_body(
            [
                *texts[:LISTED],
                *([f"and {number} more: see the run"] if number > 0 else []),
                "",
                f"Run: {link}",
            ]
        ),
        run_id=run.run_id,
        job=run.job,
        assets=sorted({notice.unit.asset for notice in notices}),
        partitions=partitions,
        link=link,
    )


def _join_body(lines: Sequence[str]) -> str:
    """Return the lines as one text; one that is too long loses its middle, never its links."""
    text = "\n".join(lines).strip()
    if len(text) <= MAX_BODY_LENGTH:
        return text
    head, _, links = text.rpartition("\n\n")
    return f"{cut(head, max(MAX_BODY_LENGTH - len(links), 0))}\n\n{links}"
