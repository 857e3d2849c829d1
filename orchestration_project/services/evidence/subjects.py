"""Subject of an archive: a run, a session, or a partition at a time, as table filters."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Select, func, select, union

from orchestration_project.errors import (
    ConfigurationError,
    UnknownNameError,
)
from orchestration_project.tables.operations_runs import operations_runs
from orchestration_project.tables.spine import captures, deliveries

UNPLAIN = re.compile(r"[^A-Za-z0-9.-]+")
MAX_NAME_LENGTH, MARK_DIGITS = 120, 8


@dataclass(frozen=True)
class EvidenceRequest:
    """Request: exactly one of run, session, and partition with the time ``at``.

    Attributes:
        include_inputs: Whether the other partitions belong to it that its derived rows read.
    """

    run_id: str | None = None
    session: str | None = None
    partition: str | None = None
    at: datetime | None = None
    include_inputs: bool = False


@dataclass(frozen=True)
class EvidenceSubject:
    """Rows that belong to it.

    Attributes:
        name: For the archive's file.
        about: For its reader.
        runs: Selects the ids of its runs.
        deliveries: The condition on its deliveries.
        partition: The partition, where it is one.
        at: Until when, where it has a time.
        inputs: Other partitions that belong to it, by table.
    """

    name: str
    about: Mapping[str, str]
    runs: Select[Any]
    deliveries: ColumnElement[bool]
    partition: str | None = None
    at: datetime | None = None
    inputs: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def groups(self) -> Select[Any]:
        """Selects the ids of its deliveries."""
        return select(deliveries.c.group_id).where(self.deliveries)

    def until(self, moment: Column[Any]) -> list[ColumnElement[bool]]:
        """Return the condition that a row's time is not after that of the subject."""
        return [] if self.at is None else [moment <= self.at]


def find_subject(connection: Connection, wanted: EvidenceRequest, now: datetime) -> EvidenceSubject:
    """Return the subject that ``wanted`` names.

    Raises:
        ConfigurationError: It names nothing or several things, a time after ``now``, or a
            subject without records.
    """
    given_names = [text for text in (wanted.run_id, wanted.session, wanted.partition) if text]
    if len(given_names) != 1 or bool(wanted.partition) != (wanted.at is not None):
        raise ConfigurationError(
            "it is not clear what the evidence shall be about",
            expected="run_id, or session, or partition and at",
            found=", ".join(name for name, value in vars(wanted).items() if value) or "nothing",
            remedy="correct the run's config",
        )
    if wanted.at is not None and wanted.at > now:
        raise ConfigurationError(
            "what will be known of a partition is not known yet",
            expected=f"a time until {now.isoformat()}",
            found=wanted.at.isoformat(),
            remedy="correct `at` in the run's config",
        )
    if wanted.run_id:
        return _find_run(connection, wanted.run_id)
    if wanted.session:
        return _find_session(connection, wanted.session)
    if wanted.partition and wanted.at:
        return _find_partition(connection, wanted.partition, wanted.at)
    raise AssertionError("one of them is given")


def _find_run(connection: Connection, run_id: str) -> EvidenceSubject:
    runs = select(operations_runs.c.run_id).where(operations_runs.c.run_id == run_id)
    if connection.execute(runs).first() is None:
        raise _build_error(
            f"the run {run_id}", "export operations_runs --columns run_id,job,created_at"
        )
    name = name_of(EvidenceRequest(run_id=run_id))
    return EvidenceSubject(name, {"run": run_id}, runs, deliveries.c.run_id == run_id)


def _find_session(connection: Connection, session: str) -> EvidenceSubject:
    runs = select(operations_runs.c.run_id).where(operations_runs.c.session == session)
    if connection.execute(runs.limit(1)).first() is None:
        raise _build_error(f"the session {session}", "export operations_sessions")
    name = name_of(EvidenceRequest(session=session))
    return EvidenceSubject(name, {"session": session}, runs, deliveries.c.run_id.in_(runs))


def _build_error(what: str, listing: str) -> ConfigurationError:
    return UnknownNameError(
        f"the ledger does not know {what}",
        expected=f"one that `orchestrate {listing}` lists",
        remedy="name one of those",
    )


def _find_partition(connection: Connection, partition: str, at: datetime) -> EvidenceSubject:
    condition = deliveries.c.partition_key == partition
    first = connection.execute(select(func.min(deliveries.c.recorded_at)).where(condition)).scalar()
    if first is None or first > at:
        raise UnknownNameError(
            f"nothing was delivered of the partition {partition} until {at.isoformat()}",
            expected="a partition, and a time after its first delivery",
            found=f"its first delivery is of {first.isoformat()}" if first else "no delivery",
            remedy="`orchestrate export deliveries --columns partition_key,recorded_at` lists them",
        )
    until = condition & (deliveries.c.recorded_at <= at)
    return EvidenceSubject(
        name_of(EvidenceRequest(partition=partition, at=at)),
        {"partition": partition, "at": at.isoformat()},
        select_runs(until),
        until,
        partition,
        at,
    )


def select_runs(condition: ColumnElement[bool]) -> Select[Any]:
    """Select the ids of the runs that fetched or loaded deliveries."""
    groups = select(deliveries.c.group_id).where(condition)
    # A replay is checked by another run than the one that fetched.
    runs = union(
        select(deliveries.c.run_id).where(condition),
        select(captures.c.run_id).where(captures.c.group_id.in_(groups)),
    ).subquery()
    return select(runs.c.run_id)


def name_of(wanted: EvidenceRequest) -> str:
    """Return the name of the requested archive."""
    kinds = {"run": wanted.run_id, "session": wanted.session, "partition": wanted.partition}
    [name] = [_name(kind, what) for kind, what in kinds.items() if what]
    return f"{name}-at-{wanted.at:%Y%m%dT%H%M%S.%fZ}" if wanted.at else name


def _name(kind: str, what: str) -> str:
    """Return a name that no other subject has: what a file cannot be called stands as a hash."""
    plain = UNPLAIN.sub("_", what)[:MAX_NAME_LENGTH]
    mark = "" if plain == what else f"-{hashlib.sha256(what.encode()).hexdigest()[:MARK_DIGITS]}"
    return f"evidence-{kind}-{plain}{mark}"


def contains_key(texts: ColumnElement[str], key: str) -> ColumnElement[bool]:
    """Return the condition that a JSON list of texts holds ``key``."""
    return texts.contains(json.dumps(key), autoescape=True)
