"""How the installation is: readiness, configuration in effect, sessions, control tower."""

from typing import Literal

from pydantic import Field
from sqlalchemy import select

from orchestration_project.engine.contracts.api.models import (
    Config,
    ConfigEntry,
    ControlTower,
    Finding,
    Readiness,
    Sessions,
)
from orchestration_project.engine.contracts.moments import Moment
from orchestration_project.gateway.api.operation import Body, Call, Operation, Parameters
from orchestration_project.gateway.api.problems import require_known
from orchestration_project.gateway.api.runs import MAX_PAGE_ENTRIES, Name
from orchestration_project.gateway.api.services import Services
from orchestration_project.services.gate import Register
from orchestration_project.services.ledger.sessions import SessionFilter, read_sessions
from orchestration_project.services.presets import (
    Presets,
    list_settings,
    read_applied,
    resolve_config,
    select_enabled,
)
from orchestration_project.tables.operations_runs import operations_control_tower

SessionState = Literal["PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELLED"]


class SessionsWanted(Parameters):
    """Filter of sessions, the latest first."""

    since: Moment | None = Field(
        None, description="Only sessions with runs created after this time"
    )
    domain: Name | None = Field(None, description="Domain")
    state: SessionState | None = Field(None, description="Status")
    limit: int = Field(50, ge=1, le=MAX_PAGE_ENTRIES, description="Maximum number of sessions")


async def readiness(call: Call[Parameters, Body]) -> Readiness:
    """Return the latest finding about each dependency; the job operations_checks probes again."""
    findings_by_name = await call.services.in_thread(Register(call.services.warehouse).latest)
    findings = [
        Finding(**{name: getattr(finding, name) for name in Finding.model_fields})
        for finding in sorted(findings_by_name.values(), key=lambda each: each.dependency)
    ]
    is_ready = bool(findings) and all(finding.outcome != "failed" for finding in findings)
    return Readiness(is_ready=is_ready, findings=findings)


async def config_in_effect(call: Call[Parameters, Body]) -> Config:
    """Return each setting of domains that are on, and applied preset's value, without secrets."""
    return await call.services.in_thread(_build_config, call.services)


def _build_config(services: Services) -> Config:
    presets = read_applied(Presets(services.warehouse, services.clock))
    config_values = select_enabled(
        services.settings, {**list_settings(services.settings), **presets}
    )
    return Config(
        config_hash=resolve_config(services.settings).config_hash,
        entries=[
            ConfigEntry(name=name, value=entry.value, origin=entry.origin)
            for name, entry in config_values.items()
        ],
    )


async def list_sessions(call: Call[SessionsWanted, Body]) -> Sessions:
    """List sessions, the latest first."""
    sessions_wanted = call.query
    registry = await call.services.in_thread(call.services.registry)
    require_known("domain", sessions_wanted.domain, [domain.name for domain in registry.domains])
    chosen = SessionFilter(
        sessions_wanted.since,
        sessions_wanted.domain,
        sessions_wanted.state,
        sessions_wanted.limit,
    )
    frame = await call.services.in_thread(read_sessions, call.services.warehouse, chosen)
    return Sessions(sessions=frame.to_dicts())


async def control_tower(call: Call[Parameters, Body]) -> ControlTower:
    """Return the health of domains and assets; the job operations_checks refreshes it."""
    table = operations_control_tower
    row_query = select(table).order_by(*table.primary_key.columns).limit(MAX_PAGE_ENTRIES)
    frame = await call.services.in_thread(call.services.warehouse.frame, row_query, table)
    return ControlTower(rows=frame.to_dicts())


OPERATIONS = (
    Operation("GET", "/readiness", "viewer", "What is ready", readiness, answer=Readiness),
    Operation("GET", "/config", "viewer", "The config in effect", config_in_effect, answer=Config),
    Operation(
        "GET",
        "/sessions",
        "viewer",
        "List sessions",
        list_sessions,
        query=SessionsWanted,
        answer=Sessions,
    ),
    Operation(
        "GET",
        "/control-tower",
        "viewer",
        "How domains stand",
        control_tower,
        answer=ControlTower,
    ),
)
