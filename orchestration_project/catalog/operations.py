"""Operations: runs, alerts, readiness, presets and evidence of all domains."""

from orchestration_project.engine.contracts.exports import EXPORTS_FOLDER, EXPORTS_TOPIC
from orchestration_project.engine.contracts.job_kinds import EXPORT_TABLES
from orchestration_project.engine.work_items import WorkItems
from orchestration_project.registry import (
    DefinitionsMaker,
    Domain,
    DomainDefinitions,
    Job,
    MadeDefinitions,
    SensorMaker,
)
from orchestration_project.services.cleanup.retention import DomainRetention, RetentionReader
from orchestration_project.services.cleanup.table_copies import CopyRetention
from orchestration_project.services.status import ItemTopics


def _build_definitions() -> DomainDefinitions:
    from orchestration_project.assets import operations
    from orchestration_project.sensors import operations as sensors
    from orchestration_project.sensors.schedules import scheduled_sensor

    return DomainDefinitions(
        assets=[
            operations.alerts_asset,
            operations.artifacts,
            operations.control_tower,
            operations.definitions,
            operations.evidence,
            operations.exports,
            operations.ledger,
        ],
        asset_checks=[
            operations.check_artifacts,
            operations.check_damaged_artifacts,
            operations.check_exports,
            operations.check_flags,
        ],
        jobs=[
            Job(definition=operations.checks_job, parameters=()),
            Job(definition=operations.clean_up_job),
            Job(definition=operations.edit_definitions_job),
            Job(definition=operations.erase_job),
            Job(
                definition=operations.export_job,
                parameters=(),
                real_config=EXPORT_TABLES.run_config({}),
            ),
            Job(definition=operations.runs_job),
        ],
        schedules=[
            sensors.operations_checks_daily,
            sensors.operations_checks_hourly,
            sensors.operations_prune_weekly,
        ],
        sensors=[
            sensors.operations_on_due_export,
            sensors.operations_on_objective_due,
            sensors.operations_on_run_end,
            sensors.operations_on_state_change,
        ],
        registrations=[
            DefinitionsMaker(
                lambda registry, _: MadeDefinitions(
                    assets=[operations.build_verification_asset(registry)]
                )
            ),
            SensorMaker(scheduled_sensor),
        ],
    )


OPERATIONS = Domain(
    name="operations",
    define=_build_definitions,
    state_paths=[EXPORTS_FOLDER],
    registrations=[
        ItemTopics(prefix=EXPORTS_TOPIC, open=WorkItems),
        RetentionReader(lambda _: DomainRetention(rows=[CopyRetention()])),
    ],
)
