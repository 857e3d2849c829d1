"""Alerts that Alertmanager sends: stored once, shown with the project's own, never twice.

A rule of Prometheus may have the label `covered_by`, which names a kind of alert or of entry that
reports the same fault. For a state, such as a silent daemon, both raise the same alert, and its own
condition ends it. Of other kinds the project has an entry already, so the alert is left out. If the
label names no kind, the alert is shown.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from operator import eq
from typing import Literal

from orchestration_project.engine.contracts.problems import Problem, Severity
from orchestration_project.errors import cut
from orchestration_project.services.alerts.inbox import Inbox, build_wording, is_always_open
from orchestration_project.services.alerts.rules.decisions import KINDS, AlertDecision
from orchestration_project.services.alerts.rules.messages import (
    MAX_BODY_LENGTH,
    MAX_REASON_LENGTH,
    Message,
)
from orchestration_project.services.alerts.rules.notification import Facts, build_facts

KIND = "prometheus"

COVERED_BY = "covered_by"
"""Label of a rule: the kind of the project's own report of the same fault."""

RUNBOOK = "runbook"
"""Annotation of a rule: the path of its page in docs/how-to/runbooks."""

MAX_LABELS_SHOWN = 20

MAX_LABEL_LENGTH = 200

STATES: Mapping[str, str] = {
    "daemon_silent": "",
    "host_silent": "host",
    "objective_burning": "objective",
}
"""Kinds of alerts on a state, each with the label that names its subject."""

SEVERITIES: Mapping[str, Severity] = {
    "info": "info",
    "none": "info",
    "warning": "warning",
}
"""Severities by the label of this name; others, such as critical, are errors."""

AlertOutcome = Literal["raised", "recovered", "known", "covered"]


@dataclass(frozen=True)
class ReceivedAlert:
    """An alert of a notification of Alertmanager.

    Attributes:
        fingerprint: Hash of its labels.
        starts_at: Time at which it began to fire.
    """

    fingerprint: str
    starts_at: datetime
    is_firing: bool
    labels: Mapping[str, str]
    annotations: Mapping[str, str]

    @property
    def name(self) -> str:
        """Name of its rule."""
        return self.labels.get("alertname", "") or self.fingerprint

    @property
    def severity(self) -> Severity:
        """Severity by its label."""
        return SEVERITIES.get(self.labels.get("severity", ""), "error")

    @property
    def cause(self) -> str:
        """Cause by which it is stored once."""
        return f"alertmanager {self.fingerprint} {self.starts_at.isoformat()}"


def derive_problem(alert: ReceivedAlert, entry_kinds: Collection[str]) -> Problem | None:
    """Return the problem of an alert; None: the project reports that fault by itself."""
    covered_by = alert.labels.get(COVERED_BY, "")
    if covered_by not in {*KINDS, *entry_kinds} - {KIND, "alert"}:  # which stand for any fault
        return Problem(KIND, cut(alert.name, MAX_LABEL_LENGTH), alert.fingerprint)
    if covered_by == "host_silent" and alert.labels.get("role") == "daemon":
        covered_by = "daemon_silent"
    if covered_by not in STATES:
        return None
    return Problem(covered_by, alert.labels.get(STATES[covered_by], ""))


def store_alert(
    inbox: Inbox, alert: ReceivedAlert, entry_kinds: Collection[str] = ()
) -> AlertOutcome:
    """Raise or recover an alert; the same fingerprint and start change nothing a second time.

    ``entry_kinds`` are those of the entries that report other faults than alerts do.

    Raises:
        OrchestrationError: The database cannot be used.
    """
    problem = derive_problem(alert, entry_kinds)
    if problem is None:
        return "covered"
    if alert.is_firing:
        facts = partial(_build_facts, severity=alert.severity)
        message = build_message(alert, problem)
        raised = inbox.take(
            *(alert.cause, message.problems, is_always_open, build_wording(message)), facts
        )
        return "raised" if raised else "known"
    if problem.kind != KIND:  # its own condition looks at the state itself
        return "covered"
    inbox.take(
        alert.cause, frozenset(), is_always_open, _build_no_messages
    )  # if it comes late, it is over
    recovered = inbox.recover(f"{alert.cause} resolved", partial(eq, problem), "for Prometheus")
    return "recovered" if recovered else "known"


def build_message(alert: ReceivedAlert, problem: Problem) -> Message:
    """Return the message of an alert: its summary, its description and its labels."""
    texts = alert.annotations
    shown_names = [
        f"{name}: {cut(value, MAX_LABEL_LENGTH)}"
        for name, value in sorted(alert.labels.items())[:MAX_LABELS_SHOWN]
    ]
    described = cut(texts.get("description", "") or "Prometheus has its rule.", MAX_REASON_LENGTH)
    if texts.get(RUNBOOK):
        shown_names.append(f"runbook: {cut(texts[RUNBOOK], MAX_LABEL_LENGTH)}")
    body = "\n".join([described, "", f"Prometheus rule: {alert.name}", *shown_names])
    return Message(
        kind=problem.kind,
        severity=alert.severity,
        title=cut(" ".join((texts.get("summary") or alert.name).split()), 200),
        body=cut(body, MAX_BODY_LENGTH),
        problems=frozenset([problem]),
    )


def _build_no_messages(_: AlertDecision) -> Sequence[Message]:
    return []


def _build_facts(problem: Problem, severity: Severity) -> Facts:
    return build_facts(problem)._replace(severity=severity)
