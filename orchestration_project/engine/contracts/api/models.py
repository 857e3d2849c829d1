"""Models of the API's answers, which the client reads too."""

from datetime import date, datetime
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, Field

from orchestration_project.engine.contracts.api.runs import OUTCOME_FIELD, Launched
from orchestration_project.engine.contracts.partitioning import LoadOutcome


class WrongField(BaseModel):
    """A parameter or a field of the body that cannot be taken."""

    field: str = Field(description="Name; a nested field has a dotted path")
    problem: str = Field(description="Violation")


class Problem(BaseModel):
    """Why something was not done, and what to do."""

    type: str = Field(default="about:blank", description="URI of the problem type")
    title: str = Field(description="The status in words")
    status: int = Field(description="The HTTP status")
    detail: str = Field(description="Description of this problem, one sentence")
    category: str = Field(
        description="request, access, not_found, conflict, limit or defect; or the category of "
        "what failed: transient, source, contract, configuration"
    )
    run_id: str | None = Field(default=None, description="Run that it concerns")
    trace_id: str | None = Field(default=None, description="W3C trace ID of the request")
    expected: str | None = Field(default=None, description="Expected value")
    found: str | None = Field(default=None, description="Value that was found")
    remedy: str | None = Field(default=None, description="Remedy")
    errors: list[WrongField] = Field(default=[], description="Invalid fields")


class Asked(BaseModel):
    """A backfill that was asked for, or would be."""

    backfill_id: str | None = Field(description="ID; null: nothing was launched")
    job: str = Field(description="Its job")
    partitions: list[str] = Field(description="The keys of its partitions")
    requested_range: str | None = Field(
        description="The requested dates, such as T1|2025-01-06 to T1|2025-02-03; "
        "null: an earlier version launched it"
    )
    loaded_range: str | None = Field(
        description="The first and last day of its partitions; null: it has none"
    )
    notes: list[str] = Field(
        description="Differences between both, such as months that are loaded whole; empty if "
        "is_repeated"
    )
    is_repeated: bool = Field(
        description="Whether an earlier request with the same Idempotency-Key created it"
    )


class Backfill(BaseModel):
    """How a backfill is."""

    backfill_id: str = Field(description="Its id")
    status: str = Field(description="In Dagster's words")
    title: str | None = Field(description="Title")
    created_at: datetime = Field(description="Creation time")
    ended_at: datetime | None = Field(description="End time")
    partition_count: int | None = Field(description="Number of partitions")
    partitions: list[str] = Field(description="Partition keys, where they are few")
    error: str | None = Field(description="Why it failed")
    outcome: LoadOutcome | None = Field(description=OUTCOME_FIELD)


class Column(BaseModel):
    """A column of a table or view."""

    name: str = Field(description="Its name")
    type: str = Field(description="SQL type")
    is_nullable: bool = Field(description="Whether it is nullable")
    is_key: bool = Field(description="Whether it is part of the primary key")
    description: str = Field(description="Meaning, and unit")


class Described(BaseModel):
    """A table or view."""

    name: str = Field(description="Its name")
    kind: Literal["table", "view"] = Field(description="Kind: table or view")
    description: str = Field(description="Meaning of a row")
    has_history: bool = Field(description="Whether point-in-time queries are possible")
    columns: list[Column] = Field(description="Its columns, in order")


class Tables(BaseModel):
    """Readable tables and views."""

    tables: list[Described] = Field(description="By name")


NEXT_CURSOR = "next_cursor"
"""Key in the metadata of a Parquet file with `limit` rows: the cursor of those that may follow."""


class Page(BaseModel):
    """A page of rows. Days and times are ISO text, dollars text with all their places."""

    table: str = Field(description="The table or view")
    rows: list[dict[str, Any]] = Field(description="In the order of the key")
    next_cursor: str | None = Field(
        description="Cursor of the next page; null: this is the last page"
    )


class TableChange(BaseModel):
    """Change of a row of a table, or of a partition. Values are as those of a page of rows."""

    cursor: str = Field(description="Place after it, from which a reader goes on")
    change: Literal["added", "changed", "removed", "reset", "present"] = Field(
        description=(
            "added, changed or removed by a load. reset: forget the rows of the partition, as they "
            "changed otherwise, e.g. by an erasure; its rows follow as present. Changes after a "
            "reset may be of rows that are present already, or gone"
        )
    )
    row: dict[str, Any] | None = Field(
        description="Values that the load wrote, or the last ones of a removed row; null: a reset"
    )
    partition: dict[str, Any] = Field(description="Partition as column values; {}: all")
    cause: str | None = Field(
        description="Cause of the load: first, more, source, metadata or ours; null: no load"
    )
    group_id: str | None = Field(description="Delivery that was loaded; null: none")
    known_from: AwareDatetime | None = Field(description="Time from which the row was known")
    known_to: AwareDatetime | None = Field(
        description="Time from which a removed row was not; null: known after this load"
    )
    published_on: date | None = Field(
        description="Publication day of the delivery; null: the source dates none"
    )


class TableChanges(BaseModel):
    """Changes of a table, in order of commit."""

    table: str = Field(description="The table")
    changes: list[TableChange] = Field(description="In order of commit, each load by its key")
    next_cursor: str = Field(description="Cursor of the next page, also where no change followed")
    is_more: bool = Field(description="Whether the next page may have changes now")


class Document(BaseModel):
    """A document: its row, and what else is known of it. Lists have at most 100 entries."""

    document: dict[str, Any] = Field(description="Its row of the table documents")
    paths: list[str] = Field(description="Paths at which it lies, or lay")
    children: list[dict[str, Any]] = Field(
        description="Attachments or members: document_id, path_in_parent, media_type and state"
    )
    similar: list[dict[str, Any]] = Field(
        description="Similar documents: document_id, score and group_id, the highest score first"
    )


class DocumentEvent(BaseModel):
    """Event of a document."""

    happened_at: datetime | None = Field(description="UTC time; null: not recorded")
    kind: str = Field(description="Kind of the event, e.g. captured")
    text: str = Field(description="Event, for people")
    run_id: str | None = Field(description="Dagster run; null: none")
    run_url: str | None = Field(description="Address of the run in the UI; null: no run")
    reason_code: str | None = Field(description="Reason code; null: no remark")
    remedy: str | None = Field(description="Remedy; null: nothing is left to do")


class DocumentTimeline(BaseModel):
    """Events of a document, in order of time; those without a time are last."""

    document_id: str | None = Field(description="SHA-256 of its bytes; null: it is erased")
    paths: list[str] = Field(description="Paths of its files")
    state: str = Field(description="State: loaded, empty, needs_ocr, encrypted, refused or erased")
    events: list[DocumentEvent] = Field(description="Events")


class Tick(BaseModel):
    """A time at which it was asked what to run."""

    at: datetime = Field(description="When")
    status: str = Field(description="STARTED, SKIPPED, SUCCESS or FAILURE")
    run_ids: list[str] = Field(description="Launched runs")
    said: str | None = Field(description="Skip reason, or error")


class Automation(BaseModel):
    """A schedule or sensor."""

    name: str = Field(description="Its name")
    description: str | None = Field(description="Description")
    jobs: list[str] = Field(description="Launched job")
    is_on: bool = Field(description="Whether it is running")
    cron: str | None = Field(description="Cron expression of a schedule")
    timezone: str | None = Field(description="Time zone of a schedule")
    interval_seconds: int | None = Field(description="Minimum interval of a sensor, seconds")
    ticks: list[Tick] = Field(description="Latest ticks, the latest first")


class Automations(BaseModel):
    """Schedules or sensors."""

    automations: list[Automation] = Field(description="By name")


class Switched(BaseModel):
    """A schedule or sensor that was switched."""

    name: str = Field(description="Its name")
    is_on: bool = Field(description="Whether it is running now")


class Capture(BaseModel):
    """Something that was fetched."""

    capture_id: str = Field(description="ID, digits")
    dataset: str = Field(description="Dataset, such as weeklySummary")
    partition: str = Field(description="Partition key, or symbol")
    part_number: int = Field(description="Part of the delivery")
    fetched_at: AwareDatetime = Field(description="When")
    rows: int | None = Field(description="Number of data lines; null: not delimited text")
    bytes: int = Field(description="Size as received, bytes")
    sha256: str = Field(description="SHA-256 of the bytes, hex")
    run_id: str = Field(description="Run that fetched it")
    url: str = Field(description="Address that it was fetched from")


class Uploaded(BaseModel):
    """An uploaded file that is stored; repeating it changes nothing."""

    inbox: str = Field(description="Name of the inbox")
    upload_id: str = Field(description="ID of the file in the inbox")
    file_name: str = Field(description="Name of the file, as it was given")
    sha256: str = Field(description="SHA-256 of the bytes, hex")
    document_id: str | None = Field(
        description="ID of the document that is loaded of the file; null: the inbox is not one of "
        "documents"
    )
    byte_count: int = Field(description="Size, bytes")
    is_new: bool = Field(description="Whether the inbox did not have this name with these bytes")


class Artifacts(BaseModel):
    """Captures."""

    captures: list[Capture] = Field(description="Entries, the latest first")


class Archive(BaseModel):
    """An archive of evidence."""

    file: str = Field(description="Its name")
    bytes: int = Field(description="Size, bytes")


class Export(Launched):
    """A run that writes an archive."""

    file: str = Field(
        description="File name, available once the run has succeeded: GET /evidence/{file}"
    )


class MissingRows(BaseModel):
    """Rows that are not in a table's state by publication."""

    missing_earlier_state: int = Field(
        description="Rows that were published by the day and changed since, and whose state then "
        "was never loaded"
    )
    undated_count: int = Field(description="Rows without dates of publication")
    undated_first_publication: int = Field(
        description="Rows that were changed after the day, and of which the source does not say "
        "when it first published them"
    )
    undated_removal: int = Field(
        description="Removed rows of which the source does not date the removal: it counts from "
        "the day of the load"
    )
    keys: list[dict[str, str]] = Field(
        description="Keys of the first of these rows, each with its reason"
    )


class GoldExport(Launched):
    """A run that derives a gold table as of a time, and writes it to a file."""

    file: str = Field(
        description="Name of the Parquet file, available once the run has succeeded: "
        "GET /files?name={file}"
    )


class Archives(BaseModel):
    """The archives that there are."""

    archives: list[Archive] = Field(description="By name")


class InForce(BaseModel):
    """Preset that was applied last to a job."""

    preset: str = Field(description="The preset")
    number: int = Field(description="Version: number of presets applied to the job so far")
    user: str = Field(description="User who applied it")
    reason: str = Field(description="Why")
    applied_at: datetime = Field(description="When")


class Preset(BaseModel):
    """A preset as its file says."""

    name: str = Field(description="Its name")
    job: str = Field(description="Job; empty where the file cannot be read")
    description: str = Field(description="Description")
    values: dict[str, Any] = Field(description="Values that it sets")
    in_force: InForce | None = Field(description="Preset that is applied to its job now")
    problem: str | None = Field(description="Why it is invalid")


class PresetList(BaseModel):
    """The presets that there are."""

    presets: list[Preset] = Field(description="By name")


class Change(BaseModel):
    """A value before and after a preset is applied."""

    field: str = Field(description="Path of the value")
    now: str = Field(description="Current value")
    then: str = Field(description="Value after it is applied")
    is_changed: bool = Field(description="Whether they differ")


class Preview(BaseModel):
    """Changes by a preset for later runs of its job."""

    preset: Preset = Field(description="The preset")
    changes: list[Change] = Field(description="Each value that it or the applied preset sets")


class Finding(BaseModel):
    """Latest finding about a dependency."""

    dependency: str = Field(description="Such as database, finra or disk")
    outcome: str = Field(description="passed, failed or not_applicable")
    tried: str = Field(description="Probe that was run")
    got: str = Field(description="Result of the probe")
    remedy: str = Field(description="Remedy; empty where none is needed")
    seconds: float = Field(description="Duration, seconds")
    checked_at: datetime = Field(description="When")


class Readiness(BaseModel):
    """Readiness of all dependencies on this machine, as last probed; runs probe again."""

    is_ready: bool = Field(description="Whether all dependencies were probed and none failed")
    findings: list[Finding] = Field(description="By dependency")


class ConfigEntry(BaseModel):
    """A value in effect."""

    name: str = Field(description="Name of a setting, or of a job's field in a preset")
    value: str = Field(description="Value without secrets")
    origin: str = Field(description="Origin: default, file, environment or a preset")


class Config(BaseModel):
    """The configuration in effect."""

    config_hash: str = Field(description="Hash, which runs have as the tag .dagster/config_hash")
    entries: list[ConfigEntry] = Field(description="By name")


class AccessEntry(BaseModel):
    """A login, refused request or step of a change."""

    request_id: str = Field(description="Request ID, the header X-Request-ID of the response")
    step_number: int = Field(description="Step of the request: 1 (received) or 2 (answered)")
    happened_at: AwareDatetime = Field(description="UTC time of the event")
    user_name: str | None = Field(description="User; null: unknown")
    role: str | None = Field(description="Role of the user at that time; null: unknown")
    key_id: str | None = Field(description="Key ID; null: no key")
    address: str = Field(description="IP address of the request")
    operation: str = Field(description="Operation: login, a mutation's name, or method and path")
    target: str | None = Field(description="Target, JSON; null: no target")
    outcome: str = Field(description="Outcome: asked, done, failed or refused")
    reason: str | None = Field(description="Reason of a refusal or failure")
    trace_id: str | None = Field(description="W3C trace ID; null: no trace")


class AccessEntries(BaseModel):
    """Entries of the audit of access, the latest first."""

    entries: list[AccessEntry] = Field(description="Entries")
    next_cursor: str | None = Field(description="Cursor of the next page; null: the last page")


class Sessions(BaseModel):
    """Sessions (runs started together), with progress and results."""

    sessions: list[dict[str, Any]] = Field(
        description="Rows of operations_sessions; GET /tables describes the columns"
    )


class ControlTower(BaseModel):
    """How each domain and asset stands, by windows of time."""

    rows: list[dict[str, Any]] = Field(
        description="Rows of operations_control_tower, as of the latest refresh"
    )


class RuleInEffect(BaseModel):
    """A sync rule in effect."""

    rule_id: str = Field(description="Its name")
    version: int = Field(description="Version, from 1, incremented by each edit")
    disabled_reason: str | None = Field(description="Parts that the target rejects; null: none")
    rule: dict[str, Any] = Field(description="Definition, as the job saas_edit_rules accepts it")


class RulesInEffect(BaseModel):
    """All sync rules in effect."""

    version: str = Field(description="Version of all rules; an edit names the one it started from")
    rules: list[RuleInEffect] = Field(description="In order of evaluation")


class SyncChange(BaseModel):
    """Difference that edited sync rules would make for a recorded task."""

    entity_id: str = Field(description="ID of the task")
    title: str = Field(description="Its title")
    field: str = Field(description="Part of its treatment or its issue")
    before: str = Field(description="By the rules in effect")
    after: str = Field(description="By the edited rules")


class SyncDryRun(BaseModel):
    """Effect that edited sync rules would have on recorded tasks; the target is not asked."""

    version: str = Field(description="Version of the rules in effect, which an edit names")
    task_count: int = Field(description="Recorded tasks")
    changed_count: int = Field(description="Tasks that differ")
    by_rule: dict[str, int] = Field(description="Tasks by rule; empty name: no rule")
    refused: dict[str, str] = Field(description="Why mappings cannot be filled, by task")
    differences: list[SyncChange] = Field(description="The first 100 of them")


class AuditEntry(BaseModel):
    """An action or decision of the sync between PeopleForce and Jira."""

    entry_id: str = Field(description="Sequence number, in order of events")
    happened_at: datetime = Field(description="UTC time")
    system: str = Field(description="Source system; of rules: rules")
    entity_type: str = Field(description="Record type, such as task; of rules: rule")
    entity_id: str = Field(description="ID in the source; of rules: rule name")
    issue_key: str | None = Field(description="Issue key; null: no issue")
    operation: str = Field(description="Action, one word")
    detail: dict[str, Any] = Field(description="Changes, or reason")
    run_id: str = Field(description="Dagster run")


class AuditEntries(BaseModel):
    """A page of the audit log of the sync."""

    entries: list[AuditEntry] = Field(description="Entries, the latest first")
    next_cursor: str | None = Field(
        description="Cursor of the next page; null: this is the last page"
    )
