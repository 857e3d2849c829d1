"""Inboxes for uploaded files, as `inboxes.yaml` declares them, and pieces of uploads."""

import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import Table
from yaml import YAMLError

from orchestration_project.engine.contracts.subjects import IdentifyingColumn, Key, SubjectKind
from orchestration_project.errors import ConfigurationError
from orchestration_project.settings.yaml import (
    located,
    read_yaml,
    syntax_problem,
    value_problems,
)
from orchestration_project.tables.spine import upload_refusals, uploads, work_items

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}", re.ASCII)

TOPIC_PREFIX = "uploads/"
"""Prefix of the topics of uploaded files; the name of the inbox follows."""

MAX_FILE_NAME_BYTES = 1_000

CONTENT_RANGE = re.compile(r"bytes (?:(\d{1,15})-(\d{1,15})|\*)/(\d{1,15})", re.ASCII)

RULE_VERSION = "1"

MIB = 2**20


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class FileInbox(_Strict):
    """Declaration of an inbox for files.

    Attributes:
        max_mib: Maximum size of a file, MiB.
        quota_mib: Maximum size of all its files, MiB; unfinished uploads count.
        files_per_hour: Maximum number of uploads of a key in an hour, also of failed ones.
        content_types: Media types that are accepted; default: all.
    """

    max_mib: int = Field(default=100, ge=1, le=1_048_576)
    quota_mib: int = Field(default=10_240, ge=1)
    files_per_hour: int = Field(default=1_000, ge=1)
    content_types: list[str] = []

    @property
    def max_bytes(self) -> int:
        """Maximum size of a file, bytes."""
        return self.max_mib * MIB

    @property
    def quota_bytes(self) -> int:
        """Maximum size of all files, bytes."""
        return self.quota_mib * MIB


class InboxesFile(_Strict):
    """The content of `inboxes.yaml`."""

    inboxes: dict[str, FileInbox] | None


def read_inboxes(content: str) -> Mapping[str, FileInbox]:
    """Return the inboxes that an `inboxes.yaml` declares, by name.

    Raises:
        ConfigurationError: The file is invalid; names each value that is.
    """
    try:
        inboxes = InboxesFile.model_validate(read_yaml(content)).inboxes or {}
    except ValidationError as error:
        raise _build_error("; ".join(value_problems(content, error))) from None
    except YAMLError as error:
        raise _build_error(syntax_problem(error)) from error
    for name in inboxes:
        if not NAME.fullmatch(name):
            reason = "expected a-z, 0-9 and _ in a name"
            raise _build_error(located(content, ("inboxes", name), repr(name), reason))
    return inboxes


def _build_error(found: str) -> ConfigurationError:
    return ConfigurationError(
        "invalid inboxes for files",
        expected="inboxes: <name>: {max_mib: ..., quota_mib: ...}",
        found=found,
        remedy="correct the file that INBOXES_FILE names",
    )


def find_name_problem(name: str) -> str:
    """Return the fault of a file's name, empty: it has none. It is data, never a path."""
    if not name.strip():
        return "expected characters other than spaces"
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
        return "expected no control characters"
    if len(name.encode()) > MAX_FILE_NAME_BYTES:
        return f"expected at most {MAX_FILE_NAME_BYTES} bytes in UTF-8"
    return ""


def _find_work_item(table: Table, key: Key) -> Sequence[tuple[Table, Key]]:
    """Return the work item of a file."""
    if table is not uploads:
        return []
    return [(work_items, {"topic": TOPIC_PREFIX + key["inbox"], "item_key": key["upload_id"]})]


FILE = SubjectKind(
    name="file",
    description="name of an uploaded file",
    columns=[IdentifyingColumn(column=table.c.file_name) for table in (uploads, upload_refusals)],
    related=_find_work_item,
)
"""Uploaded files of a name, for erasures."""


class Piece(NamedTuple):
    """Piece of a file: its first byte, its size, and the size of the file; bytes.

    A size of 0 asks how much was received.
    """

    start: int
    size: int
    total: int

    @property
    def end(self) -> int:
        """Size of the file up to the end of the piece."""
        return self.start + self.size


def read_piece(content_range: str) -> Piece:
    """Return the piece that a header Content-Range names: bytes 0-7/20, or bytes */20.

    Raises:
        ValueError: It is invalid.
    """
    match = CONTENT_RANGE.fullmatch(content_range.strip())
    if match is None:
        raise ValueError("expected bytes first-last/total, or bytes */total")
    total = int(match[3])
    if match[1] is None:
        return Piece(0, 0, total)
    start, last = int(match[1]), int(match[2])
    if not start <= last < total:
        raise ValueError("expected first <= last < total")
    return Piece(start, last + 1 - start, total)


def upload_id_of(file_name: str, sha256: str) -> str:
    """Return the ID of an uploaded file: the same name and bytes are the same upload."""
    return hashlib.sha256(f"{sha256}/{file_name}".encode()).hexdigest()[:32]
