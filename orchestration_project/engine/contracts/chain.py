"""Hashes of rows, and the signed chain of loads: they reveal changes by the database's owner.

A table has one chain. A record names the SHA-256 of the record before it, and of the rows that its
load wrote, ended and recorded. The last record of a transaction is signed with Ed25519 (RFC 8032),
which covers all records before it. The private key lies outside the database.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from orchestration_project.engine.contracts import lazy_polars as pl
from orchestration_project.errors import ConfigurationError
from orchestration_project.tables.schema import USD_SCALE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MILLIONTH = Decimal("0.000001")
KEY_BYTES = 32
SALT_BYTES = 16
HEADS_FORMAT = "chain heads 1"

START, COLUMNS, LOAD, QUARANTINE, REFUSAL = "start", "columns", "load", "quarantine", "refusal"
ERASURE, RETENTION, SCHEMA, RENAME = "erasure", "retention", "schema", "rename"
KINDS = (START, COLUMNS, LOAD, QUARANTINE, REFUSAL, ERASURE, RETENTION, SCHEMA, RENAME)
"""Kinds of records; those of erasure, retention and schema replace hashes of an earlier record."""

RENAMED_FROM = "renamed_from"
"""Field of a record of kind rename: the name of the table in all records before it."""

Renames = Sequence[tuple[int, str]]
"""Records of kind rename by number, each with the name before it."""


class ChainKey:
    """Private key that signs records."""

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public_key = _encode_base64(self._key.public_key().public_bytes_raw())

    def sign(self, record_sha256: str) -> str:
        """Return the signature of a record (Base64), by the SHA-256 of its payload."""
        return _encode_base64(self._key.sign(record_sha256.encode()))


def _encode_base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def generate_key() -> str:
    """Return a new private key, Base64 of 32 random bytes."""
    return _encode_base64(secrets.token_bytes(KEY_BYTES))


def read_key(text: str, setting: str) -> ChainKey:
    """Read a private key.

    Raises:
        ConfigurationError: The text is not Base64 of 32 bytes.
    """
    return ChainKey(_decode_key(text, setting))


def read_public_keys(text: str, setting: str) -> frozenset[str]:
    """Read public keys that are separated by commas.

    Raises:
        ConfigurationError: One is not Base64 of 32 bytes.
    """
    return frozenset(
        _encode_base64(_decode_key(part, setting)) for part in text.split(",") if part.strip()
    )


def _decode_key(text: str, setting: str) -> bytes:
    try:
        value = base64.b64decode(text.strip(), validate=True)
    except binascii.Error:
        value = b""
    if len(value) != KEY_BYTES:
        raise ConfigurationError(
            f"invalid {setting}",
            expected=f"Base64 of {KEY_BYTES} bytes, e.g. the output of `openssl rand -base64 32`",
            found=f"{len(text.strip())} characters that are not it",
            remedy=f"correct {setting}",
        )
    return value


def is_signed_by(public_key: str, record_sha256: str, signature: str) -> bool:
    """Whether a signature of a record was made with the private key of a public key."""
    try:
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key, validate=True))
        signed = base64.b64decode(signature, validate=True)
        key.verify(signed, record_sha256.encode())
    except (InvalidSignature, ValueError):
        return False
    return _encode_base64(signed) == signature


def hash_content(rows: pl.DataFrame) -> str:
    """Return the SHA-256 (hex) of the values of ``rows``, in their order."""
    return hash_pieces(rows, [len(rows)])[0]


def hash_pieces(rows: pl.DataFrame, lengths: Sequence[int]) -> list[str]:
    """Return the SHA-256 (hex) of ``rows`` piece by piece, each of so many of them.

    Column by column, each as where a value differs from the one above it, and of these values what
    is null, the lengths of texts, and the values: so no other rows have the same bytes, and a null
    is another value than a blank. What repeats itself is most of what there is.
    """
    import numpy as np

    names = "|".join(rows.columns)
    digests = [hashlib.sha256(f"{length} {names}".encode()) for length in lengths]
    ends = np.cumsum(lengths, dtype=np.int64)
    for column in rows.iter_columns():
        if len(lengths) == 1 and _is_constant(column):  # the same as below, faster
            is_start = np.zeros(lengths[0], np.bool_)
            is_start[0] = True
            run_ends, runs = np.ones(1, np.int64), column.head(1)
        else:
            is_start = _mark_run_starts(column, ends)
            run_ends = np.append(0, np.cumsum(is_start))[ends]
            runs = column.filter(pl.Series(is_start))
        pieces = [_cut(values, cuts) for values, cuts in _encode_column(runs, run_ends)]
        of_rows = [np.packbits(flags).data for flags in np.split(is_start, ends[:-1])]
        for digest, *row_pieces in zip(digests, of_rows, *pieces, strict=True):
            for piece in row_pieces:
                digest.update(piece)
    return [digest.hexdigest() for digest in digests]


def _is_constant(column: pl.Series) -> bool:
    """Whether all values are equal, at least one."""
    null_count = column.null_count()
    if null_count or column.is_empty():
        return 0 < null_count == len(column)
    return column.min() == column.max()


def _mark_run_starts(column: pl.Series, ends: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return for each value whether it begins a run; the first one of each piece does."""
    import numpy as np

    differs = column.ne_missing(column.shift()).to_numpy(writable=True)
    firsts = np.append(0, ends[:-1])
    differs[firsts[firsts < len(differs)]] = True
    return differs


def _encode_column(
    column: pl.Series, ends: NDArray[np.int64]
) -> Iterator[tuple[memoryview, Sequence[int]]]:
    """Yield the bytes that stand for a column, and where those of each piece end."""
    import numpy as np

    if column.null_count():
        is_null = column.is_null().cast(pl.UInt8).to_numpy()
    else:
        is_null = np.zeros(len(column), np.uint8)
    yield is_null.data, ends.tolist()
    if column.dtype == pl.String:
        values = column.fill_null("") if column.null_count() else column
        sizes = values.str.len_bytes().to_numpy()
        yield sizes.view(np.uint8).data, (ends * sizes.itemsize).tolist()
        yield _join_texts(values), np.append(0, np.cumsum(sizes, dtype=np.int64))[ends].tolist()
    elif column.dtype == pl.Decimal(38, USD_SCALE):
        yield from _encode_quantities(column, ends)
    else:
        numbers = column.to_physical()
        known_series = numbers.fill_null(strategy="zero") if column.null_count() else numbers
        array = known_series.to_numpy()
        yield array.view(np.uint8).data, (ends * array.itemsize).tolist()


def _encode_quantities(
    column: pl.Series, ends: NDArray[np.int64]
) -> Iterator[tuple[memoryview, Sequence[int]]]:
    """Yield whole quantities as whole numbers; then, of pieces with any fraction, all fractions."""
    import numpy as np

    millionths = column.to_physical().cast(pl.Int64).fill_null(0).to_numpy()
    whole, fractions = np.divmod(millionths, 10**USD_SCALE)
    yield whole.view(np.uint8).data, (ends * whole.itemsize).tolist()
    is_fraction = np.append(0, np.cumsum(fractions != 0))
    starts = np.append(0, ends[:-1])
    sizes = np.where(is_fraction[ends] > is_fraction[starts], ends - starts, 0)
    pieces = zip(starts, starts + sizes, strict=True)
    chosen = np.concatenate([fractions[start:end] for start, end in pieces])
    yield chosen.view(np.uint8).data, (np.cumsum(sizes) * chosen.itemsize).tolist()


def _cut(values: memoryview, ends: Sequence[int]) -> list[memoryview]:
    return [values[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _join_texts(texts: pl.Series) -> memoryview:
    """Return the bytes of all ``texts`` one after the other, as Arrow keeps them."""
    array: Any = texts.to_arrow(compat_level=pl.CompatLevel.oldest())
    _, ends, values = array.buffers()
    offsets = memoryview(ends).cast("q")
    first, last = offsets[array.offset], offsets[array.offset + len(array)]
    return memoryview(values)[first:last] if values is not None else memoryview(b"")


def generate_salt() -> str:
    """Return a new salt, 32 hex digits."""
    return secrets.token_hex(SALT_BYTES)


def hash_with_salt(salt: str | None, content_sha256: str) -> str:
    """Return the SHA-256 (hex) of a salt and a hash.

    Without the salt, the rows cannot be found by trial: an erasure deletes it.
    """
    return hashlib.sha256(f"{salt or ''}{content_sha256}".encode()).hexdigest()


GROUP = "chain_group"
"""Column with the number of the group that a row belongs to, from 0."""

MAX_LISTED_ROWS = 256
"""Up to so many rows are hashed as JSON lines, which is faster for few; more by columns."""


def hash_rows(rows: Iterable[Sequence[object]]) -> str:
    """Return the SHA-256 (hex) of rows in their order, each as a JSON list."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row, ensure_ascii=False, default=_format_value).encode())
        digest.update(b"\n")
    return digest.hexdigest()


def _format_value(value: object) -> object:
    if isinstance(value, Decimal):
        return format(value.quantize(MILLIONTH), "f")
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return _format_iso(value)


def hash_groups(rows: pl.DataFrame, order: Sequence[str], group_count: int) -> list[str]:
    """Return the SHA-256 (hex) of the rows of each group; the frame has a column `GROUP`.

    Args:
        rows: Rows of all groups.
        order: Columns by which the rows of a group are ordered, and which no two share.
        group_count: Number of groups.
    """
    counts = dict(rows.group_by(GROUP).len().iter_rows())
    hashes = [hash_rows([])] * group_count
    large = [group for group, count in counts.items() if count > MAX_LISTED_ROWS]
    if len(large) < len(counts):
        small = rows.filter(~pl.col(GROUP).is_in(large)) if large else rows
        ordered = small.sort(GROUP, *order)
        groups, tuples = ordered[GROUP].to_list(), ordered.drop(GROUP).rows()
        for group, members in groupby(zip(groups, tuples, strict=True), key=itemgetter(0)):
            hashes[group] = hash_rows(row for _, row in members)
    for group in large:
        one = rows if len(counts) == 1 else rows.filter(pl.col(GROUP) == group)
        ordered = one.drop(GROUP).sort(order)
        [hashes[group]] = hash_pieces(ordered, [len(ordered)])
    return hashes


def format_payload(fields: Mapping[str, object]) -> str:
    """Return the payload of a record: JSON with sorted names, dates in ISO 8601."""
    return json.dumps(
        fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_format_iso
    )


def _format_iso(value: object) -> str:
    if isinstance(value, date):  # a time is one too
        return value.isoformat()
    raise TypeError(f"a record cannot hold a {type(value).__name__}")


def hash_payload(payload: str) -> str:
    """Return the SHA-256 (hex) of a payload, which is the record's."""
    return hashlib.sha256(payload.encode()).hexdigest()


@dataclass(frozen=True)
class ChainRecord:
    """A record as the database has it; `tables.spine` describes the columns."""

    table_name: str
    number: int
    kind: str
    group_id: str | None
    partition_key: str | None
    partition: str | None
    amends: int | None
    payload: str
    salt: str | None
    record_sha256: str
    signature: str | None
    public_key: str | None
    recorded_at: datetime

    @property
    def fields(self) -> Mapping[str, Any]:
        """The parsed payload."""
        return json.loads(self.payload)

    @property
    def name(self) -> str:
        """The delivery, else the kind, as messages name it."""
        return self.group_id or self.kind


def hash_subject(
    salt: str | None, group_id: str | None, partition_key: str | None, partition: str | None
) -> str:
    """Return the salted SHA-256 (hex) of a record's delivery: its payload has no plain names."""
    named = format_payload({"group": group_id, "key": partition_key, "partition": partition})
    return hash_with_salt(salt, hash_payload(named))


class ChainProblem(NamedTuple):
    """A record, or a table, that does not fit.

    Attributes:
        table_name: Its table.
        number: Number of the record; None: rows that no record names.
        name: What the record is of: a delivery or a partition.
        cause: What was expected and found.
    """

    table_name: str
    number: int | None
    name: str
    cause: str

    def __str__(self) -> str:
        text = "no record" if self.number is None else f"record {self.number}"
        return f"{self.table_name}, {text} ({self.name}): {self.cause}"


def link_problems(
    records: Iterable[ChainRecord],
    trusted: frozenset[str],
    head: tuple[int, str] | None,
    renames: Renames = (),
) -> Iterator[ChainProblem]:
    """Yield each record of a table's chain whose hash, link or signature does not fit.

    Args:
        records: All records of the table, by number.
        trusted: Public keys that may have signed.
        head: Number and SHA-256 of the newest record, as it is recorded apart; None: missing.
        renames: Its records of kind rename: those before them were signed with another name.
    """
    previous, latest = "", None
    number = 0
    for record in records:
        number += 1
        yield from (
            ChainProblem(record.table_name, record.number, record.name, cause)
            for cause in _record_problems(record, number, previous, trusted, renames)
        )
        number, previous, latest = record.number, record.record_sha256, record
    if latest is None:
        return
    if latest.signature is None:
        cause = "expected a signature of the newest record, found none: later records were deleted"
        yield ChainProblem(latest.table_name, latest.number, latest.name, cause)
    if head != (latest.number, latest.record_sha256):
        text = "none" if head is None else f"record {head[0]}"
        cause = f"expected as head of the chain this newest record, found {text}"
        yield ChainProblem(latest.table_name, latest.number, latest.name, cause)


def _record_problems(
    record: ChainRecord, number: int, previous: str, trusted: frozenset[str], renames: Renames
) -> Iterator[str]:
    if record.number != number:
        yield f"expected record {number}, found {record.number}: records between were deleted"
    if hash_payload(record.payload) != record.record_sha256:
        yield "expected the SHA-256 of its payload, found another: the record was changed"
        return
    try:
        fields = record.fields
    except ValueError:
        yield "expected a JSON object as payload, found other text"
        return
    if fields.get("previous") != previous:
        yield "expected the SHA-256 of the record before it, found another"
    yield from _check_columns(record, fields, renames)
    if record.signature is not None or record.public_key is not None:
        yield from _check_signature(record, trusted)


def _check_columns(
    record: ChainRecord, fields: Mapping[str, Any], renames: Renames
) -> Iterator[str]:
    later = [name for number, name in renames if number > record.number]
    columns = {
        "table": later[0] if later else record.table_name,
        "number": record.number,
        "kind": record.kind,
        "amends": record.amends,
        "at": record.recorded_at.isoformat(),
    }
    for name, value in columns.items():
        if fields.get(name) != value:
            yield f"expected {name} {fields.get(name)}, as it was signed, found {value}"
    if record.salt is not None and fields.get("subject") != hash_subject(
        record.salt, record.group_id, record.partition_key, record.partition
    ):
        yield "expected the delivery and partition that were signed, found others"


def _check_signature(record: ChainRecord, trusted: frozenset[str]) -> Iterator[str]:
    public_key = record.public_key or ""
    if public_key not in trusted:
        yield f"expected a signature by a trusted key, found the key {public_key or 'none'}"
    elif not is_signed_by(public_key, record.record_sha256, record.signature or ""):
        yield "expected a signature of this record, found another: the record was changed"


class ChainHead(NamedTuple):
    """The newest record of a table's chain."""

    number: int
    record_sha256: str


def hash_heads(heads: Mapping[str, ChainHead]) -> str:
    """Return the SHA-256 (hex) over the heads of all tables."""
    return hash_payload(format_payload({name: list(head) for name, head in heads.items()}))


def sign_heads(heads: Mapping[str, ChainHead], key: ChainKey, at: datetime) -> str:
    """Return the heads of all tables as signed JSON, to be stored where others cannot change it."""
    signed = {
        "format": HEADS_FORMAT,
        "exported_at": at.isoformat(),
        "tables": {name: list(head) for name, head in sorted(heads.items())},
        "public_key": key.public_key,
    }
    signature = key.sign(hash_payload(format_payload(signed)))
    return json.dumps({**signed, "signature": signature}, indent=2) + "\n"


def read_heads(text: str, name: str, trusted: frozenset[str]) -> Mapping[str, ChainHead]:
    """Read exported heads.

    Raises:
        ConfigurationError: The text is not such a document, or no trusted key signed it.
    """
    try:
        document = json.loads(text)
        signature = document.pop("signature")
        heads = {
            table_name: ChainHead(int(number), str(sha256))
            for table_name, (number, sha256) in document["tables"].items()
        }
        is_format = document["format"] == HEADS_FORMAT
        public_key = document["public_key"]
    except (ValueError, KeyError, TypeError, AttributeError):
        is_format, heads, public_key, signature, document = False, {}, "", "", {}
    if not is_format:
        raise ConfigurationError(
            f"invalid chain heads in {name}",
            expected="a file that `orchestrate verify --export-heads` wrote",
            found=f"{len(text)} characters of something else",
            remedy="name another file",
        )
    if public_key not in trusted or not is_signed_by(
        public_key, hash_payload(format_payload(document)), signature
    ):
        raise ConfigurationError(
            f"invalid signature of the chain heads in {name}",
            expected="a signature by CHAIN_KEY or a key of CHAIN_TRUSTED_KEYS",
            found=f"the key {public_key}",
            remedy="get the file again from where it was exported to, or trust that key",
        )
    return heads


def iterate_head_problems(
    exported: Mapping[str, ChainHead], present: Mapping[str, Mapping[int, str]]
) -> Iterator[ChainProblem]:
    """Yield each exported head whose record the database does not have.

    Args:
        exported: Heads by table, as they were exported earlier.
        present: By table, the SHA-256 of the records with the numbers of these heads.
    """
    for name, head in sorted(exported.items()):
        text = present.get(name, {}).get(head.number)
        if text != head.record_sha256:
            cause = "expected the exported record, found " + (
                "none: the newest records were deleted" if text is None else "another"
            )
            yield ChainProblem(name, head.number, "exported head", cause)
