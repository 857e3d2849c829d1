"""Which domains an installation has, what is off then, and what an upgraded one goes on with."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from multiprocessing.pool import ThreadPool

import dagster as dg
import pytest
from click.testing import CliRunner
from sqlalchemy import Table, insert

from orchestration_project.__main__ import root
from orchestration_project.catalog.upgrade import follow_new_names, keep_domains_in_use
from orchestration_project.cli.domains import require_defined
from orchestration_project.definitions import defs
from orchestration_project.domains.finra.datasets import DATASETS
from orchestration_project.domains.finra.tables.equity_datasets import finra_threshold_list
from orchestration_project.domains.prices.tables import prices_symbol_spellings
from orchestration_project.engine.contracts.edits import Action
from orchestration_project.engine.contracts.former_names import FORMER_NAMES
from orchestration_project.engine.contracts.job_kinds import EXPORT_TABLES, PRUNE_RUN_LOGS
from orchestration_project.engine.dagster_private.automation import (
    is_switched_on,
    switch_automation,
)
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.instance.stored import repository_origin
from orchestration_project.services.edits import Edit
from orchestration_project.services.presets import resolve_config, select_enabled
from orchestration_project.services.schedules.jobs import ScheduledJobs
from orchestration_project.services.schedules.store import SCHEDULE_STORE
from orchestration_project.settings import domains_on, load_settings
from orchestration_project.settings.chosen import (
    change_stored,
    domain_of_name,
    known_datasets,
    known_domains,
    stored_file,
)
from orchestration_project.tables.catalogue import METADATA
from orchestration_project.tables.spine import work_items
from tests import programs

MONDAY = date(2026, 3, 2)
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)

MAX_AT_FIRST_LOGIN = {"assets": 31, "jobs": 12, "automations": 14, "checks": 39}

COMMON = ("access_", "operations_")
"""How tables begin that every installation needs."""


@pytest.fixture
def choose(monkeypatch, tmp_path) -> Callable[..., frozenset[str]]:
    """Return what gives the domains that are on under some settings."""
    for name in ("DOMAINS", "FINRA_DATASETS"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("STATE_DIR", str(tmp_path))

    def chosen(**settings: str) -> frozenset[str]:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        return domains_on(load_settings())

    return chosen


@pytest.fixture
def command(choose) -> Callable[..., object]:
    """Return what runs `orchestrate domains` and gives its document."""

    def run(*arguments: str) -> object:
        done = CliRunner().invoke(root, ["domains", *arguments, "--json"], standalone_mode=False)
        if done.exception:
            raise done.exception
        return json.loads(done.stdout)

    return run


@pytest.mark.parametrize(
    ("settings", "on"),
    [
        ({}, {"finra"}),
        ({"DOMAINS": "documents,web"}, {"documents", "web"}),
        ({"DOMAINS": "all"}, {*known_domains()}),
        ({"DATA_PROFILE": "real"}, set()),
        ({"FX_SOURCE": "api", "PRICES_SOURCE": "files", "PRICES_FILES_DIR": "/"}, {"fx", "prices"}),
    ],
    ids=["demo", "DOMAINS", "all", "real without a source", "real with two"],
)
def test_what_is_on_follows_from_domains_or_else_from_the_profile_and_sources(choose, settings, on):
    assert choose(**settings) == {*on, "operations"}


def test_what_is_added_and_removed_is_kept_and_domains_overrides_it(choose, command):
    choose()
    assert command("add", "documents", "web") == {"added": ["documents", "web"]}
    assert command("remove", "finra", "web") == {"removed": ["finra", "web"]}
    assert choose() == {"documents", "operations"}
    assert command("add", "finra") == {"added": ["finra"]}
    assert choose() == {"documents", "finra", "operations"}
    assert choose(DOMAINS="saas") == {"saas", "operations"}


def test_the_list_says_of_each_domain_and_dataset_why_and_what_turns_it_on(choose, command):
    choose()
    command("add", "finra/reg_sho_daily")
    rows = {row["name"]: row for row in command("list")}
    assert {*known_domains()} < {*rows}
    assert rows["fx"] == {
        "name": "fx",
        "state": "off",
        "reason": "the demo starts without it",
        "remedy": "orchestrate domains add fx, or add it to DOMAINS",
    }
    assert rows["finra"]["state"] == rows["finra/reg_sho_daily"]["state"] == "on"
    assert rows["finra/otc_blocks"]["remedy"].endswith("or add it to FINRA_DATASETS")


def test_settings_limits_and_presets_of_what_is_off_are_not_shown(choose):
    choose()
    entries = resolve_config(load_settings()).entries
    hidden = {"DOCUMENTS_DIR", "checks: prices_daily.jump_ratio", "saas_strict: ops.reconcile_saas"}
    assert not {
        name for name in select_enabled(load_settings(), entries) if name.startswith((*hidden,))
    }
    choose(DOMAINS="documents,prices,saas")
    shown = select_enabled(load_settings(), entries)
    assert all(any(name.startswith(prefix) for name in shown) for prefix in hidden)
    assert "FINRA_SOURCE" not in shown
    assert {"STATE_DIR", "checks: completeness.sigma"} <= shown.keys()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["add", "weather"], "invalid NAME"),
        (["remove", "operations"], "operations cannot be removed"),
        (["add"], "Missing parameter"),
    ],
)
def test_a_change_that_means_nothing_is_refused(command, arguments, expected):
    with pytest.raises(Exception, match=expected):
        command(*arguments)


@pytest.mark.parametrize(
    ("settings", "stored", "found"),
    [
        ({"DOMAINS": "finra,Web"}, "", "Web"),
        ({}, "documents\n-weather\n", "-weather"),
        ({}, "documents\n../etc\n", "../etc"),
        ({}, "finra/reg_sho_dayly\n", "finra/reg_sho_dayly"),
    ],
)
def test_an_unknown_domain_is_named(choose, tmp_path, settings, stored, found):
    (tmp_path / "domains").write_text(stored)
    with pytest.raises(ConfigurationError) as refused:
        choose(**settings)
    assert refused.value.found == found.removeprefix("-")


def test_changes_at_once_are_all_kept_and_a_killed_one_leaves_the_file_as_it_was(choose):
    choose()
    settings = load_settings()
    names = [name for name in known_domains() if name != "operations"]
    with ThreadPool(4) as pool:
        pool.map(lambda name: change_stored(settings, [name], ()), names)
    stored_file(settings).with_suffix(".partial").write_text("docu")  # as a killed process leaves
    assert choose() == {*known_domains()}


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("web_items", "orchestrate domains add web, or add it to DOMAINS"),
        ("market_volume_daily", "orchestrate domains add cboe, or add it to DOMAINS"),
        ("saas", "orchestrate domains add saas, or add it to DOMAINS"),
        (
            "finra_otc_blocks",
            "orchestrate domains add finra/otc_blocks, or add it to FINRA_DATASETS",
        ),
    ],
)
def test_what_is_off_is_named_with_what_turns_it_on(choose, name, remedy):
    choose()
    with pytest.raises(ConfigurationError, match="is off") as refused:
        require_defined(name)
    assert refused.value.remedy == remedy
    require_defined("finra_otc_weekly")


@pytest.mark.slow
def test_dagsters_own_command_names_the_setting_of_a_job_that_is_off(tmp_path):
    command = ("dagster", "job", "execute", "-m", "orchestration_project.definitions")
    status, _, error = programs.run(
        tmp_path / "state", *command, "-j", "web_shop", DOMAINS="finra", DAGSTER_HOME=str(tmp_path)
    )
    assert status == 1
    assert error.splitlines()[-3:] == [
        "the domain web is off",
        "  found: DOMAINS does not name it",
        "  what to do: add web to DOMAINS",
    ]


def test_the_optional_datasets_are_those_that_finra_declares():
    assert [*known_datasets()] == sorted(f"finra/{dataset.noun}" for dataset in DATASETS)


def test_every_table_of_a_domain_is_known_as_its_own():
    """Else an upgrade could leave out a domain that has rows."""
    of_none = {name for name in METADATA.tables if not domain_of_name(name)}
    assert not {name for name in of_none if METADATA.tables[name].info.get("history")}
    assert domain_of_name("off_exchange_share_daily") == "cboe"
    assert domain_of_name("fact_bond_trade_activity") == "finra"
    assert domain_of_name("webhooks/acme") == domain_of_name("uploads/inbox") == "events"


@pytest.mark.slow
def test_the_first_login_shows_what_the_demo_has_and_imports_nothing_else(tmp_path):
    status, output, error = programs.run(
        tmp_path / "state", "tests.cli.first_login", DOMAINS="", FINRA_DATASETS=""
    )
    assert status == 0, error
    counted = json.loads(output)
    modules = counted.pop("modules")
    assert counted.keys() == MAX_AT_FIRST_LOGIN.keys()
    assert not {name for name, most in MAX_AT_FIRST_LOGIN.items() if counted[name] > most}
    off = {*known_domains()} - {"finra", "operations"}
    parts = [name.split(".") for name in modules]
    imported = {
        ".".join(part)
        for part in parts
        if part[1] in ("assets", "catalog", "cli", "gateway", "resources", "sensors")
        and off & {*part[2:]}
        and part[1:3] != ["assets", "operations"]
    }
    assert not imported


def row_of(table: Table) -> dict[str, object]:
    """Return a row with some value in each column."""
    values = {object: NOON, int: 1, float: 1.0, bool: True, date: MONDAY, datetime: NOON}
    return {column.key: values.get(column.type.python_type, "T1") for column in table.columns}


def test_an_upgraded_installation_keeps_what_has_rows_waiting_work_or_a_switched_on_schedule(
    demo_settings, monkeypatch
):
    for name in ("DOMAINS", "FINRA_DATASETS"):
        monkeypatch.setenv(name, "")
    settings = load_settings()
    with open_warehouse(settings) as warehouse:
        with warehouse.writing() as connection:
            for table in (finra_threshold_list, prices_symbol_spellings):
                connection.execute(insert(table).values(row_of(table)))
            waiting = row_of(work_items) | {"topic": "mqtt/mirror", "state": "ready"}
            connection.execute(insert(work_items).values(waiting))
        kept = keep_domains_in_use(settings, warehouse, ["web_shop_daily"])
        assert kept == ["finra/threshold_list", "mqtt", "prices", "web"]
        change_stored(settings, (), ["web"])
        assert keep_domains_in_use(settings, warehouse, ["web_shop_daily"]) == ()
    assert domains_on(load_settings()) == {"finra", "mqtt", "operations", "prices"}


def test_an_upgraded_installation_keeps_schedules_on_and_their_jobs_under_new_names(
    demo_settings, kept_instance
):
    before = dg.ScheduleDefinition(
        name="finra_charts_daily", job_name="finra_charts", cron_schedule="15 8 * * *"
    )
    switch_automation(kept_instance, before, repository_origin(), on=True)
    fields = {"job": "finra_symbols", "cron": "0 7 * * *"}
    edit = Edit(Action.CREATE, "symbols", by="ada", at=NOON, fields=fields)
    with open_warehouse(demo_settings) as warehouse:
        SCHEDULE_STORE.apply(warehouse, edit)
        followed = follow_new_names(kept_instance, warehouse, NOON)
        assert followed == ["finra_daily", "symbols"]
        with warehouse.reading() as connection:
            [stored] = SCHEDULE_STORE.read(connection, "symbols")
        assert (stored.schedule.job, stored.version_number) == ("finra_daily", 2)
        assert follow_new_names(kept_instance, warehouse, NOON) == []
    repository = defs.get_repository_def()
    assert is_switched_on(kept_instance, repository.get_schedule_def("finra_daily"))


def test_each_former_name_is_gone_and_each_present_one_is_defined():
    repository = defs.get_repository_def()
    names = {*repository.job_names}
    names |= {
        schedule_def.name for schedule_def in [*repository.schedule_defs, *repository.sensor_defs]
    }
    assert names.isdisjoint(FORMER_NAMES)
    assert names >= {*FORMER_NAMES.values()}


@pytest.mark.parametrize(
    ("job", "config", "present"),
    [
        ("operations_verify", {}, ("operations_checks", {})),
        (
            "operations_prune",
            {"ops": {"prune_run_logs": {"config": {"dry_run": False}}}},
            ("operations_clean_up", PRUNE_RUN_LOGS.run_config({"dry_run": False})),
        ),
        ("operations_export", {}, ("operations_export", EXPORT_TABLES.run_config({}))),
    ],
)
def test_a_stored_schedule_of_a_former_job_starts_the_present_one(
    demo_settings, kept_instance, job, config, present
):
    with open_warehouse(demo_settings) as warehouse:
        fields = {"job": job, "cron": "0 6 * * *", "partitions": "none", "run_config": config}
        SCHEDULE_STORE.apply(warehouse, Edit(Action.CREATE, "kept", "ada", NOON, fields=fields))
        assert follow_new_names(kept_instance, warehouse, NOON) == ["kept"]
        assert follow_new_names(kept_instance, warehouse, NOON) == []
        with warehouse.reading() as connection:
            [stored] = SCHEDULE_STORE.read(connection)
    schedule = stored.schedule
    assert (schedule.job, schedule.run_config or {}, schedule.is_enabled) == (*present, True)
    jobs = ScheduledJobs(defs.get_repository_def())
    assert jobs.problems(schedule) == []
