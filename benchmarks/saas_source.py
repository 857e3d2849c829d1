"""PeopleForce with many tasks that stay as they are, at the cost of little; and what asks Jira.

`python -m benchmarks.saas_source --tasks N` prints its port. Pages are made beforehand.
"""

import argparse
import json
import socket
from collections import Counter
from collections.abc import Sequence

import uvicorn
from orchestration_demo.saas.people import Json, tasks
from orchestration_demo.saas.tasks import PAGE_TASKS
from starlette.types import Receive, Scope, Send

SEED = 20_260_302


class Pages:
    """Serves `/tasks?page=N`; counts all requests by their first folder, and tells of them."""

    def __init__(self, count: int) -> None:
        found = sorted(tasks(SEED, count).values(), key=lambda each: -each["id"])
        pages = [found[place : place + PAGE_TASKS] for place in range(0, count, PAGE_TASKS)]
        self._pages = [
            _page(each, number, len(pages), count) for number, each in enumerate(pages, start=1)
        ]
        self._asked: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        folder = scope["path"].split("/")[1]
        body, status = b"{}", 200
        if folder == "tasks":
            body = self._pages[int(scope["query_string"].rpartition(b"page=")[2]) - 1]
        elif folder == "asked":
            body = json.dumps(self._asked).encode()
            self._asked.clear()
        else:
            status = 404
        if folder != "asked":
            self._asked[folder] += 1
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _page(found: Sequence[Json], number: int, pages: int, count: int) -> bytes:
    pagination = {"page": number, "pages": pages, "count": count, "items": len(found)}
    page = {"data": found, "metadata": {"pagination": pagination}}
    return json.dumps(page, ensure_ascii=False).encode()


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tasks", type=int, required=True)
    served = Pages(parser.parse_args().tasks)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
    config = uvicorn.Config(
        served, interface="asgi3", lifespan="off", log_level="warning", access_log=False
    )
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
