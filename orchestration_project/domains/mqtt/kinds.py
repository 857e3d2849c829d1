"""Kinds of events: versioned JSON Schemas, and how an event of a kind changes its entity."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jsonschema_rs

from orchestration_project.domains.mqtt.entities import ENTITIES, OPERATIONS, Entity, Operation
from orchestration_project.domains.mqtt.envelope import KIND, MAX_REASON_LENGTH, Refusal

FILE_NAME = re.compile(rf"({KIND.pattern})\.v([1-9][0-9]{{0,5}})\.json", re.ASCII)
VERSIONED = re.compile(rf"({KIND.pattern})\.v([1-9][0-9]{{0,5}})", re.ASCII)
DIALECT = "https://json-schema.org/draft/2020-12/schema"


class Kind(NamedTuple):
    """A version of a kind.

    Attributes:
        name: Name, such as ``project.updated``.
        version: Version of its schema.
        schema: Validator of payloads.
        entity: Entity that the event changes; None: it is mirrored only.
        operation: How it changes the entity.
        document: The schema as JSON.
    """

    name: str
    version: int
    schema: jsonschema_rs.Draft202012Validator
    entity: Entity | None
    operation: Operation | None
    document: Mapping[str, Any]


class KindMatch(NamedTuple):
    """The kind that a payload is of.

    Attributes:
        kind: Name without version; of an unknown kind, as the sender wrote it.
        schema_version: Version that accepted the payload; None: the kind is unknown.
        entity_type: Type of the entity that the event changes; None: none.
        entity_id: ID of the entity; None: none.
        operation: How the event changes the entity; None: not at all.
        columns: Columns that the event gives, as `Entity.read` returns them; None: it changes
            no entity.
    """

    kind: str
    schema_version: int | None = None
    entity_type: str | None = None
    entity_id: str | None = None
    operation: Operation | None = None
    columns: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Kinds:
    """Kinds of a folder.

    Attributes:
        versions: Versions of each kind, the newest first.
        problems: What is wrong with each broken file, by file name.
    """

    versions: Mapping[str, tuple[Kind, ...]]
    problems: Mapping[str, str]

    def match(self, kind: str, payload: dict[str, Any]) -> KindMatch | Refusal:
        """Return the kind of a payload, or why no version of the kind accepts it.

        Args:
            kind: Kind as the sender wrote it, such as ``project.updated``, of which the newest
                version that accepts the payload is taken, or ``project.updated.v1``.
            payload: Payload of a valid envelope.
        """
        candidates = self.named(kind)
        refusal: Refusal | None = None
        for candidate in candidates:
            matched = _match_kind(candidate, kind, payload)
            if isinstance(matched, KindMatch):
                return matched
            refusal = refusal or matched
        return refusal or KindMatch(kind)

    def named(self, kind: str) -> tuple[Kind, ...]:
        """Return the versions that a kind as written names, the newest first; none: unknown."""
        if kind in self.versions:
            return self.versions[kind]
        parts = VERSIONED.fullmatch(kind)
        if parts is None:
            return ()
        name, version = parts[1], int(parts[parts.lastindex or 0])
        return tuple(each for each in self.versions.get(name, ()) if each.version == version)


def read_kinds(files: Mapping[str, bytes]) -> Kinds:
    """Return the kinds of schema files; a file that is broken is a problem, and not an error.

    Args:
        files: Bytes by file name, such as ``project.updated.v1.json``.
    """
    kinds: dict[str, list[Kind]] = {}
    problems: dict[str, str] = {}
    for name, content in sorted(files.items()):
        try:
            kind = _read_kind(name, content)
            kinds.setdefault(kind.name, []).append(kind)
        except (ValueError, RecursionError) as error:
            problems[name] = (str(error).partition("\n")[0] or "not readable")[:MAX_REASON_LENGTH]
    ordered = {
        name: tuple(sorted(group, key=lambda kind: -kind.version)) for name, group in kinds.items()
    }
    return Kinds(ordered, problems)


def _read_kind(file_name: str, content: bytes) -> Kind:
    parts = FILE_NAME.fullmatch(file_name)
    if parts is None:
        raise ValueError(
            "invalid file name: expected <kind>.v<version>.json, e.g. project.updated.v1.json"
        )
    schema = json.loads(content.decode())
    if not isinstance(schema, dict):
        raise ValueError("expected a JSON object")
    if schema.get("$schema", DIALECT) != DIALECT:
        raise ValueError(f"invalid $schema: expected {DIALECT}")
    entity_type, operation = schema.get("x-entity"), schema.get("x-operation")
    if entity_type is not None and entity_type not in tuple(ENTITIES):
        raise ValueError(f"invalid x-entity: expected one of {', '.join(ENTITIES)}")
    if (entity_type is None) != (operation is None) or operation not in (None, *OPERATIONS):
        raise ValueError(
            f"invalid x-operation: expected one of {', '.join(OPERATIONS)}, with x-entity"
        )
    validator = jsonschema_rs.Draft202012Validator(
        schema,
        validate_formats=True,
        ignore_unknown_formats=False,
        offline=True,
        pattern_options=jsonschema_rs.RegexOptions(),
        mask="the value",
    )
    entity = None if entity_type is None else ENTITIES[entity_type]
    version = int(parts[parts.lastindex or 0])
    return Kind(parts[1], version, validator, entity, operation, schema)


def _match_kind(kind: Kind, written: str, payload: dict[str, Any]) -> KindMatch | Refusal:
    try:
        if not kind.schema.is_valid(payload):
            error = next(iter(kind.schema.iter_errors(payload)))
            text = ".".join(str(part) for part in error.instance_path)[:60] or "payload"
            raise ValueError(f"{text}: {error.message}")
        if kind.entity is None:
            return KindMatch(kind.name, kind.version)
        entity_id, columns = kind.entity.read(payload)
    except ValueError as error:
        reason = f"{kind.name}.v{kind.version}: {error}"
        return Refusal("schema", reason[:MAX_REASON_LENGTH], written)
    entity = kind.entity.type
    return KindMatch(kind.name, kind.version, entity, entity_id, kind.operation, columns)
