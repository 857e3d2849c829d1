"""Delivery of a rendered export to its target, which has all of it or nothing.

Each delivery can be repeated: the target has the same afterwards.
"""

import base64
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import polars as pl
from sqlalchemy import Column, Connection, MetaData, Table, delete, inspect
from sqlalchemy.types import TypeEngine

from orchestration_project.engine.connections.artifacts import ArtifactStore, S3Store
from orchestration_project.engine.contracts.exports import (
    DatabaseTarget,
    FolderTarget,
    S3Target,
    WebhookTarget,
    name_secrets,
)
from orchestration_project.engine.contracts.values import derive_schema
from orchestration_project.engine.environment import build_address_guard
from orchestration_project.engine.warehouse.connecting import (
    explain_errors,
    open_engine,
    parse_url,
    redact_url,
)
from orchestration_project.engine.warehouse.frames import ROWS_PER_BATCH, insert_frame
from orchestration_project.errors import ConfigurationError, TransientError
from orchestration_project.services.exports import read_target_secret
from orchestration_project.services.exports.rendering import RenderedExport, select_rows
from orchestration_project.services.signed_requests import Receiver, post_signed, read_signing_key
from orchestration_project.settings import Settings
from orchestration_project.tables.catalogue import known_tables
from orchestration_project.tables.schema import BYTEWISE_TEXT, Dollars, Quantity
from orchestration_project.tables.spine import database_labels

EXPORT_ID = "export_id"
"""The column of a database target that names export and load."""

MAX_BODY_BYTES = 4 * 1024 * 1024
"""Maximum body of a webhook, rows included; the receiver of this project takes 5 MiB."""


@dataclass(frozen=True)
class Surroundings:
    """Surroundings of a delivery."""

    settings: Settings
    artifacts: ArtifactStore


def deliver(export: RenderedExport, file: BinaryIO, given: Surroundings) -> str:
    """Deliver an export, and return its place at the target, without secrets.

    Args:
        export: The export, whose file lies in the artifact store.
        file: The same file, open for reading.
        given: Settings and store.

    Raises:
        TransientError: The target did not take it; the same delivery may succeed later.
        ConfigurationError: The target is declared wrongly, or takes no such export.
    """
    file.seek(0)
    match export.declared.target:
        case None:
            return f"{given.artifacts.url}/{export.artifact}"
        case S3Target(url=url):
            store = S3Store(url, setting=f"the target {export.declared.export.target}")
            store.put(export.file_name, file)
            return f"{store.url.rstrip('/')}/{export.file_name}"
        case FolderTarget(path=path):  # its files were written before their manifest
            return f"{path.rstrip('/')}/{export.declared.name}"
        case DatabaseTarget():
            return _write_to_database(export, file)
        case WebhookTarget():
            return _post(export, file, given)


def _write_to_database(export: RenderedExport, file: BinaryIO) -> str:
    """Replace or append the rows in one transaction; those of the same load are replaced."""
    declared, target = export.declared, export.declared.target
    if not isinstance(target, DatabaseTarget):
        raise AssertionError("the target is a database")
    variable, _ = name_secrets(declared.export.target)
    secret = read_target_secret(variable)
    try:
        url = parse_url(secret)
        engine = open_engine(url, target.database_schema)
    except ConfigurationError as error:
        raise ConfigurationError(
            f"invalid {variable}: {error.what.replace('DATABASE_URL', variable)}",
            expected=error.expected,
            found=error.found,
            remedy=error.remedy.replace("DATABASE_URL", variable) or f"correct {variable}",
        ) from None
    export_id = f"{declared.name}/{export.loads.until.isoformat()}"
    table = _build_table(export, is_sqlite=url.get_backend_name() == "sqlite")
    try:
        with (
            explain_errors(engine),
            engine.connect().execution_options(writes=True) as connection,
            connection.begin(),
        ):
            _require_table(connection, table, target.database_schema)
            table.create(connection, checkfirst=True)
            is_append = declared.export.write_disposition == "append"
            old = delete(table)
            connection.execute(old.where(table.c[EXPORT_ID] == export_id) if is_append else old)
            for frame in _read_frames(file, table, export_id):
                insert_frame(connection, table, frame)
    finally:
        engine.dispose()
    return f"{redact_url(url)}#{table.name}"


def _build_table(export: RenderedExport, *, is_sqlite: bool) -> Table:
    """Return the table at the target: the exported columns, and the export's id.

    SQLite has no exact decimals: they are text there.
    """
    chosen, names = select_rows(export.declared, export.loads)
    columns = [
        Column(
            column.key,
            _choose_type(column.type, is_sqlite=is_sqlite),
            nullable=column.nullable,
        )
        for column in (chosen.table.columns[name] for name in names)
    ]
    name = export.declared.export.target_table or export.declared.name
    return Table(name, MetaData(), *columns, Column(EXPORT_ID, BYTEWISE_TEXT, nullable=False))


def _choose_type(kind: TypeEngine[Any], *, is_sqlite: bool) -> TypeEngine[Any]:
    if not isinstance(kind, Dollars | Quantity):
        return kind
    return BYTEWISE_TEXT if is_sqlite else Dollars()


def _require_table(connection: Connection, table: Table, schema: str | None) -> None:
    """Make sure that a table of this name is free, or one that an export made.

    Raises:
        ConfigurationError: It is one of this project's, or has other columns.
    """
    inspector = inspect(connection)
    if table.name in known_tables() and inspector.has_table(database_labels.name, schema=schema):
        raise ConfigurationError(
            f"invalid target_table {table.name}: a table of this project in a database of its own",
            expected="another name, or another database",
            remedy="correct EXPORTS_FILE",
        )
    if not inspector.has_table(table.name, schema=schema):
        return
    columns = [column["name"] for column in inspector.get_columns(table.name, schema=schema)]
    if columns != table.columns.keys():
        raise ConfigurationError(
            f"the table {table.name} of the target has other columns",
            expected=", ".join(table.columns.keys()),
            found=", ".join(columns),
            remedy="name another target_table in EXPORTS_FILE, or drop or rename the table",
        )


def _read_frames(file: BinaryIO, table: Table, export_id: str) -> Iterator[pl.DataFrame]:
    """Yield the rows of a Parquet file as frames of a table."""
    from pyarrow.parquet import ParquetFile

    schema = derive_schema(table)
    for batch in ParquetFile(file).iter_batches(batch_size=ROWS_PER_BATCH):
        frame = pl.DataFrame(pl.from_arrow(batch))
        yield frame.with_columns(pl.lit(export_id).alias(EXPORT_ID)).cast(pl.Schema(schema))


def _post(export: RenderedExport, file: BinaryIO, given: Surroundings) -> str:
    """Send an export in one signed request, under an id that is equal for all attempts."""
    declared, target = export.declared, export.declared.target
    if not isinstance(target, WebhookTarget):
        raise AssertionError("the target is a webhook")
    url_variable, secret_variable = name_secrets(declared.export.target)
    receiver = Receiver(
        name=f"the webhook target {declared.export.target}",
        system=f"export_{declared.export.target}",
        url=target.url or read_target_secret(url_variable),
        origin=f"EXPORTS_FILE or {url_variable}",
    )
    receiver.require_usable(build_address_guard(given.settings))
    key = read_signing_key(secret_variable, read_target_secret(secret_variable))
    status = post_signed(
        receiver, key, build_message_id(export), _build_body(export, file), given.settings
    )
    if not 200 <= status < 300:
        raise TransientError(
            f"the webhook target {declared.export.target} did not accept an export",
            expected="a status from 200 to 299",
            found=f"HTTP {status}",
            remedy=f"check the receiver and {secret_variable}; it is retried",
        )
    parts = urlsplit(receiver.url)
    return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")


def build_message_id(export: RenderedExport) -> str:
    """Return the webhook-id of an export, by which a receiver drops repeats."""
    version = export.loads.version(export.declared.definition_sha256)
    content = f"{export.declared.name}/{version}".encode()
    return f"export_{hashlib.sha256(content).hexdigest()[:32]}"


def _build_body(export: RenderedExport, file: BinaryIO) -> bytes:
    """Return manifest and rows as JSON, the same for all attempts.

    Raises:
        ConfigurationError: They are larger than `MAX_BODY_BYTES`.
    """
    declared, size = export.declared, export.byte_count
    if size <= MAX_BODY_BYTES:
        content = file.read()
        is_text = declared.export.file_format != "parquet"
        since = export.loads.since
        data: dict[str, Any] = {
            "name": declared.name,
            "table": declared.export.table,
            "condition": declared.export.where,
            "from_load": since.isoformat() if since else None,
            "to_load": export.loads.until.isoformat(),
            "row_count": export.row_count,
            "format": declared.export.file_format,
            "sha256": export.sha256,
            "encoding": "utf-8" if is_text else "base64",
            "content": content.decode() if is_text else base64.b64encode(content).decode(),
        }
        message = {"type": "export", "timestamp": export.loads.until.isoformat(), "data": data}
        body = json.dumps(message, ensure_ascii=False).encode()
        size = len(body)
        if size <= MAX_BODY_BYTES:
            return body
    raise ConfigurationError(
        f"the export {declared.name} is too large for a webhook",
        expected=f"a body of at most {MAX_BODY_BYTES:,} bytes",
        found=f"{size:,} bytes",
        remedy="narrow it by where or columns, make it incremental, or choose another target",
    )
