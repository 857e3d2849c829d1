"""Examination of edited rules by their actions, which may ask the targets."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from orchestration_project.domains.events.routing import RoutingRule
from orchestration_project.engine.contracts.rule_edits import Problem
from orchestration_project.errors import OrchestrationError, TransientError
from orchestration_project.registry import ActionExamination
from orchestration_project.resources.events.routing.targets import (
    RoutingTargets,
    opened_connections,
)


@dataclass
class RuleExaminer:
    """Examines rules whose fields are valid.

    Attributes:
        targets: What rules may name.
        open_connection: Opens a connection by the name of its resource.
        doubts: Why rules could not be examined, by rule_id; they are not refused.
    """

    targets: RoutingTargets
    open_connection: Callable[[str], Any]
    doubts: dict[str, str] = field(default_factory=dict)
    _unreachable: dict[str, str] = field(default_factory=dict)

    def problems_of(self, rule: RoutingRule) -> Sequence[Problem]:
        """Return the problems for which the target is sure to refuse a rule, with their places."""
        action, declared = self.targets.find(rule.action, rule.target)
        if action.examine is None:
            return ()
        if action.name in self._unreachable:
            self.doubts[rule.rule_id] = self._unreachable[action.name]
            return ()
        action_examination = ActionExamination(
            settings=self.targets.settings,
            target=rule.target,
            declared=declared,
            values=_select_values(rule),
            open=self.open_connection,
        )
        try:
            action_findings = action.examine(action_examination)
        except OrchestrationError as error:
            self.doubts[rule.rule_id] = error.line
            if isinstance(error, TransientError):  # of the next rules it is not asked
                self._unreachable[action.name] = error.line
            return ()
        if action_findings.doubt:
            self.doubts[rule.rule_id] = action_findings.doubt
        places = {
            mapping.target_field: ("mappings", number, "value")
            for number, mapping in enumerate(rule.mappings)
        }
        return [(places.get(name, ("target",)), text) for name, text in action_findings.problems]


def _select_values(rule: RoutingRule) -> Mapping[str, Any]:
    return {
        mapping.target_field: mapping.value if mapping.source_type == "static" else None
        for mapping in rule.mappings
    }


@contextmanager
def open_examiner(targets: RoutingTargets) -> Iterator[RuleExaminer]:
    """Give an examiner that opens each connection once, when an action first needs it."""
    with opened_connections(targets.registry, targets.settings) as open_connection:
        yield RuleExaminer(targets, open_connection)
