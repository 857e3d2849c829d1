"""Edits of schedules and flags over the API: judged, audited, and made once."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar, TypeVar

from pydantic import Field

from orchestration_project.contracts.api.edits import FieldChange
from orchestration_project.contracts.edits import (
    Action,
    EditConflictError,
    Stored,
)
from orchestration_project.errors import ConfigurationError, OrchestrationError, UnknownNameError
from orchestration_project.gateway.api.audit import record
from orchestration_project.gateway.api.operation import Body, Call, Parameters
from orchestration_project.gateway.api.problems import problem_of
from orchestration_project.gateway.api.runs import Name
from orchestration_project.services.edits import Edit, EditResult, EditStore

VERSION = "Version that the edit starts from"

StoredT = TypeVar("StoredT", bound=Stored[Any])

Judge = Callable[[Edit, EditResult[StoredT]], Awaitable[None]]
"""Raises an error if a planned edit cannot be made."""


class EditedName(Parameters):
    """Changes to make."""

    name: Name = Field(description="Name")


class DeletedName(EditedName):
    """Definition to delete."""

    expected_version: int = Field(ge=1, description=VERSION)


class EditFields(Body):
    """Fields of a definition; omitted ones keep their value, or have their default."""

    NULLABLE: ClassVar[frozenset[str]] = frozenset()
    """Fields that null removes; of the others it means: omitted."""

    @property
    def given(self) -> Mapping[str, Any]:
        """The fields that the request gives."""
        fields = self.model_dump(exclude={"name", "expected_version"}, exclude_unset=True)
        return {
            name: value
            for name, value in fields.items()
            if value is not None or name in self.NULLABLE
        }


def edit_of(
    call: Call[Any, Any],
    action: Action,
    name: str,
    expected_version: int | None = None,
    fields: Mapping[str, Any] | None = None,
) -> Edit:
    """Return the edit that a request asks for."""
    at = call.services.clock.now()
    return Edit(action, name, call.caller.name, at, fields or {}, expected_version)


async def make_edit(
    call: Call[Any, Any],
    store: EditStore[Any, StoredT],
    edit: Edit,
    judge: Judge[StoredT],
    *,
    dry_run: bool,
) -> EditResult[StoredT]:
    """Make an edit once it was judged; it is in the audit before it is made, and after.

    Raises:
        ProblemError: The name is unknown, the version is another one, or a field is invalid.
    """
    services, noun = call.services, store.kind.noun
    target = {noun: edit.name, "action": edit.action.value}
    asked = (call, f"/operations/{noun}s", target)
    try:
        planned = await services.in_thread(store.plan, services.warehouse, edit)
        await judge(edit, planned)
        if dry_run:
            return planned
        await record(*asked, "asked", step=1)
        try:
            made = await services.in_thread(store.apply, services.warehouse, edit)
        except OrchestrationError as error:
            await record(*asked, "failed", step=2, reason=error.category)
            raise
    except UnknownNameError as error:
        raise problem_of(error, 404) from error
    except EditConflictError as error:
        raise problem_of(error, 409) from error
    except ConfigurationError as error:
        raise problem_of(error, 422) from error
    await record(*asked, "done", step=2)
    return made


def changes_of(store: EditStore[Any, StoredT], result: EditResult[StoredT]) -> list[FieldChange]:
    """Return the fields that an edit changes."""
    before, after = (each and each.definition for each in (result.before, result.after))
    return [FieldChange(**each) for each in store.kind.difference(before, after)]
