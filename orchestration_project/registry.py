"""Declaration of a domain as one value, and all domains together as a `Registry`.

Types only: this module imports no domain. The values stand in `catalog/`, one module per domain.
"""

import socket
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import cached_property, partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar

from pydantic import BaseModel
from sqlalchemy import Connection as SqlConnection
from sqlalchemy import Table

from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import open_store
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.formulas import TableRules
from orchestration_project.engine.contracts.matching import TargetFields
from orchestration_project.engine.contracts.pipelines import Parameter, Pipeline
from orchestration_project.engine.contracts.presets import PresetTarget, find_preset_targets
from orchestration_project.engine.contracts.problems import Problem
from orchestration_project.engine.environment import open_clock
from orchestration_project.engine.http.limits import IGNORING_BREAKER, USUAL_BREAKER, BreakerPolicy
from orchestration_project.engine.replay_plans import Replay
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import Scope
from orchestration_project.errors import ConfigurationError
from orchestration_project.settings import Settings

if TYPE_CHECKING:  # commands that need no definitions import no Dagster
    import dagster as dg

    from orchestration_project.engine.dagster_private.definitions import (
        UnresolvedAssetJobDefinition,
    )
    from orchestration_project.engine.warehouse.as_of import AsOf

T = TypeVar("T")

AnyJob: TypeAlias = "dg.JobDefinition | UnresolvedAssetJobDefinition"
"""A job of ops or of assets; Dagster does not export the type of the latter."""


def _admit_all(_: str) -> None:
    """Let everything be opened, as in a tick of a sensor, which only asks what there is."""


@dataclass(frozen=True)
class Answer:
    """Result of a probe that passed, or does not apply here."""

    got: str
    is_applicable: bool = True


@dataclass(frozen=True)
class Probe:
    """How a dependency is looked at.

    Attributes:
        dependency: Its name, a plain word.
        needed_by: The resources that open only while it is ready, or `ANY_WORK`, `QUEUED_RUNS`;
            empty if it refuses no resource.
        tried: Returns the action of ``run`` in words, without secrets.
        run: Does it. One of our errors means: not ready, and what to do.
    """

    dependency: str
    needed_by: tuple[str, ...]
    tried: Callable[[], str]
    run: Callable[[], Answer]


MACHINE_KINDS = ("disk_low", "log_lines_lost")
"""Kinds of alerts that each machine has for itself."""


@dataclass(frozen=True)
class AlertCondition:
    """Condition that should hold, and the kind of its alert; ``subject`` is what it is about."""

    kind: str
    probe: Probe
    subject: str = ""

    @property
    def problem(self) -> Problem:
        """Problem while it does not hold."""
        host = socket.gethostname() if self.kind in MACHINE_KINDS else ""
        return Problem(self.kind, self.subject or host)


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Arguments of a connection.

    Attributes:
        ignores_breaker: Whether a source is asked also while its circuit breaker is open.
        admit: Raises if a named connection is not ready; for one that opens others by itself.
    """

    settings: Settings
    ignores_breaker: bool = False
    admit: Callable[[str], None] = _admit_all

    @property
    def breaker(self) -> BreakerPolicy:
        """When a source that fails is not asked for a while."""
        return IGNORING_BREAKER if self.ignores_breaker else USUAL_BREAKER

    @property
    def clock(self) -> Clock:
        """The clock of the data."""
        return open_clock(self.settings)

    @property
    def captures(self) -> Captures:
        """The store of what is fetched, byte for byte."""
        return Captures(open_store(self.settings))


@dataclass(frozen=True, kw_only=True)
class Connection(Generic[T]):
    """An outside system: how a run opens it, and how the preflight finds out if it answers.

    Attributes:
        description: For the list of resources in the Dagster UI.
        shown_name: What people call the system, in messages.
        open: Opens it, and closes it at the end of the run or tick.
        preflight: The name under which the preflight verifies it before a run opens it; None: its
            ``open`` calls `Environment.admit` itself.
        probe: Asks the opened system, and returns in words what it answered. None: another
            connection's probe is its probe, too.
        tried: What ``probe`` does, in words without secrets.
        unused: Returns why there is nothing to probe under these settings, "" if there is.
        remote_clock: Returns what asks the system for its time, None where it cannot be asked.
        attributes: What is known of it before it is opened, by name.
    """

    description: str
    shown_name: str = ""
    open: Callable[[Environment], AbstractContextManager[T]]
    preflight: str | None
    probe: Callable[[T, Environment], str] | None = None
    tried: Callable[[Settings], str] = lambda _: ""
    unused: Callable[[Settings], str] = lambda _: ""
    remote_clock: Callable[[Settings], Callable[[], datetime | None] | None] | None = None
    attributes: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job, and what the API, presets and webhooks may do with it.

    Attributes:
        parameters: How the API names a partition of it; None: the API does not list it as a
            pipeline.
        consumes_webhooks: Whether its runs work on webhook deliveries: each run on the one that its
            tags name.
        claims_webhooks: Whether each of these runs claims all due deliveries of a source instead.
        real_config: Run config of a run that is not a dry run, for runs that a webhook or the API
            requests by name; empty: it has no dry runs.
        missing: Returns those of the given partitions that are not fully loaded although they are
            materialized, for backfills of what is missing.
        first_setting: The setting that moves its first partition; empty: none does.
        published_on: Returns the day on which the source publishes a partition, by its key; None:
            each partition can be loaded from its end on.
    """

    definition: AnyJob
    parameters: tuple[Parameter, ...] | None = None
    consumes_webhooks: bool = False
    claims_webhooks: bool = False
    real_config: Mapping[str, Any] = field(default_factory=dict)
    missing: Callable[[Settings, Warehouse, datetime, Sequence[str]], Collection[str]] | None = None
    first_setting: str = ""
    published_on: Callable[[str], date] | None = None

    @property
    def name(self) -> str:
        """The job's name in Dagster."""
        return self.definition.name


def _keep_key(key: str, _: Scope) -> tuple[str, str] | None:
    return key, key


@dataclass(frozen=True, kw_only=True)
class PartitionedTable:
    """A table with history, and the rows of it that belong to a partition's key.

    Attributes:
        scope_of: Returns the rows of a partition's key.
        partitions_of: Returns the first and last partition of the asset that a delivery belongs to,
            by its partition key and scope; None: the asset has no partitions.
    """

    table: Table
    scope_of: Callable[[str], Scope]
    partitions_of: Callable[[str, Scope], tuple[str, str] | None] = _keep_key


@dataclass(frozen=True, kw_only=True)
class ActionRequest:
    """An action that a routing rule requests.

    Attributes:
        target: Name of the target in WEBHOOKS_FILE.
        declared: Its declaration, as `RoutingAction.declaration` reads it.
        fields: Values of its fields.
        idempotency_key: Equal for all attempts; the target gets it.
        hops: Rules that the data went through, the latest one last.
        source: Source of the delivery.
        delivery_id: The delivery.
        rule_id: The rule.
        planned_at: When the rule matched.
        progress: What `ActionEnvironment.record_progress` recorded before; None: nothing.
    """

    target: str
    declared: Any
    fields: Mapping[str, Any]
    idempotency_key: str
    hops: Sequence[str]
    source: str
    delivery_id: str
    rule_id: str
    planned_at: datetime
    progress: str | None = None


@dataclass(frozen=True, kw_only=True)
class ActionEnvironment:
    """Surroundings of an action.

    Attributes:
        warehouse: The database, for an action that writes transactions of its own.
        open: Returns an opened connection by the name of its resource, the same for one run.
        record_progress: Records what must be known before a request whose answer may never come.
    """

    settings: Settings
    warehouse: Warehouse
    clock: Clock
    run_id: str
    open: Callable[[str], Any]
    record_progress: Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class ActionExamination:
    """A rule's target and mappings, to examine before the rule is put into effect.

    Attributes:
        target: Name of the target in WEBHOOKS_FILE.
        declared: Its declaration.
        values: By mapped field: its static value, or None where deliveries have the value.
        open: Returns an opened connection by the name of its resource.
    """

    settings: Settings
    target: str
    declared: Any
    values: Mapping[str, Any]
    open: Callable[[str], Any]


@dataclass(frozen=True)
class ActionFindings:
    """Findings of an examination.

    Attributes:
        problems: What the target is sure to refuse, each with its field; "": the target itself.
        doubt: Why the target could not be asked; nothing follows from that.
    """

    problems: Sequence[tuple[str, str]] = ()
    doubt: str = ""


@dataclass(frozen=True, kw_only=True)
class RoutingAction:
    """An action that routing rules may request; it has one of ``write``, ``send`` and ``run``.

    Attributes:
        name: Name in rules and in the topic ``routing/<name>`` of the outbox.
        description: What it does, for people.
        declaration: Model of its targets in WEBHOOKS_FILE.
        fields: Returns the fields of a target; raises ConfigurationError if it cannot be used.
        write: Writes a row in the transaction that plans the action, at the present time and as
            a run; returns its result.
        send: Asks the target, which may have done it before under the same idempotency key;
            returns its result. Raises TransientError if another attempt may succeed.
        run: Returns the run to request, whose key is the idempotency key.
        examine: Examines a rule before it is put into effect; it may ask the target.
    """

    name: str
    description: str
    declaration: type[BaseModel]
    fields: "Callable[[Any, Registry, Settings], TargetFields]"
    write: Callable[[SqlConnection, ActionRequest, datetime, str], str] | None = None
    send: Callable[[ActionRequest, ActionEnvironment], str] | None = None
    run: "Callable[[ActionRequest, Registry], dg.RunRequest] | None" = None
    examine: Callable[[ActionExamination], ActionFindings] | None = None


@dataclass(frozen=True, kw_only=True)
class MadeDefinitions:
    """Definitions that a code location makes when it loads."""

    assets: "Sequence[dg.AssetsDefinition]" = ()
    jobs: Sequence[AnyJob] = ()
    schedules: "Sequence[dg.ScheduleDefinition]" = ()


@dataclass(frozen=True)
class DefinitionsMaker:
    """Registers definitions that need the whole registry, or rows of the database.

    ``make`` neither waits long for the database nor raises.
    """

    make: "Callable[[Registry, Settings], MadeDefinitions]"


@dataclass(frozen=True)
class SensorMaker:
    """Registers a sensor of each code location, whichever domains it selects.

    ``make`` returns None where the sensor has nothing to do.
    """

    make: "Callable[[Registry], dg.SensorDefinition | None]"


@dataclass(frozen=True)
class ConnectionMaker:
    """Registers connections of a domain, by the names under which assets ask for them.

    ``make`` imports their clients. It is called at the first use of a connection.
    """

    make: Callable[[], Mapping[str, Connection[Any]]]


@dataclass(frozen=True, kw_only=True)
class CommandModule:
    """Registers a module that only the command line imports.

    Attributes:
        command: ``load`` or ``replay``, which is also the name of the module's function.
        name: Name that the command takes: the domain's for ``load``, a table's for ``replay``.
        module: Name of the module.
    """

    command: Literal["load", "replay"]
    name: str
    module: str


@dataclass(frozen=True)
class AsOfModule:
    """Registers a module whose `AS_OF` derives tables as of a time.

    The catalog does not import it.
    """

    name: str


@dataclass(frozen=True)
class FormulaModule:
    """Registers a module whose `RULES` have formulas of tables, as `AsOfModule` does."""

    name: str


@dataclass(frozen=True, kw_only=True)
class DomainDefinitions:
    """Definitions of a domain for Dagster, and what is imported together with them.

    Attributes:
        replays: How its tables are replayed.
        registrations: Values for services that define, load and repair: `DefinitionsMaker`,
            `SensorMaker`, `RoutingAction`, `Recovery`. `Registry.defined` reads them.
    """

    assets: "Sequence[dg.AssetsDefinition | dg.AssetSpec]" = ()
    asset_checks: "Sequence[dg.AssetChecksDefinition]" = ()
    jobs: Sequence[Job] = ()
    schedules: "Sequence[dg.ScheduleDefinition]" = ()
    sensors: "Sequence[dg.SensorDefinition]" = ()
    replays: Sequence[Replay] = ()
    registrations: Sequence[object] = ()


@dataclass(frozen=True, kw_only=True)
class Domain:
    """All that the project knows of a domain.

    Attributes:
        name: Group of its assets, first part of their keys, and tag of its jobs.
        source_setting: The setting that names its source. Where that is not set, the domain has no
            schedules and sensors, and what asks its source says why it cannot.
        define: Imports and returns its definitions. It is called at the first use of one, so that
            commands without definitions do not import them.
        tables: Its tables whose partitions the evidence can export.
        state_paths: What it keeps in STATE_DIR, by file or folder name.
        api: Names of modules with routes of the API, as ``OPERATIONS``; only the gateway imports
            them.
        registrations: Values for services that ask the domains for more: what is erased, exported,
            balanced. Each service has a class for its own, and reads them by `Registry.registered`.
            Commands import them, so they import neither Dagster nor clients of outside systems.
    """

    name: str
    source_setting: str | None = None
    define: Callable[[], DomainDefinitions] = DomainDefinitions
    tables: Sequence[PartitionedTable] = ()
    state_paths: Sequence[str] = ()
    api: Sequence[str] = ()
    registrations: Sequence[object] = ()

    @cached_property
    def definitions(self) -> DomainDefinitions:
        """Its definitions for Dagster, imported at the first use."""
        return self.define()

    @cached_property
    def connections(self) -> Mapping[str, Connection[Any]]:
        """Its connections, by the names under which assets ask for them."""
        return {
            name: connection
            for maker in self.registered(ConnectionMaker)
            for name, connection in maker.make().items()
        }

    def require_valid(self, settings: Settings) -> None:
        """Make sure that its settings and configuration files are valid.

        Raises:
            ConfigurationError: One is not.
        """
        settings.require_domain(self.name)

    def registered(self, kind: type[T]) -> list[T]:
        """Return its registrations of a class."""
        return [entry for entry in self.registrations if isinstance(entry, kind)]

    def has_source(self, settings: Settings) -> bool:
        """Whether it has a source, or needs none."""
        return self.source_setting is None or getattr(settings, self.source_setting) is not None


@dataclass(frozen=True)
class Registry:
    """The domains that this installation has, and those of them that this code location defines.

    Attributes:
        domains: The domains that are on: what operations, the API and the commands know of.
        selected: The domains whose assets, jobs and sensors this code location defines.
        import_all: Imports and returns all domains, those that are off included.
    """

    domains: tuple[Domain, ...]
    selected: tuple[Domain, ...]
    import_all: Callable[[], Sequence[Domain]]

    @classmethod
    def of(
        cls, domains: Sequence[Domain], import_all: Callable[[], Sequence[Domain]] | None = None
    ) -> "Registry":
        """Return the registry of a code location that defines all of ``domains``.

        ``import_all`` is as of the class; without it, these are all.
        """
        return cls(tuple(domains), tuple(domains), import_all or (lambda: domains))

    @cached_property
    def whole(self) -> "Registry":
        """The registry of all domains: rows of one that is off are still kept, erased and checked.

        What is off is imported here, so nothing requests it that a tick or a page needs.
        """
        return replace(self, domains=tuple(self.import_all()))

    def select(self, *names: str) -> "Registry":
        """Return the registry of a code location that defines the domains of these names.

        Raises:
            ConfigurationError: No domain that is on has that name.
        """
        known_domains = {domain.name: domain for domain in self.domains}
        if unknown := [name for name in names if name not in known_domains]:
            raise ConfigurationError(
                f"invalid domain {unknown[0]!r}: expected one of {', '.join(known_domains)}"
            )
        return replace(self, selected=tuple(known_domains[name] for name in names))

    def registered(self, kind: type[T]) -> list[T]:
        """Return the registrations of a class, of the domains that are on."""
        return [entry for domain in self.domains for entry in domain.registered(kind)]

    def defined(self, kind: type[T]) -> list[T]:
        """Return the registrations of a class in the definitions of the domains that are on."""
        return [
            entry
            for domain in self.domains
            for entry in domain.definitions.registrations
            if isinstance(entry, kind)
        ]

    @cached_property
    def tables_as_of(self) -> "AsOf":
        """Derivations of tables as of a time, by name of the table."""
        return {
            name: derive
            for module in self.registered(AsOfModule)
            for name, derive in import_module(module.name).AS_OF.items()
        }

    @cached_property
    def rules(self) -> Mapping[str, TableRules]:
        """Rules by which numbers of tables are recomputed, by table."""
        return {
            name: rules
            for module in self.registered(FormulaModule)
            for name, rules in import_module(module.name).RULES.items()
        }

    @cached_property
    def jobs(self) -> Mapping[str, Job]:
        """The jobs, by name."""
        return {job.name: job for domain in self.domains for job in domain.definitions.jobs}

    def first_setting(self, job: str) -> str:
        """Return the setting that moves the first partition of a job; empty: none does."""
        return self.jobs[job].first_setting if job in self.jobs else ""

    @cached_property
    def partitions(self) -> "Mapping[tuple[str, ...], dg.PartitionsDefinition]":
        """The partitions of the assets that have some, by the path of their key."""
        import dagster as dg

        return {
            tuple(key.path): definition
            for domain in self.domains
            for assets in domain.definitions.assets
            if isinstance(assets, dg.AssetsDefinition)
            for key in assets.keys
            if (definition := assets.specs_by_key[key].partitions_def) is not None
        }

    @cached_property
    def pipelines(self) -> Mapping[str, Pipeline]:
        """The jobs that the API runs by name, and the parameters that name a partition."""
        return {
            name: Pipeline(name, job.parameters)
            for name, job in self.jobs.items()
            if job.parameters is not None
        }

    @property
    def preset_targets(self) -> Sequence[PresetTarget]:
        """Fields that presets may set."""
        return find_preset_targets([domain.name for domain in self.domains])

    @cached_property
    def connections(self) -> Mapping[str, Connection[Any]]:
        """The connections, by the name of their resource."""
        return {
            name: connection
            for domain in self.domains
            for name, connection in domain.connections.items()
        }

    @cached_property
    def actions(self) -> Mapping[str, RoutingAction]:
        """The actions that routing rules may request, by name."""
        return {action.name: action for action in self.defined(RoutingAction)}

    @cached_property
    def tables(self) -> Mapping[str, PartitionedTable]:
        """The tables whose partitions the evidence can export, by name."""
        return {table.table.name: table for domain in self.domains for table in domain.tables}

    @cached_property
    def replays(self) -> Mapping[str, Replay]:
        """How tables are replayed, by the name of the table."""
        return {
            replay.table: replay for domain in self.domains for replay in domain.definitions.replays
        }

    @property
    def webhook_jobs(self) -> Sequence[Job]:
        """The jobs of this code location whose runs work on webhook deliveries."""
        return [
            job
            for domain in self.selected
            for job in domain.definitions.jobs
            if job.consumes_webhooks
        ]

    def clocks(self, settings: Settings) -> Mapping[str, Callable[[], datetime | None]]:
        """Return functions that ask outside systems for their time, by the names of the systems."""
        remote_clocks = {
            connection.shown_name: connection.remote_clock(settings)
            for connection in self.connections.values()
            if connection.remote_clock is not None
        }
        return {name: clock for name, clock in remote_clocks.items() if clock is not None}

    def probes(self, settings: Settings) -> list[Probe]:
        """Return the probes of all connections; this opens nothing."""
        own = (self.probe(name, settings) for name in self.connections)
        return [probe for probe in own if probe is not None]

    def probe(self, name: str, settings: Settings) -> Probe | None:
        """Return the probe of a connection, None if it has none of its own; this opens nothing."""
        connection = self.connections.get(name)
        if connection is None or connection.probe is None:
            return None
        probe = connection.probe

        def run() -> Answer:
            if reason := connection.unused(settings):
                return Answer(reason, is_applicable=False)
            environment = Environment(settings=settings, ignores_breaker=True)
            with connection.open(environment) as opened:
                return Answer(probe(opened, environment))

        return Probe(name, (name,), partial(connection.tried, settings), run)
