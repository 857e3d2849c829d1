"""Flags: listed with what uses them, edited, and edits tried."""

from collections.abc import Mapping
from typing import Any

from orchestration_project.contracts.api.edits import FlagEdited, FlagList
from orchestration_project.contracts.edits import Action
from orchestration_project.contracts.flags import (
    FLAG_KIND,
    StoredFlag,
    flag_problems,
    require_unused,
)
from orchestration_project.gateway.api.edits import (
    DeletedName,
    EditedName,
    EditFields,
    edit_operations,
    make_edit,
)
from orchestration_project.gateway.api.operation import Body, Call, Operation, Parameters
from orchestration_project.gateway.api.services import Services
from orchestration_project.services.edits import Edit, EditResult
from orchestration_project.services.flags import FLAG_STORE, flag_uses, show_flags


async def list_operations_flags(call: Call[Parameters, Body]) -> FlagList:
    """List the flags with what uses them, and those that are expired, unused or missing."""
    now = call.services.clock.now()
    stored, used = await call.services.in_thread(_read, call.services)
    problems = flag_problems([each.definition for each in stored], used, now)
    return FlagList(flags=show_flags(stored, used, now), problems=problems)


async def create_flag(call: Call[Parameters, EditFields]) -> FlagEdited:
    """Create a flag."""
    return await _edit(call, Action.CREATE)


async def change_flag(call: Call[EditedName, EditFields]) -> FlagEdited:
    """Change a flag, such as its share."""
    return await _edit(call, Action.CHANGE)


async def delete_flag(call: Call[DeletedName, Body]) -> FlagEdited:
    """Delete a flag that nothing uses; its versions stay."""
    return await _edit(call, Action.DELETE)


async def try_flag(call: Call[EditedName, EditFields]) -> FlagEdited:
    """Return what an edit would change; nothing is written."""
    return await _edit(call, None)


async def _edit(call: Call[Any, Any], action: Action | None) -> FlagEdited:
    _, used = await call.services.in_thread(_read, call.services)

    async def judge(edit: Edit, planned: EditResult[StoredFlag]) -> None:
        if planned.after is None:
            require_unused(edit.name, used)

    edited, stored = await make_edit(call, FLAG_STORE, action, judge)
    shown = show_flags([stored] if stored else [], used, call.services.clock.now())
    return FlagEdited(**dict(edited), flag=next(iter(shown), None))


def _read(services: Services) -> tuple[list[StoredFlag], Mapping[str, list[str]]]:
    with services.warehouse.reading() as connection:
        stored = FLAG_STORE.read(connection)
        return stored, flag_uses(connection, services.registry(), services.settings)


OPERATIONS = (
    Operation(
        *("GET", "/operations/flags", "viewer", "List flags", list_operations_flags),
        answer=FlagList,
    ),
    *edit_operations(
        FLAG_KIND,
        FlagEdited,
        create=create_flag,
        attempt=try_flag,
        change=change_flag,
        delete=delete_flag,
    ),
)
