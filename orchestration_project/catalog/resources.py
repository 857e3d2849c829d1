"""Dagster's resources: what all domains share, and one of each connection.

Each is made from the settings when a run or a tick requests it. The settings are not config of
Dagster's, but for the gate's `force`: so no secret can show up in a config view. What reaches
outside is opened at first use, within the step or tick, after the preflight.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from functools import partial
from typing import Any

import dagster as dg

from orchestration_project.engine.connections.artifacts import ArtifactStore, open_store
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.dagster_private.daemon_state import read_daemon_state
from orchestration_project.engine.environment import open_clock, open_lazily, open_warehouse
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.registry import Connection, Domain, Environment, Registry
from orchestration_project.services.alerts import Alerts
from orchestration_project.services.gate import Gate, GatedRun, Register
from orchestration_project.services.ledger.rules.entries import CONFIG_TAG
from orchestration_project.services.presets import resolve_config
from orchestration_project.services.probes import open_alerts, open_probes
from orchestration_project.settings import Settings, load_shared_settings

FORCED_TAG = "forced_past"
"""Run tag: the dependencies that were not ready when the run went on all the same."""


def resource_definitions(registry: Registry) -> Mapping[str, dg.ResourceDefinition]:
    """Return the resources of a code location, by the names under which assets ask for them."""
    return {
        "alerts": _make_alerts_resource(registry),
        "artifacts": artifacts_resource,
        "clock": clock_resource,
        "gate": _make_gate_resource(registry),
        "registry": dg.ResourceDefinition(
            lambda _: registry, description="The domains of the project."
        ),
        "settings": settings_resource,
        "warehouse": warehouse_resource,
        **{
            name: _make_connection_resource(domain, connection)
            for domain in registry.selected
            for name, connection in domain.connections.items()
        },
    }


def _make_connection_resource(domain: Domain, connection: Connection[Any]) -> dg.ResourceDefinition:
    """Return the resource of a connection: a run opens it once the preflight admits it.

    A tick of a sensor or schedule, which only asks what there is, opens it without preflight.
    """

    @dg.resource(description=connection.description, required_resource_keys={"gate"})
    def connection_resource(context: dg.InitResourceContext) -> Iterator[Any]:
        def admit(work: str) -> None:
            if context.run is not None:
                context.resources.gate.admit(work)

        def opening() -> AbstractContextManager[Any]:
            settings = load_shared_settings()
            domain.require_valid(settings)
            if connection.preflight is not None:
                admit(connection.preflight)
            return connection.open(Environment(settings=settings, admit=admit))

        with open_lazily(opening, **connection.attributes) as opened:
            yield opened

    return connection_resource


@dg.resource(description="The settings of this process.")
def settings_resource() -> Settings:
    """The settings of this process; what its run or tick logs follows LOG_LEVEL."""
    settings = load_shared_settings()
    logging.getLogger("orchestration_project").setLevel(settings.log_level)
    return settings


def _make_alerts_resource(registry: Registry) -> dg.ResourceDefinition:
    """Return the resource of alert channels and inbox."""

    @dg.resource(description="Alert channels, and the alert inbox.")
    def alerts_resource() -> Alerts:
        return open_alerts(load_shared_settings(), registry)

    return alerts_resource


@dg.resource(description="Clock, UTC.")
def clock_resource() -> Clock:
    """Clock, UTC."""
    return open_clock(load_shared_settings())


@dg.resource(description="Database of the user.")
def warehouse_resource(context: dg.InitResourceContext) -> Iterator[Warehouse]:
    """The user's database, its tables up to date; a run that opens it is tagged with its config."""

    def opening() -> Warehouse:
        settings = load_shared_settings()
        if context.run is not None:
            tag = {CONFIG_TAG: resolve_config(settings).config_hash}
            _ensure_instance(context).add_run_tags(context.run.run_id, tag)
        return open_warehouse(settings)

    with open_lazily(opening) as warehouse:
        yield warehouse


@dg.resource(
    description="Artifact store for captured bytes and staged files.",
    required_resource_keys={"gate"},
)
def artifacts_resource(context: dg.InitResourceContext) -> Iterator[ArtifactStore]:
    """Artifact store for captured bytes and staged files."""

    def opening() -> AbstractContextManager[ArtifactStore]:
        if context.run is not None:
            context.resources.gate.admit("artifacts")
        return _yield_store()

    with open_lazily(opening) as store:
        yield store


@contextmanager
def _yield_store() -> Iterator[ArtifactStore]:
    yield open_store(load_shared_settings())


def _make_gate_resource(registry: Registry) -> dg.ResourceDefinition:
    @dg.resource(
        description="Preflight check: admits a run's work while its dependencies are ready.",
        required_resource_keys={"warehouse"},
        config_schema={
            "force": dg.Field(
                bool,
                default_value=False,
                description="Continue although a dependency is not ready; the run's tags name it.",
            )
        },
    )
    def gate_resource(context: dg.InitResourceContext) -> Iterator[Gate]:
        """The gate that whatever a run opens for its work goes through."""
        with open_lazily(lambda: nullcontext(_build_gate(registry, context))) as gate:
            yield gate

    return gate_resource


def _build_gate(registry: Registry, context: dg.InitResourceContext) -> Gate:
    settings, instance, run_id = load_shared_settings(), _ensure_instance(context), _run_id(context)
    warehouse = context.resources.warehouse
    return Gate(
        open_probes(
            settings,
            partial(read_daemon_state, instance),
            warehouse,
            clocks=partial(registry.clocks, settings),
        ),
        Register(warehouse),
        clock=Clock(),
        max_age=timedelta(minutes=settings.preflight_cache_minutes),
        config_hash=resolve_config(settings).full_hash,
        run=GatedRun(
            run_id,
            is_forced=context.resource_config["force"],
            is_queued=partial(_was_queued, instance, run_id),
            note_forced=lambda names: instance.add_run_tags(run_id, {FORCED_TAG: ", ".join(names)}),
        ),
        probe_of=lambda name: registry.probe(name, settings),
    )


def _ensure_instance(context: dg.InitResourceContext) -> dg.DagsterInstance:
    """Return Dagster's instance, which a run's resources are given."""
    if context.instance is None:
        raise AssertionError("Dagster gives a run's resources its instance")
    return context.instance


def _run_id(context: dg.InitResourceContext) -> str:
    if context.run is None:
        raise AssertionError("only a run goes through the gate")
    return context.run.run_id


def _was_queued(instance: dg.DagsterInstance, run_id: str) -> bool:
    enqueued = dg.DagsterEventType.RUN_ENQUEUED
    return bool(instance.get_records_for_run(run_id, of_type=enqueued, limit=1).records)
