"""What a plugin's process can reach, at each level of isolation."""

import errno
import json
from pathlib import Path
from typing import Any

import pytest

from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.plugins import isolation
from orchestration_project.resources.plugins.isolation import (
    MAX_FILE_BYTES,
    MAX_FILE_COUNT,
    isolation_status,
)
from orchestration_project.resources.plugins.seccomp import filter_program
from orchestration_project.settings import load_settings
from tests.plugin_files import requires_namespaces
from tests.resources.plugins.plugin_runner import PluginRunner, body

ATTEMPTS = """import os, threading
def attempt(function):
    try:
        return str(function())
    except BaseException as error:
        return type(error).__name__
def descriptors():
    found = []
    for number in range(50):
        try:
            os.fstat(number)
            found.append(number)
        except OSError:
            pass
    return found
def socket():
    import socket
    return socket.create_connection(("127.0.0.1", 1), timeout=5)
thread = threading.Thread(target=lambda: None)
found = {
    "socket": attempt(socket),
    "fork": attempt(os.fork),
    "shell": attempt(lambda: os.system("true") or "started"),
    "passwd": attempt(lambda: open("/etc/passwd").read(4)),
    "proc": attempt(lambda: os.listdir("/proc/1")),
    "descriptors": attempt(descriptors),
    "environment": attempt(lambda: sorted(os.environ)),
    "write": attempt(lambda: open("/plugin/new", "w")),
    "secret": attempt(lambda: open(run.config["secret"]).read()),
    "thread": attempt(thread.start),
    "packages": attempt(lambda: __import__("sqlalchemy")),
}
run.emit("items", [("1", {"title": "", **found})])"""


def attempts(plugins: PluginRunner) -> dict[str, str]:
    """Return what came of each attempt of a plugin."""
    secret = plugins.tmp_path / "secret"
    secret.write_text("secret")
    plugins.add(body(ATTEMPTS), config_schema={"type": "object"})
    plugins.run(config={"secret": str(secret)})
    return json.loads(plugins.payloads()["1"])


@requires_namespaces
def test_namespaces_leave_a_plugin_alone(plugins: PluginRunner, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("JIRA_API_TOKEN", "planted")
    found = attempts(plugins)
    assert found == {
        "title": "",
        "socket": "PermissionError",
        "fork": "PermissionError",
        "shell": found["shell"],
        "passwd": "FileNotFoundError",
        "proc": "FileNotFoundError",
        "descriptors": "[0, 1, 2, 3]",  # 3 is the library's copy of standard output
        "environment": "['PWD']",
        "write": "OSError",
        "secret": "FileNotFoundError",
        "thread": "None",
        "packages": "ModuleNotFoundError",
    }
    assert found["shell"] != "started"


def test_limits_alone_enforce_no_files(plugins: PluginRunner, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PLUGINS_ISOLATION", "process")
    monkeypatch.setenv("JIRA_API_TOKEN", "planted")
    found = attempts(plugins)
    assert found["fork"] == "PermissionError"
    assert found["descriptors"] == "[0, 1, 2, 3]"
    assert "JIRA_API_TOKEN" not in found["environment"]
    assert found["secret"] == "secret"
    assert found["packages"] == "ModuleNotFoundError"
    assert "not enforced" in plugins.run(config={"secret": ""}).isolation


@pytest.mark.parametrize(
    ("level", "is_usable", "is_enforced"),
    [
        pytest.param("namespaces", True, True, marks=requires_namespaces),
        ("process", True, False),
        ("off", False, False),
    ],
)
def test_the_status_says_what_is_enforced(
    monkeypatch: pytest.MonkeyPatch, level: str, is_usable: bool, is_enforced: bool
):
    monkeypatch.setenv("PLUGINS_ISOLATION", level)
    status = isolation_status(load_settings())
    assert (status.level, status.is_usable, status.is_enforced) == (level, is_usable, is_enforced)


def test_plugins_that_are_off_are_refused(plugins: PluginRunner, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PLUGINS_ISOLATION", "off")
    plugins.add(body("pass"))
    with pytest.raises(ConfigurationError, match="plugins are off"):
        plugins.run()


SHARED = """import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
size, key, create = 1 << 20, 0, 0o1600
def errno_of(function, *values):
    return ctypes.get_errno() if getattr(libc, function)(*values) < 0 else "made"
found = {
    "shmget": errno_of("shmget", key, size, create),
    "shmat": errno_of("shmat", 0, None, 0),
    "semget": errno_of("semget", key, 10, create),
    "msgget": errno_of("msgget", key, create),
    "memfd_create": errno_of("memfd_create", b"memory", 0),
    "memfd_secret": errno_of("syscall", 447, 0),
    "mq_open": errno_of("mq_open", b"/queue", os.O_CREAT | os.O_RDWR, 0o600, None),
    "mount": errno_of("mount", b"tmpfs", b"/tmp", None, 0, None),
}
run.emit("items", [("1", {"title": "", **found})])"""


@pytest.mark.parametrize(
    "level", [pytest.param("namespaces", marks=requires_namespaces), "process"]
)
def test_no_memory_is_made_outside_the_limits(
    plugins: PluginRunner, monkeypatch: pytest.MonkeyPatch, level: str
):
    monkeypatch.setenv("PLUGINS_ISOLATION", level)
    plugins.add(body(SHARED))
    plugins.run()
    errors = json.loads(plugins.payloads()["1"])
    assert errors.pop("title") == ""
    assert errors == dict.fromkeys(errors, errno.EPERM)


@requires_namespaces
def test_the_files_of_tmp_are_bounded_in_number_and_size(plugins: PluginRunner):
    code = """import os
count = size = 0
try:
    while True:
        os.mkdir(f"/tmp/{count}") if count % 2 else os.symlink("x", f"/tmp/{count}")
        count += 1
except OSError as error:
    reason = error.strerror
for number in range(count):
    os.rmdir(f"/tmp/{number}") if number % 2 else os.unlink(f"/tmp/{number}")
for number in range(5):
    try:
        with open(f"/tmp/{number}", "wb", buffering=0) as file:
            for _ in range(63):
                size += file.write(bytes(1 << 20))
    except OSError:
        pass
found = {"count": count, "size": size, "rights": ctypes_capabilities()}
run.emit("items", [("1", {"title": reason, **found})])"""
    rights = """def ctypes_capabilities():
    import ctypes
    header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    ctypes.CDLL(None).capget(header, sets)
    return list(sets)
"""
    plugins.add(body(rights + code))
    plugins.run()
    found = json.loads(plugins.payloads()["1"])
    assert (found["title"], found["rights"]) == ("No space left on device", [0] * 6)
    assert 0 < found["count"] < MAX_FILE_COUNT
    assert found["size"] <= MAX_FILE_BYTES


@pytest.fixture
def cgroups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand for a delegated cgroup: files take what the kernel would."""
    folder = tmp_path / "cgroups"
    folder.mkdir()
    monkeypatch.setenv("PLUGINS_CGROUP", str(folder))
    monkeypatch.setattr(isolation, "CGROUP_SECONDS", 0.0)  # a real one can be removed
    return folder


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    "level", [pytest.param("namespaces", marks=requires_namespaces), "process"]
)
def test_a_run_joins_a_cgroup_with_its_limits(
    plugins: PluginRunner, monkeypatch: pytest.MonkeyPatch, cgroups: Path, level: str
):
    monkeypatch.setenv("PLUGINS_ISOLATION", level)
    plugins.add(body('run.emit("items", [("1", {"title": "loaded"})])'), budget={"memory_mib": 100})
    plugins.run()
    assert plugins.payloads() == {"1": '{"title":"loaded"}'}
    [group] = cgroups.iterdir()
    assert {path.name: path.read_text().strip() for path in group.iterdir()} == {
        "memory.max": str(164 * 2**20),
        "memory.swap.max": "0",
        "pids.max": "32",
        "cgroup.procs": "0",
        "cgroup.kill": "1",
    }


def test_a_cgroup_that_cannot_be_written_is_refused(
    plugins: PluginRunner, monkeypatch: pytest.MonkeyPatch, cgroups: Path
):
    cgroups.rmdir()
    plugins.add(body("pass"))
    with pytest.raises(ConfigurationError, match="PLUGINS_CGROUP cannot be used"):
        plugins.run()
    status = isolation_status(load_settings())
    assert not status.is_usable
    assert "PLUGINS_CGROUP" in status.detail


@requires_namespaces
def test_a_granted_folder_is_read_only(plugins: PluginRunner, tmp_path: Path):
    drop = tmp_path / "drop"
    drop.mkdir()
    (drop / "a.csv").write_text("a,b")
    code = """import os
folder = run.folders["drop"]
for name in os.listdir(folder):
    run.emit("items", [(name, {"title": open(f"{folder}/{name}").read()})])
try:
    open(f"{folder}/new", "w")
except OSError as error:
    run.log(type(error).__name__)"""
    permissions: dict[str, Any] = {"folders": ["drop"], "tables": ["items"]}
    plugins.add(body(code), permissions=permissions, folders={"drop": str(drop)})
    plugins.run()
    assert plugins.payloads() == {"a.csv": '{"title":"a,b"}'}
    assert plugins.log == [("info", "plugin rss: OSError")]
    assert [path.name for path in drop.iterdir()] == ["a.csv"]


def test_a_missing_folder_is_refused(plugins: PluginRunner, tmp_path: Path):
    permissions = {"folders": ["drop"], "tables": ["items"]}
    gone = str(tmp_path / "gone")
    plugins.add(body("pass"), permissions=permissions, folders={"drop": gone})
    with pytest.raises(ConfigurationError, match="folder drop"):
        plugins.run()


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_filters_have_whole_statements(machine: str):
    for level in ("namespaces", "process"):
        program = filter_program(level, machine)
        assert program
        assert len(program) % 8 == 0
    assert filter_program("process", "riscv64") == b""
