"""The gate: work goes on while its dependencies are ready; their latest findings are kept."""

import socket
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from uuid import uuid4

from sqlalchemy import bindparam, delete, insert, select, update

from orchestration_project.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import insert_absent
from orchestration_project.errors import OrchestrationError
from orchestration_project.registry import Probe
from orchestration_project.services.gate.rules import (
    Finding,
    counts,
    error_line,
    is_needed,
    refusal,
)
from orchestration_project.tables.operations import operations_readiness as readiness

FINDING_COLUMNS = [each for each in readiness.columns if each.name in Finding.__dataclass_fields__]


class Register:
    """The latest findings of this machine: another may have another disk, or no way to a source."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self._machine = socket.gethostname()

    def latest(self) -> Mapping[str, Finding]:
        """Return what was last found, by dependency.

        Raises:
            OrchestrationError: The database cannot be used.
        """
        wanted = select(*FINDING_COLUMNS).where(readiness.c.machine == self._machine)
        with self._warehouse.reading() as connection:
            rows = connection.execute(wanted).mappings()
            return {row["dependency"]: Finding(**row) for row in rows}

    def keep(self, findings: Sequence[Finding], *, run_id: str) -> None:
        """Store what was found, in the place of what was found before.

        Raises:
            OrchestrationError: The database cannot be used.
        """
        rows = [{**asdict(each), "machine": self._machine, "run_id": run_id} for each in findings]
        key = readiness.primary_key.columns
        own = [column == bindparam(f"of_{column.name}") for column in key]
        changed = update(readiness).where(*own)
        with self._warehouse.writing() as connection:
            insert_absent(connection, readiness, rows)
            connection.execute(
                changed,
                [{**row, **{f"of_{each.name}": row[each.name] for each in key}} for row in rows],
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
        outcome, got, remedy = "failed", error_line(raised), raised.remedy
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
                refused_by="the gate, before any data was asked for",
                dependency="database",
                findings="neither looked up nor stored: they are kept in this database",
            )
            raise
        errors = {each.finding.dependency: each.error for each in examined if each.error}
        if not errors:
            return
        if not self._run.is_forced:
            raise refusal(errors, {each.dependency: each.tried() for each in needed})
        self._run.note_forced(list(errors))
        self.register.keep_forced(errors, run_id=self._run.run_id, at=self._clock.now())

    def verify(self, *, instead: Sequence[Probe] = ()) -> list[Finding]:
        """Look at every dependency now, or by what is given ``instead``.

        Nothing is stored.
        """
        probes = {each.dependency: each for each in (*self._probes, *instead)}.values()
        return [each.finding for each in self._examined(list(probes))]

    def _needed(self, work: str) -> list[Probe]:
        is_queued, own = self._run.is_queued(), self._probe_of(work)
        return [
            probe
            for probe in (*self._probes, *([own] if own else []))
            if is_needed(probe.needed_by, work, is_queued=is_queued)
        ]

    def _look_again(self, needed: Sequence[Probe]) -> list[ProbeResult]:
        """Look at the dependencies whose findings do not count, and store what is found."""
        known, now = self.register.latest(), self._clock.now()
        unsure = [
            probe
            for probe in needed
            if not counts(
                known.get(probe.dependency),
                now=now,
                max_age=self._max_age,
                config_hash=self.config_hash,
            )
        ]
        examined = self._examined(unsure)
        if examined:
            findings = [result.finding for result in examined]
            self.register.keep(findings, run_id=self._run.run_id)
        return examined

    def _examined(self, probes: Sequence[Probe]) -> list[ProbeResult]:
        """Look at dependencies side by side: those that do not answer are waited for together."""
        with ThreadPoolExecutor(max(1, len(probes)), thread_name_prefix="probe") as pool:
            return list(
                pool.map(lambda probe: examine(probe, self._clock, self.config_hash), probes)
            )
