"""Answer times of the gateway, recorded each minute for the objectives of its latency."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.environment import open_unprepared_warehouse
from orchestration_project.gateway.counted import LATENCIES, LatencyCounts
from orchestration_project.migrations import NEWEST_VERSION
from orchestration_project.services.objectives import read_latency_objectives
from orchestration_project.services.objectives.counting import add_events
from orchestration_project.services.objectives.rules.objectives import Events
from orchestration_project.settings import Settings

SECONDS_BETWEEN_RECORDS = 60

_logger = logging.getLogger(__name__)


class LatencyRecorder:
    """Adds the counts since the record before to the samples of each objective.

    Counts that cannot be recorded wait, in memory, for the next record. A process that is killed
    loses a minute.

    Args:
        settings: The database and the file of objectives.
        counts: Counted requests.
    """

    def __init__(self, settings: Settings, counts: LatencyCounts = LATENCIES) -> None:
        self._settings = settings
        self._counts = counts
        self._recorded: dict[float, Events] | None = None

    def record(self) -> None:
        """Record the new counts; log why they cannot be."""
        try:
            self._record()
        except Exception as error:  # noqa: BLE001 - the gateway answers on, whatever it is
            _logger.warning(
                "failed to record the answer times of the gateway: %s",
                error,
                extra={"event": "latency_unrecorded"},
            )

    def _record(self) -> None:
        objectives = read_latency_objectives(self._settings)
        seen_events = {
            objective.max_seconds: self._counts.within(objective.max_seconds)
            for objective in objectives
        }
        new = {bound: self._since_record(bound, events) for bound, events in seen_events.items()}
        if any(events.total for events in new.values()):
            with open_unprepared_warehouse(self._settings) as warehouse:
                if warehouse.version() != NEWEST_VERSION:  # before a migration, or after one
                    return
                with warehouse.writing() as connection:
                    for objective in objectives:
                        add_events(
                            connection, objective.name, Clock().now(), new[objective.max_seconds]
                        )
        self._recorded = seen_events

    def _since_record(self, bound: float, events: Events) -> Events:
        """Return the new counts; of a bound that was declared meanwhile, none yet."""
        before = Events() if self._recorded is None else self._recorded.get(bound, events)
        return Events(events.good - before.good, events.total - before.total)


@contextmanager
def recorded_latency(
    settings: Settings, *, seconds: float = SECONDS_BETWEEN_RECORDS
) -> Iterator[None]:
    """Record answer times while the block runs, and once at its end."""
    recorder, end = LatencyRecorder(settings), Event()

    def go_on() -> None:
        while not end.wait(seconds):
            recorder.record()

    thread = Thread(target=go_on, name="latency record", daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
        recorder.record()
