"""Pauses as they are stored, and which of them holds a run."""

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, insert, select, update

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.pauses import (
    ALL,
    RUNS_WHILE_PAUSED,
    SOURCE_PREFIX,
    Pause,
    find_pause,
    require_valid_pause,
    run_subjects,
)
from orchestration_project.engine.leases import lock_row
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import clean_text
from orchestration_project.errors import (
    ConfigurationError,
    OrchestrationError,
    UnknownNameError,
)
from orchestration_project.migrations import NEWEST_VERSION
from orchestration_project.settings.chosen import domain_of_name
from orchestration_project.tables.operations_edits import operations_pauses as table

if TYPE_CHECKING:
    import dagster as dg

    from orchestration_project.registry import Probe, Registry


class PausedError(ConfigurationError):
    """A pause holds the run."""


class Pauses:
    """The pauses of an installation.

    Args:
        warehouse: Has them.
        clock: Default: the real time, also where a demo's clock is set.
    """

    def __init__(self, warehouse: Warehouse, clock: Clock | None = None) -> None:
        self._warehouse = warehouse
        self._clock = clock or Clock()

    def list_in_effect(self) -> list[Pause]:
        """Return the pauses that hold runs now, by subject."""
        with self._warehouse.reading() as connection:
            return select_pauses(connection, self._clock.now())

    def pause(
        self,
        registry: "Registry",
        subject: str,
        reason: str,
        *,
        by: str,
        until: datetime | None = None,
        is_dry_run: bool = False,
    ) -> Pause:
        """Pause a subject, and return the pause; it replaces an earlier one of the subject.

        Raises:
            ConfigurationError: The subject is unknown, the reason is empty or too long, or
                ``until`` has passed.
        """
        pause = Pause(subject, clean_text(reason).strip(), clean_text(by), self._clock.now(), until)
        require_valid_pause(pause, list_known_subjects(registry))
        if not is_dry_run:
            with self._warehouse.writing() as connection:
                lock_row(connection, table.name)
                _close_pause(connection, subject, pause.paused_by, pause.paused_at)
                connection.execute(insert(table).values(_build_row(pause)))
        return pause

    def resume(self, subject: str, *, by: str, is_dry_run: bool = False) -> Pause:
        """End the pause of a subject, and return it.

        Raises:
            ConfigurationError: The subject is not paused.
        """
        pauses = {pause.subject: pause for pause in self.list_in_effect()}
        if subject not in pauses:
            raise UnknownNameError(
                f"not paused: {subject[:100]!r}",
                expected="the subject of a pause in effect",
                found=", ".join(pauses) or "no pause in effect",
                remedy="list the pauses by `pause --list`",
            )
        if not is_dry_run:
            with self._warehouse.writing() as connection:
                lock_row(connection, table.name)
                _close_pause(connection, subject, clean_text(by), self._clock.now())
        return pauses[subject]

    def require_unpaused(self, instance: "dg.DagsterInstance", run: "dg.DagsterRun") -> None:
        """Make sure that a run may start when it is launched.

        Raises:
            PausedError: A pause holds it.
        """
        pauses = self.list_in_effect()
        pause = find_pause(pauses, find_run_subjects(instance, run)) if pauses else None
        if pause is not None:
            raise PausedError(
                "a pause holds the run",
                expected=f"a run of {run.job_name} while nothing of it is paused",
                found=pause.text,
                remedy=f"launch it after the pause; an operator ends it by "
                f"`resume {pause.subject}`",
            )


def select_pauses(connection: Connection, now: datetime) -> list[Pause]:
    """Return the pauses that hold runs at a time, by subject."""
    columns = (table.c.subject, table.c.reason, table.c.paused_by, table.c.paused_at, table.c.until)
    statement = select(*columns).where(table.c.resumed_at.is_(None)).order_by(table.c.subject)
    pauses = [Pause(*row) for row in connection.execute(statement)]
    return [pause for pause in pauses if pause.is_in_effect(now)]


def list_known_subjects(registry: "Registry") -> Collection[str]:
    """Return all subjects that can be paused."""
    import dagster as dg

    assets = [
        key.to_user_string()
        for domain in registry.domains
        for definition in domain.definitions.assets
        if isinstance(definition, dg.AssetsDefinition)
        for key in definition.keys
    ]
    sources = [SOURCE_PREFIX + name for name in registry.connections]
    return [ALL, *(domain.name for domain in registry.domains), *sources, *assets]


def pause_of_job(pauses: Iterable[Pause], job: "dg.JobDefinition") -> Pause | None:
    """Return the pause that holds the runs of a job; None: they start."""
    from orchestration_project.engine.dagster_private.definitions import build_job_parts

    return find_pause(pauses, _list_subjects(*build_job_parts(job)))


def pause_of_asset(pauses: Iterable[Pause], asset: str) -> Pause | None:
    """Return the pause of an asset, its domain or a source of that; None: it is not paused."""
    return _find_pause_within(pauses, asset.partition("/")[0], [asset])


def pause_of_domain(pauses: Iterable[Pause], domain: str) -> Pause | None:
    """Return the pause of a domain or of a source of it; None: it is not paused."""
    return _find_pause_within(pauses, domain, [])


def pause_texts(pauses: Collection[Pause], domains: Iterable[str]) -> dict[str, str]:
    """Return the pause of each domain in words; empty: it is not paused."""
    pauses_by_name = {domain: pause_of_domain(pauses, domain) for domain in domains}
    return {domain: pause.text if pause else "" for domain, pause in pauses_by_name.items()}


def _find_pause_within(
    pauses: Iterable[Pause], domain: str, assets: Collection[str]
) -> Pause | None:
    pauses = list(pauses)
    sources = [pause.source for pause in pauses if domain_of_name(pause.source) == domain]
    return find_pause(pauses, run_subjects([domain], assets, sources))


def read_pauses(open_warehouse: Callable[[], AbstractContextManager[Warehouse]]) -> list[Pause]:
    """Return the pauses in effect; none while the database is away or has other tables."""
    try:
        with open_warehouse() as warehouse:
            is_current = warehouse.version() == NEWEST_VERSION
            return Pauses(warehouse).list_in_effect() if is_current else []
    except OrchestrationError:
        return []


def select_unpaused_runs(
    pauses: Collection[Pause], instance: "dg.DagsterInstance", runs: "Iterable[dg.DagsterRun]"
) -> "list[dg.DagsterRun]":
    """Return the runs that no pause holds, in their order."""
    if not pauses:
        return list(runs)
    return [run for run in runs if find_pause(pauses, find_run_subjects(instance, run)) is None]


def find_paused_runs(pauses: Collection[Pause], instance: "dg.DagsterInstance") -> frozenset[str]:
    """Return the IDs of queued runs that a pause holds."""
    if not pauses:
        return frozenset()
    import dagster as dg

    queued = dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED])
    by_plan: dict[tuple[str | None, str | None], Pause | None] = {}
    names: set[str] = set()
    for run in instance.get_runs(queued):
        plan = run.execution_plan_snapshot_id, run.tags.get("domain")
        if plan[0] is None or plan not in by_plan:
            by_plan[plan] = find_pause(pauses, find_run_subjects(instance, run))
        if by_plan[plan] is not None:
            names.add(run.run_id)
    return frozenset(names)


def skip_paused_probes(pauses: Collection[Pause], probes: "Iterable[Probe]") -> "list[Probe]":
    """Return probes of sources; that of a paused one answers with the pause and requests nothing.

    Args:
        pauses: The pauses in effect.
        probes: Probes whose dependency is the name of a source.
    """
    return [_skip_if_paused(pauses, probe) for probe in probes]


def _skip_if_paused(pauses: Collection[Pause], probe: "Probe") -> "Probe":
    from orchestration_project.registry import Answer

    domain = domain_of_name(probe.dependency) or probe.dependency
    pause = find_pause(pauses, run_subjects([domain], [], [probe.dependency]))
    if pause is None:
        return probe
    return replace(probe, run=partial(Answer, pause.text, is_applicable=False))


def find_run_subjects(instance: "dg.DagsterInstance", run: "dg.DagsterRun") -> frozenset[str]:
    """Return the subjects whose pause holds a run; none of a job that runs while paused."""
    from orchestration_project.engine.dagster_private.definitions import read_run_parts

    return _list_subjects(*read_run_parts(instance, run))


def _list_subjects(
    tags: Mapping[str, str], assets: Collection[str], resources: Collection[str]
) -> frozenset[str]:
    if RUNS_WHILE_PAUSED.items() <= tags.items():
        return frozenset()
    domains = [tags["domain"]] if "domain" in tags else []
    return run_subjects(domains, assets, resources)


def _close_pause(connection: Connection, subject: str, by: str, at: datetime) -> None:
    is_open = (table.c.subject == subject, table.c.resumed_at.is_(None))
    connection.execute(update(table).where(*is_open).values(resumed_at=at, resumed_by=by))


def _build_row(pause: Pause) -> dict[str, Any]:
    return {
        "subject": pause.subject,
        "paused_at": pause.paused_at,
        "reason": pause.reason,
        "paused_by": pause.paused_by,
        "until": pause.until,
    }
