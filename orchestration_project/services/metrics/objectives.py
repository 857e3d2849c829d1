"""Metrics of objectives, domains, hosts and loads, from our own database."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from prometheus_client.core import Exemplar, HistogramMetricFamily, Metric
from sqlalchemy import Row, select

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.services.host_samples import read_latest_samples
from orchestration_project.services.ledger.rules.standings import DAY, STATES
from orchestration_project.services.metrics.families import MAX_LABEL_VALUES, Values, gauge
from orchestration_project.services.objectives.evaluating import read_slo
from orchestration_project.services.objectives.rules.objectives import BURN_ALERTS, WINDOWS
from orchestration_project.services.pauses import Pauses, pause_of_domain
from orchestration_project.tables.operations_runs import operations_control_tower, operations_runs

OBJECTIVE_STATES = ("met", "burning", "exhausted", "no_data")


def measure_objectives(warehouse: Warehouse, now: datetime) -> list[Metric]:
    """Return the budgets of the latest evaluation.

    An objective without data has no burn rate, nor one of a paused domain.

    Raises:
        OrchestrationError: The database cannot be read.
    """
    rows = {(row.name, row.domain): row for row in read_slo(warehouse)}
    pauses = Pauses(warehouse, Clock(now)).list_in_effect()
    pair = ("objective", "domain")
    return [
        gauge(
            "objective_target",
            "Share of good events that is promised, 0-1.",
            pair,
            {key: row.target for key, row in rows.items()},
        ),
        gauge(
            "objective_state",
            "State of an objective: 1 for the present one, 0 for the others.",
            (*pair, "state"),
            {
                (*key, state): float(row.state == state)
                for key, row in rows.items()
                for state in OBJECTIVE_STATES
            },
        ),
        gauge(
            "objective_events",
            "Good and bad events of the window of the budget.",
            (*pair, "outcome"),
            {
                (*key, outcome): count
                for key, row in rows.items()
                for outcome, count in (("good", row.good), ("bad", row.total - row.good))
            },
        ),
        gauge(
            "objective_budget_left",
            "Share of the error budget that is left; negative: overspent.",
            pair,
            _select_known({key: row.budget_left for key, row in rows.items()}),
            together=min,
        ),
        gauge(
            "objective_burn",
            "Burn rate: times as fast as the target allows.",
            (*pair, "window"),
            _select_known(
                {
                    (*key, window): getattr(row, f"burn_{window}")
                    for key, row in rows.items()
                    if pause_of_domain(pauses, row.domain) is None
                    for window in WINDOWS
                }
            ),
        ),
        gauge(
            "objective_window_events",
            "Events of a window of burn rates.",
            (*pair, "window"),
            {
                (*key, alert.long): getattr(row, f"events_{alert.long}")
                for key, row in rows.items()
                for alert in BURN_ALERTS
            },
        ),
        gauge(
            "objective_age_seconds",
            "Time since the latest evaluation of objectives.",
            (),
            _measure_age(rows.values(), now),
        ),
    ]


def _measure_age(rows: Iterable[Row], now: datetime) -> Values:
    ages = [(now - row.evaluated_at).total_seconds() for row in rows]
    return {(): max(0.0, min(ages))} if ages else {}


def _select_known(values: Mapping[tuple[str, ...], float | None]) -> Values:
    return {labels: value for labels, value in values.items() if value is not None}


def measure_domains(warehouse: Warehouse, now: datetime) -> list[Metric]:
    """Return how stale each domain is, from the latest look of the control tower.

    Raises:
        OrchestrationError: The database cannot be read.
    """
    tower = operations_control_tower.c
    query = select(tower.domain, tower.state, tower.last_landed_at, tower.success_share).where(
        tower.window_hours == DAY, tower.asset == ""
    )
    with warehouse.reading() as connection:
        rows = connection.execute(query).all()
    loaded = [row for row in rows if row.last_landed_at is not None]
    return [
        gauge(
            "domain_staleness_seconds",
            "Time since the latest load of a domain.",
            ("domain",),
            {(row.domain,): max(0.0, (now - row.last_landed_at).total_seconds()) for row in loaded},
        ),
        gauge(
            "domain_state",
            "State of a domain: 1 for the present one, 0 for the others.",
            ("domain", "state"),
            {(row.domain, state): float(row.state == state) for row in rows for state in STATES},
        ),
        gauge(
            "domain_success_share",
            "Share of successes among the domain's runs of a day that succeeded or failed.",
            ("domain",),
            _select_known({(row.domain,): row.success_share for row in rows}),
            together=min,
        ),
    ]


def measure_host_samples(warehouse: Warehouse, now: datetime) -> list[Metric]:
    """Return the latest samples of all hosts and their programs.

    Raises:
        OrchestrationError: The database cannot be read.
    """
    rows = read_latest_samples(warehouse, now)
    of_host = ("cpu", "memory", "disk")
    used = {(row.host, kind): getattr(row, f"{kind}_share") for row in rows for kind in of_host}
    program = ("host", "role")
    return [
        gauge(
            "host_used_share",
            "Share of CPU time, memory and disk of STATE_DIR in use, by host.",
            ("host", "kind"),
            used,
        ),
        gauge(
            "program_open_files",
            "Open files of a program, by host and role.",
            program,
            {(row.host, row.role): row.open_files for row in rows},
        ),
        gauge(
            "program_open_files_share",
            "Share of its limit of open files that a program uses.",
            program,
            {(row.host, row.role): row.open_files_share for row in rows},
        ),
        gauge(
            "program_memory_bytes",
            "Memory of a program, by host and role.",
            program,
            {(row.host, row.role): row.process_memory_bytes for row in rows},
        ),
    ]


LOAD_BUCKETS = (1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, float("inf"))

RECORDED_AFTER = timedelta(minutes=1)
"""The ledger records the end of a run some seconds after it; this is on the safe side."""

OTHER = "other"


@dataclass
class LoadSeconds:
    """Histogram of the durations of runs, by domain, counted from the first call on.

    A call reads the runs that ended since the one before, however much the ledger has.
    """

    warehouse: Warehouse
    _counts: dict[str, list[int]] = field(default_factory=dict)
    _sums: dict[str, float] = field(default_factory=dict)
    _exemplars: dict[tuple[str, int], Exemplar] = field(default_factory=dict)
    _counted: datetime | None = None

    def families(self, now: datetime) -> list[Metric]:
        """Return the histogram; ``now`` is the machine's time.

        Raises:
            OrchestrationError: The database cannot be read.
        """
        until = now - RECORDED_AFTER
        since = self._counted or now - timedelta(hours=1)
        if until > since:
            for row in self._ended(since, until):
                self._add(row)
            self._counted = until
        family = HistogramMetricFamily(
            "orchestration_load_seconds",
            "Durations of ended runs since an hour before the gateway's first scrape, by domain.",
            labels=("domain",),
        )
        for domain, counts in sorted(self._counts.items()):
            buckets = [self._bucket(domain, number, count) for number, count in enumerate(counts)]
            family.add_metric((domain,), buckets, self._sums[domain])
        return [family]

    def _bucket(
        self, domain: str, number: int, count: int
    ) -> tuple[str, float] | tuple[str, float, Exemplar]:
        exemplar = self._exemplars.get((domain, number))
        plain = (_bound(number), float(count))
        return plain if exemplar is None else (*plain, exemplar)

    def _ended(self, since: datetime, until: datetime) -> Iterable[Row]:
        runs = operations_runs.c
        query = select(
            runs.domain, runs.duration_seconds, runs.ended_at, runs.trace_id, runs.run_id
        ).where(runs.ended_at > since, runs.ended_at <= until, runs.duration_seconds.is_not(None))
        with self.warehouse.reading() as connection:
            return connection.execute(query).all()

    def _add(self, row: Row) -> None:
        is_new = row.domain not in self._counts
        domain = OTHER if is_new and len(self._counts) >= MAX_LABEL_VALUES else row.domain
        counts = self._counts.setdefault(domain, [0] * len(LOAD_BUCKETS))
        self._sums[domain] = self._sums.get(domain, 0.0) + row.duration_seconds
        first = next(
            n for n, max_seconds in enumerate(LOAD_BUCKETS) if row.duration_seconds <= max_seconds
        )
        for number in range(first, len(LOAD_BUCKETS)):
            counts[number] += 1
        about = {"trace_id": row.trace_id} if row.trace_id else {"run_id": row.run_id}
        self._exemplars[domain, first] = Exemplar(
            about, row.duration_seconds, row.ended_at.timestamp()
        )


def _bound(number: int) -> str:
    bound = LOAD_BUCKETS[number]
    return "+Inf" if bound == float("inf") else f"{float(bound)}"
