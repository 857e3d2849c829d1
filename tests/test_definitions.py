"""The definitions as Dagster loads them, and the conventions that all of them keep."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, get_args

import dagster as dg
import pytest
import yaml

from orchestration_project.assets.specs import GROUPS
from orchestration_project.catalog import REGISTRY
from orchestration_project.definitions import defs
from orchestration_project.engine.contracts.presets import PresetTarget, read_preset
from orchestration_project.engine.contracts.roles import ADMIN_KINDS, REQUIRES_ADMIN
from orchestration_project.engine.dagster_private.definitions import find_models
from orchestration_project.engine.options import build_real_config
from orchestration_project.services.alerts import collect_names
from orchestration_project.services.alerts.rules.channels import parse_channels
from orchestration_project.services.alerts.rules.notification import (
    Match,
    RoutingRule,
    find_unknown_names,
    read_rules,
)
from orchestration_project.settings import PROJECT_ROOT
from orchestration_project.settings.chosen import known_domains
from orchestration_project.tables.catalogue import asset_of, known_tables
from tests import programs

SPECS = sorted(defs.resolve_all_asset_specs(), key=lambda spec: spec.key)
PRESETS = sorted((PROJECT_ROOT / "config/presets").glob("*.yaml"))
PRESETS_DOCS = PROJECT_ROOT / "docs" / "reference" / "jobs.md"
TARGETS = REGISTRY.preset_targets
WITH_SOURCE = [domain.name for domain in REGISTRY.domains if domain.source_setting]


MAX_SHOWN_LENGTH = 37
"""Characters of a name that the catalog shows beside one kind at a width of 1,440 pixels."""


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.key.to_user_string())
def test_every_asset_is_named_grouped_owned_and_described(spec):
    domain, noun = spec.key.path
    assert re.fullmatch(r"[a-z]+", domain)
    assert re.fullmatch(r"[a-z][a-z0-9_]*", noun)
    assert spec.group_name in GROUPS
    if domain == "operations":
        assert spec.group_name == "operations"
    assert spec.owners
    assert len(spec.kinds) == (spec.group_name != "sources")
    assert len(spec.key.to_user_string()) <= MAX_SHOWN_LENGTH
    assert spec.description.startswith("One ")
    assert f"\n\n{GROUPS[spec.group_name]}" in spec.description
    assert re.match(r"As new as .*\. If .*\.$", GROUPS[spec.group_name])
    assert spec.tags["domain"] == domain
    if domain in WITH_SOURCE:
        assert spec.tags["data"] in ("made_up", "real")


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.key.to_user_string())
def test_the_column_schema_of_an_asset_is_that_of_its_table_with_a_comment_for_each(spec):
    if "plot" in spec.kinds:  # a picture has no columns
        assert "dagster/column_schema" not in spec.metadata
        return
    shown = spec.metadata["dagster/column_schema"].columns
    assert all(column.description for column in shown)
    name = spec.metadata.get("dagster/table_name")
    if name is not None:
        assert asset_of(name) == spec.key.to_user_string()
        assert [column.name for column in shown] == list(known_tables()[name].columns.keys())


def test_each_column_of_a_table_comes_from_columns_that_exist_in_what_it_depends_on():
    columns = {
        spec.key: {column.name for column in spec.metadata["dagster/column_schema"].columns}
        for spec in SPECS
        if "plot" not in spec.kinds
    }
    tables = [spec for spec in SPECS if "table" in spec.kinds]
    assert tables
    for spec in tables:
        lineage = spec.metadata["dagster/column_lineage"].deps_by_column
        assert columns[spec.key] - set(lineage) == (
            set() if "gold" in spec.kinds else {"capture_id", "known_from"}
        )
        for source in (source for sources in lineage.values() for source in sources):
            assert source.column_name in columns[source.asset_key]
            assert source.asset_key in {dep.asset_key for dep in spec.deps}


def test_each_sensor_and_schedule_says_in_the_ui_what_it_does():
    said = {
        sensor.name: sensor.description
        for sensor in [*(defs.sensors or []), *(defs.schedules or [])]
    }
    assert [name for name, words in said.items() if not words or not words.endswith(".")] == []


def test_each_job_lists_its_options_and_each_sensor_and_schedule_its_profile():
    repository = defs.get_repository_def()
    missing = [
        f"{job.name}: {name}"
        for job in repository.get_all_jobs()
        if not job.name.startswith("__")
        for model in find_models([job]).values()
        for name in model.model_fields
        if f"- `{name}`: " not in str(job.description)
    ]
    assert missing == []
    for schedule_def in [*repository.schedule_defs, *repository.sensor_defs]:
        assert f"Profile: {schedule_def.metadata['profile'].value}." in str(
            schedule_def.description
        )


def kinds_of(models: Mapping[str, type[dg.Config]]) -> Mapping[str, type[dg.Config]]:
    """Return the models of ops, and of each kind that the config of an op selects."""
    inner = {
        name: arg
        for model in models.values()
        for name, field in model.model_fields.items()
        for arg in get_args(field.annotation)
        if isinstance(arg, type) and issubclass(arg, dg.Config)
    }
    return {**models, **inner}


def test_the_jobs_that_delete_launch_others_or_write_elsewhere_are_dry_runs_by_default():
    models = kinds_of(find_models(defs.get_repository_def().get_all_jobs()))
    dry = {op for op, model in models.items() if "dry_run" in model.model_fields}
    assert dry == {
        *("apply_preset", "delete_artifacts", "edit_flag", "edit_pause"),
        *("edit_plugins", "edit_schedule", "erase_subject"),
        *("prune_run_logs", "replay_routing_letters", "replay_webhook", "replay_web_items"),
        *("launch_finra_backfill", "launch_prices_backfill", "retry_failures"),
        *("reconcile_saas", "replay_dead_letters", "sweep_saas", "switch_automation"),
        *("repair_artifacts", "replay_mqtt_dead_letters"),
        *(f"replay_{domain}" for domain in ("cboe", "documents", "finra", "fx", "prices")),
    }
    assert all(models[op].model_fields["dry_run"].default for op in dry)
    started_elsewhere = {
        job.name: job.real_config
        for job in REGISTRY.jobs.values()
        for op in dry & set(kinds_of(find_models([defs.resolve_job_def(job.name)])))
        if job.parameters is not None or job.consumes_webhooks
        if job.real_config != build_real_config(op)
    }
    assert started_elsewhere == {}  # the API's pipelines and webhooks do the work


def test_what_starts_runs_is_off_until_somebody_switches_it_on():
    schedules = list(defs.schedules or [])
    on = [
        schedule.name
        for schedule in schedules
        if isinstance(schedule, dg.ScheduleDefinition)
        and schedule.default_status == dg.DefaultScheduleStatus.RUNNING
    ]
    assert on == [  # they ask no source, and load nothing
        "operations_checks_hourly",
    ]
    sensors = list(defs.sensors or [])
    on = [sensor for sensor in sensors if sensor.default_status == dg.DefaultSensorStatus.RUNNING]
    assert [sensor.name for sensor in on] == [  # they start nothing but the control tower
        "operations_on_objective_due",
        "operations_on_run_end",
        "operations_on_state_change",
    ]


ALERTS_PAGE = "docs/how-to/set-up-alerts.md"
ALERTS_DOCS = (PROJECT_ROOT / ALERTS_PAGE).read_text()
SHIPPED = (PROJECT_ROOT / "config/alerts.yaml").read_text()
EXAMPLES = {
    ALERTS_PAGE: re.findall(r"```yaml\n(rules:.*?)```", ALERTS_DOCS, re.DOTALL)[0],
    "alerts.yaml": "rules:\n" + "\n".join(re.findall(r"^#   (  .*|- .*)$", SHIPPED, re.MULTILINE)),
}


@pytest.mark.parametrize("place", EXAMPLES)
def test_the_examples_of_rules_can_be_used_and_name_what_there_is(place: str):
    data, _ = parse_channels([], {"data": "json://host"})
    rules = read_rules(EXAMPLES[place], place, data)
    assert [rule.name for rule in rules][:2] == [
        "what the data team mends",
        "known, and mended in spring",
    ]
    names = collect_names(defs.get_repository_def())
    assert find_unknown_names(rules, names) == []
    assert names.domain == {*known_domains()}


def test_the_docs_of_alerts_have_each_key_and_condition_of_a_rule():
    page = (PROJECT_ROOT / "docs" / "reference" / "alerts.md").read_text()
    rows = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    assert {*RoutingRule.model_fields, *Match.model_fields} <= rows


def test_what_deletes_or_schedules_requires_an_admin_and_has_jobs_of_its_own():
    graph = defs.resolve_asset_graph()
    tagged = {
        key
        for key in graph.get_all_asset_keys()
        if graph.get(key).tags.items() >= REQUIRES_ADMIN.items()
    }
    rules = {dg.AssetKey([name, "routing_rules"]) for name in ("events", "saas")}  # edited
    listed = {dg.AssetKey(["plugins", "list"])}
    assert tagged == rules | listed
    jobs = [
        resolve_all_job_def
        for resolve_all_job_def in defs.resolve_all_job_defs()
        if not resolve_all_job_def.name.startswith("__")
    ]
    made = {job.name: set(job.asset_layer.executable_asset_keys) for job in jobs}
    deleting = {name: keys for name, keys in made.items() if keys & tagged}
    assert deleting.keys() == {"events_edit_routing", "plugins_edit", "saas_edit_rules"}
    assert all(keys <= tagged for keys in deleting.values())
    ops = {node.name: node.definition.tags for job in jobs for node in job.nodes}
    assert {
        op: tags[ADMIN_KINDS].split(",") for op, tags in ops.items() if ADMIN_KINDS in tags
    } == {
        "clean_up": ["repair_artifacts", "delete_artifacts", "prune_run_logs"],
        "edit_definitions": ["edit_flag", "edit_schedule"],
    }
    assert ops["erase_subject"].items() >= REQUIRES_ADMIN.items()


def test_loading_weeks_evaluates_no_check_of_the_daily_job():
    daily, loading = (
        {check.name for check in job.asset_layer.asset_graph.asset_check_keys}
        for job in map(defs.resolve_job_def, ("finra_daily", "finra_otc_weekly"))
    )
    assert {"is_as_new_as_the_calendar", "lists_only_known_tiers"} <= daily
    assert "is_as_new_as_the_calendar" not in loading
    assert daily & loading == {"has_the_fields_that_we_know"} & loading


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_a_preset_is_a_config_of_the_job_that_it_names_and_says_what_it_does(preset: Path):
    text = preset.read_text()
    read, target = read_preset(preset.stem, text, TARGETS)
    assert re.match(r"[A-Z].*\.$", read.description)
    job = defs.resolve_job_def(target.job)
    assert dg.validate_run_config(job, yaml.safe_load(text))


def test_the_docs_have_a_row_for_each_preset_and_its_job():
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \|", PRESETS_DOCS.read_text(), re.MULTILINE)
    read = [read_preset(preset.stem, preset.read_text(), TARGETS) for preset in PRESETS]
    assert sorted(rows) == sorted((preset.name, preset.job) for preset, _ in read)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.job)
def test_each_job_that_takes_presets_has_one_that_ends_the_others(target: PresetTarget):
    read = [read_preset(preset.stem, preset.read_text(), TARGETS) for preset in PRESETS]
    assert [preset.name for preset, its in read if its == target and not preset.values]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.job)
def test_what_a_preset_may_set_is_left_open_by_a_run_that_says_nothing(target: PresetTarget):
    said = target.model()
    assert {name: getattr(said, name) for name in target.fields} == dict.fromkeys(target.fields)


def test_no_config_view_shows_a_setting():
    job = defs.resolve_job_def("finra_otc_weekly")
    shown = dg.validate_run_config(job, {})["resources"]
    assert {name: view.get("config") or None for name, view in shown.items()} == {
        **dict.fromkeys(["artifacts", "clock", "finra", "io_manager", "settings", "warehouse"]),
        "gate": {"force": False},
    }


LOAD = "from orchestration_project.definitions import defs; defs.get_repository_def()"


class Loaded(NamedTuple):
    """A process that has loaded the definitions: its STATE_DIR, modules and threads."""

    state_dir: Path
    modules: frozenset[str]
    threads: Sequence[str]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """The definitions, loaded with no setting."""
    folder = tmp_path_factory.mktemp("loaded") / "state"
    threads = "[each.read_text() for each in Path('/proc/self/task').glob('*/comm')]"
    program = f"import json, sys; from pathlib import Path; {LOAD}; "
    program += f"print(json.dumps([sorted(sys.modules), {threads}]))"
    status, output, error = programs.run(folder, "timeit", "-n1", "-r1", program)
    assert status == 0, error
    modules, found = json.loads(output.splitlines()[0])
    return Loaded(folder, frozenset(modules), found)


def test_the_definitions_load_with_no_setting_and_touch_no_disk(loaded: Loaded):
    assert "orchestration_project.definitions" in loaded.modules
    assert not loaded.state_dir.exists()


def test_settings_that_cannot_be_used_are_all_named_when_the_definitions_load(tmp_path):
    process = programs.start(
        tmp_path / "state",
        *("timeit", "-n1", "-r1", LOAD),
        FINRA_SOURCE="ftp",
        FINRA_FIRST_WEEK="2026-03-03",
    )
    _, error = process.communicate(timeout=programs.PATIENCE_SECONDS)
    assert process.returncode != 0
    assert "2 invalid settings: FINRA_SOURCE=" in error
    assert "FINRA_FIRST_WEEK='2026-03-03' (environment): expected a Monday" in error


def test_heavy_libraries_are_not_imported_with_the_definitions(loaded: Loaded):
    heavy = {
        *("adbc_driver_sqlite", "apprise", "grpc", "matplotlib", "obstore", "pandas", "pgpq"),
        *("pyarrow", "xlsxwriter"),
    }
    assert loaded.modules & heavy == set()


def test_no_frame_is_computed_at_load_as_runs_are_forked_from_there(loaded: Loaded):
    """A forked process has no thread of polars, so that its first query would wait for ever."""
    assert any("python" in name for name in loaded.threads)
    assert [name for name in loaded.threads if re.search(r"polars-\d|tokio", name)] == []
