"""The private parts of Dagster 1.13 that runs, services, the API and commands use.

Modules named `dagster._*`, and `dagster_shared`, may change in any release of Dagster. They are
imported here, in `instance/` (what dagster.yaml names) and in `gateway/dagster_web/` (its web
server), and nowhere else. Storage is imported at its first use: a command that opens no instance
needs no Alembic. `tests/test_dagster_private.py` runs each of these behaviours, and fails
with what to check where an upgrade changes one.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import dagster as dg
from dagster import StepExecutionContext, serialize_value
from dagster._core.definitions.decorators.op_decorator import DecoratedOpFunction
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._core.event_api import EventLogCursor
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus, PartitionBackfill
from dagster._core.instance.utils import RUNLESS_RUN_ID
from dagster._core.launcher.base import WorkerStatus
from dagster._core.remote_origin import (
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorTick,
    ScheduleInstigatorData,
    SensorInstigatorData,
    TickStatus,
)
from dagster._core.utils import make_new_backfill_id
from dagster._utils.schedules import is_valid_cron_string, reverse_cron_string_iterator
from dagster_shared.error import SerializableErrorInfo
from dagster_shared.record import replace
from sqlalchemy import Connection, Table

if TYPE_CHECKING:
    from dagster._core.storage.event_log import SqlEventLogStorage, SqliteEventLogStorage

__all__ = [
    "DAEMON_MODULE",
    "FINISHED_TICKS",
    "RUNLESS_RUN_ID",
    "AnyAutomation",
    "BulkActionStatus",
    "EventLogFiles",
    "EventLogTable",
    "InstigatorTick",
    "PartitionBackfill",
    "RepositoryOrigin",
    "SerializableErrorInfo",
    "TickStatus",
    "UnenforcedCheckResult",
    "UnresolvedAssetJobDefinition",
    "add_asset_backfill",
    "compute_log_folder",
    "connect_to_runs",
    "connect_to_storage",
    "declare_model",
    "event_cursor",
    "event_log_store",
    "find_backfills",
    "find_ticks",
    "instigators_switched_on",
    "is_switched_on",
    "is_valid_cron_string",
    "is_worker_gone",
    "load_repository",
    "models_of",
    "ping_code_server",
    "previous_cron_time",
    "rename_instigators",
    "running_instigators",
    "runs_table",
    "serialize_event",
    "switch_automation",
    "target_partitions",
    "unmade_partitions",
]

# Types that annotate, and enumerations that are compared. Private because Dagster exports them
# nowhere, though methods of its public classes return them.
#   SerializableErrorInfo  how Dagster stores an exception: cls_name, message, cause, context
#   InstigatorTick         one evaluation of a sensor or schedule; TickStatus how it ended
#   PartitionBackfill      a backfill as stored; BulkActionStatus how far it is
#   UnresolvedAssetJobDefinition  what `dg.define_asset_job` returns
#   is_valid_cron_string   whether a schedule takes a text as cron expression
# At an upgrade: the tests of the functions below read their fields.

DAEMON_MODULE = "dagster._daemon"
"""Run with ``python -m``: the daemon.

No public way: the script `dagster-daemon` stands in a folder that PATH may lack, and may belong to
another interpreter. At an upgrade: ``python -m dagster._daemon run --help`` has ``-w``.
"""

FINISHED_TICKS = (TickStatus.SUCCESS, TickStatus.SKIPPED, TickStatus.FAILURE)
"""How a tick is over that was evaluated."""


# Time


def previous_cron_time(cron: str, timezone: str, now: datetime) -> datetime:
    """Return the latest time, ``now`` or before, at which a schedule is due.

    Dagster 1.13: `reverse_cron_string_iterator`. No public way: only ticks of schedules that are
    definitions follow a cron expression. At an upgrade: a local time that a change of the clock
    skips is due all the same.
    """
    until = now + timedelta(seconds=1)  # the end does not belong to what it yields
    times = reverse_cron_string_iterator(until.timestamp(), cron, timezone)
    return next(each for each in times if each <= now)


# Code and its processes


def load_repository(module: str, attribute: str, folder: Path) -> ReconstructableRepository:
    """Return the definitions of a module in a form whose jobs run in processes of their own.

    Dagster 1.13: `ReconstructableRepository`. No public way: `dg.reconstructable` needs a function
    for each job, and definitions name theirs only. At an upgrade: a job of it is executed.
    """
    return ReconstructableRepository.for_module(module, attribute, str(folder))


MODEL = "model"
"""Attribute of the function of an op that has a config schema in place of a model."""


def declare_model(op: dg.OpDefinition, model: type[dg.Config]) -> None:
    """Record the model of an op whose config schema Dagster cannot make of it.

    Dagster 1.13: `DecoratedOpFunction.decorated_fn`. No public way: an op has no attributes of its
    own. At an upgrade: `models_of` returns the model.
    """
    if isinstance(op.compute_fn, DecoratedOpFunction):
        setattr(op.compute_fn.decorated_fn, MODEL, model)


def models_of(jobs: Iterable[dg.JobDefinition]) -> Mapping[str, type[dg.Config]]:
    """Return the models of the config of the ops of jobs, by the op's name in a run config.

    Dagster 1.13: `DecoratedOpFunction.get_config_arg`. No public way: a definition has the schema
    that Dagster made of the model, without its ranges. At an upgrade: an op with a model is found.
    """
    models = {node.name: _model_of(node.definition) for job in jobs for node in job.nodes}
    return {name: model for name, model in models.items() if model is not None}


def _model_of(definition: Any) -> type[dg.Config] | None:
    if not isinstance(definition, dg.OpDefinition):
        return None
    function = definition.compute_fn
    if not isinstance(function, DecoratedOpFunction):
        return None
    if function.has_config_arg():
        return function.get_config_arg().annotation
    return getattr(function.decorated_fn, MODEL, None)


class JobParts(NamedTuple):
    """Tags of a job, assets that it makes or checks, and resources that its steps require."""

    tags: Mapping[str, str]
    assets: frozenset[str]
    resources: frozenset[str]


def parts_of_job(job: dg.JobDefinition) -> JobParts:
    """Return the parts of a job of which nothing is selected.

    Dagster 1.13: `JobDefinition.asset_layer`, `all_node_defs`. No public way: a definition lists
    its assets for its repository only. At an upgrade: the job of a source names its resource.
    """
    layer = job.asset_layer
    checked = {spec.asset_key for part in layer.data for spec in part.assets_def.check_specs}
    ops = [node for node in job.all_node_defs if isinstance(node, dg.OpDefinition)]
    return JobParts(
        job.tags,
        frozenset(key.to_user_string() for key in {*layer.executable_asset_keys, *checked}),
        frozenset(name for op in ops for name in op.required_resource_keys),
    )


def parts_of_run(instance: dg.DagsterInstance, run: dg.DagsterRun) -> JobParts:
    """Return the parts of a run: by its stored job and plan, else by its tags and selection.

    Dagster 1.13: snapshots of job and plan. No public way: a run names its selection only. At an
    upgrade: a run of one asset of a job has its assets and resources alone.
    """
    selected = frozenset(key.to_user_string() for key in run.asset_selection or ())
    if run.job_snapshot_id is None or run.execution_plan_snapshot_id is None:
        return JobParts(run.tags, selected, frozenset())
    job = instance.get_job_snapshot(run.job_snapshot_id)
    plan = instance.get_execution_plan_snapshot(run.execution_plan_snapshot_id)
    steps = [step for step in plan.steps if step.key in plan.step_keys_to_execute]
    ops = {step.node_handle_id.rpartition(".")[2] for step in steps}
    required = {op.name: op.required_resource_keys for op in job.node_defs_snapshot.op_def_snaps}
    is_unresolved = not ops <= required.keys()  # an op under another name
    return JobParts(
        {**({"domain": run.tags["domain"]} if "domain" in run.tags else {}), **job.tags},
        selected | {_asset_of(key) for step in steps for key in step.entity_keys},
        frozenset(name for op in (required if is_unresolved else ops) for name in required[op]),
    )


def _asset_of(key: dg.AssetKey | dg.AssetCheckKey) -> str:
    asset = key.asset_key if isinstance(key, dg.AssetCheckKey) else key
    return asset.to_user_string()


def is_worker_gone(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Return whether the process of an unfinished run has ended; False if unknown.

    Dagster 1.13: `WorkerStatus`. No public way: the run's status follows only when the daemon has
    looked. At an upgrade: a launcher that answers FAILED is understood.
    """
    launcher = instance.run_launcher
    if not launcher.supports_check_run_worker_health:
        return False
    return launcher.check_run_worker_health(run).status == WorkerStatus.FAILED


def ping_code_server(host: str, port: int) -> None:
    """Ask a code server for an answer.

    Dagster 1.13: `DagsterGrpcClient`, imported here as it takes long. No public way: Dagster has
    no command for it. At an upgrade: a port that nobody listens on is told of.

    Raises:
        ConnectionError: None came; with the reason in a line.
    """
    _ask_code_server(host, port, lambda client: client.ping(""))


def _ask_code_server(host: str, port: int, ask: Callable[[Any], object]) -> None:
    from dagster._core.errors import DagsterUserCodeUnreachableError
    from dagster._grpc.client import DagsterGrpcClient

    try:
        ask(DagsterGrpcClient(host=host, port=port))
    except DagsterUserCodeUnreachableError as error:
        raise ConnectionError(str(error.__cause__ or error).partition("\n")[0]) from error


RELOAD_SECONDS = 300
"""Longest wait for a code server that imports its definitions again."""


def reload_code_server(host: str, port: int) -> None:
    """Have a code server import its definitions again; runs in progress go on.

    Dagster 1.13: `DagsterGrpcClient`, as above. No public way: only the web server's page has a
    button. At an upgrade: the names of the jobs are those of the new definitions.

    Raises:
        ConnectionError: It does not answer; with the reason in a line.
    """
    _ask_code_server(host, port, lambda client: client.reload_code(RELOAD_SECONDS))


SECONDS_BETWEEN_WATCHES = 20.0
"""How often gateway and daemon ask a code server whether it is another one.

Each question is a connection of its own to the server and to its child: asked every second by two
programs, they were a third of what an idle installation costs.
"""


def watch_code_servers_seldom() -> None:
    """Have this process ask its code servers less often than each second.

    Dagster 1.13: `server_watcher.WATCH_INTERVAL`, read when a workspace is loaded. No public way:
    neither workspace.yaml nor a command has it. At an upgrade: `make bench ARGS="--only idle"`.
    """
    from dagster._grpc import server_watcher

    server_watcher.WATCH_INTERVAL = SECONDS_BETWEEN_WATCHES


# Asset checks


class UnenforcedCheckResult(dg.AssetCheckResult):
    """Result of a check that is shown as blocking, and whose failure does not fail its step.

    It judges all partitions: one that was quarantined earlier must not fail the load of others. A
    step that quarantines a partition fails by itself.

    Dagster 1.13: `AssetCheckResult.to_asset_check_evaluation`, called for each result of a step. No
    public way: every failed result of a blocking check fails the step. At an upgrade: a step with a
    failed one succeeds.
    """

    def to_asset_check_evaluation(
        self, step_context: StepExecutionContext
    ) -> dg.AssetCheckEvaluation:
        """Return the event, without the mark that fails the step."""
        return replace(super().to_asset_check_evaluation(step_context), blocking=False)


# Sensors and schedules


def running_instigators(instance: dg.DagsterInstance) -> Iterator[InstigatorState]:
    """Yield the state of each running sensor and schedule, started manually or by default.

    Dagster 1.13: `all_instigator_state`. No public way: the code alone knows what is on from the
    start, the storage what was switched. At an upgrade: both are among it.
    """
    return (state for state in instance.all_instigator_state() if state.is_running)


def instigators_switched_on(instance: dg.DagsterInstance) -> list[str]:
    """Return the names of sensors and schedules that somebody switched on.

    Dagster 1.13: `InstigatorStatus`, whose RUNNING leaves out what is on from the start. No public
    way, as above. At an upgrade: what is on from the start is still left out.
    """
    return [
        state.name
        for state in instance.all_instigator_state()
        if state.status == InstigatorStatus.RUNNING
    ]


AnyAutomation = dg.ScheduleDefinition | dg.SensorDefinition

RepositoryOrigin = RemoteRepositoryOrigin
"""Origin of a code location's definitions."""


def is_switched_on(
    instance: dg.DagsterInstance,
    definition: AnyAutomation,
    origin: RepositoryOrigin | None = None,
) -> bool:
    """Return whether a schedule or sensor is on: as it was switched, or else as declared.

    With ``origin``, as it was switched in that code location.

    Dagster 1.13: `InstigatorState`. No public way: none to read the state without a code server.
    At an upgrade: what is declared on, and switched off, is off.
    """
    state = _state_of(instance, definition, origin)
    if state is None or state.status == InstigatorStatus.DECLARED_IN_CODE:
        return definition.default_status.value == "RUNNING"
    return state.status == InstigatorStatus.RUNNING


def switch_automation(
    instance: dg.DagsterInstance,
    definition: AnyAutomation,
    origin: RemoteRepositoryOrigin,
    *,
    on: bool,
) -> None:
    """Switch a schedule or sensor on or off; the daemon follows at its next round.

    Dagster 1.13: `InstigatorState`. No public way: `start_schedule` and `start_sensor` take what
    only a code server gives. At an upgrade: one that is switched here is found so by the UI.
    """
    status = InstigatorStatus.RUNNING if on else InstigatorStatus.STOPPED
    known, now = _state_of(instance, definition, origin), time.time()
    if isinstance(definition, dg.ScheduleDefinition):
        kind = InstigatorType.SCHEDULE
        data: Any = ScheduleInstigatorData(definition.cron_schedule, now if on else None)
    else:
        kind = InstigatorType.SENSOR
        before = known.instigator_data if known is not None else None
        if isinstance(before, SensorInstigatorData):
            data = before.with_sensor_start_timestamp(now)
        else:
            data = SensorInstigatorData(
                min_interval=definition.minimum_interval_seconds,
                last_sensor_start_timestamp=now,
                sensor_type=definition.sensor_type,
            )
    if known is None:
        at = RemoteInstigatorOrigin(repository_origin=origin, instigator_name=definition.name)
        instance.add_instigator_state(InstigatorState(at, kind, status, data))
    else:
        instance.update_instigator_state(known.with_status(status).with_data(data))


def rename_instigators(instance: dg.DagsterInstance, names: Mapping[str, str]) -> list[str]:
    """Give the states of sensors and schedules the present names; return the names that are on.

    One name of several former ones is on if one was on, and off if all were switched off.

    Dagster 1.13: `InstigatorState`. No public way: a state has the name in its origin. At an
    upgrade: one that is renamed here is found by its new name, on or off as before.

    Args:
        instance: Dagster's instance.
        names: Present names by former ones.
    """
    states = instance.all_instigator_state()
    known = {(state.instigator_type, state.name) for state in states}
    former: dict[tuple[InstigatorType, str], list[InstigatorState]] = {}
    for state in states:
        if state.name in names:
            former.setdefault((state.instigator_type, names[state.name]), []).append(state)
    renamed: list[str] = []
    for (kind, name), given in former.items():
        running = [state for state in given if state.status == InstigatorStatus.RUNNING]
        is_off = len(given) == list(names.values()).count(name) and not running
        if (kind, name) not in known and (running or is_off):
            state = (running or given)[0]
            origin = RemoteInstigatorOrigin(state.origin.repository_origin, name)
            data = state.instigator_data
            instance.add_instigator_state(InstigatorState(origin, kind, state.status, data))
            renamed += [name] * bool(running)
        for state in given:
            instance.delete_instigator_state(state.instigator_origin_id, state.selector_id)
    return renamed


def _state_of(
    instance: dg.DagsterInstance,
    definition: AnyAutomation,
    origin: RepositoryOrigin | None = None,
) -> InstigatorState | None:
    is_schedule = isinstance(definition, dg.ScheduleDefinition)
    kind = InstigatorType.SCHEDULE if is_schedule else InstigatorType.SENSOR
    found = instance.all_instigator_state(instigator_type=kind)
    location = origin and origin.code_location_origin.location_name
    named = (each for each in found if each.instigator_name == definition.name)
    return next((each for each in named if location in (None, each.origin.location_name)), None)


def find_ticks(
    instance: dg.DagsterInstance,
    state: InstigatorState,
    *,
    limit: int,
    after: float | None = None,
    statuses: Sequence[TickStatus] | None = None,
) -> Sequence[InstigatorTick]:
    """Return the latest ticks of a sensor or schedule, the newest first.

    Dagster 1.13: `DagsterInstance.get_ticks`, which takes two ids of an `InstigatorState`. No
    public way: none to read ticks. At an upgrade: order, time and statuses select as they did.
    """
    ids = (state.instigator_origin_id, state.selector_id)
    wanted = list(statuses) if statuses else None  # it takes no tuple
    return instance.get_ticks(*ids, limit=limit, after=after, statuses=wanted)


# Backfills


def find_backfills(
    instance: dg.DagsterInstance,
    *,
    statuses: Sequence[BulkActionStatus] | None = None,
    tags: Mapping[str, str] | None = None,
    limit: int | None = None,
) -> Sequence[PartitionBackfill]:
    """Return the backfills that have these statuses and tags, the newest first.

    Dagster 1.13: `BulkActionsFilter`. No public way: none to read backfills. At an upgrade: status
    and tags select, and the newest stands first.
    """
    filters = BulkActionsFilter(statuses=statuses, tags=tags and dict(tags))
    return instance.get_backfills(filters=filters, limit=limit)


def add_asset_backfill(
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    assets: Sequence[dg.AssetKey],
    partition_keys: Sequence[str],
    *,
    timestamp: float,
    tags: Mapping[str, str],
    title: str,
    run_config: Mapping[str, Any] | None = None,
) -> str:
    """Ask the daemon for a backfill of assets and return its id.

    Dagster 1.13: `PartitionBackfill`, `make_new_backfill_id`. No public way: schedules and jobs
    launch runs only, the UI alone launches backfills. At an upgrade: the daemon's iteration takes
    the backfill, and gives its runs the tags and the run config.
    """
    backfill_id = make_new_backfill_id()
    instance.add_backfill(
        PartitionBackfill.from_asset_partitions(
            backfill_id=backfill_id,
            asset_graph=repository.asset_graph,
            partition_names=list(partition_keys),
            asset_selection=list(assets),
            backfill_timestamp=timestamp,
            tags=tags,
            dynamic_partitions_store=instance,
            all_partitions=False,
            title=title,
            description=None,
            run_config=run_config,
        )
    )
    return backfill_id


def _is_readable(backfill: PartitionBackfill, repository: dg.RepositoryDefinition) -> bool:
    """Return whether the partitions of a backfill of assets can be read.

    Those that Dagster stored before 1.6 need the assets and partitions of their time.

    Dagster 1.13: `PartitionBackfill.is_valid_serialization`. No public way: none to read backfills.
    At an upgrade: a backfill in the old form is refused where its asset is gone.
    """
    graph_only: Any = repository  # Dagster passes a workspace, and reads its graph alone
    return backfill.is_valid_serialization(graph_only)


def unmade_partitions(
    backfill: PartitionBackfill, repository: dg.RepositoryDefinition
) -> Iterator[tuple[dg.AssetKey, str]]:
    """Yield what a backfill of assets was to make and did not; "" for an asset of one piece.

    Of a backfill that can no longer be read, each asset is yielded with "".

    Dagster 1.13: `AssetBackfillData`. No public way: none to read backfills. At an upgrade: it has
    target_subset and materialized_subset.
    """
    if not _is_readable(backfill, repository):
        yield from ((asset, "") for asset in backfill.asset_selection or ())
        return
    data = backfill.get_asset_backfill_data(repository.asset_graph)
    made = set(data.materialized_subset.iterate_asset_partitions())
    for each in data.target_subset.iterate_asset_partitions():
        if each not in made:
            yield each.asset_key, each.partition_key or ""


def target_partitions(
    backfill: PartitionBackfill, repository: dg.RepositoryDefinition
) -> Iterator[tuple[dg.AssetKey, str, bool]]:
    """Yield the partitions of a backfill, and whether Dagster left each out for a failure.

    Of a backfill that can no longer be read, nothing is yielded.

    Dagster 1.13: `AssetBackfillData`. No public way: none to read backfills. At an upgrade: it has
    target_subset and failed_and_downstream_subset.
    """
    if not _is_readable(backfill, repository):
        return
    data = backfill.get_asset_backfill_data(repository.asset_graph)
    failed = set(data.failed_and_downstream_subset.iterate_asset_partitions())
    for each in data.target_subset.iterate_asset_partitions():
        yield each.asset_key, each.partition_key or "", each in failed


# Storage of runs, events and logs


def runs_table() -> Table:
    """Return the table of runs in Dagster's SQL storage."""
    from dagster._core.storage.runs.schema import RunsTable

    return RunsTable


def connect_to_runs(instance: dg.DagsterInstance) -> AbstractContextManager[Connection] | None:
    """Connect to the database that has `runs_table`; None where runs are stored otherwise.

    Dagster 1.13: `SqlRunStorage.connect`. No public way: `get_run_records` reads the body of each
    run, which takes minutes where this takes a second. At an upgrade: `RunsTable` has run_id,
    status, create_timestamp and update_timestamp, in UTC without a zone.
    """
    from dagster._core.storage.runs import SqlRunStorage

    storage = instance.run_storage
    return storage.connect() if isinstance(storage, SqlRunStorage) else None


def connect_to_storage(instance: dg.DagsterInstance) -> AbstractContextManager[Connection] | None:
    """Connect to the database of Dagster's storage in PostgreSQL; None for another storage.

    Dagster 1.13: `SqlEventLogStorage.index_connection`, which commits each statement. No public
    way: Dagster changes no stored text. At an upgrade: runs, event_logs and job_ticks are in one
    schema, and VACUUM can be executed.
    """
    store = event_log_store(instance)
    return store.connect() if isinstance(store, EventLogTable) else None


def _events_table() -> Table:
    from dagster._core.storage.event_log.schema import SqlEventLogStorageTable

    return SqlEventLogStorageTable


class EventLogFiles:
    """Event log in SQLite: a file for each run, and one for the events of assets and runs.

    Dagster 1.13: `SqliteEventLogStorage.path_for_shard`. No public way: Dagster deletes a run's
    events only with the run. At an upgrade: the file goes, and materializations are still found;
    events without a run are in the file of the empty id and in the common one.
    """

    def __init__(self, storage: "SqliteEventLogStorage") -> None:
        self._storage = storage

    @property
    def table(self) -> Table:
        """The table of events."""
        return _events_table()

    def files(self, run_id: str) -> list[Path]:
        """Return the files of a run; the log proper last, as it says that there are any."""
        path = self._storage.path_for_shard(run_id)
        files = [Path(f"{path}{suffix}") for suffix in ("-shm", "-wal", "")]
        return [file for file in files if file.exists()]

    def without_run(self) -> Sequence[AbstractContextManager[Connection]]:
        """Connect to each database that has events without a run."""
        return [self._storage.run_connection(RUNLESS_RUN_ID), self._storage.index_connection()]


class EventLogTable:
    """An event log in PostgreSQL: one table for all runs.

    Dagster 1.13: `SqlEventLogStorageTable`, `index_connection`, which commits each statement. No
    public way, as above. At an upgrade: the table is named event_logs and has run_id, event and
    dagster_event_type, and connections still commit each statement.
    """

    def __init__(self, storage: "SqlEventLogStorage") -> None:
        self._storage = storage

    @property
    def table(self) -> Table:
        """The table of events."""
        return _events_table()

    def connect(self) -> AbstractContextManager[Connection]:
        """Connect to the database."""
        return self._storage.index_connection()

    def without_run(self) -> Sequence[AbstractContextManager[Connection]]:
        """Connect to each database that has events without a run."""
        return [self.connect()]


def event_log_store(instance: dg.DagsterInstance) -> EventLogFiles | EventLogTable | None:
    """Return where the events of runs are stored, None where that is neither of the two."""
    from dagster._core.storage.event_log import SqlEventLogStorage, SqliteEventLogStorage

    storage = instance.event_log_storage
    if isinstance(storage, SqliteEventLogStorage):
        return EventLogFiles(storage)
    if not isinstance(storage, SqlEventLogStorage):
        return None
    with storage.index_connection() as connection:
        return EventLogTable(storage) if connection.dialect.name == "postgresql" else None


def compute_log_folder(instance: dg.DagsterInstance, run_id: str) -> Path | None:
    """Return the folder of what a run's steps wrote; None where that is not kept in files.

    Dagster 1.13: `LocalComputeLogManager`. No public way: Dagster deletes no logs of steps. At an
    upgrade: the folder has the run's files and no other's.
    """
    from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager

    manager = instance.compute_log_manager
    if not isinstance(manager, LocalComputeLogManager):
        return None
    return Path(manager.get_captured_local_path([run_id, "any"], "out")).parent


def event_cursor(storage_id: int) -> str:
    """Return a cursor of `get_records_for_run` that goes on after the event with this id.

    Dagster 1.13: `EventLogCursor`. No public way: one has a cursor only of a page that was read.
    At an upgrade: the next page begins with the next event.
    """
    return EventLogCursor.from_storage_id(storage_id).to_string()


def serialize_event(entry: dg.EventLogEntry) -> str:
    """Return an event as the JSON that Dagster stores.

    Dagster 1.13: `serialize_value`. No public way: records have no form of their own to write. At
    an upgrade: the text is JSON, with all that the event tells.
    """
    return serialize_value(entry)
