"""Rules: which channels are notified of what, how often, and in how many messages.

`alerts.yaml` has them. Every rule that matches counts, in order, until one says ``stop``; what no
rule matches goes by `EVERYTHING`, so that only a rule can silence anything.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Annotated, Any, NamedTuple, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from yaml import YAMLError

from orchestration_project.engine.contracts.former_names import find_present_asset
from orchestration_project.engine.contracts.job_kinds import find_present_job
from orchestration_project.engine.contracts.problems import Problem, Severity
from orchestration_project.errors import ConfigurationError
from orchestration_project.services.alerts.rules.channels import Channel
from orchestration_project.services.alerts.rules.decisions import (
    OpenAlert,
    Route,
    derive_severity,
    is_admitted,
)
from orchestration_project.services.alerts.rules.messages import Message
from orchestration_project.settings.yaml import located, read_yaml, reason_of, syntax_problem

ASSET_KINDS = ("failed", "held_back", "check")
"""Kinds of problems whose subject is an asset."""

JOB_KINDS = ("job_failed", "tick_failed")
"""Kinds whose subject is a job, a sensor or a schedule, all named after their domain."""

MAX_HOURS = 36_500 * 24
"""A century, as a bound: a longer window would precede the first representable time."""

OPERATIONS = "operations"
"""The domain of what is about no other, such as a disk that is nearly full."""


def _wrap_text(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


WORDS: dict[str, Any] = {
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]
}

Words = Annotated[tuple[str, ...], BeforeValidator(_wrap_text), WithJsonSchema(WORDS)]
"""One word or a list of them, each perhaps with ``*`` for any characters."""


Assets = Annotated[Words, AfterValidator(lambda keys: tuple(map(find_present_asset, keys)))]
"""Keys of assets; former ones are the present ones."""

Jobs = Annotated[Words, AfterValidator(lambda names: tuple(map(find_present_job, names)))]
"""Names of jobs, sensors and schedules; former ones are the present ones."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Match(_Strict):
    """Conditions of a rule: all given ones must hold, of a list any one.

    Attributes:
        domain: Such as `finra` or `operations`.
        asset: Its key, such as `finra/otc_weekly`.
        check: The name of an asset check.
        job: The name of a job, sensor or schedule.
        kind: What is not well, or the kind of a notice; docs/reference/alerts.md has the kinds.
        severity: The least: this and what is worse.
    """

    domain: Words = ()
    asset: Assets = ()
    check: Words = ()
    job: Jobs = ()
    kind: Words = ()
    severity: Severity = "info"

    @property
    def has_names(self) -> bool:
        """Whether it has a name of `Names`."""
        return any(getattr(self, field) for field in Names.__dataclass_fields__)


class RoutingRule(_Strict):
    """Channels that a rule notifies of matching problems.

    Attributes:
        name: What tables, ticks and errors call it.
        channels: The names of those that are notified of all of it; none: no channel; left out:
            each channel, of the alerts that it takes by its own severity.
        window_hours: For how long the same is not sent again; left out: ALERT_REPEAT_AFTER_HOURS.
        recovered: Whether the same channels are notified of the recovery.
        digest_above: More alerts than so many at once are sent in one message.
        stop: Later rules do not count for what this one matches.
    """

    name: str = Field(min_length=1)
    match: Match = Match()
    channels: Words | None = None
    window_hours: float | None = Field(default=None, gt=0, le=MAX_HOURS, strict=True)
    recovered: bool = Field(default=True, strict=True)
    digest_above: int = Field(default=10, ge=1, strict=True)
    stop: bool = Field(default=False, strict=True)

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if self.channels == () and not self.stop:
            raise ValueError(
                "channels: [] notifies no channel and stops no other rule; add stop: true"
            )
        return self


EVERYTHING = RoutingRule(name="everything")
"""Each channel gets what it takes by its own severity: errors, unless its entry says otherwise."""


class RulesFile(_Strict):
    """The content of `alerts.yaml`."""

    rules: tuple[RoutingRule, ...]

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [rule.name for rule in self.rules]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two rules are called {', '.join(twice)}")
        return self


class Facts(NamedTuple):
    """Attributes of a problem or a notice that rules can match."""

    kind: str
    severity: Severity
    domains: frozenset[str]
    assets: frozenset[str] = frozenset()
    check: str = ""
    job: str = ""


@dataclass(frozen=True)
class Names:
    """The names that a project has, of all of a `Match` that names something."""

    domain: frozenset[str]
    asset: frozenset[str]
    check: frozenset[str]
    job: frozenset[str]


@dataclass(frozen=True)
class Policy:
    """The rules in effect.

    Attributes:
        window: For how long the same is not sent again, where a rule says nothing.
        problem: What cannot be used of the channels, or else of the file, whose rules then are not
            in effect; None where all can.
    """

    channels: Sequence[Channel]
    window: timedelta
    rules: Sequence[RoutingRule] = (EVERYTHING,)
    problem: ConfigurationError | None = None

    def routes(self, facts: Facts) -> dict[str, Route]:
        """Return the channels that are notified; of rules with the same one the first counts."""
        routes_by_name: dict[str, Route] = {}
        matching = [rule for rule in self.rules if is_match(rule.match, facts)] or [EVERYTHING]
        for rule in matching:
            route = Route(rule.name, self._window_of(rule))
            for name in self._channels_of(rule, facts.severity):
                routes_by_name.setdefault(name, route)
            if rule.stop:
                break
        return routes_by_name

    def recovery_rules(self, recovered: Iterable[OpenAlert]) -> dict[str, str]:
        """Return by channel the rule that notified it of these alerts, if it reports recoveries."""
        silent = {rule.name for rule in self.rules if not rule.recovered}
        return {
            channel: notification.rule
            for alert in recovered
            for channel, notification in alert.notifications.items()
            if notification.rule not in silent
        }

    def digest_above(self, rule: str) -> int:
        """Return how many alerts the rule of this name sends one by one."""
        return next(
            (routing_rule for routing_rule in self.rules if routing_rule.name == rule), EVERYTHING
        ).digest_above

    def _channels_of(self, rule: RoutingRule, severity: Severity) -> Iterable[str]:
        if rule.channels is not None:
            return rule.channels
        return [channel.name for channel in self.channels if is_admitted(channel.least, severity)]

    def _window_of(self, rule: RoutingRule) -> timedelta:
        return timedelta(hours=rule.window_hours) if rule.window_hours else self.window


def is_match(match: Match, facts: Facts) -> bool:
    """Whether all that ``match`` gives holds; what is about no check is not about ``*`` either."""
    return is_admitted(match.severity, facts.severity) and all(
        not patterns or any(fnmatchcase(value, pattern) for value in values for pattern in patterns)
        for patterns, values in (
            (match.domain, facts.domains),
            (match.asset, facts.assets),
            (match.check, {facts.check} - {""}),
            (match.job, {facts.job} - {""}),
            (match.kind, {facts.kind}),
        )
    )


def build_facts(
    problem: Problem, *, job: str = "", together: Mapping[str, frozenset[str]] | None = None
) -> Facts:
    """Return the facts that rules can match of a problem that a run of ``job`` showed.

    Args:
        problem: What is not well.
        job: The job of the run; empty where it is about none.
        together: By the asset that stands for a step, all assets of that step.
    """
    kind = "check" if problem.is_check else problem.kind
    severity = derive_severity([problem])
    if kind in ASSET_KINDS:
        alone = frozenset([problem.subject])
        assets = alone if problem.is_check else (together or {}).get(problem.subject, alone)
        check = problem.detail if problem.is_check else ""
        return Facts(kind, severity, _extract_domains(assets), assets, check, job)
    if kind in JOB_KINDS:
        domain = problem.subject.partition("_")[0]
        return Facts(kind, severity, frozenset([domain]), job=problem.subject)
    return Facts(kind, severity, frozenset([OPERATIONS]))


def build_message_facts(message: Message) -> Facts:
    """Return the facts that rules can match of a message that is about no problem."""
    assets = frozenset(message.assets)
    domains = _extract_domains(assets) or frozenset([OPERATIONS])
    return Facts(message.kind, message.severity, domains, assets, job=message.job or "")


def _extract_domains(assets: Iterable[str]) -> frozenset[str]:
    return frozenset(asset.partition("/")[0] for asset in assets)


def read_rules(text: str, file: str, channels: Sequence[Channel]) -> tuple[RoutingRule, ...]:
    """Read the text of a file of rules.

    Raises:
        ConfigurationError: It is not YAML, has unknown keys or values, or names an unknown
            channel; the text names file, rule and field of each problem.
    """
    try:
        parsed = read_yaml(text)
    except YAMLError as error:
        raise _build_rules_error(file, syntax_problem(error)) from error
    try:
        rules = RulesFile.model_validate(parsed).rules
    except ValidationError as error:
        located_problems = [
            located(text, problem["loc"], *_name_place(problem["loc"], parsed), reason_of(problem))
            for problem in error.errors()
        ]
        raise _build_rules_error(
            file, "; ".join(located_problems)
        ) from None  # pydantic's own text is long
    known_names = [channel.name for channel in channels]
    unknown = [
        located(
            text,
            ("rules", number, "channels"),
            f"rule {rule.name}: channels: unknown channel {name}, expected one of "
            f"{', '.join(known_names) or 'none'}",
        )
        for number, rule in enumerate(rules)
        for name in rule.channels or ()
        if name not in known_names
    ]
    if unknown:
        raise _build_rules_error(file, "; ".join(unknown))
    return rules


def _build_rules_error(file: str, found: str) -> ConfigurationError:
    return ConfigurationError(
        f"invalid alert rules in {file}",
        expected="rules as in docs/how-to/set-up-alerts.md",
        found=found,
        remedy="correct the file; until then every alert notifies every channel",
    )


def _name_place(place: tuple[int | str, ...], parsed: Any) -> list[str]:
    """Return the rule and the field of a place."""
    match place:
        case ("rules", int(number), *field):
            raw = parsed["rules"][number]
            name = raw.get("name") if isinstance(raw, dict) else None
            return [f"rule {name or number + 1}", ".".join(map(str, field))]
        case _:
            return [".".join(map(str, place))]


def find_unknown_names(rules: Iterable[RoutingRule], names: Names) -> list[str]:
    """Return the names that rules match and the project lacks: such a rule is never applied."""
    return [
        f"rule {rule.name}: match.{field}: the project has no {field} {pattern}"
        for rule in rules
        for field in Names.__dataclass_fields__
        for pattern in getattr(rule.match, field)
        if not any(fnmatchcase(name, pattern) for name in getattr(names, field))
    ]
