"""Readers of server-sent events, one message at a time."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any


class Stream:
    """A reader of a stream that takes each message by itself."""

    def __init__(self, event_type: str, id_field: str) -> None:
        self.event_type, self.id_field = event_type, id_field
        self.status = 0
        self.parts: asyncio.Queue[bytes] = asyncio.Queue(1)
        self.text = ""

    async def read_and_check_events(self, count: int) -> list[dict[str, Any]]:
        """Return the next events."""
        found: list[dict[str, Any]] = []
        while len(found) < count:
            while "\n\n" not in self.text:
                self.text += (await self.parts.get()).decode()
            one, _, self.text = self.text.partition("\n\n")
            fields = dict(line.split(": ", 1) for line in one.split("\n"))
            if "data" in fields:
                assert fields["event"] == self.event_type
                event = json.loads(fields["data"])
                assert fields["id"] == str(event[self.id_field])
                found.append(event)
        return found


@asynccontextmanager
async def followed(
    app: Any,
    query: str = "",
    *,
    key: object = "",
    last: str = "",
    path: str = "/mqtt/stream",
    event_type: str = "event",
    id_field: str = "arrival_id",
) -> AsyncIterator[Stream]:
    """Follow a stream until the block ends, as a client that then goes away."""
    stream = Stream(event_type, id_field)
    gone, requested = asyncio.Event(), [{"type": "http.request"}]

    async def receive_() -> Any:
        if requested:
            return requested.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(sent: Any) -> None:
        if sent["type"] == "http.response.start":
            stream.status = sent["status"]
        elif sent.get("body"):
            await stream.parts.put(sent["body"])
        if sent["type"] == "http.response.body" and not sent.get("more_body"):
            await stream.parts.put(b"")

    headers = [(b"host", b"127.0.0.1"), (b"x-api-key", str(key).encode())]
    path = f"/api/v1{path}"
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "scheme": "http",
        "headers": [*headers, *([(b"last-event-id", last.encode())] if last else [])],
    }
    task = asyncio.create_task(app(scope, receive_, send))
    try:
        async with asyncio.timeout(30):
            await stream.parts.get()  # it is open, or refused
            yield stream
    finally:
        gone.set()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
