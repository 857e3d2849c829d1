"""Roles, what each may do, and which texts are shown to whom."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class Role(StrEnum):
    """Roles, each with all permissions of the previous ones."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def covers(self, least: "Role") -> bool:
        """Whether this role may do what ``least`` may."""
        order = list(Role)
        return order.index(self) >= order.index(least)


@dataclass(frozen=True)
class Principal:
    """Authenticated caller.

    Attributes:
        name: The owner of a key, or an e-mail address.
        way: By a session's cookie, by a key in a header, or without a login (GATEWAY_AUTH=off).
        key_id: The key that was used, now or to log in; None: logged in by OpenID Connect.
        session: The stored hash of the session, None where there is none.
    """

    name: str
    role: Role
    way: Literal["session", "key", "open"]
    key_id: str | None = None
    session: str | None = None


OPERATOR_PERMISSIONS = frozenset(
    {
        "launch_pipeline_execution",
        "launch_pipeline_reexecution",
        "start_schedule",
        "stop_running_schedule",
        "schedule_dry_run",
        "edit_sensor",
        "sensor_dry_run",
        "update_sensor_cursor",
        "terminate_pipeline_execution",
        "reload_repository_location",
        "reload_workspace",
        "launch_partition_backfill",
        "cancel_partition_backfill",
        "toggle_auto_materialize",
    }
)
"""Dagster's names of what an operator may do: launch, retry, cancel, switch, reload."""

ADMIN_PERMISSIONS = frozenset(
    {
        "delete_pipeline_run",
        "wipe_assets",
        "report_runless_asset_events",
        "edit_dynamic_partitions",
        "edit_concurrency_limit",
        "refresh_component_state",
    }
)
"""Additional permissions of an admin: delete, wipe, and report events without a run. Editing
components in the UI is in no role: open-source Dagster lacks it."""

OPERATOR_MUTATIONS = frozenset(
    {
        "launchPipelineExecution",
        "launchRun",
        "launchMultipleRuns",
        "launchPipelineReexecution",
        "launchRunReexecution",
        "startSchedule",
        "stopRunningSchedule",
        "resetSchedule",
        "startSensor",
        "setSensorCursor",
        "stopSensor",
        "resetSensor",
        "sensorDryRun",
        "scheduleDryRun",
        "terminatePipelineExecution",
        "terminateRun",
        "terminateRuns",
        "reloadRepositoryLocation",
        "reloadWorkspace",
        "launchPartitionBackfill",
        "resumePartitionBackfill",
        "reexecutePartitionBackfill",
        "cancelPartitionBackfill",
        "setNuxSeen",
        "logTelemetry",
        "setAutoMaterializePaused",
    }
)
"""The mutations of Dagster's schema behind those permissions."""

ADMIN_MUTATIONS = frozenset(
    {
        "deletePipelineRun",
        "deleteRun",
        "shutdownRepositoryLocation",
        "wipeAssets",
        "reportRunlessAssetEvents",
        "reportAssetCheckEvaluations",
        "addDynamicPartition",
        "deleteDynamicPartitions",
        "refreshComponentState",
        "setConcurrencyLimit",
        "deleteConcurrencyLimit",
        "freeConcurrencySlotsForRun",
        "freeConcurrencySlots",
    }
)

PERMISSIONS_OF_ROLE: Mapping[Role, str] = {
    Role.VIEWER: "all domains: read, without personal columns",
    Role.OPERATOR: "all domains: read, without personal columns; launch, retry, replay and cancel "
    "runs; switch automation",
    Role.ADMIN: "all domains: read, also personal columns; launch, retry, replay and cancel runs; "
    "switch automation; erase, delete and wipe; edit presets, flags and plugins",
}
"""Permissions of each role; a role is not limited to a domain."""

ROLE_OF_ACTION: Mapping[str, Role] = {
    "erase": Role.ADMIN,
    "accept": Role.OPERATOR,
    "grant": Role.ADMIN,
}
"""Role that requests and confirms each action that FOUR_EYES may name."""

REQUIRES_ADMIN = {"requires_admin": "true"}
"""Tag of an asset, op or job that only an admin may run, such as one that deletes: the one place
where that is declared. An asset's checks and all jobs that run it follow."""

ADMIN_KINDS = "requires_admin_for"
"""Tag of an op whose config selects a kind: the kinds that only an admin may run, by commas."""


def build_admin_tags(kinds: Iterable[str]) -> dict[str, str]:
    """Return the tag of an op of which only an admin may run these kinds; none of no kinds."""
    listed = ",".join(kinds)
    return {ADMIN_KINDS: listed} if listed else {}


def select_kind_tags(tags: Mapping[str, str], config: Mapping[str, object]) -> Mapping[str, str]:
    """Return the tags of the kind that the config of an op selects: ``{kind: options}``.

    Without a kind, those of the op, which only an admin may run.
    """
    if ADMIN_KINDS not in tags or len(config) != 1:
        return tags
    listed = tags[ADMIN_KINDS].split(",")
    texts = {name: text for name, text in tags.items() if name != ADMIN_KINDS}
    return texts if set(listed).isdisjoint(config) else texts | REQUIRES_ADMIN


def split_kind_tags(tags: Mapping[str, str]) -> Sequence[Mapping[str, str]]:
    """Return the tags of the kinds of an op: of those for operators, and of those for admins."""
    if ADMIN_KINDS not in tags:
        return [tags]
    texts = {name: text for name, text in tags.items() if name != ADMIN_KINDS}
    return [texts, texts | REQUIRES_ADMIN]


def needs_admin(tags: Mapping[str, str]) -> bool:
    """Whether only an admin may run a part with these tags."""
    return not {*REQUIRES_ADMIN, ADMIN_KINDS}.isdisjoint(tags)


def list_permissions(role: Role) -> frozenset[str]:
    """Return Dagster's names of what ``role`` may do."""
    if role is Role.ADMIN:
        return OPERATOR_PERMISSIONS | ADMIN_PERMISSIONS
    return OPERATOR_PERMISSIONS if role is Role.OPERATOR else frozenset()


def may_call(role: Role, mutation: str) -> bool:
    """Whether ``role`` may send a mutation; unknown mutations are forbidden."""
    if mutation in OPERATOR_MUTATIONS:
        return role.covers(Role.OPERATOR)
    return mutation in ADMIN_MUTATIONS and role.covers(Role.ADMIN)


def may_run(role: Role, parts: Iterable[Mapping[str, str] | None]) -> bool:
    """Whether ``role``, where it may launch at all, may run all of these parts.

    Args:
        role: The role of the user who launches.
        parts: The tags of each asset, op and job that would run; None: it cannot be resolved.
    """
    if role.covers(Role.ADMIN):
        return True
    return all(tags is not None and not needs_admin(tags) for tags in parts)


STACK = re.compile(
    r"(?:^|\n)[ \t|+-]*(?:Stack Trace|Traceback \(most recent call last\)):[ \t]*(?:\n[ \t|].*)*"
)
"""Its heading, and the lines below it that are indented."""


def redact_for_role(role: Role, text: str) -> str:
    """Return a text without the stacks in it, unless an admin reads it."""
    return text if role.covers(Role.ADMIN) else remove_stacks(text)


def remove_stacks(text: str) -> str:
    """Return a text without the stacks in it."""
    return STACK.sub("", text)
