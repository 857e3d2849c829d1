"""Entries that need a person, read from the stores of each kind, in one list with marks."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock, Thread
from typing import Any

from sqlalchemy import Text, and_, case, cast, false, func, or_, select

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.audits import find_acceptable_sha256
from orchestration_project.engine.contracts.job_kinds import replay_job_name, replay_op
from orchestration_project.engine.contracts.pauses import OPERATIONS
from orchestration_project.engine.contracts.problems import OldestMissing
from orchestration_project.engine.contracts.uploads import TOPIC_PREFIX as UPLOADS_TOPICS
from orchestration_project.engine.contracts.work_items import FAILED_STATES
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.delivery import capture_id
from orchestration_project.errors import OrchestrationError
from orchestration_project.registry import Registry
from orchestration_project.services.alerts.inbox import AlertState, read_alert_states
from orchestration_project.services.attention.failed_runs import read_failed_runs
from orchestration_project.services.attention.marks import Marks
from orchestration_project.services.attention.rules import (
    Entry,
    Expectation,
    Inbox,
    ItemSelection,
    Launch,
    PreviewTable,
    advise,
    build_inbox,
)
from orchestration_project.services.balance.latest import RecordedImbalance, read_imbalances
from orchestration_project.services.inbox.uploads import Refusal, UploadRefusals
from orchestration_project.services.status import (
    DeadLetters,
    ItemTopics,
    OpenProposal,
    ProposalReader,
    QuarantinedDelivery,
    read_deadlines,
    read_quarantined,
)
from orchestration_project.settings import Settings
from orchestration_project.tables.catalogue import asset_of
from orchestration_project.tables.spine import upload_refusals, work_items

MAX_ENTRIES_PER_KIND = 1_000

COUNT_SECONDS = 30.0
"""Time for which a count is shown."""

MAX_CAPTURES_NAMED = 20
"""Captures whose rejects are read by their key; those of a larger delivery are its run's."""

MAX_LETTERS_READ = 20_000
"""Letters whose numbers are compared to find the first of a series."""


@dataclass(frozen=True)
class AttentionReader:
    """Reads the entries that need a person.

    Attributes:
        warehouse: Has all of it.
        clock: Time of the data: deadlines are compared with it.
    """

    registry: Registry
    settings: Settings
    warehouse: Warehouse
    clock: Clock

    def read(self) -> Inbox:
        """Return all entries, each kind up to `MAX_ENTRIES_PER_KIND`."""
        quarantined = [*map(self._quarantined, read_quarantined(self.warehouse, self._limit))]
        groups = {entry.group_id for entry in quarantined}
        imbalances = read_imbalances(self.warehouse, self._limit)
        failed_runs = read_failed_runs(self.warehouse, lambda: self.registry.partitions)
        found: Sequence[Sequence[Entry]] = [
            quarantined,
            [
                _describe_imbalance(imbalance)
                for imbalance in imbalances
                if imbalance.imbalance.subject not in groups
            ],
            failed_runs.entries,
            *self._letters(),
            self._items(),
            self._refused_files(),
            [*self._late()],
            self._proposals(),
            [_describe_alert(state) for state in read_alert_states(self.warehouse, self._limit)],
        ]
        cut = {entries[0].kind for entries in found if len(entries) > MAX_ENTRIES_PER_KIND}
        cut |= {"failed_run"} if failed_runs.is_cut else set()
        first_entries = [entry for entries in found for entry in entries[:MAX_ENTRIES_PER_KIND]]
        marks, now = Marks(self.warehouse), Clock().now()
        return build_inbox(first_entries, marks.read(), now, cut)

    @property
    def _limit(self) -> int:
        """One more than are shown, to know whether there are more."""
        return MAX_ENTRIES_PER_KIND + 1

    def _quarantined(self, delivery: QuarantinedDelivery) -> Entry:
        key = asset_of(delivery.table_name)
        table = self.registry.tables.get(delivery.table_name)
        partitions = table.partitions_of(delivery.partition_key, delivery.scope) if table else None
        audits = [Expectation(*map(str, _read_audit(audit))) for audit in delivery.audits]
        hashes = [find_acceptable_sha256(audit.name, audit.found) for audit in delivery.audits]
        sha256 = hashes[0] if hashes and all(hashes) else ""
        is_named = 0 < delivery.capture_count <= MAX_CAPTURES_NAMED
        parts = range(1, delivery.capture_count + 1) if is_named else ()
        unreadable = Expectation("delivery", "a readable delivery", "see the log of its run")
        category = "contract" if delivery.is_readable else "source"
        return Entry(
            kind="quarantined",
            unit=f"{delivery.table_name} {delivery.partition_key}",
            domain=key.partition("/")[0],
            title=f"{key} {delivery.partition_key}",
            since=delivery.since,
            latest_at=delivery.recorded_at,
            expectations=audits or [unreadable],
            asset=key,
            partition=partitions[1] if partitions else "",
            run_id=delivery.run_id,
            table=delivery.table_name,
            group_id=delivery.group_id,
            capture_ids=[capture_id(delivery.group_id, part) for part in parts],
            category=category,
            advice=advise(category)[1],
            can_retry_help=False,
            launches=self._launches(delivery, key, partitions, sha256),
            sha256=sha256,
        )

    def _launches(
        self,
        delivery: QuarantinedDelivery,
        asset: str,
        partitions: tuple[str, str] | None,
        sha256: str,
    ) -> Mapping[str, Launch]:
        """Return the runs that load the partitions again, and that replay the delivery."""
        job, launches = asset.replace("/", "_"), dict[str, Launch]()
        if partitions and job in self.registry.jobs:
            launches["retry"] = Launch(job, *partitions)
        replay = self.registry.replays.get(delivery.table_name)
        if replay is not None and delivery.capture_count:
            domain = delivery.table_name.partition("_")[0]
            config = {
                "table": delivery.table_name,
                "group_id": delivery.group_id,
                "dry_run": False,
            }
            launches["replay"] = _build_op_launch(
                replay_job_name(domain), replay_op(domain), config
            )
            if sha256 and replay.has_options:
                accepted = {**config, "accept_sha256": sha256}
                launches["accept"] = _build_op_launch(
                    replay_job_name(domain), replay_op(domain), accepted
                )
        return launches

    def _letters(self) -> list[list[Entry]]:
        return [
            self._letters_of(domain.name, letters)
            for domain in self.registry.domains
            for letters in domain.registered(DeadLetters)
        ]

    def _letters_of(self, domain: str, letters: DeadLetters) -> list[Entry]:
        column = letters.table.c
        source, code = column[letters.source], column.reason_code
        counted = (
            select(
                source.label("source"),
                code,
                func.count().label("item_count"),
                func.max(column.failed_at).label("failed_at"),
                func.min(cast(column.reason, Text)).label("reason"),
                func.max(column.run_id).label("run_id"),
            )
            .where(column.ended_at.is_(None))
            .group_by(source, code)
            .order_by(source, code)
            .limit(self._limit)
        )
        with self.warehouse.reading() as connection:
            rows = connection.execute(counted).all()
            since = _find_first_failures(connection.execute(_select_letters(letters)), letters)
        return [
            Entry(
                kind="dead_letter",
                unit=f"{letters.table.name} {row.source} {row.reason_code}",
                domain=domain,
                title=" ".join(dict.fromkeys((letters.table.name, row.source, row.reason_code))),
                since=since.get((row.source, row.reason_code), row.failed_at),
                latest_at=row.failed_at,
                expectations=[Expectation(row.reason_code, "a valid message", row.reason)],
                count=row.item_count,
                run_id=row.run_id or "",
                table=letters.table.name,
                category=row.reason_code,
                advice="a replay helps once the rule, kind or target is corrected",
                can_retry_help=False,
                launches={
                    "replay": _build_op_launch(
                        *letters.replay,
                        {**letters.options(row.source, row.reason_code), "dry_run": False},
                    )
                },
            )
            for row in rows
        ]

    def _items(self) -> list[Entry]:
        """Return failed and dead work items, by topic, reason code, and whether uploaded."""
        declared = [
            (domain.name, topics)
            for domain in self.registry.domains
            for topics in domain.registered(ItemTopics)
        ]
        column = work_items.c
        uploaded = [column.topic.startswith(UPLOADS_TOPICS, autoescape=True)]
        uploaded += [
            and_(
                column.topic.startswith(topics.prefix, autoescape=True),
                column.item_key.startswith(topics.upload_prefix, autoescape=True),
            )
            for _, topics in declared
            if topics.upload_prefix
        ]
        is_upload = case((or_(false(), *uploaded), 1), else_=0).label("is_upload")
        counted = (
            select(
                column.topic,
                column.reason_code,
                is_upload,
                func.count().label("item_count"),
                func.sum(case((column.state == "dead", 1), else_=0)).label("dead_count"),
                func.min(column.enqueued_at).label("since"),
                func.max(column.changed_at).label("changed_at"),
                func.min(column.item_key).label("first_key"),
                func.min(cast(column.reason, Text)).label("reason"),
                func.max(column.run_id).label("run_id"),
            )
            .where(column.state.in_(FAILED_STATES))
            .group_by(column.topic, column.reason_code, is_upload)
            .order_by(column.topic, column.reason_code)
            .limit(self._limit)
        )
        with self.warehouse.reading() as connection:
            rows = connection.execute(counted).all()
        return [
            _describe_items(row, domain, topics)
            for row in rows
            for domain, topics in declared
            if row.topic.startswith(topics.prefix)
        ]

    def _refused_files(self) -> list[Entry]:
        """Return the files that inboxes refused over HTTP, of which no work item exists."""
        domains = [
            domain.name
            for domain in self.registry.domains
            for topics in domain.registered(ItemTopics)
            if topics.prefix == UPLOADS_TOPICS
        ]
        refusals = UploadRefusals(self.warehouse, Clock()).read(self._limit)
        return [_describe_refusal(refusal, *(domains or [OPERATIONS])) for refusal in refusals]

    def _late(self) -> Sequence[Entry]:
        deadlines = read_deadlines(self.registry, self.settings, self.warehouse, self.clock)
        return [
            self._late_entry(missing)
            for missing in deadlines
            if missing.absent_count or missing.reason
        ]

    def _late_entry(self, missing: OldestMissing) -> Entry:
        job, partition = missing.loading_job, missing.partition
        plural = "" if missing.absent_count == 1 else "s"
        units = f"{missing.absent_count} {missing.unit}{plural} missing"
        return Entry(
            kind="late",
            unit=missing.asset,
            domain=missing.asset.partition("/")[0],
            title=f"{missing.asset} {missing.partition}".strip(),
            since=missing.due_at,
            latest_at=missing.due_at,
            expectations=[
                Expectation(
                    "freshness",
                    f"loaded by {missing.due_at:%Y-%m-%d %H:%M} UTC",
                    missing.reason or units,
                )
            ],
            count=max(missing.absent_count, 1),
            asset=missing.asset,
            partition=partition,
            advice=missing.remedy,
            launches={"retry": Launch(job, partition, partition)} if job else {},
        )

    def _proposals(self) -> list[Entry]:
        return [
            _describe_proposal(domain.name, proposal)
            for domain in self.registry.domains
            for reader in domain.registered(ProposalReader)
            for proposal in reader.read(self.warehouse, self._limit)
        ]


def _read_audit(audit: Any) -> tuple[str, str, str]:
    return audit.name, audit.expected, audit.found


def _build_op_launch(job: str, op: str, config: Mapping[str, Any]) -> Launch:
    return Launch(job, config={"ops": {op: {"config": dict(config)}}})


def _describe_imbalance(recorded: RecordedImbalance) -> Entry:
    imbalance = recorded.imbalance
    table, balance = imbalance.table_name, imbalance.balance
    return Entry(
        kind="imbalance",
        unit=f"{table} {imbalance.subject} {balance.equation}",
        domain=table.partition("_")[0] or OPERATIONS,
        title=f"{table} {imbalance.subject}".strip(),
        since=recorded.recorded_at,
        latest_at=recorded.recorded_at,
        expectations=[Expectation("balance", "what came in is what went out", str(balance))],
        run_id=recorded.run_id or "",
        table=table,
        category="defect",
        advice=advise("defect")[1],
        can_retry_help=False,
    )


def _select_letters(letters: DeadLetters) -> Any:
    """Return the query of the letters of all units that have an open one, the latest first."""
    column, other = letters.table.c, letters.table.alias("open_letters")
    has_open = select(other.c.reason_code).where(
        other.c.ended_at.is_(None), *(other.c[name] == column[name] for name in letters.unit)
    )
    names = (letters.source, *letters.unit, letters.number, "reason_code", letters.since)
    columns = [column[name] for name in dict.fromkeys((*names, "ended_at"))]
    numbered = column[letters.number].desc()
    return select(*columns).where(has_open.exists()).order_by(numbered).limit(MAX_LETTERS_READ)


def _find_first_failures(rows: Any, letters: DeadLetters) -> Mapping[tuple[str, str], Any]:
    """Return since when units fail without a success between, by source and reason code.

    A unit has a number per attempt; one that succeeded left no letter.
    """
    series: dict[tuple[object, ...], tuple[tuple[str, str], int]] = {}
    first_failures: dict[tuple[str, str], Any] = {}
    for row in rows.mappings():
        unit = tuple(row[name] for name in letters.unit)
        number, at = row[letters.number], row[letters.since]
        if row["ended_at"] is None:
            pair = (row[letters.source], row["reason_code"])
        elif unit in series and series[unit][1] == number + 1:
            pair = series[unit][0]
        else:
            continue
        series[unit] = pair, number
        first_failures[pair] = min(at, first_failures.get(pair, at))
    return first_failures


def _describe_items(row: Any, domain: str, topics: ItemTopics) -> Entry:
    code = row.reason_code or ""
    remedy = topics.remedies.get(code)
    can_help = remedy is None
    waiting = row.item_count - row.dead_count
    advice = f"a retry alone does not help: {remedy}" if remedy else "a retry can help"
    automatic = f"; {waiting} of {row.item_count} are retried automatically" if waiting else ""
    dead = f"{row.dead_count} dead, {waiting} failed" if waiting else f"{row.dead_count} dead"
    return Entry(
        kind="refused_upload" if row.is_upload else "failed_item",
        unit=f"{row.topic} {code}",
        domain=domain,
        title=f"{row.topic}: {code or 'failed'}",
        since=row.since,
        latest_at=row.changed_at,
        expectations=[
            Expectation(row.first_key, "done", f"{dead}: {row.reason or 'no reason was recorded'}")
        ],
        count=row.item_count,
        run_id=row.run_id or "",
        table=work_items.name,
        category=code,
        advice=advice + automatic,
        can_retry_help=can_help,
        items=ItemSelection(row.topic, code),
    )


def _describe_refusal(refusal: Refusal, domain: str) -> Entry:
    size = "of unknown size" if refusal.byte_count is None else f"of {refusal.byte_count} bytes"
    return Entry(
        kind="refused_upload",
        unit=refusal.refusal_id,
        domain=domain,
        title=f"{refusal.inbox}: {refusal.file_name}",
        since=refusal.first_refused_at,
        latest_at=refusal.refused_at,
        expectations=[
            Expectation(
                f"status {refusal.status}",
                refusal.expected or "a file that the inbox accepts",
                f"{refusal.reason}; {size}, by {refusal.user_name}",
            )
        ],
        count=refusal.attempt_count,
        table=upload_refusals.name,
        category=str(refusal.status),
        advice="its bytes were not stored: the sender has to upload the file again",
        can_retry_help=False,
    )


def _describe_proposal(domain: str, proposal: OpenProposal) -> Entry:
    job, op, config = proposal.accept
    return Entry(
        kind="proposal",
        unit=proposal.proposal_id,
        domain=domain,
        title=proposal.subject,
        since=proposal.made_at,
        latest_at=proposal.made_at,
        expectations=[Expectation("drift", proposal.expected, proposal.found)],
        run_id=proposal.run_id,
        advice="accept the proposal if its preview is right, or correct the declaration",
        launches={"accept": _build_op_launch(job, op, config)},
        preview=[PreviewTable(*table) for table in proposal.preview],
    )


def _describe_alert(state: AlertState) -> Entry:
    named = [asset.partition("/")[0] for asset in state.assets]
    names: list[str] = [*named, *([state.job.partition("_")[0]] if state.job else [])]
    return Entry(
        kind="alert",
        unit=f"{state.kind} {state.problems}",
        domain=names[0] if names else OPERATIONS,
        title=state.title,
        since=state.since,
        latest_at=state.raised_at,
        expectations=[Expectation(state.kind, "no alert", state.body.partition("\n")[0])],
        count=state.repeated_count + 1,
        asset=state.assets[0] if state.assets else "",
        run_id=state.run_id or "",
        category=state.severity,
        advice="it recovers by itself once its cause is gone; close one whose cause is known",
        alert_id=state.alert_id,
    )


class AttentionCounter:
    """Counts open entries for the bar, which every page has, without delay.

    The count is read by a thread of its own, again once it is older than `COUNT_SECONDS`.
    """

    def __init__(self, open_reader: Callable[[], AttentionReader]) -> None:
        self._open_reader = open_reader
        self._lock = Lock()
        self._begun_at: float | None = None
        self._count: int | None = None

    def count(self) -> int | None:
        """Return the latest number of open entries; None: it is not known yet, or any more."""
        now = time.monotonic()
        with self._lock:
            is_old = self._begun_at is None or now - self._begun_at >= COUNT_SECONDS
            if is_old:
                self._begun_at = now
        if is_old:
            Thread(target=self.refresh, name="attention", daemon=True).start()
        return self._count

    def refresh(self) -> None:
        """Count the open entries."""
        count = None
        try:
            count = self._open_reader().read().open_count
        except OrchestrationError:  # the database is away; the next refresh may find it
            pass
        finally:  # also after another error, an old number is not shown as the present one
            self._count = count
