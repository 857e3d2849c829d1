"""Edits of schedules and flags over the API: judged, audited, and made once."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar, get_args

from pydantic import BaseModel, Field, create_model

from orchestration_project.engine.contracts.api.edits import Edited, FieldChange
from orchestration_project.engine.contracts.edits import (
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


def edit_body(kind: EditedKind[Any], prefix: str, text: str, **more: Any) -> type[EditFields]:
    """Return the body of an edit: the fields of a kind's model, each optional, and ``more``.

    Values are judged where definitions are stored, so that jobs and the API refuse the same.
    """
    fields = {name: field for name, field in kind.model.model_fields.items() if name != "name"}
    optional: dict[str, Any] = {
        name: (field.annotation | None, Field(None, description=field.description))
        for name, field in fields.items()
    }
    title = prefix + kind.model.__name__
    body = create_model(title, __base__=EditFields, __doc__=text, **optional, **more)
    body.NULLABLE = frozenset(
        name for name, field in fields.items() if type(None) in get_args(field.annotation)
    )
    return body


@dataclass(frozen=True)
class EditedApi(Generic[StoredT]):
    """Edits of the definitions of a kind over the API.

    Attributes:
        store: Where the definitions are stored.
        answer: Model of an edit; its field of the kind's noun has the definition after it.
        judge: Raises an error if a planned edit cannot be made.
        show: Returns a definition as answers show it.
        texts: Description of each operation, by the verb of its name.
    """

    store: EditStore[Any, StoredT]
    answer: type[Edited]
    judge: Callable[[Call[Any, Any], EditResult[StoredT]], Awaitable[None]]
    show: Callable[[Call[Any, Any], StoredT], Awaitable[BaseModel]]
    texts: Mapping[str, str]

    @property
    def operations(self) -> Sequence[Operation]:
        """The operations that create, try, change and delete a definition."""
        kind, noun = self.store.kind, self.store.kind.noun
        path = f"/operations/{noun}s"
        named = f"{path}/{{name}}"
        name: Any = (Name, Field(description=f"Name of the {noun}"))
        version: Any = (int, Field(ge=1, description=VERSION))
        version_or_none: Any = (int | None, Field(None, ge=1, description=VERSION))
        text = f"Edit to try: without a version a new {noun}, with one a change."
        return (
            Operation(
                *("POST", path, "admin", f"Create a {noun}", self._make_handler("create")),
                body=edit_body(kind, "New", f"{noun.title()} to create.", name=name),
                answer=self.answer,
                status=201,
            ),
            Operation(
                *("POST", f"{named}/dry-run", "operator"),
                *(f"Try an edit of a {noun}", self._make_handler("try")),
                query=EditedName,
                body=edit_body(kind, "Tried", text, expected_version=version_or_none),
                answer=self.answer,
            ),
            Operation(
                *("POST", named, "admin", f"Change a {noun}", self._make_handler("change")),
                query=EditedName,
                body=edit_body(kind, "Changed", "Fields that change.", expected_version=version),
                answer=self.answer,
            ),
            Operation(
                *("DELETE", named, "admin", f"Delete a {noun}", self._make_handler("delete")),
                query=DeletedName,
                answer=self.answer,
            ),
        )

    def _make_handler(self, verb: str) -> Handler:
        async def handle(call: Call[Any, Any]) -> Edited:
            return await self._edit(call, None if verb == "try" else Action(verb))

        handle.__name__ = f"{verb}_{self.store.kind.noun}"
        handle.__doc__ = self.texts[verb]
        return handle

    async def _edit(self, call: Call[Any, Any], action: Action | None) -> Edited:
        """Make the edit that a request asks for, once it was judged; return what it changes.

        It is in the audit before it is made, and after. Without an ``action``, only try to create,
        or with a version to change.

        Raises:
            ProblemError: The name is unknown, the version is another one, or a field is invalid.
        """
        services, store, edit = call.services, self.store, _edit_of(call, action)
        noun = store.kind.noun
        target = {noun: edit.name, "action": edit.action.value}
        subject = (call, f"/operations/{noun}s", target)
        try:
            result = await services.in_thread(store.plan, services.warehouse, edit)
            await self.judge(call, result)
            if action is not None:
                await record(*subject, "asked", step=1)
                try:
                    result = await services.in_thread(store.apply, services.warehouse, edit)
                except OrchestrationError as error:
                    await record(*subject, "failed", step=2, reason=error.category)
                    raise
        except UnknownNameError as error:
            raise problem_of(error, 404) from error
        except EditConflictError as error:
            raise problem_of(error, 409) from error
        except ConfigurationError as error:
            raise problem_of(error, 422) from error
        if action is not None:
            await record(*subject, "done", step=2)
        before, after = (item and item.definition for item in (result.before, result.after))
        shown_model = await self.show(call, result.after) if result.after else None
        return self.answer(
            dry_run=action is None,
            version=result.version_number,
            changes=[FieldChange(**row) for row in store.kind.difference(before, after)],
            **{noun: shown_model},
        )


def _edit_of(call: Call[Any, Any], action: Action | None) -> Edit:
    named = {**call.query.model_dump(), **call.body.model_dump()}
    version = named.get("expected_version")
    if action is None:
        action = Action.CREATE if version is None else Action.CHANGE
    fields = call.body.given if isinstance(call.body, EditFields) else {}
    at = call.services.clock.now()
    return Edit(action, named["name"], call.caller.name, at, fields, version)
