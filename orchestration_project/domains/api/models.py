"""Models of the API's answers, which the client reads too."""

from datetime import datetime
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, Field

from orchestration_project.domains.api.runs import Launched


class WrongField(BaseModel):
    """A parameter or a field of the body that cannot be taken."""

    field: str = Field(description="Its name; of a nested one the way to it, with dots")
    problem: str = Field(description="What is wrong with it")


class Problem(BaseModel):
    """Why something was not done, and what to do."""

    type: str = Field(default="about:blank", description="A URI of the kind of problem")
    title: str = Field(description="The status in words")
    status: int = Field(description="The HTTP status")
    detail: str = Field(description="What is the matter, one sentence")
    category: str = Field(
        description="request, access, not_found, conflict, limit or defect; or the category of "
        "what failed: transient, source, contract, configuration"
    )
    run_id: str | None = Field(default=None, description="The run that it is about")
    expected: str | None = Field(default=None, description="What would have been right")
    found: str | None = Field(default=None, description="What was there instead")
    remedy: str | None = Field(default=None, description="What to do")
    errors: list[WrongField] = Field(default=[], description="What is wrong with each")


class Asked(BaseModel):
    """A backfill that was asked for, or would be."""

    backfill_id: str | None = Field(description="Its id; null: nothing was launched")
    job: str = Field(description="Its job")
    partitions: list[str] = Field(description="The keys of its partitions")
    is_repeated: bool = Field(
        description="Whether it was asked for before, by a request with the same Idempotency-Key"
    )


class Backfill(BaseModel):
    """How a backfill is."""

    backfill_id: str = Field(description="Its id")
    status: str = Field(description="In Dagster's words")
    title: str | None = Field(description="What it is called")
    created_at: datetime = Field(description="When it was asked for")
    ended_at: datetime | None = Field(description="When it ended")
    partition_count: int | None = Field(description="How many partitions it is of")
    partitions: list[str] = Field(description="The keys of its partitions, where they are few")
    error: str | None = Field(description="Why it failed")


class Column(BaseModel):
    """A column of a table or view."""

    name: str = Field(description="Its name")
    type: str = Field(description="Its type in SQL")
    is_nullable: bool = Field(description="Whether a row may have none")
    is_key: bool = Field(description="Whether it is part of the key")
    description: str = Field(description="What it says, and its unit")


class Described(BaseModel):
    """A table or view."""

    name: str = Field(description="Its name")
    kind: Literal["table", "view"] = Field(description="What it is")
    description: str = Field(description="What a row is")
    has_history: bool = Field(description="Whether it can be asked for as of a time")
    columns: list[Column] = Field(description="Its columns, in order")


class Tables(BaseModel):
    """What can be read."""

    tables: list[Described] = Field(description="By name")


class Page(BaseModel):
    """A page of rows. Days and times are ISO text, dollars text with all their places."""

    table: str = Field(description="The table or view")
    rows: list[dict[str, Any]] = Field(description="In the order of the key")
    next_cursor: str | None = Field(description="For the next page; null: this is the last")


class Tick(BaseModel):
    """A time at which it was asked what to run."""

    at: datetime = Field(description="When")
    status: str = Field(description="STARTED, SKIPPED, SUCCESS or FAILURE")
    run_ids: list[str] = Field(description="The runs that it launched")
    said: str | None = Field(description="Why it launched nothing, or what failed")


class Automation(BaseModel):
    """A schedule or sensor."""

    name: str = Field(description="Its name")
    description: str | None = Field(description="What it does")
    jobs: list[str] = Field(description="What it launches")
    is_on: bool = Field(description="Whether it runs")
    cron: str | None = Field(description="Of a schedule: when")
    timezone: str | None = Field(description="Of a schedule: by which time")
    interval_seconds: int | None = Field(description="Of a sensor: how often at most")
    ticks: list[Tick] = Field(description="Its last ticks, the latest first")


class Automations(BaseModel):
    """Schedules or sensors."""

    automations: list[Automation] = Field(description="By name")


class Switched(BaseModel):
    """A schedule or sensor that was switched."""

    name: str = Field(description="Its name")
    is_on: bool = Field(description="Whether it runs now")


class Capture(BaseModel):
    """Something that was fetched."""

    capture_id: str = Field(description="Its id, digits")
    partition: str = Field(description="What it was fetched for")
    part_number: int = Field(description="Which part of the delivery it is")
    fetched_at: AwareDatetime = Field(description="When")
    rows: int | None = Field(description="Data lines; null: it is no such lines")
    bytes: int = Field(description="Its size as it was received, bytes")
    sha256: str = Field(description="Of the bytes, hex")
    run_id: str = Field(description="The run that fetched it")
    url: str = Field(description="Where it was fetched")


class Artifacts(BaseModel):
    """What was captured."""

    captures: list[Capture] = Field(description="The latest first")


class Archive(BaseModel):
    """An archive of evidence."""

    file: str = Field(description="Its name")
    bytes: int = Field(description="Its size, bytes")


class Export(Launched):
    """A run that writes an archive."""

    file: str = Field(description="Its name once the run has succeeded: GET /evidence/{file}")


class Archives(BaseModel):
    """The archives that there are."""

    archives: list[Archive] = Field(description="By name")


class InForce(BaseModel):
    """What was applied last to a job."""

    preset: str = Field(description="The preset")
    number: int = Field(description="Counts what was applied to the job")
    user: str = Field(description="Who applied it")
    reason: str = Field(description="Why")
    applied_at: datetime = Field(description="When")


class Preset(BaseModel):
    """A preset as its file says."""

    name: str = Field(description="Its name")
    job: str = Field(description="The job that it is for; empty where the file cannot be read")
    description: str = Field(description="What it does")
    values: dict[str, Any] = Field(description="What it sets")
    in_force: InForce | None = Field(description="What its job goes by now")
    problem: str | None = Field(description="Why it cannot be used")


class PresetList(BaseModel):
    """The presets that there are."""

    presets: list[Preset] = Field(description="By name")


class Change(BaseModel):
    """A value before and after a preset is applied."""

    field: str = Field(description="What is set")
    now: str = Field(description="What holds now")
    then: str = Field(description="What would hold")
    is_changed: bool = Field(description="Whether that differs")


class Preview(BaseModel):
    """What a preset would change for later runs of its job."""

    preset: Preset = Field(description="The preset")
    changes: list[Change] = Field(description="Each value that it or the present one sets")


class Finding(BaseModel):
    """What was last found of a dependency."""

    dependency: str = Field(description="Such as database, finra or disk")
    outcome: str = Field(description="passed, failed or not_applicable")
    tried: str = Field(description="What was done to find out")
    got: str = Field(description="What came of it")
    remedy: str = Field(description="What to do; empty where nothing is")
    seconds: float = Field(description="How long it took")
    checked_at: datetime = Field(description="When")


class Readiness(BaseModel):
    """Whether all that work depends on was found ready on this machine; runs look anew."""

    is_ready: bool = Field(description="Whether it was looked at, and nothing failed")
    findings: list[Finding] = Field(description="By dependency")


class ConfigEntry(BaseModel):
    """A value in effect."""

    name: str = Field(description="Of a setting, or of a field of a preset")
    value: str = Field(description="Without secrets")
    origin: str = Field(description="default, file, environment or a preset")


class Config(BaseModel):
    """The configuration in effect."""

    config_hash: str = Field(description="The hash that runs have as a tag")
    entries: list[ConfigEntry] = Field(description="By name")


class Sessions(BaseModel):
    """What was started together, how far it is, and what came of it."""

    sessions: list[dict[str, Any]] = Field(
        description="Rows of operations_sessions; GET /tables describes the columns"
    )


class ControlTower(BaseModel):
    """How each domain and asset stands, by windows of time."""

    rows: list[dict[str, Any]] = Field(
        description="Rows of operations_control_tower, as of the last look"
    )


class RuleInEffect(BaseModel):
    """A sync rule in effect."""

    rule_id: str = Field(description="Its name")
    version: int = Field(description="From 1, rises with each edit")
    disabled_reason: str | None = Field(description="What the target refuses of it; null: nothing")
    rule: dict[str, Any] = Field(description="What it says, as the job saas_edit_rules takes it")


class RulesInEffect(BaseModel):
    """All sync rules in effect."""

    rules: list[RuleInEffect] = Field(description="In the order in which they are asked")


class AuditEntry(BaseModel):
    """An action or decision of the sync between PeopleForce and Jira."""

    entry_id: str = Field(description="Sorts as it happened")
    happened_at: datetime = Field(description="UTC time")
    system: str = Field(description="The source; of rules: rules")
    entity_type: str = Field(description="Such as task; of rules: rule")
    entity_id: str = Field(description="The source's id; of rules: their name")
    issue_key: str | None = Field(description="Of the issue; null: there is none")
    operation: str = Field(description="What was done, one word")
    detail: dict[str, Any] = Field(description="What changed, or why")
    run_id: str = Field(description="Dagster run")


class AuditEntries(BaseModel):
    """A page of the audit log of the sync."""

    entries: list[AuditEntry] = Field(description="The latest first")
    next_cursor: str | None = Field(description="For the next page; null: this is the last")
