"""Sets of passwords and of languages of OCR: with a new one, what failed for the lack of it is due.

So is a file that was read and holds one that failed, such as a mail with an encrypted attachment.
The database has a salted hash of each set, and no password. Tesseract is used where it is
installed.
"""

import hashlib
import logging
import lzma
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import lru_cache
from hashlib import scrypt
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any, NamedTuple
from zipfile import BadZipFile, ZipFile
from zlib import error as ZlibError  # noqa: N812 - the module's only class

from sqlalchemy import ColumnElement, Connection, Row, and_, insert, or_, select, update

from orchestration_project.domains.documents.chunks import ChunkRule
from orchestration_project.domains.documents.settings import DocumentsSettings, OcrMode
from orchestration_project.domains.documents.tables import (
    documents,
    documents_files,
    documents_reader_setups,
)
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.connections.files import open_partial_file
from orchestration_project.engine.contracts.work_items import (
    DONE_STATES,
    FAILED_STATES,
    SETTLED_STATES,
)
from orchestration_project.engine.work_items import KEYS_PER_STATEMENT, WorkItems
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.documents.tesseract import OcrRule
from orchestration_project.resources.documents.worker import ReaderSettings
from orchestration_project.settings.given import ENVIRONMENT
from orchestration_project.tables.spine import work_items

SALT_BYTES = 16
SCRYPT_N, SCRYPT_R = 2**14, 8
"""Cost of a guess at a set of passwords: 16 MiB, and a twentieth of a second."""

REACTIVATION = timedelta(hours=1)
"""Time in which a set that was used before is not taken for a new one again.

Two processes with different settings would have the same files read over and over otherwise.
"""


OUTDATED = "outdated"
"""Version of the rules of a document that has to be read again."""


class ReaderSetup(NamedTuple):
    """Means of readers, without which some files cannot be read.

    Attributes:
        kind: Its name.
        content: All of it as a text; empty: nothing.
        reasons: Reason codes of the files that could not be read for the lack of it.
        partial_reasons: The same of files that were read in part.
    """

    kind: str
    content: str
    reasons: tuple[str, ...]
    partial_reasons: tuple[str, ...] = ()


def retry_for_new_setups(
    connection: Connection,
    setups: Sequence[ReaderSetup],
    items: WorkItems,
    clock: Clock,
    *,
    topic_prefix: str,
) -> int:
    """Record setups, and make the items ready that lacked one which is new; return how many.

    Args:
        connection: A transaction that writes, and that no other of its kind overlaps.
        setups: All that there are now.
        items: The work items.
        clock: Its time.
        topic_prefix: Beginning of the topics of the items.
    """
    count = 0
    for setup in setups:
        if _activate(connection, setup, clock):
            count += _retry(connection, setup, items, topic_prefix)
    return count


def are_in_use(connection: Connection, setups: Sequence[ReaderSetup]) -> bool:
    """Return whether all setups are the latest ones that were recorded."""
    rows = _read_setups(connection)
    latest = {row.kind: row.fingerprint for row in rows}
    return all(
        setup.kind in latest
        and latest[setup.kind] == _hash_setup(setup.kind, setup.content, rows[0].salt)
        for setup in setups
    )


def _read_setups(connection: Connection) -> Sequence[Row[Any, Any, Any, Any]]:
    """Return all setups by the time at which they were used first."""
    columns = documents_reader_setups.c
    query = select(columns.kind, columns.fingerprint, columns.salt, columns.activated_at)
    return connection.execute(query.order_by(columns.activated_at)).all()


def _activate(connection: Connection, setup: ReaderSetup, clock: Clock) -> bool:
    """Record a setup as the one that is used; return whether it may read what others could not."""
    columns, now = documents_reader_setups.c, clock.now()
    rows = _read_setups(connection)
    salt = rows[0].salt if rows else secrets.token_hex(SALT_BYTES)
    fingerprint = _hash_setup(setup.kind, setup.content, salt)
    own = [row for row in rows if row.kind == setup.kind]
    if own and own[-1].fingerprint == fingerprint:
        return False
    earlier = next((row for row in own if row.fingerprint == fingerprint), None)
    if earlier is None:
        row = {"kind": setup.kind, "fingerprint": fingerprint, "salt": salt, "activated_at": now}
        connection.execute(insert(documents_reader_setups).values(row))
        return bool(setup.content)
    if now - earlier.activated_at < REACTIVATION:
        return False
    is_own = and_(columns.kind == setup.kind, columns.fingerprint == fingerprint)
    connection.execute(update(documents_reader_setups).where(is_own).values(activated_at=now))
    return bool(setup.content)


@lru_cache(maxsize=16)
def _hash_setup(kind: str, content: str, salt: str) -> str:
    named = f"{kind}\n{content}".encode()
    return scrypt(named, salt=bytes.fromhex(salt), n=SCRYPT_N, r=SCRYPT_R, p=1, dklen=32).hex()


def _retry(connection: Connection, setup: ReaderSetup, items: WorkItems, topic_prefix: str) -> int:
    columns = work_items.c
    is_of_topic = columns.topic.startswith(topic_prefix, autoescape=True)
    failed = and_(columns.state.in_(FAILED_STATES), columns.reason_code.in_(setup.reasons))
    found = _find_items(connection, and_(is_of_topic, failed))
    paths = _forget_outer_documents(connection, setup)
    for some in _split_keys(paths):
        ended = and_(columns.state.in_(DONE_STATES), columns.item_key.in_(some))
        found |= _find_items(connection, and_(is_of_topic, ended))
    by_topic: dict[str, list[str]] = {}
    for topic, key in sorted(found):
        by_topic.setdefault(topic, []).append(key)
    for topic, keys in by_topic.items():
        for some in _split_keys(keys):
            items.retry(topic, keys=some, states=SETTLED_STATES, connection=connection)
    return len(found)


def _find_items(connection: Connection, condition: ColumnElement[bool]) -> set[tuple[str, str]]:
    """Return topic and key of items."""
    query = select(work_items.c.topic, work_items.c.item_key).where(condition)
    return {(row.topic, row.item_key) for row in connection.execute(query)}


def _forget_outer_documents(connection: Connection, setup: ReaderSetup) -> list[str]:
    """Have delivered documents read again that hold one which lacked the setup; return their paths.

    Those that lacked it themselves are left to their work items.
    """
    columns, files = documents.c, documents_files.c
    is_within = and_(columns.reason_code.in_(setup.reasons), columns.parent_id.is_not(None))
    is_partial = columns.reason_code.in_(setup.partial_reasons)
    query = select(columns.document_id, columns.parent_id)
    rows = connection.execute(query.where(or_(is_within, is_partial))).all()
    outer = set[str]()
    seen_names = set[str]()
    while rows:
        outer |= {row.document_id for row in rows if row.parent_id is None}
        parents = {row.parent_id for row in rows if row.parent_id} - seen_names
        seen_names |= parents
        rows = [
            row
            for some in _split_keys(sorted(parents))
            for row in connection.execute(query.where(columns.document_id.in_(some)))
        ]
    paths = list[str]()
    for some in _split_keys(sorted(outer)):
        condition = columns.document_id.in_(some)
        connection.execute(update(documents).where(condition).values(rule_version=OUTDATED))
        listed = select(files.path).where(files.document_id.in_(some), files.state != "gone")
        paths += connection.execute(listed).scalars()
    return paths


def _split_keys(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield keys in portions that a statement may name."""
    for start in range(0, len(keys), KEYS_PER_STATEMENT):
        yield keys[start : start + KEYS_PER_STATEMENT]


_logger = logging.getLogger(__name__)

LANGUAGE_FOLDER = "language_model"
"""Folder of STATE_DIR with the unpacked model of py3langid."""

OCR_PROGRAM = "tesseract"
LIST_SECONDS = 20

PASSED_ON = ("PATH", "TESSDATA_PREFIX")
"""Environment variables that the program gets; no others, as some hold secrets."""


def reader_settings(
    settings: DocumentsSettings, mode: OcrMode, chunk_rule: ChunkRule | None = None
) -> ReaderSettings:
    """Return the settings of readers.

    Args:
        settings: Passwords, languages and time for recognition; STATE_DIR for the language model.
        mode: Whether images are recognised.
        chunk_rule: How pages are cut; None: not at all.

    Raises:
        ConfigurationError: As `ocr_rule`.
    """
    ocr = ocr_rule(mode, settings.documents_ocr_languages, settings.documents_ocr_seconds)
    model = unpack_language_model(settings.state_path)
    return ReaderSettings(settings.passwords, ocr, chunk_rule, model)


def unpack_language_model(state_path: Path) -> Path | None:
    """Return the file of the unpacked language model, written if not whole; None: it cannot be.

    Its name has the library's version and the model's digest, and it takes its place whole.

    Args:
        state_path: STATE_DIR; nothing is written where there is none.
    """
    spec = find_spec("py3langid")
    try:
        package = Path(spec.origin).parent if spec and spec.origin else Path()
        packed = package / "data" / "model.npz.xz"
        with packed.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        folder = state_path / LANGUAGE_FOLDER
        unpacked = folder / f"{version('py3langid')}-{digest}.npz"
        if not _is_intact(unpacked):
            folder.mkdir(exist_ok=True)
            with (
                lzma.open(packed) as model,
                open_partial_file(folder, suffix=".partial") as (file, partial),
            ):
                shutil.copyfileobj(model, file)
                file.flush()
                os.fsync(file.fileno())
                partial.replace(unpacked)
            for outdated in set(folder.glob("*.npz")) - {unpacked}:
                outdated.unlink(missing_ok=True)
    except (OSError, lzma.LZMAError, EOFError) as error:
        _logger.warning(
            "each reader decompresses the language model, as its file cannot be written: %s",
            error,
            extra={"event": "language_model_not_stored"},
        )
        return None
    return unpacked


def _is_intact(archive: Path) -> bool:
    """Whether a file is a whole archive, by its checksums: workers map it without reading them."""
    try:
        with ZipFile(archive) as opened:
            return opened.testzip() is None
    except (OSError, BadZipFile, ZlibError):
        return False


def setups_of(settings: DocumentsSettings) -> tuple[ReaderSetup, ...]:
    """Return the setups of readers, by which it is known when one has changed."""
    mode: OcrMode = "never" if settings.documents_ocr == "never" else "auto"
    ocr = ocr_rule(mode, settings.documents_ocr_languages, settings.documents_ocr_seconds)
    installed = set(ocr.languages.split("+")) - set(ocr.missing) if ocr else ()
    return (
        ReaderSetup(
            "passwords",
            "\n".join(sorted(settings.passwords)),
            ("encrypted",),
            ("member_encrypted",),
        ),
        ReaderSetup(
            "ocr",
            "+".join(sorted(installed)),
            ("needs_ocr", "ocr_language_missing"),
            ("pages_need_ocr",),
        ),
    )


def ocr_rule(mode: OcrMode, languages: str, seconds: float) -> OcrRule | None:
    """Return how images are recognised; None: not at all.

    Args:
        mode: ``never``; ``auto``: where Tesseract is installed; ``always``.
        languages: Codes of its language data, separated by ``+``.
        seconds: Time for the images of one file.

    Raises:
        ConfigurationError: It is ``always``, and Tesseract is not installed.
    """
    program = None if mode == "never" else which(OCR_PROGRAM)
    if program is None:
        if mode == "always":
            raise ConfigurationError(
                "images cannot be recognised: Tesseract is not installed",
                expected=f"the program {OCR_PROGRAM}, as DOCUMENTS_OCR, or the run, is always",
                remedy="install it, e.g. by apt-get install tesseract-ocr; or set DOCUMENTS_OCR "
                "to auto or never",
            )
        return None
    environment = {name: ENVIRONMENT[name] for name in PASSED_ON if name in ENVIRONMENT}
    environment |= {"LC_ALL": "C.UTF-8", "OMP_THREAD_LIMIT": "1"}
    installed = installed_languages(program, environment)
    missing = tuple(part for part in languages.split("+") if part not in installed)
    return OcrRule(program, languages, seconds, missing, tuple(environment.items()))


def installed_languages(program: str, environment: dict[str, str]) -> frozenset[str]:
    """Return the codes of the language data that Tesseract finds; none if it cannot be run."""
    with suppress(OSError, subprocess.TimeoutExpired):
        listed = subprocess.run(  # noqa: S603 - found by its name in PATH
            [program, "--list-langs"],
            capture_output=True,
            text=True,
            errors="replace",
            env=environment,
            timeout=LIST_SECONDS,
            check=False,
        )
        return frozenset(listed.stdout.split("\n")[1:]) - {""}
    return frozenset()
