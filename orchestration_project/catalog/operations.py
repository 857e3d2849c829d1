"""Operations: runs, alerts, readiness, presets and evidence of all domains."""

from orchestration_project.assets import operations
from orchestration_project.engine.work_items import WorkItems
from orchestration_project.registry import (
    DefinitionsMaker,
    Domain,
    Job,
    MadeDefinitions,
    SensorMaker,
)
from orchestration_project.sensors import operations as sensors
from orchestration_project.sensors.schedules import scheduled_sensor
from orchestration_project.services.exports.work import FOLDER, TOPIC
from orchestration_project.services.retries.retrying import ItemTopics

OPERATIONS = Domain(
    name="operations",
    assets=[
        operations.alerts_asset,
        operations.artifact_copies,
        operations.artifacts,
        operations.control_tower,
        operations.damaged_artifacts,
        operations.erasures,
        operations.evidence,
        operations.exports,
        operations.flags_asset,
        operations.gold_as_of,
        operations.ledger,
        operations.presets,
        operations.removals,
        operations.run_logs,
        operations.schedules,
        operations.sessions,
    ],
    asset_checks=[operations.check_flags],
    jobs=[
        Job(definition=operations.apply_preset_job),
        Job(definition=operations.artifacts_job),
        Job(definition=operations.cleanup_job),
        Job(definition=operations.control_tower_job),
        Job(definition=operations.edit_flags_job),
        Job(definition=operations.copy_artifacts_job, parameters=()),
        Job(definition=operations.edit_schedules_job),
        Job(definition=operations.erase_job),
        Job(definition=operations.export_evidence_job),
        Job(definition=operations.export_gold_job),
        Job(definition=operations.export_job, parameters=()),
        Job(definition=operations.prune_job),
        Job(definition=operations.reconcile_job),
        Job(definition=operations.repair_artifacts_job),
        Job(definition=operations.replay_webhook_job),
        Job(definition=operations.retry_failures_job),
        Job(definition=operations.sessions_job),
        Job(definition=operations.switch_automation_job),
        Job(definition=operations.verify_job, parameters=()),
    ],
    schedules=[
        sensors.operations_control_tower_hourly,
        sensors.operations_prune_weekly,
        sensors.operations_reconcile_hourly,
        sensors.operations_verify_daily,
    ],
    sensors=[
        sensors.operations_control_tower_at_start,
        sensors.operations_on_due_export,
        sensors.operations_on_objective_due,
        sensors.operations_on_run_change,
        sensors.operations_on_run_end,
        sensors.operations_on_state_change,
        sensors.operations_on_undelivered_alert,
    ],
    state_paths=[FOLDER],
    registrations=[
        DefinitionsMaker(
            lambda registry, _: MadeDefinitions(assets=[operations.verification_asset(registry)])
        ),
        SensorMaker(scheduled_sensor),
        ItemTopics(prefix=TOPIC, open=WorkItems),
    ],
)
