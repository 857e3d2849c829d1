"""SaaS: tasks of PeopleForce and issues of Jira, kept in agreement."""

from collections.abc import Mapping
from typing import Any

from orchestration_project.domains.saas.settings import SaasSettings
from orchestration_project.domains.saas.subjects import SUBJECTS
from orchestration_project.domains.saas.tables import saas_dead_letters
from orchestration_project.registry import (
    Connection,
    ConnectionMaker,
    Domain,
    DomainDefinitions,
    Job,
    SensorMaker,
)
from orchestration_project.services.erasure.requests import SubjectKinds
from orchestration_project.services.status import DeadLetters
from orchestration_project.settings import Settings, without_secrets

TRIED_IN_DEMO = "looked which systems SAAS_SOURCE names"


def _is_real(settings: Settings) -> bool:
    settings = SaasSettings.of(settings)
    return settings.saas_source == "api"


def _explain_unused(settings: Settings) -> str:
    if settings.is_demo:
        return "the embedded demo, which starts when it is used"
    return "" if _is_real(settings) else "SAAS_SOURCE is not set: no system is asked"


def _describe_peopleforce_trial(settings: Settings) -> str:
    settings = SaasSettings.of(settings)
    if not _is_real(settings):
        return TRIED_IN_DEMO
    return f"asked {without_secrets(settings.peopleforce_url)} for its tasks"


def _describe_jira_trial(settings: Settings) -> str:
    settings = SaasSettings.of(settings)
    if not _is_real(settings):
        return TRIED_IN_DEMO
    return f"asked {without_secrets(settings.jira_url or '')} who we are"


def _build_definitions() -> DomainDefinitions:
    from orchestration_project.assets import saas
    from orchestration_project.resources.saas.routed_issues import JIRA_ISSUE
    from orchestration_project.sensors.saas import saas_on_tick, saas_sweep_nightly
    from orchestration_project.sensors.webhooks import webhook_sensor

    return DomainDefinitions(
        assets=[
            *(saas.peopleforce, saas.jira),
            *(saas.edit_rules, saas.reconcile, saas.replay, saas.sweep, saas.try_rules),
        ],
        jobs=[
            Job(definition=saas.dry_run_job),
            Job(definition=saas.edit_rules_job),
            Job(
                definition=saas.reconcile_job,
                consumes_webhooks=True,
                real_config=saas.RECONCILE_CONFIG,
            ),
            Job(definition=saas.replay_dead_letters_job),
            Job(definition=saas.set_tick_job),
            Job(definition=saas.sweep_job),
        ],
        schedules=[saas_sweep_nightly],
        sensors=[saas_on_tick],
        registrations=[JIRA_ISSUE, SensorMaker(webhook_sensor)],
    )


def _connections() -> Mapping[str, Connection[Any]]:
    from orchestration_project.domains.saas import jira, peopleforce
    from orchestration_project.resources.saas.connection import opened_jira, opened_peopleforce

    return {
        "peopleforce": Connection(
            description="Source system of tasks.",
            open=lambda given: opened_peopleforce(
                given.settings, given.captures, given.clock, ignores_breaker=given.ignores_breaker
            ),
            preflight="peopleforce",
            probe=lambda source, _: f"it has {source.count()} tasks",
            tried=_describe_peopleforce_trial,
            unused=_explain_unused,
            attributes={"system": peopleforce.SYSTEM},
        ),
        "jira": Connection(
            description="Target system of issues.",
            open=lambda given: opened_jira(given.settings, ignores_breaker=given.ignores_breaker),
            preflight="jira",
            probe=lambda target, _: f"it knows us as {target.myself()}",
            tried=_describe_jira_trial,
            unused=_explain_unused,
            attributes={"system": jira.SYSTEM},
        ),
    }


SAAS = Domain(
    name="saas",
    source_setting="saas_source",
    define=_build_definitions,
    api=["orchestration_project.gateway.api.saas"],
    state_paths=["demo_saas", "saas"],
    registrations=[
        ConnectionMaker(_connections),
        DeadLetters(
            table=saas_dead_letters,
            source="system",
            unit=("system", "entity_type", "entity_id"),
            number="version_number",
            replay=("saas_replay_dead_letters", "replay_dead_letters"),
            options=lambda *_: {},
        ),
        SubjectKinds(lambda _: SUBJECTS),
    ],
)
