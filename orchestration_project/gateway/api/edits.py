"""Edits of schedules and flags over the API: judged, audited, and made once."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar, get_args

from pydantic import Field, create_model

from orchestration_project.contracts.api.edits import Edited, FieldChange
from orchestration_project.contracts.edits import (
    Action,
    EditConflictError,
    EditedKind,
    Stored,
)
from orchestration_project.errors import ConfigurationError, OrchestrationError, UnknownNameError
from orchestration_project.gateway.api.audit import record
from orchestration_project.gateway.api.operation import Body, Call, Handler, Operation, Parameters
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


def edit_body(kind: EditedKind[Any], title: str, **more: Any) -> type[EditFields]:
    """Return the body of an edit: the fields of a kind's model, each optional, and ``more``.

    Values are judged where definitions are stored, so that jobs and the API refuse the same.
    """
    fields = {name: field for name, field in kind.model.model_fields.items() if name != "name"}
    optional: dict[str, Any] = {
        name: (field.annotation | None, Field(None, description=field.description))
        for name, field in fields.items()
    }
    body = create_model(title, __base__=EditFields, **optional, **more)
    body.NULLABLE = frozenset(
        name for name, field in fields.items() if type(None) in get_args(field.annotation)
    )
    return body


async def make_edit(
    call: Call[Any, Any],
    store: EditStore[Any, StoredT],
    action: Action | None,
    judge: Judge[StoredT],
) -> tuple[Edited, StoredT | None]:
    """Make the edit that a request asks for, once it was judged; return what is stored after it.

    It is in the audit before it is made, and after.

    Args:
        call: The request.
        store: Where the definition is stored.
        action: The edit; None: only try to create, or with a version to change.
        judge: Raises an error if the planned edit cannot be made.

    Raises:
        ProblemError: The name is unknown, the version is another one, or a field is invalid.
    """
    services, edit = call.services, _edit_of(call, action)
    target = {store.kind.noun: edit.name, "action": edit.action.value}
    asked = (call, f"/operations/{store.kind.noun}s", target)
    try:
        result = await services.in_thread(store.plan, services.warehouse, edit)
        await judge(edit, result)
        if action is not None:
            await record(*asked, "asked", step=1)
            try:
                result = await services.in_thread(store.apply, services.warehouse, edit)
            except OrchestrationError as error:
                await record(*asked, "failed", step=2, reason=error.category)
                raise
    except UnknownNameError as error:
        raise problem_of(error, 404) from error
    except EditConflictError as error:
        raise problem_of(error, 409) from error
    except ConfigurationError as error:
        raise problem_of(error, 422) from error
    if action is not None:
        await record(*asked, "done", step=2)
    before, after = (each and each.definition for each in (result.before, result.after))
    edited = Edited(
        dry_run=action is None,
        version=result.version_number,
        changes=[FieldChange(**row) for row in store.kind.difference(before, after)],
    )
    return edited, result.after


def _edit_of(call: Call[Any, Any], action: Action | None) -> Edit:
    named = {**call.query.model_dump(), **call.body.model_dump()}
    version = named.get("expected_version")
    if action is None:
        action = Action.CREATE if version is None else Action.CHANGE
    fields = call.body.given if isinstance(call.body, EditFields) else {}
    at = call.services.clock.now()
    return Edit(action, named["name"], call.caller.name, at, fields, version)


def edit_operations(
    kind: EditedKind[Any],
    answer: type[Edited],
    *,
    create: Handler,
    attempt: Handler,
    change: Handler,
    delete: Handler,
) -> Sequence[Operation]:
    """Return the operations that edit definitions of a kind."""
    noun, title = kind.noun, kind.model.__name__
    path = f"/operations/{noun}s"
    named = f"{path}/{{name}}"
    name = (Name, Field(description=f"Name of the {noun}"))
    version = (int, Field(ge=1, description=VERSION))
    version_or_none = (int | None, Field(None, ge=1, description=VERSION))
    return (
        Operation(
            *("POST", path, "admin", f"Create a {noun}", create),
            body=edit_body(kind, f"New{title}", name=name),
            answer=answer,
            status=201,
        ),
        Operation(
            *("POST", f"{named}/dry-run", "operator", f"Try an edit of a {noun}", attempt),
            query=EditedName,
            body=edit_body(kind, f"Tried{title}", expected_version=version_or_none),
            answer=answer,
        ),
        Operation(
            *("POST", named, "admin", f"Change a {noun}", change),
            query=EditedName,
            body=edit_body(kind, f"Changed{title}", expected_version=version),
            answer=answer,
        ),
        Operation(
            *("DELETE", named, "admin", f"Delete a {noun}", delete),
            query=DeletedName,
            answer=answer,
        ),
    )
