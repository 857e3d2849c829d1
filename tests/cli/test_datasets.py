"""`orchestrate datasets` lists without Dagster what the definitions of Dagster have."""

from dataclasses import replace
from datetime import date

import pytest

from orchestration_project.catalog.own import import_own_domain
from orchestration_project.cli.datasets import list_datasets
from orchestration_project.cli.execution import repository
from orchestration_project.cli.loading import dataset_jobs
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.partitioning import Calendar, Partitioning
from orchestration_project.engine.dataset import build_partitions
from orchestration_project.engine.listed_datasets import DatasetList, list_partition_keys
from tests.own_project import opened_project

DECLARED = """
from orchestration_project import Daily, Dataset, Field, derived, http_source

FIELDS = [Field("item", str, "its name")]
items = Dataset(
    "items",
    key=["item"],
    partitions=Daily("2026-01-01"),
    fields=FIELDS,
    source=http_source("http://127.0.0.1/{partition}", format="csv"),
)
totals = derived("item_totals", key=["item"], fields=FIELDS, sql="SELECT item FROM items")
"""


COUNTED_BY_THE_MACHINE = {"mqtt_mirror"}
"""Dagster has an hour more, if one has begun for the machine but not for the demo."""


def test_what_is_listed_are_the_tables_jobs_and_partitions_of_the_definitions():
    expected = {
        dataset_job.name: (dataset_job.job, [*dataset_job.tables]) for dataset_job in dataset_jobs()
    }
    listed = {dataset.name: dataset for dataset in list_datasets()}
    assert {name: (value.job, [*value.tables]) for name, value in listed.items()} == expected
    for defined in dataset_jobs():
        dataset = listed[defined.name]
        description = repository().get_job(defined.job).description
        assert str(description).partition("\n\n")[0] == dataset.description
        assert dataset.list_keys is not None or not defined.is_partitioned
        keys = dataset.list_keys() if dataset.list_keys is not None else ()
        ahead = defined.keys[len(keys) :]
        assert [*keys, *ahead] == list(defined.keys)
        assert len(ahead) <= (defined.name in COUNTED_BY_THE_MACHINE)


DAYS = Calendar(weekday=None, delay_days=1)


@pytest.mark.parametrize("today", [date(2026, 2, 27), date(2026, 3, 1), date(2026, 3, 2)])
@pytest.mark.parametrize("value_column", ["", "a_value", "z_value"])
@pytest.mark.parametrize(
    "calendar",
    [
        DAYS,
        replace(DAYS, is_every_day=True),
        replace(DAYS, weekday=0),
        replace(DAYS, weekday=4),
        replace(DAYS, month_days=(1,)),
        replace(DAYS, month_days=(1, 16)),
        replace(DAYS, zone="UTC"),
        replace(DAYS, weekday=0, last_day=date(2026, 2, 2)),
        replace(DAYS, month_days=(1,), last_day=date(2026, 1, 1)),
        replace(DAYS, last_day=date(2026, 1, 30)),
    ],
)
def test_keys_are_those_of_dagster_in_its_order(calendar, value_column, today):
    values = ("T2", "T1") if value_column else ()
    partitioning = Partitioning("stock", calendar, "day", value_column, values)
    first = date(2026, 1, 1)
    machine_now = Clock().today(calendar.zone)
    partitions = build_partitions(partitioning, first, now=today, machine_now=machine_now)
    found = list_partition_keys(partitioning, first, today=today)
    assert found == list(partitions.get_partition_keys())
    assert len(found) > 0


def test_sources_and_derived_tables_of_a_project_are_listed(tmp_path):
    with opened_project(tmp_path, {"items/source.py": DECLARED}):
        import_own_domain.cache_clear()
        domain = import_own_domain()
        [*registered] = domain.registered(DatasetList)
        listed = {dataset.job: dataset for entry in registered for dataset in entry.read()}
        jobs = {job.name: job.definition for job in domain.definitions.jobs}
        assert list(listed) == ["shop_items", "shop_item_totals"]
        assert [value.name for value in listed.values()] == ["items", "shop_item_totals"]
        for name, value in listed.items():
            assert str(jobs[name].description).partition("\n\n")[0] == value.description
    import_own_domain.cache_clear()
