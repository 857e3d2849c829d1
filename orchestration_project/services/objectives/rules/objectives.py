"""Service level objectives: what slo.yaml declares, error budgets, and burn rates.

An objective has good events among all events. Its error budget is the share of bad events that its
target allows; the burn rate is how many times as fast as allowed a window spends it.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from yaml import YAMLError

from orchestration_project.errors import ConfigurationError
from orchestration_project.settings.yaml import located, read_yaml, syntax_problem, value_problems

WINDOW_DAYS = 28
"""Days of a budget: today so far, and the 27 days before, in UTC."""


LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)
"""Upper bounds of the gateway's histogram, seconds: a limit of latency is one of them."""

FIVE_MINUTES, HALF_HOUR = timedelta(minutes=5), timedelta(minutes=30)
HOUR, SIX_HOURS = timedelta(hours=1), timedelta(hours=6)
WINDOWS = {"5m": FIVE_MINUTES, "30m": HALF_HOUR, "1h": HOUR, "6h": SIX_HOURS}
"""Windows of burn rates, by the names that Prometheus gives them."""

State = Literal["met", "burning", "exhausted", "no_data"]


class BurnAlert(NamedTuple):
    """Burn rate that raises an alert, if both windows have it: it is great, and it lasts.

    Attributes:
        long: The window in which it counts.
        short: The window that ends the alert soon after the cause.
        rate: Times as fast as the target allows.
    """

    long: str
    short: str
    rate: float


BURN_ALERTS = (BurnAlert("1h", "5m", 14.4), BurnAlert("6h", "30m", 6.0))
"""2 % of the budget in an hour, or 5 % in six hours."""


class _Objective(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,59}$", description="Name, in lower case.")

    target: float = Field(gt=0, lt=1, description="Share (0-1) of good events that is promised.")

    min_events: int = Field(
        default=4,
        ge=1,
        description="Minimum number of events of a burn rate's longer window; with fewer, no "
        "alert is raised.",
    )

    @property
    def domain_name(self) -> str:
        """The domain that it is about; operations if it is about none."""
        return str(getattr(self, "domain", None) or "operations")


class Freshness(_Objective):
    """Samples, each 5 minutes, in which no partition of a domain is overdue."""

    indicator: Literal["freshness"]

    domain: str = Field(description="Domain with deadlines.")

    max_late_hours: float = Field(
        default=0,
        ge=0,
        description="Hours after the deadline in which a missing partition is still good.",
    )


class Loads(_Objective):
    """Runs of a domain that ended in success, among those that succeeded or failed."""

    indicator: Literal["loads"]

    domain: str = Field(description="Domain of the runs.")


class GatewayLatency(_Objective):
    """Requests that the gateway answered within a time, and not with a status of 500 or more."""

    indicator: Literal["gateway_latency"]

    max_seconds: float = Field(
        json_schema_extra={"enum": list(LATENCY_BUCKETS)},
        description="Time from the first byte of a request to the last of its answer, one of the "
        "histogram's.",
    )

    @model_validator(mode="after")
    def _is_a_bucket(self) -> "GatewayLatency":
        if self.max_seconds not in LATENCY_BUCKETS:
            bounds = ", ".join(f"{bucket:g}" for bucket in LATENCY_BUCKETS)
            raise ValueError(f"max_seconds: expected one of {bounds}, found {self.max_seconds:g}")
        return self


class WebhookToLoaded(_Objective):
    """Webhook deliveries that were done within a time after their receipt."""

    indicator: Literal["webhook_to_loaded"]

    max_seconds: float = Field(
        gt=0, description="Time from the receipt to the end of the run that worked on it."
    )

    sources: tuple[str, ...] = Field(
        default=(), strict=False, description="Sources of webhooks.yaml; none: all."
    )


class MirrorLag(_Objective):
    """Samples, each 5 minutes, in which the oldest message that a mirror lacks is young enough."""

    indicator: Literal["mirror_lag"]

    domain: str = Field(description="Domain with a mirror.")

    max_seconds: float = Field(gt=0, description="Age of that message.")


Objective: TypeAlias = Freshness | Loads | GatewayLatency | WebhookToLoaded | MirrorLag


DeclaredObjective = Annotated[Objective, Field(discriminator="indicator")]


class ObjectivesFile(BaseModel):
    """The content of slo.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    objectives: tuple[DeclaredObjective, ...] = Field(strict=False, max_length=100)

    @model_validator(mode="after")
    def _names_differ(self) -> "ObjectivesFile":
        counted = Counter(objective.name for objective in self.objectives)
        if twice := sorted(name for name, count in counted.items() if count > 1):
            raise ValueError(f"two objectives are called {', '.join(twice)}")
        return self


def read_objectives(
    text: str, file: str, indicators: Mapping[str, Collection[str] | None] | None = None
) -> tuple[Objective, ...]:
    """Read the text of slo.yaml.

    Args:
        text: The text.
        file: Name of the file, for messages.
        indicators: Indicators of each domain; None for a domain that is off, whose objectives are
            left out. Without it, domains are not judged.

    Raises:
        ConfigurationError: It is not YAML, has invalid values, or names a domain that cannot have
            such an objective; names each problem with its line.
    """
    try:
        content = read_yaml(text) or {"objectives": []}
    except YAMLError as error:
        raise build_file_error(file, syntax_problem(error)) from error
    problems: list[str] = []
    objectives: list[tuple[int, Objective]] = []
    try:
        objectives = list(enumerate(ObjectivesFile.model_validate(content).objectives))
    except ValidationError as error:
        problems = value_problems(text, error)
        objectives = _select_valid(content)
    if indicators is not None:
        objectives = [
            (number, objective)
            for number, objective in objectives
            if indicators.get(getattr(objective, "domain", ""), ()) is not None
        ]
        problems += [
            located(text, ("objectives", number, "domain"), problem)
            for number, objective in objectives
            if (problem := _check_domain(objective, indicators))
        ]
    if problems:
        raise build_file_error(file, "; ".join(problems))
    return tuple(objective for _, objective in objectives)


def _select_valid(content: Any) -> list[tuple[int, Objective]]:
    """Return those objectives that are valid, whatever else the file has, by their position."""
    listed = content.get("objectives") if isinstance(content, dict) else None
    adapter: TypeAdapter[Objective] = TypeAdapter(DeclaredObjective)
    valid: list[tuple[int, Objective]] = []
    for number, value in enumerate(listed if isinstance(listed, list) else ()):
        with suppress(ValidationError):
            valid.append((number, adapter.validate_python(value)))
    return valid


def build_file_error(file: str, found: str) -> ConfigurationError:
    """Return the refusal of a file of objectives."""
    return ConfigurationError(
        f"invalid objectives in {file}",
        expected="objectives as config/schemas/slo.schema.json describes them",
        found=found,
        remedy="correct the file; `orchestrate objectives check` reads it again",
    )


def _check_domain(objective: Objective, indicators: Mapping[str, Collection[str] | None]) -> str:
    domain, indicator = getattr(objective, "domain", None), objective.indicator
    names = [name for name, known in indicators.items() if indicator in (known or ())]
    if domain is None or domain in names:
        return ""
    return (
        f"{objective.name}: invalid domain {domain!r} of {indicator}: "
        f"expected one of {', '.join(sorted(names))}"
    )


class Events(NamedTuple):
    """Good events among all."""

    good: int = 0
    total: int = 0

    def plus(self, other: "Events") -> "Events":
        """Return the events of both."""
        return Events(self.good + other.good, self.total + other.total)


def compute_burn_rate(events: Events, target: float) -> float | None:
    """Return how many times as fast as allowed the budget is spent; None: no event."""
    if not events.total:
        return None
    return (events.total - events.good) / events.total / (1 - target)


def compute_budget_left(events: Events, target: float) -> float | None:
    """Return the share of the budget that is left; None: no event.

    1 is all, 0 none; below 0 it is overspent.
    """
    rate = compute_burn_rate(events, target)
    return None if rate is None else 1 - rate


@dataclass(frozen=True)
class Evaluation:
    """An objective at a time.

    Attributes:
        events: Those of the window of the budget.
        recent: Those of each window of burn rates, by its name.
    """

    objective: Objective
    events: Events
    recent: Mapping[str, Events]
    evaluated_at: datetime

    @property
    def burn(self) -> Mapping[str, float | None]:
        """Burn rate of each window, by its name; None: no event."""
        return {
            name: compute_burn_rate(value, self.objective.target)
            for name, value in self.recent.items()
        }

    @property
    def budget_left(self) -> float | None:
        """Share of the budget that is left; None: no event."""
        return compute_budget_left(self.events, self.objective.target)

    @property
    def burns(self) -> Collection[BurnAlert]:
        """The burn alerts that hold; a window with few events raises none."""
        burn, least = self.burn, self.objective.min_events
        return [
            alert
            for alert in BURN_ALERTS
            if self.recent[alert.long].total >= least
            and (burn[alert.long] or 0) >= alert.rate
            and (burn[alert.short] or 0) >= alert.rate
        ]

    @property
    def state(self) -> State:
        """State: without any event neither good nor bad."""
        left = self.budget_left
        if left is None:
            return "no_data"
        if self.burns:
            return "burning"
        return "exhausted" if left <= 0 else "met"


def build_row(found: Evaluation) -> dict[str, Any]:
    """Return the row of ``operations_slo``."""
    return {
        "name": found.objective.name,
        "window_days": WINDOW_DAYS,
        "domain": found.objective.domain_name,
        "indicator": found.objective.indicator,
        "target": found.objective.target,
        "state": found.state,
        "good": found.events.good,
        "total": found.events.total,
        "budget_left": found.budget_left,
        **{f"burn_{name}": rate for name, rate in found.burn.items()},
        **{f"events_{alert.long}": found.recent[alert.long].total for alert in BURN_ALERTS},
        "evaluated_at": found.evaluated_at,
    }
