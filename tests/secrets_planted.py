"""Secrets that a test plants, and finds again in whatever was written, however it is spelled."""

import sqlite3
from base64 import b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args
from urllib.parse import quote
from zipfile import ZipFile

import polars as pl
import zstandard
from pydantic import SecretStr
from sqlalchemy import create_engine, inspect, text

from orchestration_project.engine.warehouse.connecting import parse_url
from orchestration_project.settings import settings_class

SQLITE = b"SQLite format 3\0"
ZIP = b"PK\3\4"
ZSTD = b"\x28\xb5\x2f\xfd"
SECRET_SETTINGS = {
    name
    for name, each in settings_class().model_fields.items()
    if SecretStr in (each.annotation, *get_args(each.annotation))
}
SYSTEM = ("information_schema", "pg_catalog")


@dataclass
class Planted:
    """Secrets by where they were planted."""

    marks: dict[str, str] = field(default_factory=dict)

    def secret(self, where: str) -> str:
        """Return a secret for ``where``, with characters that URLs, JSON and XML escape."""
        mark = self.marks[where] = "Pl4nted" + "".join(filter(str.isalnum, where)).title()
        return f'{mark}/+&"{mark}'

    def in_url(self, where: str) -> str:
        """Return the secret as it stands in a URL."""
        return quote(self.secret(where), safe="")

    def found_in(self, content: bytes | str) -> set[str]:
        """Return where the secrets of ``content`` were planted."""
        written = content.encode() if isinstance(content, str) else content
        return {
            where
            for where, mark in self.marks.items()
            if any(form in written for form in _forms(mark.encode()))
        }

    def leaks(self, contents: Iterable[tuple[str, bytes | str]]) -> dict[str, set[str]]:
        """Return the secrets that stand in ``contents``, by place."""
        found = {place: self.found_in(content) for place, content in contents}
        return {place: secrets for place, secrets in found.items() if secrets}


def _forms(mark: bytes) -> Iterator[bytes]:
    """Yield ``mark``, and what every base64 of a text with it has in common."""
    yield mark
    for before, cut in enumerate((0, 2, 3)):
        yield b64encode(b"x" * before + mark)[cut:-4]


def below(folder: Path) -> Iterator[tuple[str, bytes | str]]:
    """Yield every file: its bytes; the rows of SQLite and Parquet; what was compressed."""
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        name, content = str(path.relative_to(folder)), path.read_bytes()
        yield name, content
        if content.startswith(SQLITE):
            yield from _rows_of(f"sqlite:///{path}", name)
        elif content.startswith(ZSTD):
            yield f"{name}, decompressed", zstandard.ZstdDecompressor().decompress(content)
        elif content.startswith(ZIP):
            yield from _members_of(path, name)
        elif path.suffix == ".parquet":
            yield f"{name}, rows", str(pl.read_parquet(path).rows())


def _members_of(path: Path, name: str) -> Iterator[tuple[str, bytes]]:
    with ZipFile(path) as archive:
        for member in archive.namelist():
            yield f"{name}, {member}", archive.read(member)


def _rows_of(url: str, name: str) -> Iterator[tuple[str, str]]:
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        for (table,) in tables.fetchall():
            rows = connection.execute(f'SELECT * FROM "{table}"').fetchall()  # noqa: S608 - its own
            yield f"{name}, {table}", str(rows)


def in_postgresql(url: str) -> Iterator[tuple[str, str]]:
    """Yield the rows of every table of a database."""
    engine = create_engine(parse_url(url))
    with engine.connect() as connection:
        for schema in inspect(connection).get_schema_names():
            if schema in SYSTEM:
                continue
            for table in inspect(connection).get_table_names(schema):
                rows = connection.execute(text(f'SELECT * FROM "{schema}"."{table}"'))  # noqa: S608
                yield f"{schema}.{table}", str(rows.fetchall())
    engine.dispose()
