"""Requested erasures, and the record of those that ended."""

import hashlib
import json
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Column, Table, delete, insert, select, update

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.subjects import (
    CapturedLines,
    CapturedRecords,
    IdentifyingColumn,
    SubjectKind,
)
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.registry import Registry
from orchestration_project.services.erasure.rules import Subject, check_identifiers
from orchestration_project.settings import Settings
from orchestration_project.tables.catalogue import METADATA
from orchestration_project.tables.erasures import (
    operations_erasure_requests,
    operations_erasures,
)
from orchestration_project.tables.schema import ASSET, CAPTURED, RECORDED, SUBJECT

REQUEST_DAYS = 7
"""Days after which a request that nothing was erased for is deleted."""

MAX_REASON_CHARACTERS = 500

SCRYPT = {"n": 2**14, "r": 8, "p": 1}

_requests, _erasures = operations_erasure_requests.c, operations_erasures.c


@dataclass(frozen=True)
class ErasureRequest:
    """A row of `operations_erasure_requests`; without identifiers, only pages are left to clean."""

    request_id: str
    kind: str
    identifiers: tuple[str, ...] | None
    user_name: str
    reason: str
    requested_at: datetime


@dataclass(frozen=True)
class ErasureRequests:
    """Requests of erasures in the database."""

    warehouse: Warehouse
    clock: Clock

    def add(self, kind: str, identifiers: Sequence[str], *, user_name: str, reason: str) -> str:
        """Store a request, and return its ID.

        Raises:
            ConfigurationError: An identifier is invalid, or user and reason are missing, too long
                or have an identifier themselves.
        """
        checked = check_identifiers(identifiers)
        subject = Subject(checked)
        for name, text in (("user", user_name), ("reason", reason)):
            if not text.strip() or len(text) > MAX_REASON_CHARACTERS or subject.mask(text) != text:
                raise ConfigurationError(
                    f"invalid {name} of an erasure",
                    expected=f"1 to {MAX_REASON_CHARACTERS} characters without an identifier",
                    found=f"{len(text)} characters",
                    remedy=f"give the {name} in other words: it is kept for ever",
                )
        request_id = secrets.token_hex(8)
        row = {
            "request_id": request_id,
            "kind": kind,
            "identifiers": json.dumps(checked),
            "user_name": user_name,
            "reason": reason,
            "requested_at": self.clock.now(),
        }
        with self.warehouse.writing() as connection:
            self._delete_old(connection)
            connection.execute(insert(operations_erasure_requests), [row])
        return request_id

    def _delete_old(self, connection: Any) -> None:
        before = self.clock.now() - timedelta(days=REQUEST_DAYS)
        is_old = _requests.identifiers.is_not(None) & (_requests.requested_at < before)
        connection.execute(delete(operations_erasure_requests).where(is_old))

    def read(self, request_id: str) -> ErasureRequest:
        """Return a request.

        Raises:
            ConfigurationError: There is none with this ID.
        """
        with self.warehouse.reading() as connection:
            row = connection.execute(
                select(operations_erasure_requests).where(_requests.request_id == request_id)
            ).first()
        if row is None:
            raise ConfigurationError(
                f"no erasure is requested as {request_id!r}",
                expected=f"the ID of a request of the last {REQUEST_DAYS} days",
                remedy="request it with `orchestrate erase`; operations_erasures lists what ended",
            )
        values = dict(row._mapping)
        if values["identifiers"] is not None:
            values["identifiers"] = tuple(json.loads(values["identifiers"]))
        return ErasureRequest(**values)

    def extend(self, request: ErasureRequest, identifiers: Sequence[str]) -> "ErasureRequest":
        """Return a request with further identifiers, and store it: a repetition has them, too."""
        fromkeys = tuple(dict.fromkeys([*(request.identifiers or ()), *identifiers]))
        if fromkeys == request.identifiers:
            return request
        condition = (_requests.request_id == request.request_id) & _requests.identifiers.is_not(
            None
        )
        values = {"identifiers": json.dumps(fromkeys)}
        with self.warehouse.writing() as connection:
            connection.execute(update(operations_erasure_requests).where(condition).values(values))
        return replace(request, identifiers=fromkeys)

    def withdraw(self, request_id: str) -> None:
        """Delete a request for which nothing was erased."""
        condition = (_requests.request_id == request_id) & _requests.identifiers.is_not(None)
        with self.warehouse.writing() as connection:
            connection.execute(delete(operations_erasure_requests).where(condition))

    def record(self, request: ErasureRequest, row: dict[str, Any]) -> None:
        """Record an erasure, and forget the identifiers in the same transaction."""
        salt = secrets.token_bytes(16)
        identifier = (request.identifiers or ("",))[0]
        values = {
            "erasure_id": request.request_id,
            "kind": request.kind,
            "salt": salt.hex(),
            "identifier_hash": hash_identifier(identifier, salt.hex()),
            "user_name": request.user_name,
            "reason": request.reason,
            "requested_at": request.requested_at,
            "erased_at": self.clock.now(),
            "cleaned_at": None,
        }
        with self.warehouse.writing() as connection:
            connection.execute(insert(operations_erasures), [{**values, **row}])
            connection.execute(
                update(operations_erasure_requests)
                .where(_requests.request_id == request.request_id)
                .values(identifiers=None)
            )

    def changed_tables(self, request_id: str) -> set[str]:
        """Return the names of the tables that an erasure has changed."""
        with self.warehouse.reading() as connection:
            found = connection.scalar(
                select(_erasures.tables).where(_erasures.erasure_id == request_id)
            )
        return {name for counts in json.loads(found or "{}").values() for name in counts}

    def end(self, request_id: str) -> None:
        """Record that freed pages were overwritten, and delete the request."""
        with self.warehouse.writing() as connection:
            connection.execute(
                update(operations_erasures)
                .where(_erasures.erasure_id == request_id)
                .values(cleaned_at=self.clock.now())
            )
            connection.execute(
                delete(operations_erasure_requests).where(_requests.request_id == request_id)
            )


@dataclass(frozen=True)
class SubjectKinds:
    """Registers a reader of the kinds of persons and documents that a domain has data of."""

    read: Callable[[Settings], Sequence[SubjectKind]]


def read_kinds(registry: Registry, settings: Settings) -> Mapping[str, SubjectKind]:
    """Return the kinds of persons and documents of all domains, as ``saas/person``.

    Those of tables that other projects declare are known once the database is open.

    Raises:
        ConfigurationError: A file in which a domain declares some is invalid.
    """
    declared = {
        f"{domain.name}/{kind.name}": kind
        for domain in registry.whole.domains
        for kinds in domain.registered(SubjectKinds)
        for kind in kinds.read(settings)
    }
    recorded = find_recorded_kinds()
    subject_kinds_by_name = {
        name: replace(kind, columns=[*kind.columns, *recorded[name].columns])
        for name, kind in declared.items()
        if name in recorded
    }
    return {**recorded, **declared, **subject_kinds_by_name}


def find_kind(kinds: Mapping[str, SubjectKind], name: str) -> SubjectKind:
    """Return the kind of a name such as saas/person.

    Raises:
        ConfigurationError: No domain declares it.
    """
    if name in kinds:
        return kinds[name]
    raise ConfigurationError(
        f"no domain declares subjects of the kind {name!r}",
        expected=f"one of {', '.join(kinds)}",
        remedy="correct the kind, or declare it, see docs/how-to/erase-a-person.md",
    )


def hash_identifier(identifier: str, salt: str) -> str:
    """Return the salted hash by which an erasure proves that it was of an identifier."""
    return hashlib.scrypt(identifier.encode(), salt=bytes.fromhex(salt), **SCRYPT, dklen=32).hex()


def find_recorded_kinds() -> Mapping[str, SubjectKind]:
    """Return the kinds of tables that other projects have declared in the open database."""
    return build_subject_kinds(
        table for table in METADATA.tables.values() if table.info.get(RECORDED)
    )


def build_subject_kinds(tables: Iterable[Table]) -> Mapping[str, SubjectKind]:
    """Return the kinds that columns of tables identify, by names such as ``my_data/customer``."""
    by_kind: dict[str, list[Column[Any]]] = {}
    for table in tables:
        project, _, name = str(table.info.get(ASSET, "")).partition("/")
        for column in table.columns if name else ():
            if kind := column.info.get(SUBJECT):
                by_kind.setdefault(f"{project}/{kind}", []).append(column)
    return {name: _build_kind(name, columns) for name, columns in by_kind.items()}


def _build_kind(name: str, columns: list[Column[Any]]) -> SubjectKind:
    places = ", ".join(f"{column.table.name}.{column.key}" for column in columns)
    return SubjectKind(
        name=name.partition("/")[2],
        description=f"value of {places}",
        columns=[IdentifyingColumn(column=column) for column in columns],
        records=[_locate_records(place) for each in columns if (place := each.info.get(CAPTURED))],
    )


def _locate_records(place: Mapping[str, Any]) -> CapturedLines | CapturedRecords:
    """Return where captured bytes have the records of a subject."""
    if "field" in place:
        return CapturedLines(**place)
    lists = {name: tuple(place[name]) for name in ("records", "path")}
    return CapturedRecords(**{**place, **lists})
