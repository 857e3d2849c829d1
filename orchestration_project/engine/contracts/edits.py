"""Edits of what operators change without a deploy: versions, conflicts and differences."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from orchestration_project.errors import ConfigurationError, UnknownNameError
from orchestration_project.redaction import redacted
from orchestration_project.settings.yaml import reason_of

NAME = r"^[a-z][a-z0-9_]{0,59}$"
MAX_NAME_CHARACTERS = 200
MAX_DEFINITION_CHARACTERS = 16_000

REMEDY = "correct the fields, and repeat the edit; a dry run shows what it would change"


class Definition(BaseModel):
    """A definition: fields that can be stored, and have no secret that this process knows.

    Attributes:
        name: Its name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str = Field(pattern=NAME)

    @model_validator(mode="after")
    def _is_plain(self) -> Self:
        try:
            fields = self.model_dump()
            written = json.dumps(fields, allow_nan=False)
            json.dumps(fields, ensure_ascii=False).encode()
        except (ValueError, TypeError, RecursionError) as error:
            raise ValueError("expected values of JSON, e.g. {'ops': {}}") from error
        if len(written) > MAX_DEFINITION_CHARACTERS:
            raise ValueError(f"expected at most {MAX_DEFINITION_CHARACTERS} characters as JSON")
        if "\\u0000" in written:
            raise ValueError("expected texts without NUL, e.g. 'full'")
        if redacted(written) != written:
            noun = type(self).__name__.lower()
            raise ValueError(f"expected no secret in a {noun}, e.g. {{'env': 'API_KEY'}}")
        return self


DefinitionT = TypeVar("DefinitionT", bound=Definition)


class EditConflictError(ConfigurationError):
    """Another edit came first: the version is not the expected one, or the name is taken."""


class Action(StrEnum):
    """Edits of a schedule or flag; only schedules are paused and resumed."""

    CREATE = "create"
    CHANGE = "change"
    PAUSE = "pause"
    RESUME = "resume"
    DELETE = "delete"


SWITCHED: Mapping[Action, Mapping[str, Any]] = {
    Action.PAUSE: {"is_enabled": False},
    Action.RESUME: {"is_enabled": True},
}


@dataclass(frozen=True)
class Stored(Generic[DefinitionT]):
    """A definition in effect.

    Attributes:
        version_number: Its version, from 1.
        edited_by: User of the latest version.
        edited_at: Time of the latest version.
    """

    definition: DefinitionT
    version_number: int
    edited_by: str
    edited_at: datetime


@dataclass(frozen=True)
class EditedKind(Generic[DefinitionT]):
    """A kind of definition that operators edit by its name.

    Attributes:
        noun: What one is, such as schedule.
        model: Its fields, ``name`` among them.
        expected: Required fields with an example, for messages.
    """

    noun: str
    model: type[DefinitionT]
    expected: str

    def read(self, fields: Mapping[str, Any]) -> DefinitionT:
        """Return the definition of these fields.

        Raises:
            ConfigurationError: One is missing or invalid; all are named.
        """
        try:
            return self.model.model_validate(dict(fields))
        except ValidationError as error:
            problems = [
                f"{'.'.join(map(str, problem['loc'])) or f'the {self.noun}'}: {reason_of(problem)}"
                for problem in error.errors(include_url=False)
            ]
            raise ConfigurationError(
                f"invalid {self.noun}",
                expected=self.expected,
                found="; ".join(problems),
                remedy=REMEDY,
            ) from None
        except RecursionError:
            raise ConfigurationError(
                f"invalid {self.noun}: expected values that nest less"
            ) from None

    def edited(
        self,
        action: Action,
        name: str,
        before: Stored[DefinitionT] | None,
        fields: Mapping[str, Any],
        expected_version: int | None,
    ) -> DefinitionT | None:
        """Return the definition that an edit results in; None: it is deleted.

        Args:
            action: The edit.
            name: Name of the schedule or flag.
            before: The definition in effect; None: there is none.
            fields: Fields of a new definition, or those that change.
            expected_version: Version that the editor has seen; a new definition has none.

        Raises:
            UnknownNameError: Nothing of this kind has the name.
            EditConflictError: Its version is another one, or the name is taken.
            ConfigurationError: A field is invalid.
        """
        if action is Action.CREATE:
            if before is not None:
                raise EditConflictError(
                    f"the {self.noun} {name} exists",
                    expected=f"a name that no {self.noun} has",
                    found=f"version {before.version_number}, by {before.edited_by}",
                    remedy="change it, or choose another name",
                )
            return self.read({**fields, "name": name})
        if before is None:
            raise UnknownNameError(
                f"{self.noun} not found: {name[:60]!r}",
                remedy=f"list the {self.noun}s, or create it",
            )
        if expected_version != before.version_number:
            raise EditConflictError(
                f"the {self.noun} {name} was edited meanwhile"
                if expected_version is not None
                else f"the edit of {name} names no expected_version",
                expected=f"expected_version {before.version_number}",
                found=f"{expected_version}; {before.edited_by} made version "
                f"{before.version_number} at {before.edited_at:%Y-%m-%d %H:%M} UTC",
                remedy=f"read the {self.noun} again, and repeat the edit with its version",
            )
        if action is Action.DELETE:
            return None
        changes: Mapping[str, Any] = fields if action is Action.CHANGE else SWITCHED[action]
        if "name" in changes and changes["name"] != name:
            raise ConfigurationError(
                f"invalid {self.noun}: its name cannot change",
                expected=name,
                remedy=f"create a {self.noun} of the new name, and delete this one",
            )
        return self.read({**before.definition.model_dump(), **changes})

    def difference(
        self, before: DefinitionT | None, after: DefinitionT | None
    ) -> list[dict[str, str]]:
        """Return a row per field that an edit changes: its name, and its values as JSON."""
        old, new = (item.model_dump() if item else {} for item in (before, after))
        return [
            {
                "field": name,
                "before": json.dumps(old.get(name), sort_keys=True) if before else "",
                "after": json.dumps(new.get(name), sort_keys=True) if after else "",
            }
            for name in self.model.model_fields
            if before is None or after is None or old[name] != new[name]
        ]
