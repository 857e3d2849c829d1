"""Definitions that operators edit, in tables: read, and edited with a version for each edit."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, RowMapping, Table, delete, func, insert, select

from orchestration_project.engine.contracts.edits import Action, DefinitionT, EditedKind, Stored
from orchestration_project.engine.leases import lock_row
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import clean_text

StoredT = TypeVar("StoredT", bound=Stored[Any])


@dataclass(frozen=True)
class Edit:
    """An edit of one definition.

    Attributes:
        by: User.
        at: Time of the edit.
        fields: Fields of a new definition, or those that change.
        expected_version: Version that the editor has seen; a new definition has none.
        run_id: Dagster run of the edit, if a run makes it.
    """

    action: Action
    name: str
    by: str
    at: datetime
    fields: Mapping[str, Any] = field(default_factory=dict)
    expected_version: int | None = None
    run_id: str | None = None


@dataclass(frozen=True)
class EditResult(Generic[StoredT]):
    """A definition before and after an edit; None: there is none."""

    before: StoredT | None
    after: StoredT | None
    version_number: int


class EditStore(Generic[DefinitionT, StoredT]):
    """The stored definitions of a kind, and all their versions.

    Args:
        kind: Their fields, and what is valid.
        stored: Dataclass of a definition in effect.
        current: Table of those in effect: a column per field, and per field of ``stored``.
        versions: Table of all versions.
        json_fields: Fields that are stored as JSON.
    """

    def __init__(
        self,
        kind: EditedKind[DefinitionT],
        stored: type[StoredT],
        current: Table,
        versions: Table,
        json_fields: Collection[str],
    ) -> None:
        self.kind = kind
        self._stored = stored
        self._state = [
            own_field.name for own_field in fields(stored) if own_field.name != "definition"
        ]
        self._current = current
        self._versions = versions
        self._json_fields = json_fields

    def read(self, connection: Connection, *names: str) -> list[StoredT]:
        """Return the definitions of these names, or all of them, by name."""
        query = select(self._current).order_by(self._current.c.name)
        if names:
            query = query.where(self._current.c.name.in_(names))
        return [self.stored(row) for row in connection.execute(query).mappings()]

    def plan(self, warehouse: Warehouse, edit: Edit) -> EditResult[StoredT]:
        """Return the result that an edit would have; nothing is written.

        Raises:
            ConfigurationError: As `EditedKind.edited`, or the edit names what does not exist.
        """
        with warehouse.reading() as connection:
            return self._planned(connection, edit)

    def apply(self, warehouse: Warehouse, edit: Edit) -> EditResult[StoredT]:
        """Make an edit, and add its version; of two edits of one version, the second is refused.

        Raises:
            ConfigurationError: As `plan`.
        """
        with warehouse.writing() as connection:
            self.lock(connection)
            result = self._planned(connection, edit)
            connection.execute(delete(self._current).where(self._current.c.name == edit.name))
            if result.after is not None:
                connection.execute(insert(self._current).values(self._row(result.after)))
            changed = result.after or result.before
            if changed is None:
                raise AssertionError("an edit has a definition before or after it")
            self.add_version(connection, edit, changed.definition, result.version_number)
        return result

    def lock(self, connection: Connection) -> None:
        """Have other edits wait until this transaction ends."""
        lock_row(connection, self._current.name)

    def stored(self, row: RowMapping) -> StoredT:
        """Return the definition of a row; it was valid when it was stored."""
        values = {name: row[name] for name in self.kind.model.model_fields}
        for name in self._json_fields:
            values[name] = None if values[name] is None else json.loads(values[name])
        state = {name: row[name] for name in self._state}
        return self._stored(self.kind.model.model_construct(**values), **state)

    def judged(self, connection: Connection, before: StoredT | None, after: StoredT) -> StoredT:
        """Return the definition that an edit stores; a kind may refuse or complete it.

        Raises:
            ConfigurationError: It names what does not exist, or is of no use.
        """
        return after

    def add_version(
        self,
        connection: Connection,
        edit: Edit,
        definition: DefinitionT,
        version_number: int,
        **others: Any,
    ) -> None:
        """Add a version; ``others`` are further columns, or other values of them."""
        values = {
            "name": edit.name,
            "version_number": version_number,
            "action": edit.action.value,
            "definition": json.dumps(definition.model_dump(), sort_keys=True),
            "edited_by": clean_text(edit.by),
            "edited_at": edit.at,
            "run_id": edit.run_id,
        }
        connection.execute(insert(self._versions).values(values | others))

    def _planned(self, connection: Connection, edit: Edit) -> EditResult[StoredT]:
        before = next(iter(self.read(connection, edit.name)), None)
        after = self.kind.edited(edit.action, edit.name, before, edit.fields, edit.expected_version)
        columns = self._versions.c
        latest = select(func.max(columns.version_number)).where(columns.name == edit.name)
        number = (connection.execute(latest).scalar() or 0) + 1
        if after is None:
            return EditResult(before, None, number)
        stored = self._stored(after, number, clean_text(edit.by), edit.at)
        return EditResult(before, self.judged(connection, before, stored), number)

    def _row(self, stored: StoredT) -> dict[str, Any]:
        definition = stored.definition
        row = {name: getattr(definition, name) for name in self.kind.model.model_fields}
        for name in self._json_fields:
            row[name] = None if row[name] is None else json.dumps(row[name], sort_keys=True)
        return row | {name: getattr(stored, name) for name in self._state}
