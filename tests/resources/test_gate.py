"""The gate, over dependencies that fail and mend as a test says, on both databases."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Barrier

import pytest
from sqlalchemy import select

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError, OrchestrationError, TransientError
from orchestration_project.registry import Answer, Probe
from orchestration_project.services.gate import Gate, GatedRun, Register, examine_all
from orchestration_project.services.gate.rules import ANY_WORK, QUEUED_RUNS
from orchestration_project.tables.operations_deployment import operations_readiness as readiness
from tests.programs import free_port
from tests.resources.weeks import StoppedClock


@dataclass
class Thing:
    """A dependency that is ready, or fails with an error; it counts how often it is looked at."""

    name: str
    needed_by: tuple[str, ...]
    error: OrchestrationError | None = None
    waits: Callable[[], object] = lambda: None
    looks: int = 0

    def probe(self) -> Probe:
        return Probe(self.name, self.needed_by, lambda: f"looked at {self.name}", self.look)

    def look(self) -> Answer:
        self.looks += 1
        self.waits()
        if self.error:
            raise self.error
        return Answer("it is there")


@dataclass
class GateRuns:
    """Three dependencies, and a gate for each run that comes."""

    warehouse: Warehouse
    clock: StoppedClock
    source: Thing = field(default_factory=lambda: Thing("source", ("source",)))
    disk: Thing = field(default_factory=lambda: Thing("disk", (ANY_WORK,)))
    daemon: Thing = field(default_factory=lambda: Thing("daemon", (QUEUED_RUNS,)))
    noted: list[str] = field(default_factory=list)

    def gate(
        self, *, forced: bool = False, queued: bool = False, config: str = "abc", run: str = "r1"
    ) -> Gate:
        def note(names: Sequence[str]) -> None:
            self.noted.extend(names)

        return Gate(
            [part.probe() for part in (self.source, self.disk, self.daemon)],
            Register(self.warehouse),
            clock=self.clock,
            max_age=timedelta(minutes=15),
            config_hash=config,
            run=GatedRun(run, forced, lambda: queued, note),
        )

    @property
    def looks(self) -> tuple[int, int, int]:
        return self.source.looks, self.disk.looks, self.daemon.looks

    def stored(self, *names: str) -> list[tuple[object, ...]]:
        wanted = select(*(readiness.c[name] for name in names)).order_by(readiness.c.dependency)
        with self.warehouse.reading() as connection:
            return [tuple(row) for row in connection.execute(wanted)]


@pytest.fixture
def gate_runs(warehouse: Warehouse, clock: StoppedClock) -> GateRuns:
    return GateRuns(warehouse, clock)


def test_what_work_depends_on_is_looked_at_once_until_it_is_too_old(gate_runs: GateRuns):
    gate_runs.gate().admit("source")
    assert gate_runs.looks == (1, 1, 0)
    gate_runs.clock.at += timedelta(minutes=15)
    for _ in range(3):
        gate_runs.gate(run="r2").admit("source")
    assert gate_runs.looks == (1, 1, 0)
    gate_runs.gate().admit("another work")  # needs the disk alone, of which it is known
    assert gate_runs.looks == (1, 1, 0)
    gate_runs.clock.at += timedelta(seconds=1)
    gate_runs.gate(run="r3").admit("another work")
    assert gate_runs.looks == (1, 2, 0)
    assert gate_runs.stored("dependency", "outcome", "got", "run_id", "checked_at") == [
        ("disk", "passed", "it is there", "r3", gate_runs.clock.at),
        ("source", "passed", "it is there", "r1", gate_runs.clock.at - timedelta(seconds=901)),
    ]


def test_under_other_settings_everything_is_looked_at_again(gate_runs: GateRuns):
    gate_runs.gate().admit("source")
    gate_runs.gate(config="another").admit("source")
    assert gate_runs.looks == (2, 2, 0)


def test_what_fails_refuses_until_it_is_mended_however_young_the_finding_is(gate_runs: GateRuns):
    gate_runs.source.error = ConfigurationError("not let in", remedy="correct the secret")
    for run in ("r1", "r2"):
        with pytest.raises(ConfigurationError, match="not let in") as refused:
            gate_runs.gate(run=run).admit("source")
        assert refused.value.context["dependency"] == "source"
        assert refused.value.context["tried"] == "looked at source"
    assert gate_runs.looks == (2, 1, 0)
    assert gate_runs.stored("dependency", "outcome", "got", "remedy") == [
        ("disk", "passed", "it is there", ""),
        ("source", "failed", "not let in", "correct the secret"),
    ]
    gate_runs.gate().admit("another work")  # which does not depend on it
    gate_runs.source.error = None
    gate_runs.gate().admit("source")
    assert gate_runs.looks == (3, 1, 0)


def test_what_may_pass_stays_an_error_that_is_tried_again(gate_runs: GateRuns):
    gate_runs.source.error = TransientError("no answer", retry_in_seconds=7)
    with pytest.raises(TransientError) as refused:
        gate_runs.gate().admit("source")
    assert refused.value.is_retryable
    assert refused.value.retry_in_seconds == 7


def test_the_queue_counts_for_queued_runs_alone(gate_runs: GateRuns):
    gate_runs.daemon.error = TransientError("the daemon is gone")
    gate_runs.gate(queued=False).admit("source")
    with pytest.raises(TransientError, match="the daemon is gone"):
        gate_runs.gate(queued=True).admit("source")


def test_a_forced_run_goes_on_and_both_it_and_the_finding_say_so(gate_runs: GateRuns):
    gate_runs.disk.error = ConfigurationError("nearly full")
    gate_runs.gate(forced=True, run="r9").admit("source")
    assert gate_runs.noted == ["disk"]
    assert gate_runs.stored("dependency", "outcome", "forced_run_id", "forced_at") == [
        ("disk", "failed", "r9", gate_runs.clock.at),
        ("source", "passed", None, None),
    ]
    gate_runs.disk.error = None
    gate_runs.gate(forced=True).admit("source")
    assert gate_runs.noted == ["disk"]


def test_another_machine_looks_for_itself(gate_runs: GateRuns):
    gate_runs.gate().admit("source")
    with gate_runs.warehouse.writing() as connection:
        connection.execute(readiness.update().values(machine="elsewhere"))
    gate_runs.gate().admit("source")
    assert gate_runs.looks == (2, 2, 0)
    assert len(gate_runs.stored("machine")) == 4


def test_a_verification_looks_at_all_of_it_and_stores_nothing_by_itself(gate_runs: GateRuns):
    gate_runs.source.error = ConfigurationError("not let in")
    harder = Probe("disk", (), lambda: "looked harder", lambda: Answer("nothing to see", False))
    probes = [gate_runs.source.probe(), harder, gate_runs.daemon.probe()]
    found = [result.finding for result in examine_all(probes, gate_runs.clock, "abc")]
    assert [
        (finding.dependency, finding.outcome, finding.tried, finding.got) for finding in found
    ] == [
        ("source", "failed", "looked at source", "not let in"),
        ("disk", "not_applicable", "looked harder", "nothing to see"),
        ("daemon", "passed", "looked at daemon", "it is there"),
    ]
    assert gate_runs.stored("dependency") == []
    Register(gate_runs.warehouse).keep(found, run_id="r1")
    assert gate_runs.stored("dependency") == [("daemon",), ("disk",), ("source",)]


def test_without_the_database_nothing_is_looked_at_and_the_refusal_says_that():
    thing = Thing("source", ("source",))
    url = f"postgresql://me:hunter2@127.0.0.1:{free_port()}/none"
    with Warehouse(url, clock=Clock()) as nowhere:
        gate = GateRuns(nowhere, StoppedClock(), source=thing).gate()
        with pytest.raises(TransientError) as refused:
            gate.admit("source")
    assert thing.looks == 0
    said = str(refused.value)
    assert "findings=neither looked up nor stored: they are kept in this database" in said
    assert "hunter2" not in said


def test_dependencies_are_looked_at_side_by_side(gate_runs: GateRuns):
    both = Barrier(2, timeout=60)
    gate_runs.source.waits = gate_runs.disk.waits = both.wait
    gate_runs.gate().admit("source")
    assert gate_runs.stored("dependency", "outcome") == [("disk", "passed"), ("source", "passed")]
