"""Targets of routing rules, as WEBHOOKS_FILE declares them and actions of domains read them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

from pydantic import ValidationError

from orchestration_project.domains.events.routing import RoutingRule, target_problems
from orchestration_project.engine.contracts.matching import TargetFields
from orchestration_project.engine.contracts.rule_edits import Problem
from orchestration_project.engine.contracts.webhooks.sources import WebhookSource, read_targets
from orchestration_project.errors import ConfigurationError, did_you_mean
from orchestration_project.registry import Environment, Registry, RoutingAction
from orchestration_project.services.inbox.senders import read_declared_sources
from orchestration_project.settings import Settings
from orchestration_project.settings.yaml import reason_of

LOADING_JOB = "events_webhooks"
"""Job of the sources that rules may name: it loads their deliveries, and plans the actions."""

ACTION = "action"


@dataclass
class RoutingTargets:
    """Sources and targets that rules may name.

    Attributes:
        registry: The domains, with their actions.
        settings: Settings of the process.
        sources: Sources of WEBHOOKS_FILE.
        declared: Targets of the same file, as they are written.
    """

    registry: Registry
    settings: Settings
    sources: Mapping[str, WebhookSource]
    declared: Mapping[str, Mapping[str, Any]]
    _fields: dict[tuple[str, str], TargetFields] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, settings: Settings, registry: Registry) -> Self:
        """Return those of WEBHOOKS_FILE.

        Raises:
            ConfigurationError: The file cannot be used.
        """
        sources = read_declared_sources(settings)
        content = settings.webhooks_path.read_text(encoding="utf-8")
        return cls(registry, settings, sources, read_targets(content))

    def problems_of(self, rule: RoutingRule) -> Sequence[Problem]:
        """Return the problems of a rule with its target, each with its place in the rule."""
        return target_problems(rule, self.fields_of)

    def fields_of(self, rule: RoutingRule) -> TargetFields:
        """Return the fields of a rule's target.

        Raises:
            ConfigurationError: Source, action or target cannot be used; ``part`` names which.
        """
        self._require_source(rule.source)
        key = rule.action, rule.target
        if key not in self._fields:
            action, declared = self.find(*key)
            try:
                self._fields[key] = action.fields(declared, self.registry, self.settings)
            except ConfigurationError as error:
                raise error.within(part="target") from None
        return self._fields[key]

    def find(self, action_name: str, target: str) -> tuple[RoutingAction, Any]:
        """Return an action, and the declaration of one of its targets.

        Raises:
            ConfigurationError: One of them is not known; ``part`` names which.
        """
        action = self.registry.actions.get(action_name)
        if action is None:
            raise _build_unknown_error("action", action_name, self.registry.actions)
        written = self.declared.get(target)
        if written is None or written.get(ACTION) != action_name:
            names = [
                name for name, item in self.declared.items() if item.get(ACTION) == action_name
            ]
            raise _build_unknown_error("target", target, names)
        values = {name: value for name, value in written.items() if name != ACTION}
        try:
            return action, action.declaration.model_validate(values)
        except ValidationError as error:
            problems = [f"{'.'.join(map(str, e['loc']))}: {reason_of(e)}" for e in error.errors()]
            raise ConfigurationError(
                f"invalid target {target}: expected a declaration of {action_name}",
                found="; ".join(problems),
                remedy="correct targets in WEBHOOKS_FILE",
                part="target",
            ) from None

    def _require_source(self, name: str) -> None:
        routed = [key for key, found in self.sources.items() if found.job == LOADING_JOB]
        if name not in routed:
            raise _build_unknown_error(
                "source", name, routed, f"a source with the job {LOADING_JOB}: "
            )


@contextmanager
def opened_connections(registry: Registry, settings: Settings) -> Iterator[Callable[[str], Any]]:
    """Yield a function that opens each connection once, by its resource's name, for the block."""
    opened: dict[str, Any] = {}
    with ExitStack() as stack:

        def open_connection(name: str) -> Any:
            if name not in opened:
                environment = Environment(settings=settings)
                opened[name] = stack.enter_context(registry.connections[name].open(environment))
            return opened[name]

        yield open_connection


def _build_unknown_error(
    part: str, name: str, known: Mapping[str, Any] | list[str], kind: str = "one of "
) -> ConfigurationError:
    return ConfigurationError(
        f"invalid {part} {name[:100]!r}",
        expected=kind + (", ".join(sorted(known)) or "(none is declared)"),
        remedy=did_you_mean(name, known) or "correct the rule, or declare it in WEBHOOKS_FILE",
        part=part,
    )
