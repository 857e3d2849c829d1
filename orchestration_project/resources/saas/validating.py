"""Rules against what the target says of its projects: a proof disables them, a doubt does not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from orchestration_project.domains.saas.jira import PERMISSIONS
from orchestration_project.domains.saas.rules import SyncRule
from orchestration_project.domains.saas.values import violations
from orchestration_project.errors import OrchestrationError
from orchestration_project.resources.saas.systems import RefusedError, TargetSystem

PROVING = (400, 403, 404)
"""HTTP statuses of a target for an unknown project or issue type."""


@dataclass
class RuleFindings:
    """Findings about rules, by rule_id.

    Attributes:
        proven: What the target is sure to refuse.
        unknown: Why it could not be asked; nothing follows from that.
    """

    proven: dict[str, Sequence[str]] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)


def examine(target: TargetSystem, rules: Sequence[SyncRule]) -> RuleFindings:
    """Ask the target whether it takes what rules would make."""
    rule_findings = RuleFindings()
    for rule in rules:
        if rule.action != "sync" or rule.target_project is None or rule.issue_type is None:
            continue
        try:
            rule_findings.proven[rule.rule_id] = _find_problems(target, rule.target_project, rule)
        except RefusedError as error:
            if error.http_status in PROVING:
                text = f"issues of type {rule.issue_type} in project {rule.target_project}"
                rule_findings.proven[rule.rule_id] = [
                    f"it gives us no {text}: {error.found or error.what}"
                ]
            else:
                rule_findings.unknown[rule.rule_id] = error.line
        except OrchestrationError as error:
            rule_findings.unknown[rule.rule_id] = error.line
    return rule_findings


def _find_problems(target: TargetSystem, project: str, rule: SyncRule) -> list[str]:
    missing = sorted(set(PERMISSIONS) - target.permissions(project))
    if missing:  # the form would only be refused
        return [f"we have no permission {name} in {project}" for name in missing]
    return violations(_list_filled(rule), target.create_fields(project, str(rule.issue_type)))


def _list_filled(rule: SyncRule) -> Mapping[str, str | None]:
    """Return the fields that a rule fills, with the values that are the same for every task.

    Each issue gets a label, too, by which it is found again.
    """
    filled = dict.fromkeys(("summary", "description", "assignee", "labels"))
    static = {
        mapping.target_field: mapping.value if mapping.source_type == "static" else None
        for mapping in rule.mappings
    }
    return filled | static
