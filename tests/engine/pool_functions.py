"""Functions that the workers of a pool import: each item names what becomes of it."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from orchestration_project.engine.contracts.work_items import ClaimedItem
from orchestration_project.errors import (
    ConfigurationError,
    ContractError,
    OrchestrationError,
    SourceError,
    TransientError,
)

MIB = 1024**2

SECRET = "".join(f"part-{number}-of-a-secret-" for number in range(10, 16))


class DemandingError(SourceError):
    """An error whose constructor requires more than a text, so that it cannot be unpickled."""

    def __init__(self, what: str, *, http_status: int, **said: str) -> None:
        super().__init__(what, **said)
        self.http_status = http_status


ERRORS: dict[str, OrchestrationError] = {
    "transient": TransientError(
        "busy",
        retry_in_seconds=7,
        expected="an answer",
        found="none",
        remedy="wait",
        url=f"http://host/?key={SECRET}",
    ),
    "source": SourceError("gone", expected="a page", found="404", remedy="ask them"),
    "configuration": ConfigurationError("unset", expected="a key", found="", remedy="set it"),
    "demanding": DemandingError("refused", http_status=403, found="403"),
}


class Unfit(Exception):  # noqa: N818 - any exception
    """An exception whose text cannot be made."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


def double(number: int) -> int:
    return 2 * number


def own_pid(item: object) -> int:
    return os.getpid()


def parent_of(item: object) -> int:
    return os.getppid()


def has_dagster(item: object) -> bool:
    return "dagster" in sys.modules


def raise_error(name: str) -> None:
    raise ERRORS[name]


def raise_defect(name: str) -> None:
    if name == "value":
        raise ValueError(f"not a number: {SECRET}")
    if name == "system exit":
        sys.exit(4)
    if name == "no text":
        raise Unfit
    {}["a key"]


def make_result(kind: str) -> object:
    if kind == "function":
        return lambda: None
    if kind == "large":
        return bytes(3 * MIB)
    if kind == "not unpickled":
        return DemandingError("refused", http_status=403)
    return kind


def print_garbage(item: bytes) -> int:
    """Write to what the interpreter and a C library write to."""
    os.write(1, item * 200_000)
    os.write(2, item * 200_000)
    sys.stdout.write("printed")
    return len(item)


def crash(how: str) -> str:
    """Do what is named, which ends the process or makes it hang; return any other name."""
    ways.get(how, lambda: None)()
    return how


def exit_with_output() -> None:
    sys.stdout.write(f"before the end: {SECRET} {'x' * 1500} END OF OUTPUT")
    sys.stdout.flush()
    os._exit(3)


def exit_with_long_output() -> None:
    os.write(2, SECRET.encode() * 5000)
    os._exit(3)


ways: dict[str, Callable[[], object]] = {
    "exit": exit_with_output,
    "long output": exit_with_long_output,
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "segfault": lambda: ctypes.string_at(0),
    "abort": os.abort,
    "close": lambda: os.closerange(3, 4096),
    "garbage": lambda: os.write(int(sys.argv[1]), b"no frame of the pool's" * 10),
    "hang": lambda: hang("hang"),
    "print": lambda: os.write(2, b"of an earlier item"),
    "raise": lambda: {}["a key"],
}


def meet(folder: str) -> None:
    """Leave a file, and wait for that of another worker."""
    from tests.programs import wait_for  # with settings, which each worker would import

    Path(folder, str(os.getpid())).touch()
    wait_for(lambda: len(list(Path(folder).iterdir())) > 1, poll_seconds=0.01)


def crash_in_second_item(folder: str) -> int:
    """End a process that has seen an item before; leave a file for each attempt."""
    attempts = Path(folder, str(os.getpid()))
    has_seen = attempts.exists()
    attempts.touch()
    if has_seen:
        os.kill(os.getpid(), signal.SIGSEGV)
    return os.getpid()


def hang(item: object) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while True:
        signal.pause()


def write_pid_and_hang(file: str) -> None:
    Path(file).write_text(str(os.getpid()))
    hang(file)


def start_program(file: str) -> None:
    """Start a program, note its number, and hang."""
    child = os.fork()
    if not child:
        os.execlp("sleep", "sleep", "3600")  # noqa: S606, S607
    Path(file).write_text(str(child))
    hang(file)


def fork_and_exit(file: str) -> None:
    """Leave a child that holds all files of the worker open, and end the worker."""
    child = os.fork()
    if not child:
        signal.pause()
        os._exit(0)
    Path(file).write_text(str(child))
    os._exit(5)


def start_many(file: str) -> str:
    subprocess.Popen(["sleep", "3600"])  # noqa: S607
    return file


def take_memory(megabytes: int) -> int:
    """Allocate so much, and use it."""
    return sum(map(len, [bytearray(b"x") * MIB for _ in range(megabytes)]))


def extract_key(item: ClaimedItem) -> str:
    """Return an item's key; a key that names a failure fails so."""
    match item.key.split():
        case ["raises", "contract", *_]:
            raise ContractError("no text in it", remedy="exclude it")
        case ["raises", "transient", *_]:
            raise TransientError("busy")
        case ["raises", "defect"]:
            {}["a key"]
        case ["exits"]:
            os._exit(7)
    return item.key
