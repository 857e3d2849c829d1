"""`python -m benchmarks.web_source PAGES`: a site of pages of 20 KB on 127.0.0.1.

Prints its URL. A page has 20 links, an item, and an ETag; page 0 is the start. It ends with its
input.
"""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from orchestration_project.settings import PROJECT_ROOT, child_environment

LINKS = 20
FILLER = "<p>synthetic text of a page, as long as others have it</p>" * 330


def body_of(number: int, count: int) -> bytes:
    """Return a page of a site with ``count`` pages."""
    links = "".join(
        f'<a class=next href="/page/{each}">page {each}</a>'
        for each in range(number * LINKS + 1, min((number + 1) * LINKS, count - 1) + 1)
    )
    return (
        f"<!doctype html><title>{number}</title><h1>Page {number}</h1><i class=sku>S{number}</i>"
        f"<b class=price>${number}.50</b>{links}{FILLER}"
    ).encode()


async def _serve(count: int) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await _head(reader):
            path = head.split(b" ", 2)[1].decode()
            number = path.removeprefix("/page/")
            if not number.isdigit():
                writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            elif b"if-none-match" in head.lower():
                writer.write(b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\n\r\n')
            else:
                body = body_of(int(number), count)
                writer.write(
                    b'HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nETag: "1"\r\n'
                    b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
                )
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    sys.stdout.write(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""


@contextmanager
def web_source(count: int) -> Iterator[str]:
    """Serve a site in a process of its own; give its URL."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.web_source", str(count)],
        cwd=PROJECT_ROOT,
        env=child_environment(PYTHONPATH=str(PROJECT_ROOT)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        if process.stdin is not None and process.stdout is not None:
            yield process.stdout.readline().strip()
            process.stdin.close()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
