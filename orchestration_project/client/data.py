"""Tables, captured bytes, evidence and the audit log of the sync: read, downloaded, cleaned up."""

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import httpx

from orchestration_project.client.asking import (
    Requests,
    frame_of_parquet,
    metadata_of_parquet,
    new_key,
    quoted,
)
from orchestration_project.client.transport import INCOMPLETE
from orchestration_project.engine.contracts.api.explanation import NumberExplanation
from orchestration_project.engine.contracts.api.models import (
    NEXT_CURSOR,
    Archive,
    Archives,
    Artifacts,
    AuditEntries,
    AuditEntry,
    Capture,
    Described,
    Document,
    DocumentTimeline,
    Export,
    GoldExport,
    MissingRows,
    Page,
    RuleInEffect,
    RulesInEffect,
    SyncDryRun,
    TableChange,
    TableChanges,
    Tables,
    Uploaded,
)
from orchestration_project.engine.contracts.api.runs import Launched

if TYPE_CHECKING:
    import pandas as pd

PAGE_ROWS = 1000
FILE_ROWS = 1_000_000
GROUPS = 10_000
"""Limits of one answer of the gateway: rows of a page and of a file, and groups."""

_log = logging.getLogger(__name__)

PIECE_BYTES = 8 * 2**20
"""Size above which a file is uploaded in pieces, and that of a piece."""

UPLOAD_ATTEMPTS = 8
"""Broken connections after which an upload fails."""

OCTETS = "application/octet-stream"


class DataMethods(Requests):
    """The part of the client that is about loaded and synced data."""

    def tables(self) -> list[Described]:
        """Return the tables and views that can be read."""
        return self._get("/tables", Tables).tables

    def rows(
        self,
        table: str,
        *,
        columns: Sequence[str] = (),
        where: Sequence[str] = (),
        as_of: datetime | str | None = None,
        published_by: date | str | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Yield rows of a table or view in the order of its key, as many pages as are requested.

        ``as_of``: as they were known at a time; ``published_by``: as their source had published
        them by a day. Both may be ISO texts.
        """
        path, query = (
            f"/tables/{quoted(table)}",
            _build_row_query(columns, where, as_of, published_by),
        )
        for page in self._pages(path, Page, **query, limit=PAGE_ROWS):
            yield from page.rows

    def diff(
        self,
        table: str,
        *,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        published_from: date | str | None = None,
        published_by: date | str | None = None,
        columns: Sequence[str] = (),
        where: Sequence[str] = (),
    ) -> Iterator[dict[str, Any]]:
        """Yield rows of a table with history that differ between two times, by its key.

        ``since`` and ``until`` are times of loads; ``published_from`` and ``published_by`` days as
        of `rows`. Each row has the key, `change` (added, changed or removed), and old_X and new_X
        of each other column X. Times may be ISO texts.
        """
        query = _build_row_query(columns, where, None, published_by)
        query |= {"since": since, "until": until, "published_from": published_from}
        path = f"/tables/{quoted(table)}/diff"
        for page in self._pages(path, Page, **query, limit=PAGE_ROWS):
            yield from page.rows

    def explain(self, table: str, key: str, column: str) -> NumberExplanation:
        """Return how a number came about: formula, input rows, captures, last change, signature.

        ``key`` is the row's key, the partition first, such as T1|2026-10-05|AAAI.
        """
        path = f"/tables/{quoted(table)}/explanation"
        return self._get(path, NumberExplanation, key=key, column=column)

    def diff_frame(
        self,
        table: str,
        *,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        published_from: date | str | None = None,
        published_by: date | str | None = None,
        columns: Sequence[str] = (),
        where: Sequence[str] = (),
        order_by: Sequence[str] = (),
    ) -> "pd.DataFrame":
        """Return the same rows as a frame, sorted by columns, descending after a ``-``."""
        query = _build_row_query(columns, where, None, published_by)
        query |= {"since": since, "until": until, "published_from": published_from}
        query |= {"format": "parquet", "order_by": _join_names(order_by)}
        answer = self._transport.ask("GET", f"/tables/{quoted(table)}/diff", query=query)
        return frame_of_parquet(answer.content)

    def save_diff(
        self,
        table: str,
        to: Path,
        *,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        published_from: date | str | None = None,
        published_by: date | str | None = None,
        columns: Sequence[str] = (),
        where: Sequence[str] = (),
        escape_formulas: bool | None = None,
    ) -> None:
        """Write the same rows to a CSV file; ``escape_formulas`` as in `save_csv`."""
        query = _build_row_query(columns, where, None, published_by) | {"format": "csv"}
        query |= {"since": since, "until": until, "published_from": published_from}
        if escape_formulas is not None:
            query |= {"escape_formulas": escape_formulas}
        answer = self._transport.ask("GET", f"/tables/{quoted(table)}/diff", query=query)
        to.write_bytes(answer.content)

    def items(
        self, *, topic: str | None = None, state: str | None = None
    ) -> Iterator[dict[str, Any]]:
        """Yield work items in the order of topic and key, as many pages as are requested."""
        for page in self._pages("/items", Page, topic=topic, state=state, limit=PAGE_ROWS):
            yield from page.rows

    def frame(
        self,
        table: str,
        *,
        columns: Sequence[str] = (),
        where: Sequence[str] = (),
        as_of: datetime | str | None = None,
        published_by: date | str | None = None,
        order_by: Sequence[str] = (),
        limit: int | None = None,
    ) -> "pd.DataFrame":
        """Return rows of a table or view with the types of its columns, in the order of its key.

        `frame_of_parquet` has the types. More than 1,000,000 rows are requested in several files,
        and the log says so; loads in between may show in the later ones.

        Args:
            table: Its name.
            columns: Default: all.
            where: Such as ``tier in (T1,T2)``, ``week_start between 2025-01-06 and 2025-03-31`` and
                ``(symbol=AAPL) or (venue_id=UBSA)``; all must hold.
            as_of: As the rows were known at a time, also as ISO text.
            published_by: As their source had published them by a day, also as ISO text.
            order_by: Columns, descending after a ``-``; of such rows there are 1,000,000 at most.
            limit: At most so many rows; default: all.

        Raises:
            ApiError: The gateway refuses it, such as more sorted rows than a file has.
        """
        import pandas as pd

        query = _build_row_query(columns, where, as_of, published_by) | {"format": "parquet"}
        if order_by:
            query |= {"order_by": _join_names(order_by), "limit": limit}
            return self._parquet(table, query)[0]
        frames: list[pd.DataFrame] = []
        row_count, cursor = 0, None
        while True:
            number = FILE_ROWS if limit is None else min(limit - row_count, FILE_ROWS)
            rows, cursor = self._parquet(table, query | {"limit": number, "cursor": cursor})
            frames.append(rows)
            row_count += len(rows)
            if cursor is None or row_count == limit:
                return frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)
            _log.info(
                "%s: %d rows so far, the next are requested",
                table,
                row_count,
                extra={"event": "frame_continued"},
            )

    def _parquet(self, table: str, query: Mapping[str, Any]) -> tuple["pd.DataFrame", str | None]:
        """Return the rows of a file, and the cursor of those that may follow."""
        answer = self._transport.ask("GET", f"/tables/{quoted(table)}", query=query)
        return frame_of_parquet(answer.content), metadata_of_parquet(answer.content, NEXT_CURSOR)

    def groups(
        self,
        table: str,
        measures: Sequence[str],
        *,
        by: Sequence[str] = (),
        where: Sequence[str] = (),
        as_of: datetime | str | None = None,
        published_by: date | str | None = None,
        limit: int = GROUPS,
    ) -> list[dict[str, Any]]:
        """Return groups of rows that the database adds up, in the order of ``by``.

        ``measures``: ``count`` or such as ``sum(share_quantity)``, whose result is called
        ``share_quantity_sum``; sum, avg, min and max there are. More groups than ``limit`` are
        refused.
        """
        query = _build_row_query((), where, as_of, published_by)
        query |= {"group_by": _join_names(by), "limit": limit}
        query |= {"measure": _list_texts(measures)}
        return self._get(f"/tables/{quoted(table)}/groups", Page, **query).rows

    def save_csv(
        self,
        table: str,
        to: Path,
        *,
        columns: Sequence[str] = (),
        where: Sequence[str] = (),
        as_of: datetime | str | None = None,
        published_by: date | str | None = None,
        escape_formulas: bool | None = None,
    ) -> None:
        """Write the rows of a table or view to a CSV file.

        ``escape_formulas``: True: in all columns; False: in none; None: in those of senders.
        """
        query = _build_row_query(columns, where, as_of, published_by) | {"format": "csv"}
        if escape_formulas is not None:
            query |= {"escape_formulas": escape_formulas}
        answer = self._transport.ask("GET", f"/tables/{quoted(table)}", query=query)
        to.write_bytes(answer.content)

    def document(self, document_id: str) -> Document:
        """Return a document: its row, paths, children and similar documents."""
        return self._get(f"/documents/{quoted(document_id)}", Document)

    def document_timeline(self, document_id: str) -> DocumentTimeline:
        """Return the events of a document in order, and the remedies."""
        return self._get(f"/documents/{quoted(document_id)}/timeline", DocumentTimeline)

    def document_rows(
        self, document_id: str, part: Literal["pages", "chunks"]
    ) -> Iterator[dict[str, Any]]:
        """Yield the pages or chunks of a document in the order of its text."""
        path = f"/documents/{quoted(document_id)}/{part}"
        for page in self._pages(path, Page, limit=PAGE_ROWS):
            yield from page.rows

    def document_text(self, document_id: str) -> str:
        """Return the text of a document; its pages are separated by lines with a form feed."""
        path = f"/documents/{quoted(document_id)}/text"
        return self._transport.ask("GET", path).content.decode()

    def save_document(
        self,
        document_id: str,
        to: Path,
        *,
        part: Literal["pages", "chunks"],
        format: Literal["csv", "text"],
    ) -> None:
        """Write the pages or chunks of a document to a file, as CSV or as their texts."""
        path = f"/documents/{quoted(document_id)}/{part}"
        answer = self._transport.ask("GET", path, query={"format": format})
        to.write_bytes(answer.content)

    def trade_activity(
        self, week_ending: date, tier: str, *, symbol: str | None = None
    ) -> Iterator[dict[str, Any]]:
        """Yield the trading of the week that ends on a Friday, by symbol and venue or firm."""
        query = {"week_ending": week_ending, "tier": tier, "symbol": symbol}
        for page in self._pages("/finra/trade-activity", Page, **query, limit=PAGE_ROWS):
            yield from page.rows

    def gold_frame(
        self,
        table: str,
        partition: str,
        *,
        as_of: datetime | str | None = None,
        published_by: date | str | None = None,
    ) -> "pd.DataFrame":
        """Return a partition of a gold table, derived of what was loaded or published by a time.

        ``partition``: such as T1|2025-11-10, or the Monday for tables of all tiers. Times may be
        ISO texts.
        """
        times = _build_row_query((), (), as_of, published_by)
        query = {name: times[name] for name in ("as_of", "published_by")}
        query |= {"partition": partition, "format": "parquet"}
        answer = self._transport.ask("GET", f"/finra/gold/{quoted(table)}", query=query)
        return frame_of_parquet(answer.content)

    def export_gold(
        self,
        table: str,
        partition: str,
        *,
        as_of: datetime | str,
        published_by: date | str | None = None,
    ) -> GoldExport:
        """Derive the same by a run, of what was loaded by ``as_of``, however long it takes.

        Once its run has succeeded, `download_file` gets the Parquet file that it names.
        """
        times = _build_row_query((), (), as_of, published_by)
        body = {name: times[name] for name in ("as_of", "published_by")}
        path = f"/finra/gold/{quoted(table)}/exports"
        return self._post(path, {"partition": partition, **body}, GoldExport, key=new_key())

    def missing(
        self,
        table: str,
        *,
        published_by: date | str,
        as_of: datetime | str | None = None,
        where: Sequence[str] = (),
        limit: int = PAGE_ROWS,
    ) -> MissingRows:
        """Return the rows that ``published_by`` leaves out: their numbers, and the first keys."""
        times = _build_row_query((), where, as_of, published_by)
        query = {name: times[name] for name in ("where", "as_of", "published_by")}
        path = f"/tables/{quoted(table)}/missing"
        return self._get(path, MissingRows, **query, limit=limit)

    def changes(
        self, table: str, *, after: str | None = None, columns: Sequence[str] = ()
    ) -> Iterator[TableChange]:
        """Yield the changes of a table with history in order of commit, up to those of now.

        A reader that keeps the `cursor` of the last change that it took, and gives it as ``after``,
        gets each change once; None: from the first.
        """
        path, is_more = f"/tables/{quoted(table)}/changes", True
        named = ",".join(columns) or None
        while is_more:
            page = self._get(path, TableChanges, after=after, columns=named, limit=PAGE_ROWS)
            yield from page.changes
            after, is_more = page.next_cursor, page.is_more

    def follow(self, table: str, *, after: str | None = None) -> Iterator[TableChange]:
        """Yield the changes of a table as they are committed, without an end.

        They are those after a cursor; None: from now. A broken connection is resumed.

        Raises:
            ApiError: The gateway does not give them, such as after the key was revoked.
            httpx.TransportError: For a minute it could not be reached, or sent nothing.
        """
        path = f"/tables/{quoted(table)}/changes/stream"
        for sent in self._transport.follow(path, last=after):
            if sent.data:
                yield TableChange.model_validate_json(sent.data)

    def sql(
        self, query: str, *, limit: int | None = None, as_of: datetime | str | None = None
    ) -> "pd.DataFrame":
        """Return the rows of one SELECT: now, or with the tables as they were known ``as_of``.

        On PostgreSQL a role of its own runs it; SQLite judges each column, and gives days and
        times as ISO texts. More rows than ``limit`` (100,000 at most) are refused, and so is a
        query of more than 20 s.
        """
        values = {"query": query, "limit": limit, "format": "parquet", "as_of": as_of}
        return frame_of_parquet(self._transport.ask("GET", "/sql", query=values).content)

    def saas_rules(self) -> list[RuleInEffect]:
        """Return the sync rules in effect, in the order in which they apply."""
        return self._get("/saas/rules", RulesInEffect).rules

    def try_saas_rules(self, rules: Sequence[Any]) -> SyncDryRun:
        """Return the decisions about recorded tasks that sync rules would change."""
        return self._post("/saas/rules/dry-run", {"rules": rules}, SyncDryRun)

    def edit_saas_rules(self, rules: Sequence[Any], *, based_on: str) -> Launched:
        """Put sync rules into effect, unless others than version ``based_on`` are."""
        body = {"rules": rules, "based_on": based_on}
        return self._post("/saas/rules", body, Launched, key=new_key())

    def saas_audit(
        self,
        *,
        entity: str | None = None,
        issue: str | None = None,
        operation: str | None = None,
        text: str | None = None,
    ) -> Iterator[AuditEntry]:
        """Yield the entries of the sync's audit log that match all arguments, latest first."""
        expected_names = {"entity": entity, "issue": issue, "operation": operation, "text": text}
        for page in self._pages("/saas/audit", AuditEntries, **expected_names):
            yield from page.entries

    def artifacts(self, *, where: Sequence[str] = (), limit: int = 50) -> list[Capture]:
        """Return the captures, the latest first."""
        return self._get("/artifacts", Artifacts, where=where, limit=limit).captures

    def download(self, artifact: str, to: Path) -> str:
        """Write captured bytes to a file, and return their SHA-256.

        Raises:
            ValueError: The bytes that came are not those that the gateway named.
        """
        answer = self._transport.ask("GET", f"/artifacts/{quoted(artifact)}")
        hexdigest = hashlib.sha256(answer.content).hexdigest()
        if answer.headers["etag"] != f'"{hexdigest}"':
            raise ValueError(f"the bytes of {artifact} changed on their way: SHA-256 {hexdigest}")
        to.write_bytes(answer.content)
        return hexdigest

    def upload(
        self, inbox: str, file: Path, *, name: str | None = None, content_type: str = OCTETS
    ) -> Uploaded:
        """Upload a file to an inbox, in pieces if it is large; a broken connection is resumed.

        Raises:
            ApiError: The gateway did not take it, or `UPLOAD_ATTEMPTS` connections broke
                without progress between them.
        """
        path = f"/inbox/{quoted(inbox)}/files/{quoted(name or file.name)}"
        with file.open("rb") as opened:
            if file.stat().st_size > PIECE_BYTES:
                return self._upload_pieces(path, opened, file.stat().st_size, content_type)
            answer = self._transport.put(path, opened.read(), {"content-type": content_type})
            return Uploaded.model_validate_json(answer.content)

    def _upload_pieces(self, path: str, file: BinaryIO, total: int, content_type: str) -> Uploaded:
        """Send a file piece by piece; after a broken connection, ask where to go on."""
        sent, failures = 0, 0
        while True:
            file.seek(sent)
            piece = file.read(PIECE_BYTES)
            text = f"bytes {sent}-{sent + len(piece) - 1}/{total}"
            headers = {"content-type": content_type, "content-range": text}
            try:
                answer = self._transport.put(path, piece, headers)
            except httpx.TransportError:
                failures += 1
                if failures == UPLOAD_ATTEMPTS:
                    raise
                self._transport.pause(failures)
                answer = self._transport.put(
                    path, b"", {**headers, "content-range": f"bytes */{total}"}
                )
            if answer.status_code != INCOMPLETE:
                return Uploaded.model_validate_json(answer.content)
            received = answer.headers.get("range", "").removeprefix("bytes=0-")
            before, sent = sent, int(received) + 1 if received else 0
            failures = 0 if sent > before else failures

    def download_file(self, name: str, to: Path) -> None:
        """Write a picture or a staged file, by its name in the artifact store, to a file."""
        to.write_bytes(self._transport.ask("GET", "/files", query={"name": name}).content)

    def clean_up(self, *, dry_run: bool = True, only_database: bool = False) -> Launched:
        """Find the artifacts that may go, and delete them unless it is a dry run."""
        body = {"dry_run": dry_run, "only_database": only_database}
        return self._post("/artifacts/cleanup", body, Launched, key=new_key())

    def repair_artifacts(
        self, *, sha256: Sequence[str] = (), dataset: str | None = None, dry_run: bool = True
    ) -> Launched:
        """Repair damaged artifacts; a dry run only shows how each would be repaired."""
        body = {"sha256": sha256, "dataset": dataset, "dry_run": dry_run}
        return self._post("/artifacts/repair", body, Launched, key=new_key())

    def export_evidence(
        self,
        *,
        run_id: str | None = None,
        session: str | None = None,
        partition: str | None = None,
        at: datetime | None = None,
        include_bytes: bool = False,
        include_inputs: bool = False,
    ) -> Export:
        """Write an archive about a run, a session, or a partition as it was known ``at`` a time.

        ``include_inputs`` adds the other partitions that the partition's derived rows read.

        Once its run has succeeded, `download_archive` gets the file that it names.
        """
        body = {
            "run_id": run_id,
            "session": session,
            "partition": partition,
            "at": at,
            "include_bytes": include_bytes,
            "include_inputs": include_inputs,
        }
        return self._post("/evidence", body, Export, key=new_key())

    def archives(self) -> list[Archive]:
        """Return the archives of evidence that there are."""
        return self._get("/evidence", Archives).archives

    def download_archive(self, file: str, to: Path) -> None:
        """Write an archive to a file; `evidence verify` looks whether it is whole."""
        to.write_bytes(self._transport.ask("GET", f"/evidence/{quoted(file)}").content)


def _build_row_query(
    columns: Sequence[str],
    where: Sequence[str],
    as_of: datetime | str | None,
    published_by: date | str | None,
) -> dict[str, Any]:
    day = published_by.date() if isinstance(published_by, datetime) else published_by
    return {
        "columns": _join_names(columns),
        "where": _list_texts(where),
        "as_of": as_of,
        "published_by": str(day) if day else None,
    }


def _list_texts(texts: Sequence[str]) -> list[str]:
    """Return texts as a list; one text is one of them, not its letters."""
    return [texts] if isinstance(texts, str) else list(texts)


def _join_names(names: Sequence[str]) -> str | None:
    """Return names as the gateway takes them; one text has them already, comma-separated."""
    return (names if isinstance(names, str) else ",".join(names)) or None
