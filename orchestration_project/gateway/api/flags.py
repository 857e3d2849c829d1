"""Flags: listed with what uses them, edited, and edits tried."""

from dataclasses import replace
from typing import Any

from orchestration_project.engine.contracts.api.edits import FlagEdited, FlagList, FlagShown
from orchestration_project.engine.contracts.flags import StoredFlag, require_unused
from orchestration_project.gateway.api.edits import EditedApi
from orchestration_project.gateway.api.operation import Body, Call, Operation, Parameters
from orchestration_project.services.edits import EditResult
from orchestration_project.services.flags import FLAG_STORE, FlagReport, report_flags


async def list_operations_flags(call: Call[Parameters, Body]) -> FlagList:
    """List the flags with what uses them, and those that are expired, unused or missing."""
    report = await _report(call)
    return FlagList(flags=report.shown, problems=report.problems)


async def _report(call: Call[Any, Any]) -> FlagReport:
    services = call.services
    return await services.in_thread(
        *(report_flags, services.warehouse, services.registry(), services.settings),
        services.clock.now(),
    )


async def _judge(call: Call[Any, Any], planned: EditResult[StoredFlag]) -> None:
    if planned.before is not None and planned.after is None:
        require_unused(planned.before.definition.name, (await _report(call)).used)


async def _show(call: Call[Any, Any], stored: StoredFlag) -> FlagShown:
    [flag] = replace(await _report(call), stored=[stored]).shown
    return flag


OPERATIONS = (
    Operation(
        *("GET", "/operations/flags", "viewer", "List flags", list_operations_flags),
        answer=FlagList,
    ),
    *EditedApi(
        *(FLAG_STORE, FlagEdited, _judge, _show),
        texts={
            "create": "Create a flag.",
            "try": "Return what an edit would change; nothing is written.",
            "change": "Change a flag, such as its share.",
            "delete": "Delete a flag that nothing uses; its versions stay.",
        },
    ).operations,
)
