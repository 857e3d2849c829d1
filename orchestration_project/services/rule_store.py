"""Stores rules that people edit as a whole: a row per version; at most one is in effect."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic

from sqlalchemy import Connection, Table, func, insert, select, update

from orchestration_project.engine.contracts.matching import RulesInEffect, RuleT
from orchestration_project.engine.contracts.rule_edits import (
    RuleChanges,
    compare_rules,
    require_version,
)
from orchestration_project.engine.leases import lock_row
from orchestration_project.engine.warehouse.frames import clean_text


@dataclass(frozen=True)
class RuleStore(Generic[RuleT]):
    """Stored rules of a kind.

    Attributes:
        table: Their versions, with `rule_id`, `version_number`, `is_active`, `edited_by` and
            `edited_at`, perhaps `ended_by` and `ended_at`, and a column per field.
        noun: What they are called, such as sync rules.
        read: Returns those in effect.
        columns_of: Returns the columns of a rule's fields.
    """

    table: Table
    noun: str
    read: Callable[[Connection], RulesInEffect[Any]]
    columns_of: Callable[[RuleT], Mapping[str, Any]]

    def put_in_effect(
        self,
        connection: Connection,
        rules: Sequence[RuleT],
        *,
        based_on: str | None,
        by: str,
        at: datetime,
    ) -> RuleChanges:
        """Have just these rules be in effect; those that differ from before get a new version.

        Args:
            connection: A transaction; edits at once wait for it, or both would be in effect.
            rules: All rules.
            based_on: Version of the rules that the edit started from; None: any.
            by: User who edits.
            at: Time of the edit.

        Raises:
            EditConflictError: Others are in effect by now.
        """
        lock_row(connection, self.table.name)
        present = self.read(connection)
        require_version(present, based_on, self.noun)
        changes = compare_rules(present.rules, rules, self._read_latest(connection))
        self._end(connection, [*changes.ended, *changes.changed], by=by, at=at)
        rows = [
            {
                **dict.fromkeys(self.table.c.keys()),
                **self.columns_of(rule),
                "rule_id": rule.rule_id,
                "version_number": changes.numbers[rule.rule_id],
                "is_active": True,
                "edited_by": clean_text(by),
                "edited_at": at,
            }
            for rule in rules
            if rule.rule_id in changes.numbers
        ]
        if rows:
            connection.execute(insert(self.table), rows)
        return changes

    def _read_latest(self, connection: Connection) -> Mapping[str, int]:
        """Return the latest version of each rule that there ever was."""
        columns = self.table.c
        query = select(columns.rule_id, func.max(columns.version_number))
        rows = connection.execute(query.group_by(columns.rule_id))
        return {row[0]: row[1] for row in rows}

    def _end(self, connection: Connection, names: Sequence[str], *, by: str, at: datetime) -> None:
        columns = self.table.c
        ended = {"ended_by": clean_text(by), "ended_at": at} if "ended_at" in columns else {}
        if names:
            connection.execute(
                update(self.table)
                .where(columns.rule_id.in_(names), columns.is_active)
                .values(is_active=False, **ended)
            )
