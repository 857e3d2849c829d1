"""All domains derive from one list, and each may be a code location of its own."""

import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime

import dagster as dg
import pytest
from pydantic import BaseModel

from orchestration_project.catalog import REGISTRY
from orchestration_project.definitions import build
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.dagster_private.definitions import find_models
from orchestration_project.engine.recovery import Recovery
from orchestration_project.errors import ConfigurationError
from orchestration_project.registry import (
    DefinitionsMaker,
    Domain,
    DomainDefinitions,
    Environment,
    Registry,
    RoutingAction,
    SensorMaker,
)
from orchestration_project.services.objectives import MirrorLagReader
from orchestration_project.services.status import DeadLetters, Deadlines
from orchestration_project.settings import load_settings
from orchestration_project.settings.chosen import known_domains

LOCATION = """
from orchestration_project.catalog import REGISTRY
from orchestration_project.definitions import build

defs = build(REGISTRY.select({names}))
"""

WORKSPACE = """
load_from:
  - python_file: {relative_path: ours.py, location_name: ours}
  - python_file: {relative_path: saas.py, location_name: saas}
"""


def keys_by_domain(defs: dg.Definitions) -> dict[str, set[dg.AssetKey]]:
    """Return the keys, but those that Dagster puts in for what other locations define."""
    found: dict[str, set[dg.AssetKey]] = {}
    for spec in defs.resolve_all_asset_specs():
        if "domain" in spec.tags:
            found.setdefault(spec.tags["domain"], set()).add(spec.key)
    return found


@pytest.mark.slow_after_first
@pytest.mark.parametrize("name", known_domains())
def test_a_domain_alone_is_a_code_location_of_its_own_assets_and_jobs(name):
    defs = build(REGISTRY.select(name))
    dg.Definitions.validate_loadable(defs)
    assert set(keys_by_domain(defs)) == {name}
    jobs = {job.name for job in defs.get_repository_def().get_all_jobs()} - {"__ASSET_JOB"}
    assert jobs == {job for job in REGISTRY.jobs if job.startswith(f"{name}_")}


@pytest.mark.slow
def test_each_definition_is_in_one_code_location_of_several():
    split = {}
    for name in known_domains():
        split |= keys_by_domain(build(REGISTRY.select(name)))
    assert split == keys_by_domain(build())


def test_a_location_whose_jobs_work_on_webhooks_has_the_sensor_that_starts_them():
    started = {
        name: {
            job.name
            for sensor in build(REGISTRY.select(name)).sensors or []
            if sensor.name == "events_on_webhook"
            for job in sensor.jobs
        }
        for name in known_domains()
    }
    there_are = {name: jobs for name, jobs in started.items() if jobs}
    assert there_are == {"events": {"events_webhooks"}, "saas": {"saas_reconcile"}}


def test_a_domain_that_does_not_exist_is_refused_by_name():
    with pytest.raises(ConfigurationError, match="invalid domain 'weather': expected one of "):
        REGISTRY.select("weather")


@pytest.mark.slow_after_first
@pytest.mark.parametrize("replay", REGISTRY.replays.values(), ids=REGISTRY.replays)
def test_a_replay_names_a_table_an_asset_job_and_its_op_that_there_are(replay):
    assert replay.table in REGISTRY.tables
    job = build().resolve_job_def(replay.job)
    if not replay.has_options:
        assert replay.op in {node.name for node in job.nodes}
        return
    config = {"allow_older": True, "group_id": f"{replay.table}:key#1"}
    assert dg.validate_run_config(job, {"ops": {replay.op: {"config": config}}})
    with pytest.raises(dg.DagsterInvalidConfigError):
        dg.validate_run_config(job, {"ops": {replay.op: {"config": {"no_option": True}}}})


def test_dead_letters_name_a_job_and_its_op_that_there_are():
    assert {each.replay[0] for each in REGISTRY.registered(DeadLetters)} > {"events_replay_routing"}
    for letters in REGISTRY.registered(DeadLetters):
        job, op = letters.replay
        assert op in {node.name for node in build().resolve_job_def(job).nodes}


def test_registrations_stand_where_their_services_read_them():
    defined = (DefinitionsMaker, SensorMaker, RoutingAction, Recovery)
    for kind in defined:
        assert not REGISTRY.registered(kind), "a registration of definitions beside them"
    found = [entry for domain in REGISTRY.domains for entry in domain.definitions.registrations]
    assert [entry for entry in found if not isinstance(entry, defined)] == []


def test_one_table_is_replayed_when_none_is_named():
    assert [name for name, replay in REGISTRY.replays.items() if replay.is_default] == [
        "finra_otc_weekly"
    ]


def test_the_summary_of_a_replay_has_lines_for_assets_that_there_are():
    there_are = {"_".join(key.path) for keys in keys_by_domain(build()).values() for key in keys}
    for replay in REGISTRY.replays.values():
        if replay.summary is not None:
            assert set(replay.summary.assets) <= there_are
            assert {replay.summary.audited, replay.summary.rejecting} <= set(replay.summary.assets)


def test_settings_have_the_indicators_of_what_domains_register():
    settings, domains = load_settings(), REGISTRY.whole.domains
    registered = {
        domain.name: {
            name
            for name, kind in (("freshness", Deadlines), ("mirror_lag", MirrorLagReader))
            if domain.registered(kind)
        }
        for domain in domains
    }
    assert registered["mqtt"] == {"freshness", "mirror_lag"}
    assert registered == {name: settings.indicators_of(name) for name in registered}


def options_of(model: type[BaseModel], names: Iterable[str]) -> dict[str, object]:
    fields = {name: model.model_fields[name] for name in names}
    return {name: (field.annotation, field.metadata) for name, field in fields.items()}


def test_presets_have_options_of_the_op_that_they_are_for():
    targets, definitions = REGISTRY.whole.preset_targets, build()
    models = {
        target.job: find_models([definitions.resolve_job_def(target.job)]) for target in targets
    }
    assert sorted(models) == [
        *("documents_load", "finra_backfill", "finra_otc_weekly", "prices_daily"),
        "saas_reconcile",
    ]
    of_ops = {
        target.job: options_of(models[target.job][target.op], target.fields) for target in targets
    }
    assert of_ops == {target.job: options_of(target.model, target.fields) for target in targets}


def test_a_resource_is_replaced_by_an_argument(instance):
    @dg.asset
    def today(clock: dg.ResourceParam[Clock]) -> str:
        return f"{clock.today_in_new_york()}"

    registry = Registry.of(
        [Domain(name="calendar", define=lambda: DomainDefinitions(assets=[today]))]
    )
    defs = build(registry, clock=Clock(datetime(2026, 3, 2, 12, tzinfo=UTC)))
    result = defs.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance)
    assert result.output_for_node("today") == "2026-03-02"


@pytest.mark.slow
def test_a_workspace_of_two_code_locations_loads_both(tmp_path, demo_settings):
    others = [name for name in known_domains() if name != "saas"]
    (tmp_path / "ours.py").write_text(LOCATION.format(names=", ".join(map(repr, others))))
    (tmp_path / "saas.py").write_text(LOCATION.format(names="'saas'"))
    (tmp_path / "workspace.yaml").write_text(WORKSPACE)
    validated = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate", "-w", "workspace.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    said = validated.stdout + validated.stderr
    assert validated.returncode == 0, said
    assert "Validation successful for code location ours" in said
    assert "Validation successful for code location saas" in said


def test_a_domain_without_a_source_is_not_started_and_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    monkeypatch.setenv("PRICES_SOURCE", "yahoo")
    defs = build()
    started = [schedule.name for schedule in (*(defs.schedules or []), *(defs.sensors or []))]
    assert {name.partition("_")[0] for name in started} == {"events", "operations", "prices"}
    settings = load_settings()
    probes = {name: REGISTRY.probe(name, settings) for name in ("finra", "jira")}
    answers = {name: probe.run() for name, probe in probes.items() if probe}
    assert {name: answer.got for name, answer in answers.items() if not answer.is_applicable} == {
        "finra": "FINRA_SOURCE is not set: FINRA is not asked",
        "jira": "SAAS_SOURCE is not set: no system is asked",
    }
    with (
        pytest.raises(ConfigurationError, match="FINRA has no source: FINRA_SOURCE is not set"),
        REGISTRY.connections["finra"].open(Environment(settings=settings)),
    ):
        pass
