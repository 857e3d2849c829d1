"""The gate: work goes on while its dependencies are ready; their latest findings are kept.

The probes of database, disk, artifact store, clock and queue are here, too.
"""

import shutil
import socket
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from sqlalchemy import bindparam, delete, func, insert, select, update

from orchestration_project.engine.connections.artifacts import ArtifactStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import insert_absent
from orchestration_project.engine.warehouse.migrating import format_names
from orchestration_project.errors import ConfigurationError, OrchestrationError, TransientError
from orchestration_project.registry import Answer, Probe
from orchestration_project.services.gate.rules import (
    ANY_WORK,
    Finding,
    build_refusal,
    format_error,
    is_needed,
    is_reusable,
)
from orchestration_project.tables.operations_deployment import operations_readiness as readiness

if TYPE_CHECKING:  # a command verifies without Dagster
    import dagster as dg

    from orchestration_project.engine.http import HttpClient

FINDING_COLUMNS = [word for word in readiness.columns if word.name in Finding.__dataclass_fields__]


class Register:
    """The latest findings of this machine: another may have another disk, or no way to a source."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self._machine = socket.gethostname()

    def latest(self) -> Mapping[str, Finding]:
        """Return the latest findings, by dependency.

        Raises:
            OrchestrationError: The database cannot be used.
        """
        query = select(*FINDING_COLUMNS).where(readiness.c.machine == self._machine)
        with self._warehouse.reading() as connection:
            rows = connection.execute(query).mappings()
            return {row["dependency"]: Finding(**row) for row in rows}

    def keep(self, findings: Sequence[Finding], *, run_id: str) -> None:
        """Store the findings, in the place of those before.

        Raises:
            OrchestrationError: The database cannot be used.
        """
        rows = [
            {**asdict(finding), "machine": self._machine, "run_id": run_id} for finding in findings
        ]
        key = readiness.primary_key.columns
        conditions = [column == bindparam(f"of_{column.name}") for column in key]
        changed = update(readiness).where(*conditions)
        with self._warehouse.writing() as connection:
            insert_absent(connection, readiness, rows)
            connection.execute(
                changed,
                [{**row, **{f"of_{name.name}": row[name.name] for name in key}} for row in rows],
            )

    def keep_forced(self, dependencies: Collection[str], *, run_id: str, at: datetime) -> None:
        """Note that a run went on although these dependencies were not ready."""
        with self._warehouse.writing() as connection:
            connection.execute(
                update(readiness)
                .where(
                    readiness.c.machine == self._machine, readiness.c.dependency.in_(dependencies)
                )
                .values(forced_run_id=run_id, forced_at=at)
            )


def write_and_take_back(warehouse: Warehouse, now: datetime) -> None:
    """Write a row to the database and delete it, in one transaction.

    Raises:
        OrchestrationError: The database did not do it.
    """
    name = f"trial {uuid4().hex}"
    finding = Finding(name, "passed", "", "", "", 0.0, now, "")
    row = {**asdict(finding), "machine": socket.gethostname(), "run_id": ""}
    with warehouse.writing() as connection:
        connection.execute(insert(readiness), row)
        connection.execute(delete(readiness).where(readiness.c.dependency == name))


@dataclass(frozen=True)
class ProbeResult:
    """Finding about a dependency, with the error of one that is not ready."""

    finding: Finding
    error: OrchestrationError | None = None


def examine(probe: Probe, clock: Clock, config_hash: str) -> ProbeResult:
    """Look at a dependency now."""
    checked_at, started = clock.now(), time.monotonic()
    error = None
    try:
        answer = probe.run()
    except OrchestrationError as raised:
        error = raised
        outcome, got, remedy = "failed", format_error(raised), raised.remedy
    else:
        outcome = "passed" if answer.is_applicable else "not_applicable"
        got, remedy = answer.got, ""
    seconds = time.monotonic() - started
    return ProbeResult(
        Finding(
            probe.dependency, outcome, probe.tried(), got, remedy, seconds, checked_at, config_hash
        ),
        error,
    )


def examine_all(probes: Sequence[Probe], clock: Clock, config_hash: str) -> list[ProbeResult]:
    """Look at dependencies side by side: those that do not answer are waited for together."""
    with ThreadPoolExecutor(max(1, len(probes)), thread_name_prefix="probe") as pool:
        return list(pool.map(lambda probe: examine(probe, clock, config_hash), probes))


@dataclass(frozen=True)
class GatedRun:
    """The run that comes to the gate.

    Attributes:
        run_id: Dagster's id of it.
        is_forced: Whether its config says to go on in any case.
        is_queued: Whether it came from the queue.
        note_forced: Has the run itself carry of which dependencies it did not wait for.
    """

    run_id: str
    is_forced: bool
    is_queued: Callable[[], bool]
    note_forced: Callable[[Sequence[str]], None]


class Gate:
    """Lets work through while what it depends on is ready.

    Args:
        probes: How each dependency is looked at that several kinds of work share.
        probe_of: Returns the probe of a connection, by its name; None if it has none.
        register: Where findings are kept.
        clock: The real time, which processes compare.
        max_age: Older findings do not count: the dependency is looked at again.
        config_hash: Of the present settings; findings made under others do not count.
        run: Who comes.
    """

    def __init__(
        self,
        probes: Sequence[Probe],
        register: Register,
        *,
        clock: Clock,
        max_age: timedelta,
        config_hash: str,
        run: GatedRun,
        probe_of: Callable[[str], Probe | None] = lambda _: None,
    ) -> None:
        self.config_hash = config_hash
        self._probes = probes
        self._probe_of = probe_of
        self.register = register
        self._clock = clock
        self._max_age = max_age
        self._run = run

    def admit(self, work: str) -> None:
        """Make sure that what ``work`` (the name of a resource) depends on is ready.

        Findings that count are gone by. Where there is none, or the last one failed, just that
        dependency is looked at now, once.

        Raises:
            OrchestrationError: A dependency is not ready, or the database that keeps the findings
                cannot be used. It is of the kind of what went wrong.
        """
        needed = self._needed(work)
        try:
            examined = self._look_again(needed)
        except OrchestrationError as error:
            error.within(
                refused_by="the gate, before any data was requested",
                dependency="database",
                findings="neither looked up nor stored: they are kept in this database",
            )
            raise
        errors = {
            probe_result.finding.dependency: probe_result.error
            for probe_result in examined
            if probe_result.error
        }
        if not errors:
            return
        if not self._run.is_forced:
            raise build_refusal(errors, {probe.dependency: probe.tried() for probe in needed})
        self._run.note_forced(list(errors))
        self.register.keep_forced(errors, run_id=self._run.run_id, at=self._clock.now())

    def _needed(self, work: str) -> list[Probe]:
        is_queued, own = self._run.is_queued(), self._probe_of(work)
        return [
            probe
            for probe in (*self._probes, *([own] if own else []))
            if is_needed(probe.needed_by, work, is_queued=is_queued)
        ]

    def _look_again(self, needed: Sequence[Probe]) -> list[ProbeResult]:
        """Look at the dependencies whose findings do not count, and store what is found."""
        known_findings, now = self.register.latest(), self._clock.now()
        unsure = [
            probe
            for probe in needed
            if not is_reusable(
                known_findings.get(probe.dependency),
                now=now,
                max_age=self._max_age,
                config_hash=self.config_hash,
            )
        ]
        examined = examine_all(unsure, self._clock, self.config_hash)
        if examined:
            findings = [result.finding for result in examined]
            self.register.keep(findings, run_id=self._run.run_id)
        return examined


MIB = 1024 * 1024
TRIAL_BYTES = 1024

OpenWarehouse = Callable[[], AbstractContextManager[Warehouse]]


def build_database_probe(
    as_it_is: OpenWarehouse,
    open_warehouse: OpenWarehouse,
    clock: Clock,
    *,
    compares_tables: bool = False,
) -> Probe:
    """Return the probe of the database.

    Args:
        as_it_is: Opens it, whatever its tables.
        open_warehouse: Opens it with the tables of this version.
        clock: Clock of the row that is written.
        compares_tables: Whether all tables are compared with the declared ones, not their hash.
    """

    def run() -> Answer:
        with as_it_is() as warehouse:
            before = warehouse.version()
        with open_warehouse() as warehouse:
            write_and_take_back(warehouse, clock.now())
            additions = warehouse.compare_tables() if compares_tables else ()
            after = warehouse.version()
            was = "" if before else ", made now, as it was empty"
            other_text = f"; not of this project: {format_names(additions)}" if additions else ""
            return Answer(
                f"{warehouse.shown_url} takes writes; tables of version {after}{was}{other_text}"
            )

    compared = "tables, columns, types, keys and indexes" if compares_tables else "version"
    shown_text = f"connected, compared the {compared}, wrote a row and took it back"
    return Probe("database", (ANY_WORK,), lambda: shown_text, run)


def build_artifacts_probe(open_store: Callable[[], ArtifactStore]) -> Probe:
    """Return the probe of the artifact store."""

    def run() -> Answer:
        store, name = open_store(), f"trials/{uuid4().hex}"
        content = uuid4().bytes * (TRIAL_BYTES // 16)
        store.put(name, content)
        if store.found(name) is None or store.get(name) != content:
            raise ConfigurationError(
                "the artifact store returns other bytes than were written",
                expected=f"the same {len(content)} bytes at {store.url}",
                remedy="look for what changes or removes objects; set ARTIFACTS_URL to another",
            )
        store.delete(name)
        return Answer(f"{store.url} keeps what it is given")

    text = f"wrote {TRIAL_BYTES} bytes, read them back, deleted them"
    return Probe("artifacts", ("artifacts",), lambda: text, run)


def build_disk_probe(places: Callable[[], Sequence[Path]], headroom_mib: int) -> Probe:
    """Return the probe of the disks below ``places``, folders that may not be there yet."""

    def run() -> Answer:
        free = {str(path): _measure_free(path) for path in places()}
        full = {path: mib for path, mib in free.items() if mib < headroom_mib}
        if full:
            raise ConfigurationError(
                "a disk is nearly full",
                expected=f"at least {headroom_mib:,} MiB free (DISK_HEADROOM_MIB)",
                found=_format_free(full),
                remedy="free some space, move what lies there (STATE_DIR, DATABASE_URL, "
                "ARTIFACTS_URL), or lower DISK_HEADROOM_MIB",
            )
        return Answer(_format_free(free))

    return Probe(
        "disk",
        (ANY_WORK,),
        lambda: "measured the free space of the folders that loads write to",
        run,
    )


def _format_free(free: Mapping[str, int]) -> str:
    return ", ".join(f"{place}: {mib:,} MiB free" for place, mib in free.items())


def _measure_free(place: Path) -> int:
    there_is = next(parent for parent in (place, *place.parents) if parent.exists())
    return shutil.disk_usage(there_is).free // MIB


Time = datetime | None


Clocks = Callable[[], Mapping[str, Callable[[], Time]]]
"""Returns the clocks of other systems, by the name of the system."""


def build_clock_probe(others: Clocks, clock: Clock, *, most_seconds: float) -> Probe:
    """Return the probe of ``clock`` against those of ``others``."""

    def run() -> Answer:
        skews = {who: measure_skew(ask, clock) for who, ask in others().items()}
        known_counts = {who: skew for who, skew in skews.items() if skew is not None}
        differences = ", ".join(f"{skew:+.1f} s to {who}" for who, skew in known_counts.items())
        if any(abs(skew) > most_seconds for skew in known_counts.values()):
            raise ConfigurationError(
                "this machine's clock differs from others",
                expected=f"at most {most_seconds:g} s (CLOCK_SKEW_SECONDS)",
                found=differences,
                remedy="set the clock by NTP, here or there",
            )
        silent = ", ".join(who for who in skews if who not in known_counts)
        if not known_counts:
            return Answer(
                f"no time was compared: {silent or 'no remote clock is set'}", is_applicable=False
            )
        return Answer(differences + (f"; no time from {silent}" if silent else ""))

    return Probe(
        "clock", ("finra",), lambda: "compared this machine's time with that of others", run
    )


def measure_skew(ask: Callable[[], Time], clock: Clock) -> float | None:
    """Return how far ``clock`` is ahead, None without an answer: half of the way there and back."""
    requested_at = clock.now()
    time = ask()
    if time is None:
        return None
    return (requested_at + (clock.now() - requested_at) / 2 - time).total_seconds()


def read_database_time(open_it: OpenWarehouse) -> Time:
    """Return the time of the database's server, None of SQLite and where it does not answer."""
    try:
        with open_it() as warehouse, warehouse.reading() as connection:
            if connection.dialect.name != "postgresql":
                return None
            return connection.execute(select(func.current_timestamp())).scalar_one()
    except OrchestrationError:  # the probe of the database reports it
        return None


def fetch_server_time(open_http: "Callable[[], HttpClient]", url: str) -> Time:
    """Return the time that an HTTP server gives with its answer, None where it gives none.

    Nor does one of which a cache kept the answer: its Date is of the past.
    """
    try:
        with open_http() as http:
            headers = http.request("GET", url, headers={"Cache-Control": "no-cache"}).headers
            return None if "age" in headers else _read(headers.get("date", ""))
    except OrchestrationError:  # the probe of the source reports it
        return None


def _read(text: str) -> Time:
    try:
        time = parsedate_to_datetime(text)
        return time if time.tzinfo else time.replace(tzinfo=UTC)  # HTTP has no other zone
    except (ValueError, OverflowError):
        return None


QUEUE_STUCK_AFTER = timedelta(hours=1)
"""A queue out of which nothing came for so long is stuck; the control tower speaks up then, too."""

RUNS_PER_PAGE = 200
"""Queued runs that are read at once, those that wait longest first."""


def _iterate_waiting(
    instance: "dg.DagsterInstance", queued: "dg.RunsFilter", since: datetime
) -> "Iterator[list[dg.RunRecord]]":
    """Yield pages of the queued runs that were made until ``since``, the first ones first."""
    cursor: str | None = None
    while records := instance.get_run_records(
        queued, limit=RUNS_PER_PAGE, cursor=cursor, ascending=True
    ):
        waiting = [record for record in records if record.create_timestamp <= since]
        if waiting:
            yield waiting
        if len(waiting) < RUNS_PER_PAGE:
            return
        cursor = records[-1].dagster_run.run_id


def build_queue_probe(
    open_instance: "Callable[[], dg.DagsterInstance]",
    clock: Clock,
    select_unpaused: "Callable[[Iterable[dg.DagsterRun]], Sequence[dg.DagsterRun]]" = list,
) -> Probe:
    """Return the probe of the queue. A long queue is none that is stuck: it moves.

    Args:
        open_instance: Returns the instance whose queue it is.
        clock: The real time.
        select_unpaused: Returns those of queued runs that no pause holds.
    """

    def run() -> Answer:
        import dagster as dg

        from orchestration_project.engine.run_statuses import FINISHED_STATUSES, RUNNING_STATUSES

        instance, since = open_instance(), clock.now() - QUEUE_STUCK_AFTER
        queued = dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED])
        paused_count = 0
        for page in _iterate_waiting(instance, queued, since):
            waiting = {record.dagster_run.run_id: record for record in page}
            if unpaused := select_unpaused(record.dagster_run for record in page):
                first = waiting[unpaused[0].run_id].create_timestamp
                break
            paused_count += len(page)
        else:
            text = f"a pause holds {paused_count} runs that have waited for long"
            return Answer(text if paused_count else "no run has waited for long")
        runs_filter = dg.RunsFilter(
            statuses=[*RUNNING_STATUSES, *FINISHED_STATUSES], updated_after=since
        )
        if instance.get_run_records(runs_filter, limit=1):
            return Answer("runs wait, and others start or end")
        raise TransientError(
            "the queue of runs is stuck",
            expected=f"a run that starts or ends within {QUEUE_STUCK_AFTER}",
            found=f"{instance.get_runs_count(queued)} runs wait, the first since "
            f"{first:%Y-%m-%d %H:%M} UTC, and none started or ended",
            remedy="look at the runs in progress and at Deployment > Daemons and > Concurrency: "
            "end a run that hangs, free a pool's slots, or start the daemon again",
        )

    return Probe("queue", (), lambda: "read the queue from Dagster's storage", run)
