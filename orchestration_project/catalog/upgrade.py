"""Upgrade of an installation: what it uses stays on, also under a new name."""

from collections.abc import Iterable, Sequence
from datetime import datetime

import dagster as dg
from sqlalchemy import Connection, Exists, Table, exists, literal, select, union_all

from orchestration_project.engine.contracts.edits import Action
from orchestration_project.engine.contracts.former_names import FORMER_NAMES
from orchestration_project.engine.contracts.job_kinds import upgrade_launch
from orchestration_project.engine.dagster_private.automation import rename_instigators
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.services.edits import Edit
from orchestration_project.services.schedules.rules.schedules import Schedule
from orchestration_project.services.schedules.store import SCHEDULE_STORE
from orchestration_project.settings import Settings
from orchestration_project.settings.chosen import (
    change_stored,
    domain_of_name,
    domains_on,
    known_datasets,
    stored_file,
)
from orchestration_project.tables.catalogue import METADATA
from orchestration_project.tables.spine import outbox, work_items


def keep_domains_in_use(
    settings: Settings, warehouse: Warehouse, switched_on: Iterable[str]
) -> Sequence[str]:
    """Add the domains and datasets that are in use and would be off; return them.

    In use is what has rows, waiting work, or a schedule or sensor that was switched on. It happens
    once: not where a choice is stored.

    Args:
        settings: The settings of this process.
        warehouse: The database.
        switched_on: Names of these schedules and sensors.
    """
    if stored_file(settings).exists():
        return ()
    with warehouse.reading() as connection:
        names = [*_find_filled_tables(connection), *_list_waiting_topics(connection), *switched_on]
    datasets = {
        dataset
        for dataset in known_datasets()
        if {dataset.replace("/", "_"), f"fact_{dataset.partition('/')[2]}"} & {*names}
    }
    domains = set(filter(None, map(domain_of_name, names))) - domains_on(settings)
    entries = sorted(domains | datasets)
    change_stored(settings, entries, ())
    return entries


def follow_new_names(
    instance: dg.DagsterInstance, warehouse: Warehouse, now: datetime
) -> Sequence[str]:
    """Give switched sensors and schedules, and jobs of stored schedules, their present names.

    A stored schedule gets a version, as by an edit.

    Returns:
        The names of sensors, schedules and stored schedules that follow.
    """
    switched_on = rename_instigators(instance, FORMER_NAMES)
    with warehouse.reading() as connection:
        stored = SCHEDULE_STORE.read(connection)
    changed = {
        stored_schedule.schedule.name: _upgrade_fields(stored_schedule.schedule)
        for stored_schedule in stored
    }
    for stored_schedule in stored:
        name = stored_schedule.schedule.name
        if fields := changed[name]:
            version = stored_schedule.version_number
            edit = Edit(Action.CHANGE, name, "migrate", now, fields, expected_version=version)
            SCHEDULE_STORE.apply(warehouse, edit)
    return [*switched_on, *(name for name, fields in changed.items() if fields)]


def _find_filled_tables(connection: Connection) -> Sequence[str]:
    """Return the names of tables of domains that have a row."""
    tables = [table for name, table in METADATA.tables.items() if domain_of_name(name)]
    statements = [select(literal(table.name)).where(_has_a_row(table)) for table in tables]
    return list(connection.scalars(union_all(*statements)))


def _has_a_row(table: Table) -> Exists:
    return exists(select(literal(1)).select_from(table))


def _list_waiting_topics(connection: Connection) -> Sequence[str]:
    """Return the topics of work that waits."""
    topics = (select(table.c.topic).distinct() for table in (work_items, outbox))
    return list(connection.scalars(union_all(*topics)))


def _upgrade_fields(schedule: Schedule) -> dict[str, object]:
    """Return the fields of a schedule that name a former job, as they are now; {}: none does."""
    config = schedule.run_config or {}
    is_partitioned = schedule.partitions != "none"
    job, present = upgrade_launch(schedule.job, config, is_partitioned=is_partitioned)
    if (job, present) == (schedule.job, config):
        return {}
    return {"job": job, **({"run_config": present} if present != config else {})}
