"""Checks of MQTT: files of kinds, unknown kinds, clock skew; bridge, outbox and late messages."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import dagster as dg

from orchestration_project.assets.mqtt.catalogue import (
    BRIDGES,
    DEAD_LETTERS,
    GROUP,
    INBOX,
    KINDS,
    MIRROR,
)
from orchestration_project.domains.mqtt.settings import MqttSettings
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.mqtt.health import (
    LATE_AFTER,
    OUTBOX_LATE_AFTER,
    is_silent,
    letter_rate,
    oldest_waiting,
    read_bridges,
)
from orchestration_project.resources.mqtt.kinds import read_kind_files
from orchestration_project.resources.mqtt.mirroring import MirrorCounts
from orchestration_project.resources.mqtt.reading import waiting_outbox
from orchestration_project.services.metadata import build_result, check_spec, mark_not_applicable

WARN, ERROR = dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR

KINDS_VALID, KINDS_KNOWN, IN_STEP = "files_are_valid", "kinds_are_known", "clocks_agree"
NOT_SILENT, NO_GAP, PUBLISHED = "bridge_is_not_silent", "session_was_kept", "outbox_is_published"
IN_TIME, FEW = "messages_are_mirrored_in_time", "few_dead_letters"

MAX_LETTER_RATIO = 0.05
MIN_LETTERS = 5
"""Below it, a ratio says nothing."""

REMEDIES = {
    KINDS_VALID: "correct the file that it names; then run mqtt_replay_dead_letters",
    KINDS_KNOWN: "add a schema file to MQTT_KINDS_DIR, or have the sender correct the kind",
    IN_STEP: "set the sender's clock; its events are mirrored, and folded by their own time",
    NOT_SILENT: "read problem in the table mqtt_bridges; start the bridge or its broker",
    NO_GAP: "have the senders publish events since the start of the gap again",
    PUBLISHED: "start the bridge: it publishes the outbox; read reason in the table outbox",
    IN_TIME: "start mqtt_mirror, or switch the sensor mqtt_on_arrival on",
    FEW: "read the table mqtt_dead_letters; correct the sender or the kind, then replay them",
}


def mirror_checks() -> list[dg.AssetCheckSpec]:
    """Return the checks that a run of the mirror evaluates."""
    return [
        check_spec(
            KINDS_KNOWN,
            asset=MIRROR,
            description="The kind of every new event has a schema.",
            severity=WARN,
            limit="0 events of unknown kinds",
            remedy=REMEDIES[KINDS_KNOWN],
        ),
        check_spec(
            IN_STEP,
            asset=MIRROR,
            description="The times of new events agree with their arrival.",
            severity=WARN,
            limit="MQTT_MAX_SKEW_SECONDS",
            settings=["MQTT_MAX_SKEW_SECONDS"],
            remedy=REMEDIES[IN_STEP],
        ),
    ]


def mirror_results(totals: MirrorCounts) -> Iterator[dg.AssetCheckResult]:
    """Yield the results of these checks of a run."""
    unknown = ", ".join(f"{kind}: {count}" for kind, count in totals.unknown.most_common(20))
    yield _build_result(MIRROR, KINDS_KNOWN, WARN, unknown, "every kind is known", "known kinds")
    skewed = f"{totals.skewed_count} events" if totals.skewed_count else ""
    expected = "times near the arrival"
    yield _build_result(MIRROR, IN_STEP, WARN, skewed, "no event is far from its arrival", expected)


@dg.multi_asset_check(
    name="mqtt_validate_kinds",
    specs=[
        check_spec(
            KINDS_VALID,
            asset=KINDS,
            description="Every schema file of a kind is valid. Events of others count as unknown.",
            severity=ERROR,
            limit="0 invalid files",
            settings=["MQTT_KINDS_DIR"],
            remedy=REMEDIES[KINDS_VALID],
        )
    ],
)
def check_kinds(settings: dg.ResourceParam[MqttSettings]) -> Iterator[dg.AssetCheckResult]:
    """Read the schema files, and report each that is invalid."""
    kind_files = read_kind_files(MqttSettings.of(settings).mqtt_kinds_path)
    problems = "; ".join(f"{name}: {problem}" for name, problem in kind_files.problems.items())
    count = sum(len(version) for version in kind_files.versions.values())
    passed = f"{count} valid schema files"
    yield _build_result(KINDS, KINDS_VALID, ERROR, problems, passed, "valid schema files")


@dg.multi_asset_check(
    name="mqtt_check_flow",
    specs=[
        check_spec(
            NOT_SILENT,
            asset=BRIDGES,
            description="Each bridge is connected and receives messages.",
            severity=ERROR,
            limit="MQTT_SILENCE_MINUTES",
            settings=["MQTT_SILENCE_MINUTES"],
            remedy=REMEDIES[NOT_SILENT],
        ),
        check_spec(
            NO_GAP,
            asset=BRIDGES,
            description="The broker kept the session of each bridge for the latest day.",
            severity=ERROR,
            limit="0 lost sessions",
            remedy=REMEDIES[NO_GAP],
        ),
        check_spec(
            PUBLISHED,
            asset=BRIDGES,
            description="Events of commands are published within a minute.",
            severity=ERROR,
            limit="1 minute",
            remedy=REMEDIES[PUBLISHED],
        ),
        check_spec(
            IN_TIME,
            asset=INBOX,
            description="No message waits longer than 15 minutes for the mirror.",
            severity=WARN,
            limit="15 minutes",
            remedy=REMEDIES[IN_TIME],
        ),
        check_spec(
            FEW,
            asset=DEAD_LETTERS,
            description="Few messages of the latest hour are dead letters.",
            severity=WARN,
            limit=f"{MAX_LETTER_RATIO:.0%} of messages, or {MIN_LETTERS - 1}",
            remedy=REMEDIES[FEW],
        ),
    ],
)
def check_flow(
    clock: dg.ResourceParam[Clock],
    settings: dg.ResourceParam[MqttSettings],
    warehouse: dg.ResourceParam[Warehouse],
) -> Iterator[dg.AssetCheckResult]:
    """Look at bridges, outbox, inbox and dead letters; the broker is not asked."""
    now = clock.now()
    limit = timedelta(minutes=MqttSettings.of(settings).mqtt_silence_minutes)
    yield from _check_bridges(warehouse, now, limit)
    with warehouse.reading() as connection:
        count, oldest = waiting_outbox(connection)
    is_late = oldest is not None and oldest < now - OUTBOX_LATE_AFTER
    late = (
        f"{count} events wait, the oldest since {oldest:%Y-%m-%d %H:%M:%S} UTC" if is_late else ""
    )
    yield _build_result(BRIDGES, PUBLISHED, ERROR, late, "no event waits for long", "a minute")
    missing = oldest_waiting(warehouse, now)
    reason = missing.reason if missing else ""
    expected = f"a run within {LATE_AFTER.seconds // 60} minutes"
    yield _build_result(INBOX, IN_TIME, WARN, reason, "no message waits for long", expected)
    rate = letter_rate(warehouse, now)
    is_high = rate.letter_count >= max(MIN_LETTERS, MAX_LETTER_RATIO * rate.message_count)
    by_reason = ", ".join(f"{code}: {number}" for code, number in rate.by_reason.items())
    many = f"{rate.letter_count} of {rate.message_count} messages ({by_reason})" if is_high else ""
    yield _build_result(DEAD_LETTERS, FEW, WARN, many, f"{rate.letter_count} dead letters", "few")


def _check_bridges(
    warehouse: Warehouse, now: datetime, limit: timedelta
) -> Iterator[dg.AssetCheckResult]:
    bridges = read_bridges(warehouse)
    if not bridges:
        for name in (NOT_SILENT, NO_GAP):
            why = mark_not_applicable("no bridge has started")
            yield build_result(BRIDGES, name, why, ERROR, passed=True)
        return
    silent = "; ".join(
        f"{bridge['broker']}: {bridge['problem'] or 'no message since ' + _format_time(bridge)}"
        for bridge in bridges
        if is_silent(bridge, now, limit)
    )
    expected = f"a message within {limit.total_seconds() / 60:g} minutes"
    yield _build_result(BRIDGES, NOT_SILENT, ERROR, silent, "every bridge receives", expected)
    lost = "; ".join(
        f"{bridge['broker']}: messages since {bridge['session_lost_at']:%Y-%m-%d %H:%M:%S} UTC may "
        "be missing"
        for bridge in bridges
        if bridge["session_lost_at"] is not None
        and bridge["session_lost_at"] > now - timedelta(days=1)
    )
    yield _build_result(BRIDGES, NO_GAP, ERROR, lost, "every session was kept", "kept sessions")


def _format_time(bridge: Mapping[str, Any]) -> str:
    last = bridge["last_message_at"] or bridge["connected_since"]
    return "its start" if last is None else f"{last:%Y-%m-%d %H:%M:%S} UTC"


def _build_result(
    asset: dg.AssetKey,
    name: str,
    severity: dg.AssetCheckSeverity,
    found: str,
    outcome: str,
    expected: str,
) -> dg.AssetCheckResult:
    """Return a result that failed if something was ``found``."""
    if not found:
        return build_result(asset, name, {"outcome": outcome}, severity, passed=True)
    metadata = {
        "outcome": "failed",
        "expected": expected,
        "found": found,
        "what_to_do": REMEDIES[name],
    }
    return build_result(asset, name, metadata, severity, passed=False)


flow_job = dg.define_asset_job(
    "mqtt_flow",
    selection=dg.AssetSelection.checks(check_flow),
    description="Checks bridges, outbox, waiting messages and dead letters.",
    tags={"domain": GROUP},
)
