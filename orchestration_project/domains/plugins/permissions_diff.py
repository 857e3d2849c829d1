"""Comparison of what a plugin requests with what it was granted."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from orchestration_project.domains.plugins.manifest import Budget, Permissions
from orchestration_project.errors import ConfigurationError, did_you_mean


class Change(StrEnum):
    """Difference of a permission that is requested from the granted one."""

    ADDED = "added"
    WIDER = "wider"
    NARROWER = "narrower"
    REMOVED = "removed"
    SAME = "same"


WIDENING = (Change.ADDED, Change.WIDER)


class PermissionChange(NamedTuple):
    """A permission, and how it differs from the granted one.

    Attributes:
        permission: Field of ``permissions``, or ``budget``.
        name: What it names, such as a host.
        change: The difference.
        granted: Details of the granted one; empty: none.
        asked: Details of what is requested; empty: none.
    """

    permission: str
    name: str
    change: Change
    granted: str
    asked: str


def compare(
    granted: Permissions | None,
    asked: Permissions,
    granted_budget: Budget | None,
    asked_budget: Budget,
) -> list[PermissionChange]:
    """Return each permission that is granted or asked for, with its change."""
    permission_changes: list[PermissionChange] = []
    for permission in Permissions.model_fields:
        before = _map_by_name(getattr(granted, permission)) if granted else {}
        after = _map_by_name(getattr(asked, permission))
        permission_changes += [
            _change(permission, name, before.get(name), after.get(name))
            for name in dict.fromkeys([*before, *after])
        ]
    before = granted_budget.model_dump() if granted_budget else {}
    after = asked_budget.model_dump()
    return permission_changes + [
        _limit(name, before.get(name), limit) for name, limit in after.items()
    ]


def is_wider(changes: Sequence[PermissionChange]) -> bool:
    """Whether something is requested that was not granted."""
    return any(change.change in WIDENING for change in changes)


def selected(
    asked: Permissions, given: Mapping[str, Collection[str] | None], *, plugin: str
) -> Permissions:
    """Return those of the asked permissions that a person names.

    Args:
        asked: Permissions in plugin.yaml.
        given: Names by field of ``permissions``; None, or an omitted field: all that is requested.
        plugin: ID of the plugin, for messages.

    Raises:
        ConfigurationError: A kind is unknown, a name is not requested, or what is granted needs
            more than that.
    """
    _require_kinds(given)
    fields: dict[str, Any] = {}
    for permission in Permissions.model_fields:
        entries = getattr(asked, permission)
        names = given.get(permission)
        known_names = [_name(entry) for entry in entries]
        for name in names or ():
            if name not in known_names:
                raise ConfigurationError(
                    f"{plugin} does not request {name!r:.100} of {permission}",
                    expected=", ".join(known_names) or "no name: it requests none",
                    remedy=did_you_mean(name, known_names) or "grant what plugin.yaml requests",
                )
        fields[permission] = [entry for entry in entries if names is None or _name(entry) in names]
    hosts = [field.host for field in fields["hosts"]]
    for permission in ("secrets", "actions"):
        if given.get(permission) is None:
            fields[permission] = [field for field in fields[permission] if field.host in hosts]
    lacking = [
        field
        for name in ("secrets", "actions")
        for field in fields[name]
        if field.host not in hosts
    ]
    if lacking:
        raise ConfigurationError(
            f"invalid grant of {lacking[0].name}: expected its host {lacking[0].host}, too",
            remedy=f"grant the host {lacking[0].host}, or leave out {lacking[0].name}",
        )
    return Permissions(**fields)


def _require_kinds(given: Iterable[str]) -> None:
    for permission in given:
        if permission not in Permissions.model_fields:
            raise ConfigurationError(
                f"invalid kind of permission {permission!r:.60}: expected one of "
                f"{', '.join(Permissions.model_fields)}",
                remedy=did_you_mean(permission, Permissions.model_fields),
            )


def _name(entry: Any) -> str:
    return getattr(entry, "name", None) or getattr(entry, "host", None) or entry


def _map_by_name(entries: Sequence[Any]) -> dict[str, Any]:
    return {_name(entry): entry for entry in entries}


def _change(permission: str, name: str, before: Any, after: Any) -> PermissionChange:
    pair = (_render_entry(before), _render_entry(after))
    if before is None:
        return PermissionChange(permission, name, Change.ADDED, *pair)
    if after is None:
        return PermissionChange(permission, name, Change.REMOVED, *pair)
    if before == after or isinstance(before, str):
        return PermissionChange(permission, name, Change.SAME, *pair)
    is_within = _is_within(before.model_dump(), after.model_dump())
    change = Change.NARROWER if is_within else Change.WIDER
    return PermissionChange(permission, name, change, *pair)


def _is_within(granted: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
    """Whether lists have no further member, no number is larger, and texts are equal."""
    for field, after in asked.items():
        before = granted[field]
        if field == "description":
            continue
        if isinstance(after, list):
            if not set(after) <= set(before):
                return False
        elif isinstance(after, int):
            if after > before:
                return False
        elif after != before:
            return False
    return True


def _render_entry(entry: Any) -> str:
    if entry is None:
        return ""
    if isinstance(entry, str):
        return entry
    return ", ".join(
        f"{field}: {', '.join(value) if isinstance(value, list) else value}"
        for field, value in entry.model_dump().items()
        if value not in ("", [])
    )


def _limit(name: str, before: int | None, after: int) -> PermissionChange:
    if before is None:
        change = Change.ADDED
    elif after == before:
        change = Change.SAME
    else:
        change = Change.WIDER if after > before else Change.NARROWER
    return PermissionChange(
        "budget", name, change, "" if before is None else str(before), str(after)
    )
