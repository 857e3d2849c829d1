"""Isolation of a plugin's process: the command that starts it, by namespaces or limits alone.

``namespaces`` is enforced by bubblewrap and the kernel: no network, no other process, and no file
but the interpreter, the plugin's folder and granted folders, all read-only. ``process`` has the
limits alone: files and hosts are not enforced, which run metadata and `verify` state.
"""

import os
import py_compile
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from importlib.util import cache_from_source
from pathlib import Path
from typing import Literal, NamedTuple
from uuid import uuid4

from orchestration_project.domains.plugins.settings import PluginsSettings
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.plugins.seccomp import filter_program
from orchestration_project.settings import Settings

SDK = Path(__file__).parent / "sdk"
MIB = 2**20
MAX_THREADS = 16
MAX_OPEN_FILES = 64
MAX_FILE_BYTES = 64 * MIB
MAX_FILE_COUNT = 4_096
"""Files in the /tmp of a plugin."""

MAX_ADDRESS_SPACE_EXTRA = 64 * MIB
CGROUP_SECONDS = 2.0
PROBE_SECONDS = 20
OPTIONS = ("-I", "-S", "-B", "-X", "utf8")
"""Options of Python: isolated from environment, user and site-packages."""

Level = Literal["namespaces", "process", "off"]

NOT_ENFORCED = "process: files and hosts are not enforced"
ENFORCED = "namespaces: files, hosts and processes are enforced"


class IsolationStatus(NamedTuple):
    """Isolation of plugins on this machine.

    Attributes:
        level: Setting PLUGINS_ISOLATION.
        is_usable: Whether plugins can be started.
        is_enforced: Whether files and hosts are enforced.
        detail: The same in words, or why no plugin can be started.
    """

    level: Level
    is_usable: bool
    is_enforced: bool
    detail: str


@dataclass(frozen=True)
class ChildSpec:
    """Program, limits and folders of a process.

    Attributes:
        folder: Folder of the plugin.
        entry: File with its code, relative to the folder.
        memory_bytes: Limit of its memory.
        seconds: Limit of its CPU time.
        folders: Granted folders of the host, by name.
        cgroups: Cgroup in which that of the process is made; None: it has none of its own.
    """

    folder: Path
    entry: str
    memory_bytes: int
    seconds: int
    folders: Mapping[str, Path] = field(default_factory=dict[str, Path])
    cgroups: Path | None = None


class Command(NamedTuple):
    """Command of a process, and where its folders are."""

    arguments: Sequence[str]
    folders: Mapping[str, str]


@contextmanager
def open_cgroup(spec: ChildSpec) -> Iterator[Path | None]:
    """Give a cgroup with the limits of a process; it is removed with all that runs in it.

    Raises:
        ConfigurationError: PLUGINS_CGROUP cannot be used.
    """
    if spec.cgroups is None:
        yield None
        return
    folder = spec.cgroups / f"plugin-{uuid4().hex}"
    limits = {
        "memory.max": spec.memory_bytes + MAX_ADDRESS_SPACE_EXTRA,
        "memory.swap.max": 0,
        "pids.max": 2 * MAX_THREADS,
    }
    try:
        folder.mkdir()
        for name, limit in limits.items():
            (folder / name).write_text(str(limit))
    except OSError as error:
        with suppress(OSError):
            folder.rmdir()
        raise ConfigurationError(
            "plugins cannot be started: PLUGINS_CGROUP cannot be used",
            expected="a folder of cgroup v2 that this user may write, with memory and pids in "
            "cgroup.subtree_control",
            found=f"{error.strerror} at {error.filename}",
            remedy="delegate one, as systemd does with Delegate=yes and DelegateSubgroup=, or "
            "leave PLUGINS_CGROUP empty",
        ) from error
    try:
        yield folder
    finally:
        _remove_cgroup(folder)


def _remove_cgroup(folder: Path) -> None:
    """Kill the processes left in a cgroup, and remove it once the kernel allows it."""
    deadline = time.monotonic() + CGROUP_SECONDS
    with suppress(OSError):
        (folder / "cgroup.kill").write_text("1")
    while time.monotonic() < deadline:
        try:
            folder.rmdir()
        except OSError:
            time.sleep(0.01)
        else:
            return


def in_cgroup(folder: Path | None, arguments: Sequence[str]) -> Sequence[str]:
    """Return a command that joins a cgroup before it starts a program."""
    if folder is None:
        return arguments
    return ["/bin/sh", "-c", 'echo 0 > "$0/cgroup.procs" && exec "$@"', str(folder), *arguments]


def child_command(level: Level, spec: ChildSpec) -> Command:
    """Return the command that starts a process at a level.

    Raises:
        ConfigurationError: No plugin can be started at this level.
    """
    if level == "off":
        raise ConfigurationError(
            "plugins are off",
            expected="PLUGINS_ISOLATION=namespaces, or process",
            found="PLUGINS_ISOLATION=off",
            remedy="set PLUGINS_ISOLATION=namespaces where bubblewrap is installed",
        )
    if level == "process":
        arguments = _build_command(spec, SDK, spec.folder, level)
        return Command(arguments, {name: str(folder) for name, folder in spec.folders.items()})
    folders = {name: f"/folders/{name}" for name in spec.folders}
    binds = [(str(SDK), "/sdk"), (str(spec.folder), "/plugin")]
    binds += [(str(folder), folders[name]) for name, folder in spec.folders.items()]
    arguments = [
        _find_bubblewrap(),
        *_NAMESPACES,
        *(text for source in _list_interpreter_files() for text in ("--ro-bind", source, source)),
        *(text for path in _list_masked() for text in ("--tmpfs", path, "--remount-ro", path)),
        *(text for source, target in binds for text in ("--ro-bind", source, target)),
        *("--dev-bind-try", "/dev/null", "/dev/null"),
        *("--dev-bind-try", "/dev/urandom", "/dev/urandom"),
        *("--size", str(min(spec.memory_bytes, MAX_FILE_BYTES)), "--tmpfs", "/tmp"),  # noqa: S108 - of the namespace
        *("--remount-ro", "/", "--chdir", "/tmp"),  # noqa: S108 - in its namespace
        "--",
        *_build_command(spec, Path("/sdk"), Path("/plugin"), level),
    ]
    return Command(arguments, folders)


_NAMESPACES = (
    *("--unshare-user", "--unshare-net", "--unshare-pid", "--unshare-ipc", "--unshare-uts"),
    *("--unshare-cgroup-try", "--uid", "65534", "--gid", "65534", "--hostname", "plugin"),
    *("--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL"),
    *("--cap-add", "CAP_SYS_ADMIN"),  # bootstrap.py bounds the files of /tmp, and drops it
)


def _build_command(spec: ChildSpec, sdk: Path, folder: Path, level: Level) -> list[str]:
    is_process = level == "process"
    limits = (
        spec.memory_bytes,
        spec.seconds,
        2**20 if is_process else MAX_THREADS,  # counted of all processes of the user
        MAX_OPEN_FILES,
        MAX_FILE_BYTES,
        0 if is_process else MAX_FILE_COUNT,
    )
    program = "" if level == "off" else filter_program(level).hex()
    _compile_sdk()
    parent = os.getpid() if is_process else 0
    return [
        _find_executable(),
        *OPTIONS,
        str(sdk / "bootstrap.py"),
        *map(str, limits),
        program or "-",
        str(parent),
        str(folder),
        spec.entry,
    ]


def isolation_level(settings: Settings) -> Level:
    """Return the setting PLUGINS_ISOLATION."""
    return PluginsSettings.of(settings).plugins_isolation


def cgroups_of(settings: Settings) -> Path | None:
    """Return the setting PLUGINS_CGROUP."""
    return PluginsSettings.of(settings).plugins_cgroup


def isolation_status(settings: Settings) -> IsolationStatus:
    """Return how plugins are isolated here; it starts a process that does nothing."""
    level = isolation_level(settings)
    if level == "off":
        return IsolationStatus(level, is_usable=False, is_enforced=False, detail="plugins are off")
    try:
        _test_level(level, cgroups_of(settings))
    except ConfigurationError as error:
        detail = error.line
        return IsolationStatus(level, is_usable=False, is_enforced=False, detail=detail)
    is_enforced = level == "namespaces"
    return IsolationStatus(
        level,
        is_usable=True,
        is_enforced=is_enforced,
        detail=ENFORCED if is_enforced else NOT_ENFORCED,
    )


def refused_namespaces(found: str) -> ConfigurationError:
    """Return the error of a system that grants no namespaces."""
    return ConfigurationError(
        "plugins cannot be started: the system grants no namespaces",
        expected="bubblewrap, and user namespaces for this user",
        found=found,
        remedy="allow user namespaces (sysctl user.max_user_namespaces, the container's seccomp "
        "profile), or set PLUGINS_ISOLATION=process, which enforces neither files nor hosts",
    )


def _test_level(level: Level, cgroups: Path | None) -> None:
    spec = ChildSpec(SDK, "plugin.py", 128 * MIB, 10, cgroups=cgroups)
    command = child_command(level, spec)
    with open_cgroup(spec) as cgroup:
        try:
            ended = subprocess.run(  # noqa: S603 - our own program
                in_cgroup(cgroup, command.arguments),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env={},
                cwd="/",
                timeout=PROBE_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise refused_namespaces(str(error)) from error
    if ended.returncode:
        raise refused_namespaces(ended.stderr.decode(errors="replace").strip()[-300:])


def _find_bubblewrap() -> str:
    which = shutil.which("bwrap", path="/usr/local/bin:/usr/bin:/bin")
    if which is None:
        raise ConfigurationError(
            "plugins cannot be started: bubblewrap is not installed",
            expected="the program bwrap in /usr/bin",
            remedy="install the package bubblewrap, or set PLUGINS_ISOLATION=process, which "
            "enforces neither files nor hosts",
        )
    return which


@cache
def _compile_sdk() -> None:
    """Write the byte code of the library `plugin`, if this user may: plugins start sooner."""
    source = SDK / "plugin.py"
    compiled = Path(cache_from_source(str(source)))
    if sys.dont_write_bytecode:
        return
    with suppress(OSError):
        if not compiled.exists() or compiled.stat().st_mtime < source.stat().st_mtime:
            py_compile.compile(str(source))


@cache
def _find_executable() -> str:
    """Return the interpreter itself, not that of a virtual environment."""
    return os.path.realpath(sys.executable)


@cache
def _list_interpreter_files() -> tuple[str, ...]:
    """Return the files and folders that the interpreter needs."""
    platform = {"platbase": sys.base_exec_prefix}
    libraries = [sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("INSTSONAME")]
    multiarch = sysconfig.get_config_var("MULTIARCH")
    names = [
        _find_executable(),
        sysconfig.get_path("stdlib"),
        sysconfig.get_path("platstdlib", vars=platform),
    ]
    if all(libraries):
        names.append("/".join(libraries))
    system = [f"{root}/{multiarch}" for root in ("/lib", "/usr/lib") if multiarch]
    names += [name for name in system if Path(name).is_dir()] or ["/lib", "/usr/lib"]
    names += ["/lib64", "/usr/lib64"]
    return tuple(dict.fromkeys(name for name in names if Path(name).exists()))


@cache
def _list_masked() -> tuple[str, ...]:
    """Return folders of installed packages within those of the interpreter."""
    names = ("site-packages", "dist-packages")
    folders = [Path(text) / name for text in _list_interpreter_files() for name in names]
    with suppress(OSError):
        return tuple(str(folder) for folder in folders if folder.is_dir())
    return ()
