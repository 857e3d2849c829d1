"""The current state of each scope in its fence, filled from history, and an index of audits."""

import sqlalchemy as sa
from alembic import op

from orchestration_project.migrations.changes import (
    AddColumn,
    ChangeComment,
    CreateIndex,
    DropIndex,
    downgrade_by,
    upgrade_by,
)
from orchestration_project.migrations.frozen import Column, Index

revision = "0027"
down_revision = "0026"

# fmt: off
CHANGES = [
    AddColumn("fences", Column("landed_at", "timestamp", "landed_at of the latest landing; NULL: nothing landed", optional=True)),
    AddColumn("fences", Column("landed_source", "text", "source of the latest landing", optional=True)),
    AddColumn("fences", Column("landed_source_version", "text", "source_version of the latest landing", optional=True)),
    AddColumn("fences", Column("landed_content_sha256", "text", "content_sha256 of the latest landing", optional=True)),
    AddColumn("fences", Column("landed_rule_version", "text", "rule_version of the latest landing", optional=True)),
    AddColumn("fences", Column("landed_scope", "text", "scope of the latest landing", optional=True)),
    AddColumn("fences", Column("landed_run_id", "text", "run_id of the latest landing", optional=True)),
    AddColumn("fences", Column("first_landed_at", "timestamp", "landed_at of the first landing", optional=True)),
    AddColumn("fences", Column("changed_token", "bigint", "Token of the latest landing with new values or rules", optional=True)),
    AddColumn("fences", Column("audited_group_id", "text", "group_id of the latest delivery that has audits", optional=True)),
    CreateIndex("audits", Index("audits_by_name", ["table_name", "name", "audited_at"])),
    ChangeComment("fences", None, "One row per table and coarsest scope: its lock, and the token that a landing must still hold.", "One row per table and coarsest scope: its lock, its token, and its current state."),
]
# fmt: on

WITHOUT_VALUES = ("none", "metadata")
"""Causes of landings after which every value is what it was."""


def upgrade() -> None:
    """Make the changes, and fill the new columns."""
    upgrade_by(CHANGES)
    _fill_landed()
    _fill_changed()
    _fill_audited()


def downgrade() -> None:
    """Undo them; the history that they were filled from stays."""
    downgrade_by(CHANGES)


def _table(name: str, *columns: str) -> sa.TableClause:
    return sa.table(name, *map(sa.column, columns))


_fences = _table(
    "fences",
    *("table_name", "scope_key", "landed_at", "first_landed_at", "changed_token"),
    *("landed_source", "landed_source_version", "landed_content_sha256", "landed_rule_version"),
    *("landed_scope", "landed_run_id", "audited_group_id"),
)
_landings = _table(
    "landings",
    *("group_id", "table_name", "scope", "partition_key", "source", "source_version"),
    *("content_sha256", "change_cause", "rule_version", "run_id", "landed_at"),
)
_audits = _table("audits", "group_id", "table_name", "partition_key", "audited_at")


def _of_fence(history: sa.FromClause) -> sa.ColumnElement[bool]:
    return sa.and_(
        history.c.table_name == _fences.c.table_name,
        history.c.partition_key == _fences.c.scope_key,
    )


def _fill_landed() -> None:
    """Fill in the first and the latest landing; no two of a scope have the same time."""
    at = _landings.c.landed_at
    ends = {"first_landed_at": sa.func.min(at), "landed_at": sa.func.max(at)}
    op.execute(
        sa.update(_fences).values(
            {
                name: sa.select(end).where(_of_fence(_landings)).scalar_subquery()
                for name, end in ends.items()
            }
        )
    )
    latest = sa.and_(_of_fence(_landings), at == _fences.c.landed_at)
    names = ("source", "source_version", "content_sha256", "rule_version", "scope", "run_id")
    op.execute(
        sa.update(_fences)
        .where(_fences.c.landed_at.is_not(None))
        .values(
            {
                f"landed_{name}": sa.select(_landings.c[name]).where(latest).scalar_subquery()
                for name in names
            }
        )
    )


def _fill_changed() -> None:
    """Fill in the number of the latest landing with other values or rules than the one before."""
    own, earlier = _landings.c, _landings.alias("earlier")
    rules_before = (
        sa.select(earlier.c.rule_version)
        .where(
            earlier.c.table_name == own.table_name,
            earlier.c.partition_key == own.partition_key,
            earlier.c.landed_at < own.landed_at,
        )
        .order_by(earlier.c.landed_at.desc())
        .limit(1)
        .correlate(_landings)
        .scalar_subquery()
    )
    changed = sa.or_(own.change_cause.not_in(WITHOUT_VALUES), own.rule_version != rules_before)
    latest = (
        sa.select(_number_of_landing())
        .where(_of_fence(_landings), changed)
        .order_by(own.landed_at.desc())
        .limit(1)
        .correlate(_fences)
    )
    op.execute(
        sa.update(_fences)
        .where(_fences.c.landed_at.is_not(None))
        .values(changed_token=latest.scalar_subquery())
    )


def _number_of_landing() -> sa.ColumnElement[int]:
    """Return the number at the end of a group_id, as in ``table:partition#7``."""
    own, size = _landings.c, sa.Integer()
    before = sa.func.length(own.table_name, type_=size) + sa.func.length(
        own.partition_key, type_=size
    )
    return sa.cast(sa.func.substr(own.group_id, before + 3), sa.BigInteger)


def _fill_audited() -> None:
    """Fill in the latest audited delivery, found by an index that is there meanwhile."""
    index = Index("audits_by_partition", ["table_name", "partition_key", "audited_at"])
    CreateIndex("audits", index).apply()
    latest = (
        sa.select(_audits.c.group_id)
        .where(_of_fence(_audits))
        .order_by(_audits.c.audited_at.desc())
        .limit(1)
        .scalar_subquery()
    )
    op.execute(sa.update(_fences).values(audited_group_id=latest))
    DropIndex("audits", index).apply()
