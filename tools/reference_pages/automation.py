"""The pages of jobs and of automation: what can be launched, and what launches it."""

import dagster as dg

from orchestration_project.catalog import REGISTRY
from orchestration_project.definitions import defs
from orchestration_project.engine.contracts.automation import PROFILE
from orchestration_project.registry import Domain, Job, Registry
from orchestration_project.services.presets import list_preset_names, resolve_preset
from tools.reference_pages.markdown import code, codes, first_sentence, page, section, table

PARTITIONS: dict[type[dg.PartitionsDefinition[str]], str] = {
    dg.MultiPartitionsDefinition: "two dimensions",
    dg.MonthlyPartitionsDefinition: "month",
    dg.WeeklyPartitionsDefinition: "week",
    dg.TimeWindowPartitionsDefinition: "time window",
    dg.StaticPartitionsDefinition: "listed",
    dg.DynamicPartitionsDefinition: "as they come",
}
"""What a job's partitions are; of a kind that is not here, the page names the class."""


def write_jobs(registry: Registry = REGISTRY) -> str:
    """Return the page of jobs and presets."""
    domains = [domain for domain in registry.domains if domain.definitions.jobs]
    return page("jobs", [*map(_jobs, domains), _presets()])


def _jobs(domain: Domain) -> str:
    columns = ("job", "partitions", "what it does", "parameters of the API", "also")
    return section(code(domain.name), table(columns, map(_job, domain.definitions.jobs)))


def _job(job: Job) -> tuple[str, ...]:
    definition = job.definition
    partitions = definition.partitions_def
    known = [
        name for each, name in PARTITIONS.items() if partitions and isinstance(partitions, each)
    ]
    also = [
        "presets" if any(job.name == each.job for each in REGISTRY.preset_targets) else "",
        "consumes webhooks" if job.consumes_webhooks or job.claims_webhooks else "",
    ]
    if isinstance(partitions, dg.MultiPartitionsDefinition):
        known = [" x ".join(each.name for each in partitions.partitions_defs)]
    return (
        code(job.name),
        [*known, type(partitions).__name__][0] if partitions else "",
        first_sentence(definition.description),
        codes(each.name for each in job.parameters or ()),
        ", ".join(filter(None, also)),
    )


def _presets() -> str:
    rows = map(_preset, list_preset_names())
    return section("Presets", table(("preset", "job", "what it does", "sets"), rows))


def _preset(name: str) -> tuple[str, ...]:
    preset, _ = resolve_preset(name, REGISTRY.preset_targets)
    fields = [f"{field}: {value}" for field, value in preset.values.items()]
    return code(name), code(preset.job), preset.description, codes(fields)


def write_automation() -> str:
    """Return the page of schedules and sensors."""
    repository = defs.get_repository_def()
    schedules = sorted(repository.schedule_defs, key=lambda each: each.name)
    sensors = sorted(repository.sensor_defs, key=lambda each: each.name)
    return page(
        "automation",
        [
            section(
                "Schedules",
                table(
                    (
                        "schedule",
                        "cron",
                        "time zone",
                        "job",
                        "initially",
                        "profile",
                        "what it does",
                    ),
                    map(_schedule, schedules),
                ),
            ),
            section(
                "Sensors",
                table(
                    ("sensor", "every", "jobs", "initially", "profile", "what it does"),
                    map(_sensor, sensors),
                ),
            ),
        ],
    )


def _state(each: dg.ScheduleDefinition | dg.SensorDefinition) -> str:
    return "on" if each.default_status.value == "RUNNING" else "off"


def _schedule(each: dg.ScheduleDefinition) -> tuple[str, ...]:
    return (
        code(each.name),
        code(each.cron_schedule),
        str(each.execution_timezone),
        code(each.job_name),
        _state(each),
        code(each.metadata[PROFILE].value),
        first_sentence(each.description),
    )


def _sensor(each: dg.SensorDefinition) -> tuple[str, ...]:
    jobs = codes(sorted(job.name for job in each.jobs)) if each.has_jobs else ""
    interval = each.minimum_interval_seconds or 30
    return (
        code(each.name),
        f"{interval} s" if interval < 120 else f"{interval // 60} min",
        jobs,
        _state(each),
        code(each.metadata[PROFILE].value),
        first_sentence(each.description),
    )
