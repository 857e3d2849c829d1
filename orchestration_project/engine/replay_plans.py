"""Plans of replays: what can be selected of a table, and the runs that replay it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.settings import Settings


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """The table that a command prints after its runs: a line per asset.

    Attributes:
        assets: Names of the assets that always have a line, in order.
        audited: The asset in whose line the audits are counted.
        rejecting: The asset in whose line the rejects are counted.
    """

    assets: Sequence[str]
    audited: str
    rejecting: str


@dataclass(frozen=True, kw_only=True)
class ReplayFilter:
    """An option of the command `replay` that selects partitions of a table.

    Attributes:
        name: Its name without dashes, e.g. ``tier``.
        description: What it selects, for the help of the command.
        choices: The valid values; empty: all are.
        is_date: Whether its value is a date.
    """

    name: str
    description: str
    choices: Sequence[str] = ()
    is_date: bool = False


@dataclass(frozen=True, kw_only=True)
class ReplayRequest:
    """Recorded deliveries of a table that a user wants to replay.

    Attributes:
        partitions: Their partition keys; empty: all that ``filters`` select.
        filters: The values of `Replay.filters` that were given, by name.
    """

    partitions: Sequence[str] = ()
    filters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ReplayRuns:
    """The runs that carry out a `ReplayRequest`.

    Attributes:
        ranges: First and last partition of each run.
        description: What is replayed, for people.
        count: How many of `Replay.unit` that is.
        config: Config of the op, besides that of every replay.
        keys: The partitions of all runs, where their op does not report each.
    """

    ranges: Sequence[tuple[str, str]]
    description: str
    count: int
    config: Mapping[str, Any] = field(default_factory=dict)
    keys: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Replay:
    """Replay of the recorded deliveries of a table: they are validated and loaded again.

    Attributes:
        table: The name of the table.
        job: The job that loads the table; with ``replay: true`` its runs replay.
        op: Its op.
        has_options: Whether the op takes the config ``allow_older`` and ``group_id``.
        plan: Returns the runs, None without a delivery to replay; raises ConfigurationError if a
            partition cannot be run.
        unit: What it counts, in the plural.
        filters: The options that select its partitions.
        summary: What the command prints after the runs, if anything.
        counts: Names of counts in the metadata of its assets that the command prints.
        is_default: Whether the command replays this table when the user names none.
    """

    table: str
    job: str
    op: str
    plan: Callable[[ReplayRequest, Settings, Warehouse], ReplayRuns | None]
    has_options: bool = True
    unit: str = "partitions"
    filters: Sequence[ReplayFilter] = ()
    summary: RunSummary | None = None
    counts: Sequence[str] = ()
    is_default: bool = False

    def plan_runs(
        self, request: ReplayRequest, settings: Settings, warehouse: Warehouse
    ) -> ReplayRuns:
        """Return the runs that replay what is requested.

        Raises:
            ConfigurationError: That is nothing, or a partition that cannot be run.
        """
        plan = self.plan(request, settings, warehouse)
        if plan is None:
            raise ConfigurationError(
                "there is nothing to replay",
                expected="a delivery that was read whole, of one of the chosen partitions",
                found="none",
                remedy="choose other partitions, or load them first",
            )
        return plan

    def run_config(self, plan: ReplayRuns, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the config of runs of the plan with these options."""
        return {"ops": {self.op: {"config": {**plan.config, **options, "replay": True}}}}
