"""A pool returns a result or an error for each item, whatever an item does to its worker."""

import importlib
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration_project.engine.pools import MIB, OUTPUT_CHARACTERS, ItemError, ProcessPool
from orchestration_project.errors import (
    ConfigurationError,
    ContractError,
    OrchestrationError,
)
from orchestration_project.redaction import hide
from orchestration_project.settings import PROJECT_ROOT
from tests.engine import pool_functions
from tests.engine.inline_pool import Pool
from tests.engine.pool_functions import ERRORS, SECRET
from tests.programs import wait_for
from tests.properties import bounded

LONG = timedelta(minutes=5)
"""No item of these tests takes so long, however busy the machine is."""

SHORT = timedelta(seconds=0.2)
"""For items that hang for ever."""

GONE_SECONDS = 60
"""Time after which a process that should have ended counts as left behind."""

MEMORY = 256 * MIB


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPool]:
    with ProcessPool(2, MEMORY, max_result_bytes=2 * MIB) as pool:
        yield pool


def is_gone(pid: int) -> bool:
    """Wait until a process has ended; a zombie that its parent has not looked for counts."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return True
        return not psutil.wait_procs([process], timeout=GONE_SECONDS)[1]
    except psutil.NoSuchProcess:
        return True


def wait_for_pid(file: Path) -> int:
    """Return the number that a process writes into a file."""
    return int(wait_for(lambda: file.exists() and file.read_text(), GONE_SECONDS))


def run(pool: Pool, function: Any, *items: Any, timeout: timedelta = LONG) -> dict[Any, Any]:
    """Return the result or error of each item."""
    return dict(pool.run(function, items, timeout=timeout))


@bounded
@given(numbers=st.lists(st.integers(-3, 3), max_size=12))
def test_each_item_comes_back_once_with_its_result(numbers: list[int], pool: ProcessPool):
    done = pool.run(pool_functions.double, numbers, timeout=LONG)
    assert Counter(done) == Counter((number, 2 * number) for number in numbers)


def test_many_items_come_back_once_each(pool: ProcessPool):
    done = list(pool.run(pool_functions.double, range(1000), timeout=LONG))
    assert sorted(done) == [(number, 2 * number) for number in range(1000)]


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_of_ours_comes_back_as_it_was_raised(pool: ProcessPool, name: str):
    hide(SECRET)
    (found,) = run(pool, pool_functions.raise_error, name).values()
    expected = ERRORS[name]
    assert isinstance(found, OrchestrationError)
    assert (found.category, found.is_retryable) == (expected.category, expected.is_retryable)
    assert (found.what, found.expected, found.found, found.remedy) == (
        expected.what,
        expected.expected,
        expected.found,
        expected.remedy,
    )
    assert getattr(found, "retry_in_seconds", 0) == getattr(expected, "retry_in_seconds", 0)


def test_an_error_of_a_worker_shows_no_secret_that_only_the_parent_knows(pool: ProcessPool):
    hide(SECRET)
    (found,) = run(pool, pool_functions.raise_error, "transient").values()
    assert SECRET not in str(found)
    assert "url=http://host/?key=***" in str(found)


def test_another_exception_fails_its_item_alone_with_type_and_message(pool: ProcessPool):
    hide(SECRET)
    found = run(pool, pool_functions.raise_defect, "value", "key", "no text")
    assert {error.reason_code for error in found.values()} == {"exception"}
    assert all(isinstance(error, ContractError) for error in found.values())
    assert "ValueError: not a number: ***" in found["value"].found
    assert "in raise_defect" in found["value"].found
    assert "KeyError: 'a key'" in found["key"].found
    assert "Unfit" in found["no text"].found


@pytest.mark.slow
def test_items_are_taken_as_workers_become_free(pool: ProcessPool):
    taken = []

    def items() -> Iterator[int]:
        for number in range(1000):
            taken.append(number)
            yield number

    for count, _ in enumerate(pool.run(pool_functions.double, items(), timeout=LONG), start=1):
        assert len(taken) <= count + 6  # two for each worker


def test_an_error_of_the_items_ends_the_run_and_not_the_pool(pool: ProcessPool):
    def items() -> Iterator[int]:
        yield 1
        raise LookupError("no more")

    with pytest.raises(LookupError):
        list(pool.run(pool_functions.double, items(), timeout=LONG))
    assert run(pool, pool_functions.double, 4) == {4: 8}


# Processes


def test_a_worker_imports_no_dagster(pool: ProcessPool):
    assert run(pool, pool_functions.has_dagster, 1) == {1: False}


def test_workers_are_used_again(pool: ProcessPool):
    before = set(run(pool, pool_functions.own_pid, *range(100)).values())
    after = set(run(pool, pool_functions.own_pid, *range(100)).values())
    assert len(before | after) <= 2
    assert os.getpid() not in before


@pytest.mark.slow
def test_an_item_that_hangs_is_killed_and_the_others_go_on(pool: ProcessPool):
    found = run(pool, pool_functions.crash, "a", "hang", "b", "c", timeout=timedelta(seconds=3))
    failed = found.pop("hang")
    assert isinstance(failed, ItemError)
    assert failed.reason_code == "timeout"
    assert failed.category == "contract"
    assert failed.expected == "a result within 3 s"
    assert found == {"a": "a", "b": "b", "c": "c"}


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("how", "cause"),
    [
        ("exit", "its worker exited with status 3"),
        ("kill", "its worker was killed by SIGKILL"),
        ("segfault", "its worker was killed by SIGSEGV"),
        ("abort", "its worker was killed by SIGABRT"),
        ("close", "its worker exited with status"),
        ("garbage", "no valid reply of its worker, which was killed"),
    ],
)
def test_an_item_that_ends_its_worker_fails_alone(pool: ProcessPool, how: str, cause: str):
    found = run(pool, pool_functions.crash, "a", how, "b", "c")
    failed = found.pop(how)
    assert isinstance(failed, ItemError)
    assert failed.reason_code == "exit"
    assert failed.found.startswith(cause)
    assert found == {"a": "a", "b": "b", "c": "c"}


def test_a_crash_names_the_function_in_which_it_happened(pool: ProcessPool):
    failed = run(pool, pool_functions.crash, "segfault")["segfault"]
    assert "Fatal Python error: Segmentation fault" in failed.found
    assert "pool_functions.py" in failed.found


def test_an_item_is_not_blamed_for_a_worker_that_an_earlier_one_broke(tmp_path: Path):
    with ProcessPool(1, MEMORY) as pool:
        done = list(
            pool.run(pool_functions.crash_in_second_item, [str(tmp_path)] * 3, timeout=LONG)
        )
    assert len({pid for _, pid in done}) == 3
    assert {str(pid) for _, pid in done} == {file.name for file in tmp_path.iterdir()}


@pytest.mark.slow
def test_an_item_is_processed_again_in_a_new_worker(tmp_path: Path):
    with ProcessPool(2, MEMORY) as pool:
        list(pool.run(pool_functions.meet, [str(tmp_path)] * 2, timeout=LONG))
        used = {file.name for file in tmp_path.iterdir()}
        (pid,) = run(pool, pool_functions.crash_in_second_item, str(tmp_path)).values()
    assert len(used) == 2
    assert str(int(pid)) not in used


def test_the_output_of_an_earlier_item_is_not_shown():
    with ProcessPool(1, MEMORY) as pool:
        found = run(pool, pool_functions.crash, "print", "raise")
    assert "KeyError" in found["raise"].found
    assert "of an earlier item" not in found["raise"].found


def test_the_last_output_is_shown_redacted_and_bounded(pool: ProcessPool):
    hide(SECRET)
    found = run(pool, pool_functions.crash, "exit", "long output")
    assert "before the end: ***" in found["exit"].found
    assert "END OF OUTPUT" in found["exit"].found
    assert "secret" not in found["long output"].found
    assert len(found["long output"].found) < OUTPUT_CHARACTERS + 100


def test_what_a_worker_prints_does_not_break_its_results(pool: ProcessPool):
    items = [b"\0", b"\xff\n", b"V\0\0\0"]
    assert run(pool, pool_functions.print_garbage, *items) == {item: len(item) for item in items}


@pytest.mark.slow
def test_an_item_that_needs_too_much_memory_fails_alone(pool: ProcessPool):
    found = run(pool, pool_functions.take_memory, 1, 4096, 2, 3)
    failed = found.pop(4096)
    assert isinstance(failed, ItemError)
    assert failed.reason_code == "memory"
    assert found == {1: MIB, 2: 2 * MIB, 3: 3 * MIB}


def test_an_item_that_is_larger_than_the_memory_fails_alone():
    with ProcessPool(1, 64 * MIB) as small:
        found = run(small, len, b"a", bytes(80 * MIB), b"ab")
    failed = found.pop(bytes(80 * MIB))
    assert isinstance(failed, ItemError)
    assert failed.reason_code == "memory"
    assert found == {b"a": 1, b"ab": 2}


@pytest.mark.parametrize("kind", ["function", "large", "not unpickled"])
def test_a_result_that_cannot_be_sent_fails_its_item_alone(pool: ProcessPool, kind: str):
    found = run(pool, pool_functions.make_result, "a", kind, "b")
    failed = found.pop(kind)
    assert isinstance(failed, ItemError)
    assert failed.reason_code == "result"
    assert found == {"a": "a", "b": "b"}


def test_an_item_that_cannot_be_sent_fails_alone(pool: ProcessPool):
    def local() -> None: ...

    found = dict(pool.run(pool_functions.own_pid, ["a", local], timeout=LONG))
    failed = found.pop(local)
    assert isinstance(failed, ItemError)
    assert failed.reason_code == "item"
    assert set(found) == {"a"}


def test_an_item_that_exits_python_fails_alone(pool: ProcessPool):
    failed = run(pool, pool_functions.raise_defect, "system exit")["system exit"]
    assert failed.reason_code == "exception"
    assert failed.found.startswith("SystemExit: 4")


def test_a_function_with_arguments_is_applied(pool: ProcessPool):
    assert run(pool, partial(max, 5), 3, 9) == {3: 5, 9: 9}


def test_a_function_that_no_worker_can_load_ends_the_run(pool: ProcessPool):
    with pytest.raises(ConfigurationError, match="invalid function of a process pool"):
        run(pool, lambda item: item, 1)
    program = (
        "from datetime import timedelta\n"
        "from orchestration_project.engine.pools import ProcessPool\n"
        "def function(item): return item\n"
        f"with ProcessPool(1, {MEMORY}) as pool:\n"
        "    list(pool.run(function, [1, 2], timeout=timedelta(minutes=5)))\n"
    )
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", program], cwd=PROJECT_ROOT, capture_output=True, text=True
    )
    assert "ConfigurationError: a worker of the pool cannot load the function" in done.stderr
    assert "name a function of a module" in done.stderr


def test_a_limit_in_which_no_function_can_be_loaded_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "large_module.py").write_text("DATA = bytearray(2**26)\ndef same(item): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    same = importlib.import_module("large_module").same
    with ProcessPool(1, 128 * MIB) as pool:
        assert run(pool, same, 1) == {1: None}
    with (
        ProcessPool(1, 48 * MIB) as pool,
        pytest.raises(ConfigurationError, match="cannot load the function") as raised,
    ):
        run(pool, same, 1)
    assert "MemoryError" in raised.value.found
    assert "raise memory_bytes" in raised.value.remedy


def test_invalid_limits_are_refused():
    with pytest.raises(ConfigurationError, match="invalid workers: expected 1 or more, got 0"):
        ProcessPool(0, MEMORY)
    with pytest.raises(ConfigurationError, match="invalid memory_bytes"):
        ProcessPool(1, 1)


def test_an_invalid_timeout_is_refused(pool: ProcessPool):
    with pytest.raises(ConfigurationError, match="invalid timeout: expected more than 0 s"):
        run(pool, pool_functions.double, 1, timeout=timedelta(0))


def test_a_long_timeout_is_possible(pool: ProcessPool):
    year = timedelta(days=365)
    assert run(pool, pool_functions.double, 1, timeout=year) == {1: 2}


def test_a_worker_that_is_killed_while_it_is_idle_is_replaced(pool: ProcessPool):
    killed = set(run(pool, pool_functions.own_pid, *range(20)).values())
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    found = run(pool, pool_functions.own_pid, *range(20)).values()
    assert not killed & set(found)


# What is left behind: nothing


def test_a_closed_pool_leaves_no_process_no_file_and_no_thread(tmp_path: Path):
    def left() -> tuple[int, set[int], set[threading.Thread]]:
        me = psutil.Process()
        children = {child.pid for child in me.children(recursive=True)}
        return me.num_fds(), children, set(threading.enumerate())

    files, children, threads = left()  # of earlier tests, some of which may still be ending
    with ProcessPool(2, MEMORY) as pool:
        run(pool, pool_functions.crash, "a", "exit", "segfault", "b")
        run(pool, pool_functions.crash, "hang", timeout=SHORT)
        run(pool, pool_functions.start_many, "a", "b", "c")
        assert left()[1] - children
    files_left, children_left, threads_left = left()
    assert files_left <= files
    assert (children_left - children, threads_left - threads) == (set(), set())


@pytest.mark.slow
def test_what_a_hanging_worker_started_is_killed_with_it(pool: ProcessPool, tmp_path: Path):
    files = [str(tmp_path / name) for name in "ab"]
    found = run(pool, pool_functions.start_program, *files, timeout=timedelta(seconds=4))
    assert {error.reason_code for error in found.values()} == {"timeout"}
    assert all(is_gone(int(Path(file).read_text())) for file in files)


@pytest.mark.slow
def test_a_worker_whose_child_holds_its_socket_is_seen_to_have_ended(
    pool: ProcessPool, tmp_path: Path
):
    file = str(tmp_path / "pid")
    failed = run(pool, pool_functions.fork_and_exit, file)[file]
    assert failed.found == "its worker exited with status 5"
    assert is_gone(int(Path(file).read_text()))


def test_a_caller_that_stops_early_ends_the_work_and_not_the_pool():
    with ProcessPool(2, MEMORY) as pool:
        done = pool.run(pool_functions.crash, ["a", *["hang"] * 20], timeout=LONG)
        assert next(done) == ("a", "a")
        done.close()
        assert run(pool, pool_functions.crash, "b") == {"b": "b"}


def test_a_pool_that_is_closed_during_a_run_ends_it():
    with ProcessPool(2, MEMORY) as pool:
        done = pool.run(pool_functions.crash, ["a", *["hang"] * 20], timeout=LONG)
        assert next(done) == ("a", "a")
    for after in (done, pool.run(pool_functions.crash, ["b"], timeout=LONG)):
        with pytest.raises(RuntimeError, match="shutdown"):
            list(after)


@pytest.mark.slow_after_first
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_the_process_of_the_pool(tmp_path: Path, number: signal.Signals):
    program = (
        "import signal, sys\n"
        "from datetime import timedelta\n"
        "from orchestration_project.engine.pools import ProcessPool\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from tests.engine.pool_functions import write_pid_and_hang\n"
        f"with ProcessPool(2, {MEMORY}) as pool:\n"
        "    list(pool.run(write_pid_and_hang, sys.argv[1:], timeout=timedelta(minutes=5)))\n"
    )
    files = [tmp_path / name for name in "ab"]
    with subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-c", program, *map(str, files)],
        cwd=PROJECT_ROOT,
        stderr=subprocess.PIPE,
        text=True,
    ) as parent:
        pids = [wait_for_pid(file) for file in files]
        parent.send_signal(number)
        assert all(is_gone(pid) for pid in pids)
        _, errors = parent.communicate(timeout=GONE_SECONDS)
    assert parent.returncode in (-number, 130)
    assert number != signal.SIGINT or "KeyboardInterrupt" in errors
