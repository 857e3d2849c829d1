"""The host of a run: judges each message of a plugin, does what is allowed, refuses the rest."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestration_project.domains.plugins.budgets import BudgetError, Spending
from orchestration_project.domains.plugins.judging import Judge, Refusal, target_of
from orchestration_project.domains.plugins.protocol import (
    Act,
    Answer,
    Emit,
    End,
    Fetch,
    Log,
    Message,
    Page,
    ProtocolError,
    Publish,
    Read,
    read_line,
    write_line,
)
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError, OrchestrationError
from orchestration_project.redaction import redacted
from orchestration_project.resources.plugins.child import ChildError, PluginProcess
from orchestration_project.resources.plugins.fetching import Fetcher, Stopwatch, reply_of
from orchestration_project.resources.plugins.loading import Emissions
from orchestration_project.resources.plugins.reading import read_rows
from orchestration_project.resources.plugins.records import CallRecorder

LEVELS = ("debug", "info", "warning", "error")
MAX_LOG_LINES = 1_000
MAX_LOG_CHARACTERS = 2_000
MAX_PAGES = 20
MAX_ANSWER_BYTES = 2**20

LogLine = Callable[[str, str], None]
"""Writes a line to the log of the run: level and text."""


@dataclass
class Outcome:
    """Pages, answer and log of a plugin.

    Attributes:
        pages: Pages as format and content.
        answer: Answer of an endpoint.
        log_line_count: Lines that it logged.
    """

    pages: list[Page] = field(default_factory=list[Page])
    answer: Answer | None = None
    log_line_count: int = 0


@dataclass
class Host:
    """Serves one process of a plugin until it ends.

    Attributes:
        judge: Its granted permissions.
        spending: What it has used of its budget.
        recorder: Record of its calls.
        emissions: What it emits, publishes and requests.
        fetcher: Makes its requests.
        warehouse: Database of its reads.
        log: Writes its log lines.
    """

    judge: Judge
    spending: Spending
    recorder: CallRecorder
    emissions: Emissions
    fetcher: Callable[[], Fetcher]
    warehouse: Warehouse
    log: LogLine
    outcome: Outcome = field(default_factory=Outcome)
    _last_id: int = 0

    def serve(self, process: PluginProcess, start: bytes) -> None:
        """Start the plugin with a line, and serve its messages until its end.

        Raises:
            ChildError: It exceeds its budget, breaks the protocol, ends without a word, or is
                stopped.
            OrchestrationError: Something that it needs of the host cannot be used.
        """
        try:
            process.send(start)
            while self._serve_line(process, process.read_line()):
                pass
            process.finish()
        except ProtocolError as error:
            self.recorder.violate("protocol", str(error))
            raise ChildError(
                "the plugin broke the protocol",
                expected="lines of JSON as in docs/how-to/write-a-plugin.md",
                found=redacted(str(error)),
                remedy="use the library `plugin` in place of writing to standard output",
            ) from error
        except BudgetError as error:
            self.recorder.violate(f"budget.{error.resource}", str(error))
            raise ChildError(
                "the plugin exceeded its budget",
                expected=f"at most {error.expected}",
                remedy=f"do less in a run, or raise budget.{error.resource} in a new version",
            ) from error
        except ChildError as error:
            if error.permission:
                self.recorder.violate(error.permission, error.expected or error.what)
            raise

    def _serve_line(self, process: PluginProcess, line: bytes) -> bool:
        """Serve a line; return whether another one is expected."""
        self.spending.add_message(len(line))
        message = read_line(line)
        if isinstance(message, End):
            return False
        if isinstance(message, Fetch | Read):
            if message.id <= self._last_id:
                raise ProtocolError("invalid id: expected a number above that of the last call")
            self._last_id = message.id
        refusal = self.judge.refusal(message)
        if refusal is not None:
            self._refuse(process, message, refusal)
            return True
        self._do(process, message, len(line))
        return True

    def _do(self, process: PluginProcess, message: Message, byte_count: int) -> None:
        """Execute an allowed message."""
        match message:
            case Fetch():
                self._fetch(process, message)
            case Read():
                self._read(process, message)
            case Emit():
                self.spending.add_rows(len(message.rows))
                self.emissions.add_rows(message)
                self.recorder.add_to_group("emit", message.table, byte_count=byte_count)
            case Publish() | Act():
                self.emissions.add_event(message)
                self.recorder.add(*target_of(message), "allowed", byte_count=byte_count)
            case _:
                self._show(message, byte_count)

    def _show(self, message: Message, byte_count: int) -> None:
        """Keep a page, an answer or a line of the log."""
        match message:
            case Page():
                if len(self.outcome.pages) >= MAX_PAGES:
                    raise ProtocolError(f"expected at most {MAX_PAGES} pages")
                self.outcome.pages.append(message)
                self.recorder.add("page", message.format, "allowed", byte_count=byte_count)
            case Answer():
                self._answer(message, byte_count)
            case Log():
                self._write_log(message)
            case _:
                raise AssertionError("each message has a case")

    def _fetch(self, process: PluginProcess, message: Fetch) -> None:
        self.spending.add_request()
        kind, target = target_of(message)
        watch = Stopwatch()
        try:
            response = self.fetcher().fetch(message)
        except ChildError:  # the watchdog has ended the run
            raise
        except OrchestrationError as error:
            process.require_running()
            self.recorder.add(kind, target, "failed", seconds=watch.seconds)
            if isinstance(error, ConfigurationError) and "PLUGIN_SECRET_" in error.what:
                raise
            reason = redacted(error.line)
            process.send(write_line({"type": "failed", "id": message.id, "reason": reason}))
            return
        size = len(response.body)
        self.recorder.add(kind, target, "allowed", byte_count=size, seconds=watch.seconds)
        self.spending.add_bytes(size)
        process.send(write_line(reply_of(message, response)))

    def _read(self, process: PluginProcess, message: Read) -> None:
        query = self.judge.permissions.read(message.query)
        if query is None:
            raise AssertionError("the query was granted")
        watch = Stopwatch()
        try:
            rows = read_rows(self.warehouse, query, message)
        except (OrchestrationError, TimeoutError):
            self.recorder.add("read", message.query, "failed", seconds=watch.seconds)
            raise
        line = write_line({"type": "rows", "id": message.id, "rows": rows})
        self.recorder.add(
            "read", message.query, "allowed", byte_count=len(line), seconds=watch.seconds
        )
        self.spending.add_bytes(len(line))
        process.send(line)

    def _answer(self, message: Answer, byte_count: int) -> None:
        if self.outcome.answer is not None:
            raise ProtocolError("expected one answer")
        if byte_count > MAX_ANSWER_BYTES:
            raise BudgetError("bytes", f"{MAX_ANSWER_BYTES:,} bytes of an answer")
        self.outcome.answer = message
        self.recorder.add("endpoint", message.content_type, "allowed", byte_count=byte_count)

    def _refuse(self, process: PluginProcess, message: Message, refusal: Refusal) -> None:
        kind, target = target_of(message)
        self.recorder.add(kind, target, "refused")
        self.recorder.violate(refusal.permission, f"{kind} {target}: {refusal.reason}")
        if isinstance(message, Fetch | Read):
            reply: Mapping[str, Any] = {
                "type": "refused",
                "id": message.id,
                "permission": refusal.permission,
                "reason": refusal.reason,
            }
            process.send(write_line(reply))

    def _write_log(self, message: Log) -> None:
        self.outcome.log_line_count += 1
        if self.outcome.log_line_count <= MAX_LOG_LINES:
            level = message.level if message.level in LEVELS else "info"
            self.log(level, redacted(message.message)[:MAX_LOG_CHARACTERS])
