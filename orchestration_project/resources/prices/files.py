"""A folder of prices: a file for each symbol, or one with all of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl

from orchestration_project.domains.prices.days import refuse
from orchestration_project.domains.prices.symbols import (
    Overrides,
    VendorSpellings,
    map_symbols,
    vendor_symbol,
)
from orchestration_project.domains.prices.tabular import (
    CONVERSION_ERRORS,
    PARQUET,
    SYMBOL,
    csv_lines,
    parquet_table,
    places_of,
)
from orchestration_project.engine.captures import Capture, Captures
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.connections.files import build_read_error, read_file_bytes
from orchestration_project.errors import ConfigurationError, SourceError, UnavailableError
from orchestration_project.resources.prices.http_answers import unmapped
from orchestration_project.resources.prices.source import PriceRange

SUFFIXES = (".csv", ".parquet")

COMBINED_FILE_STEM = "prices"
"""`prices.csv` or `prices.parquet` has a column that says whose each day is."""

SETTING = "PRICES_FILES_DIR"


@dataclass(frozen=True)
class _Split:
    """A file of many symbols taken apart, in one state of the file."""

    state: tuple[int, int]
    by_symbol: Mapping[str, bytes]


class PriceFiles:
    """Reads `PRICES_FILES_DIR`, where files are named as FINRA spells their symbols."""

    name: str = "files"
    quota_left: int | None = None
    is_local: bool = True

    def __init__(
        self, folder: Path, captures: Captures, clock: Clock, *, overrides: Overrides
    ) -> None:
        self._folder = folder
        self._captures = captures
        self._clock = clock
        self._overrides = overrides
        self._split: _Split | None = None

    def vendor_symbol(self, symbol: str) -> str | None:
        """Return how the files spell it: as we do, where the file of symbols says nothing else."""
        return vendor_symbol(symbol, "files", self._overrides)

    def mapped(self, symbols: Iterable[str]) -> VendorSpellings:
        """Return which symbols can be requested, and why not the others."""
        return map_symbols(symbols, "files", self._overrides)

    def ready(self) -> str:
        """Make sure that there is a file.

        Raises:
            ConfigurationError: There is none, or the folder cannot be read.
        """
        names = self._names()
        if not names:
            raise self._unreadable("no such file")
        return f"{len(names)} files"

    def fetch(self, requested: PriceRange, kept: list[Capture]) -> Sequence[Capture]:
        """Read a symbol's file, or its part of the file of all, with all its days."""
        symbol = self.vendor_symbol(requested.symbol)
        if symbol is None:
            raise unmapped(requested.symbol, "files")
        names = self._names()
        texts = [name for name in names if name in {symbol + ending for ending in SUFFIXES}]
        shared = [
            name for name in names if name in {COMBINED_FILE_STEM + ending for ending in SUFFIXES}
        ]
        if len(texts) > 1 or (not texts and len(shared) > 1):
            raise ConfigurationError(
                f"several files hold {requested.symbol}",
                expected="one",
                found=", ".join(texts or shared),
                remedy=f"leave one of them in {SETTING}",
            )
        body = self._bytes(texts[0]) if texts else self._part(shared, symbol)
        if body is None:
            raise UnavailableError(
                f"no file holds {requested.symbol}",
                expected=f"{symbol}.csv or .parquet, "
                f"or the symbol in {COMBINED_FILE_STEM}.csv or .parquet",
                found=f"{len(names)} files in {self._folder}",
                remedy="put it there, or leave the symbol out",
            )
        capture = self._captures.keep(
            body,
            url=f"file:{(texts or shared)[0]}",
            request={"symbol": symbol},
            fetched_at=self._clock.now(),
        )
        kept.append(capture)
        return [capture]

    def fetch_again(self, request: Mapping[str, Any]) -> bytes | None:
        """Read the file of the recorded symbol, or its part of the file of all, again."""
        symbol, names = str(request["symbol"]), self._names()
        texts = [name for name in names if name in {symbol + ending for ending in SUFFIXES}]
        if texts:
            return self._bytes(texts[0])
        shared = {COMBINED_FILE_STEM + ending for ending in SUFFIXES}
        return self._part([name for name in names if name in shared], symbol)

    def _names(self) -> list[str]:
        try:
            names = sorted(path.name for path in self._folder.iterdir())
        except OSError as error:
            raise self._unreadable(str(error)) from error
        return [name for name in names if name.endswith(SUFFIXES)]

    def _unreadable(self, found: str) -> ConfigurationError:
        return ConfigurationError(
            f"{SETTING} has no prices",
            expected=f"files that end in {' or '.join(SUFFIXES)} in {self._folder}",
            found=found,
            remedy=f"correct {SETTING} or the folder's permissions",
        )

    def _bytes(self, name: str) -> bytes:
        return read_file_bytes(self._folder, name, setting=SETTING)

    def _part(self, shared: Sequence[str], symbol: str) -> bytes | None:
        """Return a symbol's part of the file of all; taken apart once for each state of it."""
        if not shared:
            return None
        try:
            stat = (self._folder / shared[0]).stat()
        except OSError as error:
            raise build_read_error(shared[0], error, setting=SETTING) from error
        state = (stat.st_mtime_ns, stat.st_size)
        if self._split is None or self._split.state != state:
            body = self._bytes(shared[0])
            parts = _split_parquet if body.startswith(PARQUET) else _split_csv
            self._split = _Split(state, parts(body))
        return self._split.by_symbol.get(symbol)


def _split_csv(body: bytes) -> Mapping[str, bytes]:
    """Return the lines of each symbol below the header, as they stand there."""
    fields, lines = csv_lines(body), body.splitlines(keepends=True)
    position = _find_symbol_column(body, fields[0] if fields else [])
    if len(fields) != len(lines):
        raise _build_symbol_error("a line break within quotes")
    chunks: dict[str, list[bytes]] = {}
    for number, line in enumerate(lines[1:], start=1):
        if len(fields[number]) <= position:
            raise _build_symbol_error(f"no symbol in line {number + 1}")
        chunks.setdefault(fields[number][position].strip(), [lines[0]]).append(line)
    return {symbol: b"".join(chunk) for symbol, chunk in chunks.items()}


def _split_parquet(body: bytes) -> Mapping[str, bytes]:
    """Return a Parquet file for each symbol: the same bytes for the same days."""
    from pyarrow.parquet import write_table

    table = parquet_table(body)
    name = table.column_names[_find_symbol_column(body, table.column_names)]
    chunks: dict[str, bytes] = {}
    try:
        for (symbol,), part in pl.DataFrame(table).group_by(name, maintain_order=True):
            if symbol is None:
                raise _build_symbol_error("a day without a symbol")
            buffer = BytesIO()
            write_table(part.to_arrow(), buffer)
            chunks[str(symbol)] = buffer.getvalue()
    except CONVERSION_ERRORS as error:
        refuse(body, "columns of plain values", str(error))
    return chunks


def _find_symbol_column(body: bytes, header: Sequence[str]) -> int:
    number = places_of(body, header).get(SYMBOL)
    if number is None:
        raise _build_symbol_error("no such column")
    return number


def _build_symbol_error(found: str) -> SourceError:
    return SourceError(
        "the file of all symbols does not say whose prices they are",
        expected=f"a column {SYMBOL}, and a line for each day",
        found=found,
        remedy="correct it, or put a file for each symbol into the folder",
    )
