"""Log output of runs and steps: text or JSON on the console, mirrored into a file.

Dagster starts a `tail` for each of the two streams of each step, and a Python program for each of
these that ends it if the run crashes: four processes, and the time it takes to end them again.
"""

import logging
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from typing import Any, TextIO

import dagster as dg

from orchestration_project import release
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.connections.log_files import (
    DAY_SECONDS,
    FOLDER,
    REQUEST_IN_LOG,
    LogFile,
    expire_segments,
)
from orchestration_project.engine.contracts.log_lines import encode_line
from orchestration_project.engine.tracing.spans import name_program
from orchestration_project.engine.tracing.traceparent import (
    TraceContext,
    find_current_trace,
    trace_of_tags,
)
from orchestration_project.settings import Settings, load_shared_settings

LOG_EVENTS: Mapping[str, str] = {
    # Runs
    "partitions_requested": "A run begins to load its partitions.",
    "partition_loaded": "A partition was loaded, or was unchanged.",
    "partition_quarantined": "A partition failed an audit, or could not be fetched or parsed.",
    "partitions_summarized": "Counts of loaded, unchanged and quarantined partitions of a run.",
    "retry_delayed": "A step waits for the time that a source requested, then is retried.",
    "retry_not_launched": "The retry of a run could not be launched, and is launched again.",
    "announcements_unsettled": "Reported loads could not be marked as reported.",
    "backfill_unbalanced": "A backfill ended without naming where each of its partitions went.",
    "balance_unrecorded": "The equations of a run could not be stored.",
    "metadata_reported": "Metadata of a run's asset, as text; in its event log and console alone.",
    "language_model_not_stored": "The unpacked language model cannot be written to STATE_DIR.",
    "items_processed": "Counts of the work items of a topic after a batch.",
    "export_ended": "Result of an attempt to deliver an export.",
    "artifact_repaired": "Outcome of the repair of a damaged artifact.",
    "site_export_ended": "Result of an attempt to deliver the items of a site after its crawl.",
    "frame_continued": "The client requests the next rows of a frame with more than a file has.",
    "spans_refused": "The collector refused spans of traces.",
    "spans_lost": "Spans of traces could not be exported to the collector.",
    "web_login_ended": "The login of a crawl worked, or failed.",
    "items_lost": "Another run had claimed some of the work items.",
    "lease_not_renewed": "The lease of a site could not be renewed; the run tries again.",
    "database_awaited": "New connections wait for a database server that does not respond.",
    "database_returned": "A database server responds again.",
    "heartbeat_failed": "The heartbeat of a run could not be recorded.",
    "run_delivered_again": "The broker delivered a run again that a process has claimed.",
    "run_not_startable": "A delivered run is not executed, as it has ended or is queued again.",
    "run_lost_before_start": "The process that claimed a run ended before the run started.",
    "run_lost_on_this_host": "The process of a run in progress on this host is gone.",
    "retry_awaits_code_server": "The retry of a run waits for a code server or database.",
    "additional_tables": "The database has tables, columns or indexes that are not declared.",
    "claims_not_checked": "The claims of runs could not be read; the daemon tries again.",
    "run_of_another_release": "A worker refused a run that a daemon of another release launched.",
    "run_ended_elsewhere": "A run was ended while this process was silent; the process stops.",
    "compute_log_not_shared": "Compute logs of a step could not be put into the artifact store.",
    "host_heartbeat_failed": "The heartbeat of a program could not be recorded.",
    "daemon_lease_not_renewed": "The lease of the daemon could not be renewed; it tries again.",
    "historic_weeks_unavailable": "FINRA's list of historic weeks could not be read.",
    "page_cache_unavailable": "The cache of task pages could not be read: all pages are read.",
    # HTTP client
    "http_request_answered": "An outside system answered a request.",
    "http_request_retried": "A request to an outside system failed and is retried.",
    "unexpected_error_retried": "An unexpected error of a request is retried.",
    # Sensors
    "partition_runs_requested": "A sensor requests runs of new or changed partitions.",
    "week_runs_requested": "A sensor requests runs of new or restated FINRA weeks.",
    "derivation_runs_requested": "A sensor requests runs that derive tables.",
    "chart_run_requested": "A sensor requests a run that draws the chart of trading.",
    "symbol_run_requested": "A sensor requests a run that loads prices of new symbols.",
    "own_derivation_run_requested": "A sensor requests a run that derives a table of the project.",
    "price_derivation_run_requested": "A sensor requests a run that derives tables of prices.",
    # Dry runs
    "dry_run": "A run is a dry run, and leaves as it is what the line names.",
    # Captures
    "damaged_pack_kept": "A pack is not cleaned up, as a blob in it is damaged.",
    "erasure_waits_for_runs": "An erasure waits for the end of runs in progress.",
    "evidence_unreadable": "Offenders and rejects of a delivery cannot be shown on its partition.",
    # Alerts
    "log_lines_lost": "Log lines were lost before a collector accepted them.",
    "log_lines_not_expired": "Lines older than LOG_KEEP_DAYS cannot be deleted; it is retried.",
    "log_shipping_failed": "Log lines cannot be sent to the collector; they wait in their files.",
    "log_shipping_resumed": "The collector accepts log lines again.",
    "log_shipping_ended": "An unexpected error ended the sending of log lines for a minute.",
    "last_resort_log_unwritable": "The file of direct notifications cannot be written.",
    "run_log_unreadable": "Dagster's event log of an ended run cannot be read.",
    # Gateway
    "feed_failed": "Rows or log lines for streams could not be read; they are read again.",
    "request_served": "A request was answered; the line has user, address, path and status.",
    "access_unavailable": "The database of keys and sessions does not respond.",
    "use_not_recorded": "The use of a key or session could not be recorded.",
    "dependency_not_ready": "A readiness probe failed.",
    "webhook_rejected": "A webhook delivery was rejected.",
    "webhooks_paused": "Webhooks are not accepted, as the inbox or the disk is full.",
    "webhook_not_stored": "A webhook delivery could not be stored.",
    "upload_refusal_not_stored": "The refusal of an upload could not be stored for /attention.",
    "webhook_source_disabled": "A webhook source cannot be used, such as one without its secret.",
    "plugin_log_line": "Line that a plugin logged in its run.",
    "plugin_endpoint_log_line": "Line that a plugin logged for a request of an endpoint.",
    "plugin_not_readable": "This release cannot read the manifest of a stored plugin.",
    "plugin_grant_not_readable": "This release cannot read a stored grant: it grants nothing.",
    "plugins_not_defined": "The database did not name the plugins when the definitions loaded.",
    "routing_rule_not_verified": "The target of an edited routing rule could not be asked.",
    "latency_unrecorded": "Answer times of the gateway could not be recorded yet.",
    "metrics_unavailable": "A part of the metrics cannot be read.",
    "binary_frame_rejected": "A client sent a binary frame over a websocket.",
    "oidc_login_rejected": "A login by OpenID Connect was rejected.",
    # Bridge of MQTT
    "mqtt_bridge_leading": "This process receives the messages of a broker from now on.",
    "mqtt_bridge_replaced": "Another bridge has taken over; this one stores nothing more.",
    "mqtt_bridge_connected": "The bridge is connected to its broker.",
    "mqtt_bridge_disconnected": "The bridge is not connected; the line has the reason.",
    "mqtt_session_lost": "The broker has lost the session: messages may be missing.",
    "mqtt_database_unavailable": "The database is away; nothing is acknowledged meanwhile.",
    "mqtt_outbox_unavailable": "The outbox cannot be read or written; the bridge retries.",
    "mqtt_answers_not_recorded": "A broker's answers are recorded with the next connection.",
    "mqtt_publishing_failed": "Publishing the outbox failed unexpectedly; the bridge retries.",
    # Demo
    "demo_data_served": "The demo served a page of data.",
    "demo_fault_throttled": "The demo answered 429 on purpose.",
    "demo_fault_timed_out": "The demo answered 504 on purpose.",
    "demo_request_rejected": "The demo rejected a request.",
    "demo_mqtt_closed": "The demo closed a connection of MQTT, as it was broken off or malformed.",
    "demo_saas_fault": "The demo of the synced systems caused a fault on purpose.",
}
"""The events of log lines, and what each means.

Each log call passes its name as ``extra={"event": …}``. Names are stable, so that queries and
alerts on logs may use them; the text of a line may change. A test compares this table with
the calls.
"""


RELEASE = release()
LOG_KEYS = {
    "time": "ISO 8601 timestamp, UTC",
    "level": "severity: DEBUG, INFO, WARNING, ERROR or CRITICAL",
    "service": "program: gateway, daemon, code_server, run, bridge or worker",
    "host": "name of the machine",
    "release": "version of the project",
    "logger": "name of the Python logger",
    "message": "text; line breaks are escaped",
    "event": "name of the log event (`LOG_EVENTS`), or Dagster's event type, e.g. STEP_FAILURE",
    "run_id": "Dagster run",
    "job": "job of the run",
    "domain": "first part of the asset key, or the job's tag `domain`",
    "step": "step of the run",
    "asset": "asset key",
    "partition": "partition key",
    "trace_id": "W3C trace ID of the run or request, 32 hex digits",
    "span_id": "W3C span ID in which the line was written, 16 hex digits",
    "request_id": "ID of the gateway's request, as the header `X-Request-ID` has it",
    "exception": "traceback",
    "user": "user of a request (`request_served`)",
    "address": "address of its client",
    "method": "its HTTP method, or WEBSOCKET",
    "path": "its path, without the query",
    "status": "HTTP status of its response",
    "seconds": "duration, seconds",
}
"""Keys of a line in JSON; a key without a value is left out."""

RUN_EVENTS = frozenset(
    {
        *("PIPELINE_START", "PIPELINE_SUCCESS", "PIPELINE_FAILURE", "PIPELINE_CANCELED"),
        *("STEP_START", "STEP_SUCCESS", "STEP_FAILURE", "STEP_UP_FOR_RETRY"),
    }
)
"""Dagster's events of a run that its log has at any LOG_LEVEL."""

EVENTS_WITH_ROWS = frozenset({"metadata_reported"})
"""Events of a run that have rows of tables: an erasure masks Dagster's logs, not ours."""


class JsonLines(logging.Formatter):
    """Formats a record as one JSON object with the keys of `LOG_KEYS`.

    Args:
        service: Name of the program; empty: that of `keep_log_lines`, or ``run``.
    """

    def __init__(self, service: str = "") -> None:
        super().__init__()
        self._service = service

    def encoded(self, record: logging.LogRecord) -> bytes:
        """Return ``record`` as one line with its line break."""
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
            "level": record.levelname,
            "service": self._service or (_KEPT[0].service if _KEPT else RUN),
            "host": socket.gethostname(),
            "release": RELEASE,
            "logger": record.name,
            **_describe_record(record),
            "exception": record.exc_text or None,
        }
        return encode_line(fields)

    def format(self, record: logging.LogRecord) -> str:
        """Return ``record`` as one line."""
        return self.encoded(record).decode().removesuffix("\n")


class LogFileHandler(logging.Handler):
    """Appends records to the log of a service below STATE_DIR; it never raises.

    Args:
        settings: STATE_DIR, LOG_KEEP_MIB and LOG_KEEP_DAYS.
        service: Name of the program.
    """

    def __init__(self, settings: Settings, service: str) -> None:
        super().__init__()
        self.service = service
        self.settings = _select_log_settings(settings)
        self._lines = JsonLines(service)
        folder = settings.state_path / FOLDER
        keep_bytes = settings.log_keep_mib * 2**20
        self._file = LogFile(folder, service, keep_bytes, settings.log_keep_days)

    def emit(self, record: logging.LogRecord) -> None:
        """Append a record."""
        try:
            self._file.append(self._lines.encoded(record))
        except Exception:  # noqa: BLE001 - such as arguments that do not fit their message
            self._file.lose()

    def close(self) -> None:
        """Close the file; a later record opens it again.

        Not while another thread writes a record: the file's number may be a socket's by then.
        """
        self.acquire()
        try:
            self._file.close()
        finally:
            self.release()
        super().close()


RUN = "run"

GATEWAY_WAIT_SECONDS = 20.0
"""Time that a gateway leaves to other programs of its host to become the one that sends lines."""

_KEPT: list[LogFileHandler] = []
"""The handler of this program."""

_KEPT_OF_RUNS: list[LogFileHandler] = []
"""The handler of the runs that this process executes."""


MAX_EXPIRY_WAIT_SECONDS = 3600.0

_logger = logging.getLogger(__name__)


def expire_logs(settings: Settings, *, clock: Clock | None = None) -> None:
    """Delete the log lines of this host that LOG_KEEP_DAYS and LOG_KEEP_MIB do not keep."""
    folder, keep_bytes = settings.state_path / FOLDER, settings.log_keep_mib * 2**20
    errors = expire_segments(folder, keep_bytes, settings.log_keep_days, clock=clock)
    for service, error in errors.items():
        _logger.warning(
            "expired log lines of %s cannot be deleted: %s",
            service,
            error,
            extra={"event": "log_lines_not_expired"},
        )


def expire_logs_until(end: Event, settings: Settings, clock: Clock) -> None:
    """Delete expired log lines at once, after each midnight UTC and hourly, until an event."""
    wait = 0.0
    while not end.wait(wait):
        expire_logs(settings, clock=clock)
        wait = expiry_wait_seconds(clock.now())


def expiry_wait_seconds(at: datetime) -> float:
    """Return the seconds to wait for the next deletion: an hour, or less before midnight UTC."""
    return min(MAX_EXPIRY_WAIT_SECONDS, DAY_SECONDS - at.timestamp() % DAY_SECONDS)


def keep_log_lines(settings: Settings, service: str) -> None:
    """Append the log lines of this program to its log below STATE_DIR, from now on.

    A thread deletes the expired lines of all programs of this STATE_DIR.
    Warnings that no other handler shows are written to standard error, as without it.

    Args:
        settings: STATE_DIR, LOG_KEEP_MIB, LOG_KEEP_DAYS, LOG_LEVEL and LOG_FORMAT.
        service: Name of the program, such as ``gateway``.
    """
    name_program(service, RELEASE)
    if _KEPT:
        return
    Thread(
        target=expire_logs_until,
        args=(Event(), settings, Clock()),
        name="expiry of log lines",
        daemon=True,
    ).start()
    if not settings.log_keep_mib:
        return
    kept_handler = LogFileHandler(settings, service)
    kept_handler.addFilter(
        lambda record: not hasattr(record, "dagster_meta")
    )  # the run's log has it
    _KEPT.append(kept_handler)
    root = logging.getLogger()
    if not root.handlers:
        shown_handler = in_log_format(logging.StreamHandler())
        shown_handler.setLevel(logging.WARNING)
        shown_handler.addFilter(_has_no_handler)
        root.addHandler(shown_handler)
    root.addHandler(kept_handler)
    if settings.otlp_logs_url is not None:
        from orchestration_project.services.program_logs.shipping import start_shipper

        wait = GATEWAY_WAIT_SECONDS if service == "gateway" else 0.0
        folder = settings.state_path / FOLDER
        start_shipper(settings, folder, socket.gethostname(), wait_seconds=wait)
    logging.getLogger("orchestration_project").setLevel(settings.log_level)


def _has_no_handler(record: logging.LogRecord) -> bool:
    logger = logging.getLogger(record.name)
    while logger.parent is not None:
        if logger.handlers:
            return False
        logger = logger.parent
    return True


def _keep_run_lines(logger: logging.Logger) -> None:
    """Append the log lines of a run to the log of runs, at LOG_LEVEL, and RUN_EVENTS always."""
    settings = load_shared_settings()
    if not settings.log_keep_mib:
        expire_logs(settings)
        return
    kept_handler = _run_handler(settings)
    for handler in logger.handlers:
        handler.setLevel(max(handler.level, logger.level))
    logger.setLevel(logging.DEBUG)
    logger.addHandler(kept_handler)


def _run_handler(settings: Settings) -> LogFileHandler:
    """Return the handler of all runs of this process: each of its own would keep files open."""
    for log_file_handler in _KEPT_OF_RUNS:
        if log_file_handler.settings == _select_log_settings(settings):
            return log_file_handler
        log_file_handler.close()
    expire_logs(settings)
    level = logging.getLevelNamesMapping()[settings.log_level]
    kept_handler = LogFileHandler(settings, RUN)
    kept_handler.addFilter(
        lambda record: record.levelno >= level or _read_event(record) in RUN_EVENTS
    )
    kept_handler.addFilter(lambda record: getattr(record, "event", None) not in EVENTS_WITH_ROWS)
    _KEPT_OF_RUNS[:] = [kept_handler]
    return kept_handler


def _select_log_settings(settings: Settings) -> tuple[object, ...]:
    """Return the settings of a log file."""
    limits = settings.log_keep_mib, settings.log_keep_days
    return settings.state_path, *limits, settings.log_level


def _read_event(record: logging.LogRecord) -> str | None:
    values: dict[str, Any] | None = getattr(record, "dagster_meta", None)
    event: dg.DagsterEvent | None = values["dagster_event"] if values else None
    return event.event_type.value if event else None


def _describe_record(record: logging.LogRecord) -> dict[str, Any]:
    """Return the message, and what Dagster knows of a record that was written in a run."""
    values: dict[str, Any] | None = getattr(record, "dagster_meta", None)
    name = getattr(record, "event", None)
    trace = find_current_trace()
    if values is None:
        fields: Mapping[str, Any] = getattr(record, "fields", {})
        return {
            "message": record.getMessage(),
            "event": name,
            **_render_trace(trace),
            "request_id": REQUEST_IN_LOG.get(),
            **fields,
        }
    event: dg.DagsterEvent | None = values["dagster_event"]
    tags = values["job_tags"] or {}
    asset = event.asset_key if event else None
    return {
        "message": record.getMessage() if event else values["orig_message"],
        "event": event.event_type.name if event else name,
        "run_id": values["run_id"],
        "job": values["job_name"],
        "domain": tags.get("domain") or (asset.path[0] if asset else None),
        "step": values["step_key"],
        "asset": asset.to_user_string() if asset else None,
        "partition": (event.partition if event else None) or tags.get("dagster/partition"),
        **_render_trace(trace or trace_of_tags(tags)),
    }


def _render_trace(trace: TraceContext | None) -> dict[str, str]:
    return {"trace_id": trace.trace_id, "span_id": trace.span_id} if trace else {}


def write_in_log_format() -> None:
    """Let the console logger that Dagster gives to each run write in LOG_FORMAT.

    A logger of ours would be used only by runs whose config names it, and none does.
    """
    colored = dg.colored_console_logger.logger_fn

    def console(context: dg.InitLoggerContext) -> logging.Logger:
        logger = colored(context)
        for handler in logger.handlers:
            in_log_format(handler)
        _keep_run_lines(logger)
        return logger

    if colored.__module__ != __name__:
        dg.colored_console_logger._logger_fn = console


def in_log_format(handler: logging.Handler) -> logging.Handler:
    """Return ``handler``, writing JSON where LOG_FORMAT requests it."""
    if load_shared_settings().log_format == "json":
        handler.setFormatter(JsonLines())
    return handler


SECONDS_BETWEEN_POLLS = 0.1
CHUNK_BYTES = 2**16


@contextmanager
def mirrored(stream: TextIO, path: Path) -> Iterator[None]:
    """Append the output of ``stream`` to a file, and send it to where it would have gone.

    That holds for what child processes write, too. A stream without a file is left alone.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    if _is_file(stream):
        with _mirror_file(stream, path), _switch_to_file(stream, path):
            yield
    else:
        yield


@contextmanager
def _switch_to_file(stream: TextIO, path: Path) -> Iterator[None]:
    """Redirect the descriptor of ``stream`` to the end of a file."""
    descriptor = stream.fileno()
    with path.open("ab") as file, os.fdopen(os.dup(descriptor), "wb") as original:
        stream.flush()
        os.dup2(file.fileno(), descriptor)
        try:
            yield
        finally:
            stream.flush()
            os.dup2(original.fileno(), descriptor)


def _is_file(stream: TextIO) -> bool:
    try:
        stream.fileno()
    except OSError:  # as in a test, or a notebook
        return False
    return True


@contextmanager
def _mirror_file(stream: TextIO, path: Path) -> Iterator[None]:
    """Show meanwhile what comes to the end of the file, and the last of it afterwards."""
    ended, console, start = Event(), os.dup(stream.fileno()), path.stat().st_size
    thread = Thread(target=_show, args=(path, start, console, ended), name="mirror", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _show(path: Path, start: int, console: int, ended: Event) -> None:
    try:
        with os.fdopen(console, "wb") as fdopen, path.open("rb") as file:
            file.seek(start)
            is_last = False
            while not is_last:
                is_last = ended.wait(SECONDS_BETWEEN_POLLS)
                while some := file.read(CHUNK_BYTES):
                    fdopen.write(some)
                fdopen.flush()
    except OSError:  # the console is closed; the file has it all
        return
