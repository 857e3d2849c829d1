"""Flags: listed with what uses them, edited, and edits tried."""

from typing import Any

from pydantic import Field

from orchestration_project.contracts.api.edits import FlagEdited, FlagList, FlagShown
from orchestration_project.contracts.edits import Action
from orchestration_project.contracts.flags import (
    FlagUse,
    StoredFlag,
    flag_problems,
    is_expired,
    require_unused,
    uses_by_flag,
)
from orchestration_project.contracts.moments import Moment
from orchestration_project.gateway.api.edits import (
    VERSION,
    DeletedName,
    EditedName,
    EditFields,
    changes_of,
    edit_of,
    make_edit,
)
from orchestration_project.gateway.api.operation import Body, Call, Operation, Parameters
from orchestration_project.gateway.api.runs import Name
from orchestration_project.gateway.api.services import Services
from orchestration_project.services.edits import Edit, EditResult
from orchestration_project.services.flags import FLAG_STORE, flag_uses


class FlagFields(EditFields):
    """Fields of a flag; omitted ones keep their value, or have their default."""

    NULLABLE = frozenset({"expires_at"})

    share: float | None = Field(None, description="Share of keys that it holds for, 0 to 1")
    listed_keys: list[Name] | None = Field(None, description="Keys that it always holds for")
    owner: Name | None = Field(None, description="Person or team that answers for it")
    expires_at: Moment | None = Field(None, description="Time from which it is off")


class NewFlag(FlagFields):
    """Flag to create."""

    name: Name = Field(description="Name of the flag")


class ChangedFlag(FlagFields):
    """Fields that change."""

    expected_version: int = Field(ge=1, description=VERSION)


class TriedFlag(FlagFields):
    """Edit to try: without a version a new flag, with one a change."""

    expected_version: int | None = Field(None, ge=1, description=VERSION)


async def list_operations_flags(call: Call[Parameters, Body]) -> FlagList:
    """List the flags with what uses them, and those that are expired, unused or missing."""
    services, now = call.services, call.services.clock.now()
    stored, uses = await services.in_thread(_read, services)
    definitions = [each.definition for each in stored]
    return FlagList(
        flags=[_shown(each, uses, call) for each in stored],
        problems=flag_problems(definitions, uses, now),
    )


async def create_flag(call: Call[Parameters, NewFlag]) -> FlagEdited:
    """Create a flag."""
    body = call.body
    return await _edit(call, edit_of(call, Action.CREATE, body.name, fields=body.given))


async def change_flag(call: Call[EditedName, ChangedFlag]) -> FlagEdited:
    """Change a flag, such as its share."""
    version, fields = call.body.expected_version, call.body.given
    return await _edit(call, edit_of(call, Action.CHANGE, call.query.name, version, fields))


async def delete_flag(call: Call[DeletedName, Body]) -> FlagEdited:
    """Delete a flag that nothing uses; its versions stay."""
    version = call.query.expected_version
    return await _edit(call, edit_of(call, Action.DELETE, call.query.name, version))


async def try_flag(call: Call[EditedName, TriedFlag]) -> FlagEdited:
    """Return what an edit would change; nothing is written."""
    body = call.body
    action = Action.CREATE if body.expected_version is None else Action.CHANGE
    edit = edit_of(call, action, call.query.name, body.expected_version, body.given)
    return await _edit(call, edit, dry_run=True)


async def _edit(call: Call[Any, Any], edit: Edit, *, dry_run: bool = False) -> FlagEdited:
    _, uses = await call.services.in_thread(_read, call.services)

    async def judge(edit: Edit, _: EditResult[StoredFlag]) -> None:
        if edit.action is Action.DELETE:
            require_unused(edit.name, uses)

    result = await make_edit(call, FLAG_STORE, edit, judge, dry_run=dry_run)
    return FlagEdited(
        dry_run=dry_run,
        version=result.version_number,
        changes=changes_of(FLAG_STORE, result),
        flag=_shown(result.after, uses, call) if result.after else None,
    )


def _read(services: Services) -> tuple[list[StoredFlag], list[FlagUse]]:
    with services.warehouse.reading() as connection:
        stored = FLAG_STORE.read(connection)
        return stored, list(flag_uses(connection, services.registry(), services.settings))


def _shown(stored: StoredFlag, uses: list[FlagUse], call: Call[Any, Any]) -> FlagShown:
    flag = stored.definition
    return FlagShown(
        name=flag.name,
        version=stored.version_number,
        share=flag.share,
        listed_keys=flag.listed_keys,
        owner=flag.owner,
        expires_at=flag.expires_at,
        is_expired=is_expired(flag, call.services.clock.now()),
        used_by=uses_by_flag(uses).get(flag.name, []),
        edited_by=stored.edited_by,
        edited_at=stored.edited_at,
    )


PATH = "/operations/flags"

OPERATIONS = (
    Operation("GET", PATH, "viewer", "List flags", list_operations_flags, answer=FlagList),
    Operation(
        *("POST", PATH, "admin", "Create a flag", create_flag),
        body=NewFlag,
        answer=FlagEdited,
        status=201,
    ),
    Operation(
        *("POST", f"{PATH}/{{name}}/dry-run", "operator", "Try an edit of a flag", try_flag),
        query=EditedName,
        body=TriedFlag,
        answer=FlagEdited,
    ),
    Operation(
        *("POST", f"{PATH}/{{name}}", "admin", "Change a flag", change_flag),
        query=EditedName,
        body=ChangedFlag,
        answer=FlagEdited,
    ),
    Operation(
        *("DELETE", f"{PATH}/{{name}}", "admin", "Delete a flag", delete_flag),
        query=DeletedName,
        answer=FlagEdited,
    ),
)
