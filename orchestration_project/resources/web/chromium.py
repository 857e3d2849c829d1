"""The process of the browser: an installed Chromium with its sandbox, never as root.

Chromium makes no connection of its own: it resolves no name, and its proxy does not exist. Each
request of a page is answered by the project's HTTP client.
"""

import fcntl
import os
import pwd
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from orchestration_project.errors import ConfigurationError

NAMES = ("chromium", "chromium-browser", "google-chrome")
OVERFLOW_ID = 65534
"""User and group that own no file on Linux."""

FOLDER_PREFIX = "web-browser-"
LAUNCH_SECONDS = 60
NO_CONNECTIONS = (
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--proxy-server=http://127.0.0.1:9",
    "--proxy-bypass-list=<-loopback>",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--disable-quic",
)
LAUNCHER = """
import os, sys
uid, gid, program, pid_file = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
with open(pid_file, "w") as file:
    file.write(str(os.getpid()))
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
os.execv(program, [program, *sys.argv[5:]])
"""
"""Changes its user where it is root, and becomes Chromium."""


@dataclass(frozen=True)
class BrowserProgram:
    """An installed browser, and the user as whom it runs.

    Attributes:
        path: The program.
        uid: User.
        gid: Group.
    """

    path: Path
    uid: int
    gid: int


def find_browser(path: Path | None, user: str | None) -> BrowserProgram:
    """Return the browser of a setting, or of PATH.

    Args:
        path: The program; None: it is looked for.
        user: User as whom it runs, where this process is root; None: the one with `OVERFLOW_ID`.

    Raises:
        ConfigurationError: There is none, Playwright is missing, or it would run as root.
    """
    found = path or next((Path(each) for name in NAMES if (each := shutil.which(name))), None)
    if found is None or not os.access(found, os.X_OK):
        raise ConfigurationError(
            "no browser for sites with engine: browser",
            expected=f"Chromium in WEB_BROWSER_PATH, or one of {', '.join(NAMES)} in PATH",
            found=str(path) if path else "none",
            remedy="install Debian's package chromium, or set WEB_BROWSER_PATH",
        )
    try:
        import playwright.sync_api  # noqa: F401 - an extra, as are its parts
    except ImportError as error:
        raise ConfigurationError(
            "the browser cannot be controlled",
            expected="the package playwright",
            found=str(error),
            remedy="install the extra browser of this package",
        ) from error
    if os.geteuid() != 0:
        return BrowserProgram(found, os.geteuid(), os.getegid())
    if user is None:
        return BrowserProgram(found, OVERFLOW_ID, OVERFLOW_ID)
    with suppress(KeyError):
        entry = pwd.getpwnam(user)
        if entry.pw_uid != 0:
            return BrowserProgram(found, entry.pw_uid, entry.pw_gid)
    raise ConfigurationError(
        "the browser does not run as root",
        expected="another user of this machine in WEB_BROWSER_USER, e.g. chromium",
        found=user,
        remedy="set WEB_BROWSER_USER, or start the run as another user",
    )


@dataclass(frozen=True)
class OpenBrowser:
    """A browser that runs, with an empty profile.

    Attributes:
        context: Playwright's; only the thread that opened it may use it.
        pid_file: File with its process.
    """

    context: Any
    pid_file: Path

    def kill(self) -> None:
        """End its processes; what waits for it gets an error. Any thread may do so."""
        kill_browser(self.pid_file)


def kill_browser(pid_file: Path) -> None:
    """End the browser of a file with its process, if it runs.

    A process that names the folder of the file on its command line is the browser; another one was
    given the number later.
    """
    with suppress(OSError, ValueError, psutil.Error):
        process = psutil.Process(int(pid_file.read_text()))
        if not any(str(pid_file.parent) in argument for argument in process.cmdline()):
            return
        if os.getpgid(process.pid) == process.pid:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


@contextmanager
def open_browser(program: BrowserProgram, *, user_agent: str) -> Iterator[OpenBrowser]:
    """Start a browser in this thread; end it, and remove its profile, after the block.

    Raises:
        ConfigurationError: It does not start, as where the system allows no sandbox.
    """
    from playwright.sync_api import Error, sync_playwright  # an extra

    with ExitStack() as stack:
        folder = stack.enter_context(_open_profile_folder(program))
        pid_file = folder / "pid"
        stack.callback(kill_browser, pid_file)
        playwright = stack.enter_context(sync_playwright())
        try:
            context = playwright.chromium.launch_persistent_context(
                folder / "profile",
                executable_path=_write_launcher(program, folder),
                chromium_sandbox=True,
                headless=True,
                args=list(NO_CONNECTIONS),
                env={"HOME": str(folder / "profile"), "PATH": os.defpath, "LANG": "C.UTF-8"},
                timeout=LAUNCH_SECONDS * 1000,
                service_workers="block",
                accept_downloads=False,
                user_agent=user_agent,
                viewport={"width": 1280, "height": 1024},
            )
        except Error as error:
            raise ConfigurationError(
                "the browser does not start",
                expected=f"{program.path} with its sandbox, as user {program.uid}",
                found=str(error)[:1000],
                remedy="allow user namespaces, or install its package chromium-sandbox",
            ) from None
        stack.callback(_close, context)
        yield OpenBrowser(context, pid_file)


def _close(context: Any) -> None:
    from playwright.sync_api import Error  # an extra

    with suppress(Error):  # it has crashed
        context.close()


def _write_launcher(program: BrowserProgram, folder: Path) -> Path:
    """Return a program that starts the browser as its user: Playwright takes one file."""
    script = folder / "launcher"
    words = [
        *(sys.executable, "-I", "-c", LAUNCHER, str(program.uid), str(program.gid)),
        *(str(program.path), str(folder / "pid")),
    ]
    script.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    script.chmod(0o700)
    return script


@contextmanager
def _open_profile_folder(program: BrowserProgram) -> Iterator[Path]:
    """Give a folder with a profile for the browser's user; those of killed processes are removed.

    It is not in STATE_DIR, which is closed to other users.
    """
    for path in Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*"):
        _remove_abandoned(path)
    folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        profile = folder / "profile"
        profile.mkdir(mode=0o700)
        if os.geteuid() == 0:
            folder.chmod(0o711)
            os.chown(profile, program.uid, program.gid)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned(folder: Path) -> None:
    with suppress(OSError):
        if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
            return
        with (folder / "lock").open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            kill_browser(folder / "pid")
            shutil.rmtree(folder, ignore_errors=True)
