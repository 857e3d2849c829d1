"""The library of a plugin's author: what the host does for a plugin, as plain calls.

::

    from plugin import start

    with start() as run:
        feed = run.fetch("https://example.org/feed.json")
        run.emit("items", ((each["id"], {"title": each["title"]}) for each in feed.json()))

It needs the standard library alone. A call that the host refuses raises `RefusedError`; the run
fails at its end even if that is caught.
"""

import json
import os
import sys

TYPE_CHECKING = False  # `typing` takes as long to import as Python to start
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType
    from typing import Any, BinaryIO

BATCH_ROWS = 500
BATCH_CHARACTERS = 200_000
MAX_ROW_CHARACTERS = 900_000

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class RefusedError(Exception):
    """The host refused a call.

    Attributes:
        permission: The permission of plugin.yaml that is missing.
        reason: What was expected and found.
    """

    def __init__(self, permission: str, reason: str) -> None:
        super().__init__(f"{permission}: {reason}")
        self.permission = permission
        self.reason = reason


class FailedError(Exception):
    """The host made a request that failed, such as one without an answer."""


class Response:
    """An answer of HTTP.

    Attributes:
        status: Status, such as 200.
        headers: Headers by name in lower case.
        body: Bytes.
    """

    def __init__(self, status: int, headers: "Mapping[str, str]", body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def text(self) -> str:
        """The body as UTF-8."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> "Any":
        """Return the body as a value of JSON."""
        return json.loads(self.body)


class Run:
    """A run of the plugin, or a request of one of its endpoints.

    Attributes:
        call: ``run`` or ``endpoint``.
        config: Run config, valid by ``config_schema``.
        partition: Partition, such as 2026-11-26; None: the plugin has none.
        run_id: ID of the run.
        endpoint: Name of the requested endpoint; None: this is a run.
        parameters: Parameters of the request.
        folders: Path of each granted folder, by name.
    """

    def __init__(
        self, given: "dict[str, Any]", lines: "BinaryIO", write: "Callable[[str], None]"
    ) -> None:
        self.call = given["call"]
        self.config = given["config"]
        self.partition = given["partition"]
        self.run_id = given["run_id"]
        self.folders = given["folders"]
        endpoint = given["endpoint"] or {}
        self.endpoint = endpoint.get("name")
        self.parameters = endpoint.get("parameters", {})
        self._lines = lines
        self._write = write
        self._number = 0
        self._has_ended = False

    def __enter__(self) -> "Run":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: "TracebackType | None",
    ) -> None:
        if kind is None:
            self.end()

    def fetch(
        self,
        url: str,
        method: str = "GET",
        headers: "Mapping[str, str] | None" = None,
        body: str | None = None,
    ) -> Response:
        """Have the host make a request; return its `Response`.

        ``{{secret:NAME}}`` in a header or the URL is filled in by the host.
        """
        reply = self._ask(
            {"type": "fetch", "method": method, "url": url, "headers": headers or {}, "body": body}
        )
        if reply["type"] == "failed":
            raise FailedError(reply["reason"])
        if "body_base64" in reply:
            from base64 import b64decode

            content = b64decode(reply["body_base64"])
        else:
            content = reply["body"].encode()
        return Response(reply["status"], reply["headers"], content)

    def read(self, query: str, **parameters: object) -> "list[dict[str, Any]]":
        """Return the rows of a named query as dicts; parameters compare columns by equality."""
        return self._ask({"type": "read", "query": query, "parameters": parameters})["rows"]

    def emit(self, table: str, rows: "Iterable[tuple[str, Mapping[str, Any]]]") -> None:
        """Emit rows, each a pair of key and payload, in batches.

        The rows of a run replace those of its partition; a row set without a call stays.
        """
        head = '{"type":"emit","table":' + _encode(table) + ',"rows":['
        batch: list[str] = []
        size, is_sent = 0, False
        for key, payload in rows:
            text = '{"key":' + _encode(key) + ',"payload":' + _encode(payload) + "}"
            if batch and (len(batch) >= BATCH_ROWS or size + len(text) > BATCH_CHARACTERS):
                self._write(head + ",".join(batch) + "]}")
                batch, size, is_sent = [], 0, True
            if len(text) > MAX_ROW_CHARACTERS:
                raise ValueError(f"invalid row {key!r:.60}: expected at most 900,000 characters")
            batch.append(text)
            size += len(text)
        if batch or not is_sent:
            self._write(head + ",".join(batch) + "]}")

    def publish(self, topic: str, key: str, payload: "Mapping[str, Any]") -> None:
        """Write an event to the outbox, together with the emitted rows."""
        self._send({"type": "publish", "topic": topic, "key": key, "payload": payload})

    def act(self, action: str, key: str, **fields: object) -> None:
        """Request an action, a request with method, url, headers and body, after the load."""
        self._send({"type": "act", "action": action, "key": key, "fields": fields})

    def page(self, format: str, content: str) -> None:
        """Show a page, ``markdown`` or ``svg``, as metadata of the asset."""
        self._send({"type": "page", "format": format, "content": content})

    def answer(self, body: object, content_type: str = "application/json") -> None:
        """Answer the request of an endpoint."""
        self._send({"type": "answer", "content_type": content_type, "body": body})

    def log(self, message: object, level: str = "info") -> None:
        """Write a line to the log of the run."""
        self._send({"type": "log", "level": level, "message": str(message)})

    def end(self) -> None:
        """Report that the plugin has finished; the host refuses a run without it."""
        if not self._has_ended:
            self._has_ended = True
            self._send({"type": "end"})

    def _ask(self, message: "dict[str, Any]") -> "dict[str, Any]":
        self._number += 1
        self._send({**message, "id": self._number})
        line = self._lines.readline()
        if not line:
            raise FailedError("the host has ended the run")
        reply = json.loads(line)
        if reply["type"] == "refused":
            raise RefusedError(reply["permission"], reply["reason"])
        return reply

    def _send(self, message: "Mapping[str, Any]") -> None:
        self._write(_encode(message))


def start() -> Run:
    """Return the run that the host has started this process for.

    What the plugin prints from now on goes to the log of the run.
    """
    lines = sys.stdin.buffer
    descriptor = os.dup(1)
    os.dup2(2, 1)

    def write(text: str) -> None:
        remaining_view = memoryview(text.encode("utf-8", "replace") + b"\n")
        while remaining_view:
            remaining_view = remaining_view[os.write(descriptor, remaining_view) :]

    document = json.loads(lines.readline())
    return Run(document, lines, write)
