"""`make image`: build the image's two targets, and run the programs in them as compose does.

Debian's programs alone: mmdebstrap makes a base from the apt sources of this host, buildah builds
`deploy/Dockerfile` on it, and bubblewrap runs its file system: as user 10001, with a read-only
root, and memory at /tmp and /dev/shm. In `minimal`, a week is loaded by a command, and another one
by a run that the daemon starts; in `full`, documents. It needs root, as buildah's isolation
`chroot` does.

At the end `.ci/image.sha256` records what the image was built of. `--is-recorded` builds nothing
and has status 1 where files differ from that: so CI builds an image that nobody has built.
"""

import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

NEEDED = ("buildah", "bwrap", "mmdebstrap", "setpriv")
PACKAGES = "python3,python3-venv,ca-certificates"
SUITE = "bookworm"
WITHOUT_TEXTS = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "locale", "man")]
"""Options of mmdebstrap: as Python's slim images, the base has no pages and translations."""
BASE, IMAGE = "localhost/base", "localhost/orchestration_project"
DEFAULT, LIMIT_MB = "minimal", 900

RECORD = ROOT / ".ci" / "image.sha256"
INPUTS = (
    "deploy/Dockerfile",
    "deploy/Dockerfile.dockerignore",
    "deploy/daemon_alive.sh",
    "deploy/health.py",
    "deploy/image.py",
    "deploy/install_packages.sh",
    "deploy/sbom.py",
    "requirements/runtime.lock",
    "requirements/image.lock",
)
"""Files that decide whether the image can be built and started; `pyproject.toml` in part."""

USER = "10001"
STATE = "/var/lib/orchestration_project"
CODE_PORT, PORT = "4266", "3005"
WORKSPACE = f"""load_from:
  - grpc_server:
      host: 127.0.0.1
      port: {CODE_PORT}
      location_name: orchestration_project.definitions
"""
LOADED, LAUNCHED = "T1|2026-01-26", "T1|2026-02-02"
CLOCK = "2026-03-10T18:00:00+00:00"

SERVICE_UNAVAILABLE = 503
READY_SECONDS, RUN_SECONDS = 240, 300
END_SECONDS = {signal.SIGTERM: 60, signal.SIGKILL: 10}
"""Maximum time in which programs end, by the signal that they get."""

KEY = re.compile(r"\bop_[0-9a-f]+_[\w-]+")


class Buildah:
    """Buildah with a store of its own in a folder."""

    def __init__(self, folder: Path, given: Mapping[str, str] | None = None) -> None:
        """Keep the arguments of builds; SOURCE_DATE_EPOCH among them is the time of all files."""
        self._folder, self._given = folder, dict(given or {})
        seconds = self._given.get("SOURCE_DATE_EPOCH")
        self._at = [f"--timestamp={seconds}", "--omit-history"] if seconds else []
        self._command = ("buildah", f"--root={folder / 'store'}", f"--runroot={folder / 'run'}")

    def run(self, *arguments: str) -> str:
        """Run it; return what it printed.

        Raises:
            SystemExit: It failed; what it said is shown.
        """
        done = subprocess.run(  # noqa: S603 - Debian's
            [*self._command, *arguments],
            cwd=ROOT,
            env={**os.environ, "BUILDAH_ISOLATION": "chroot"},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise SystemExit(f"buildah {arguments[0]} failed:\n{done.stderr[-3000:]}")
        return done.stdout.strip()

    def build_base(self) -> None:
        """Make an image of Debian's packages, with `python` as in Python's images."""
        archive = self._folder / "base.tar"
        options = ("--quiet", "--variant=minbase", f"--include={PACKAGES}", *WITHOUT_TEXTS)
        subprocess.run(["mmdebstrap", *options, SUITE, str(archive)], check=True)  # noqa: S603, S607 - Debian's
        container = self.run("from", "scratch")
        self.run("add", "--quiet", container, str(archive), "/")
        self.run("run", container, "--", "ln", "-s", "python3", "/usr/bin/python")
        self.run("commit", "--quiet", "--rm", *self._at, container, BASE)
        archive.unlink()

    def build(self, target: str) -> None:
        """Build a target; packages come by the authorities that this host trusts."""
        self.run(
            *("bud", "--quiet", f"--layers={str(not self._at).lower()}", "--format=docker"),
            "--file=deploy/Dockerfile",
            "--ignorefile=deploy/Dockerfile.dockerignore",
            *(f"--target={target}", f"--tag={IMAGE}:{target}", f"--build-arg=BASE_IMAGE={BASE}"),
            *(*self._at, *(f"--build-arg={name}={value}" for name, value in self._given.items())),
            *("--volume=/etc/ssl/certs:/etc/ssl/certs:ro", "."),
        )

    def save(self, target: str, folder: Path) -> None:
        """Write an image into a folder, in the layout of OCI."""
        self.run("push", "--quiet", "--format=oci", f"{IMAGE}:{target}", f"oci:{folder}:{target}")

    def size_mb(self, target: str) -> float:
        """Return the size of an image, as `docker images` shows it."""
        [found] = json.loads(self.run("images", "--json", f"{IMAGE}:{target}"))
        value, unit = found["size"].split()
        return float(value) * {"MB": 1, "GB": 1000}[unit]

    @contextmanager
    def mounted(self, target: str) -> Iterator[Path]:
        """Mount the file system of a container of an image."""
        container = self.run("from", f"{IMAGE}:{target}")
        try:
            yield Path(self.run("mount", container))
        finally:
            self.run("rm", container)


class Inside:
    """Programs in the image, over a folder for STATE_DIR."""

    def __init__(self, root: Path, state: Path) -> None:
        self._root, self._state = root, state
        self._running: list[subprocess.Popen[bytes]] = []

    def command(self, *arguments: str) -> Sequence[str]:
        """Return the command line of a program in the image."""
        given = {
            "PATH": "/opt/venv/bin:/usr/bin:/bin",
            "DAGSTER_HOME": "/opt/orchestration_project",
            "ORCHESTRATE_PROJECT": "/opt/orchestration_project",
            "PYTHONDONTWRITEBYTECODE": "1",
            "MPLCONFIGDIR": "/tmp/matplotlib",  # noqa: S108 - in the container
            "HOME": "/tmp",  # noqa: S108 - the same
            "STATE_DIR": STATE,
            "DATA_PROFILE": "demo",
            "DEMO_CLOCK_NOW": CLOCK,
        }
        return (
            *("bwrap", "--ro-bind", str(self._root), "/", "--bind", str(self._state), STATE),
            *("--proc", "/proc", "--dev", "/dev", "--die-with-parent"),  # as in one container
            *("--perms", "1777", "--tmpfs", "/tmp", "--perms", "1777", "--tmpfs", "/dev/shm"),  # noqa: S108 - in the image
            *("--clearenv", *(part for pair in given.items() for part in ("--setenv", *pair))),
            *("--chdir", "/opt/orchestration_project", "setpriv", "--reuid", USER, "--regid", USER),
            *("--clear-groups", "--no-new-privs", *arguments),
        )

    def run(self, *arguments: str) -> str:
        """Run a program to its end; return what it printed.

        Raises:
            SystemExit: It failed.
        """
        done = subprocess.run(self.command(*arguments), capture_output=True, text=True)  # noqa: S603 - our own
        if done.returncode:
            raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stdout}{done.stderr[-3000:]}")
        return done.stdout

    def succeeds(self, *arguments: str) -> bool:
        """Run a program to its end; return whether it succeeded."""
        done = subprocess.run(self.command(*arguments), capture_output=True)  # noqa: S603 - our own
        return done.returncode == 0

    def start(self, name: str, *arguments: str) -> None:
        """Start a program that goes on; its log is beside STATE_DIR."""
        with (self._state.parent / f"{name}.log").open("wb") as log:
            started = subprocess.Popen(  # noqa: S603 - our own
                self.command(*arguments), stdout=log, stderr=log, start_new_session=True
            )
        self._running.append(started)

    def logs(self) -> Iterator[tuple[str, str]]:
        """Yield the name and text of each log."""
        for log in sorted(self._state.parent.glob("*.log")):
            yield log.name, log.read_text(errors="replace")

    def end(self) -> None:
        """End what goes on, by its group: of a program with another user, bwrap's end is none."""
        for sent, seconds in END_SECONDS.items():
            for program in filter(has_processes, self._running):
                os.killpg(program.pid, sent)
            until = time.monotonic() + seconds
            while any(map(has_processes, self._running)) and time.monotonic() < until:
                time.sleep(0.1)


def has_processes(program: subprocess.Popen[bytes]) -> bool:
    """Whether a process of the group of a program is there."""
    program.poll()  # until then, one that ended is there
    try:
        os.killpg(program.pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_for(what: str, seconds: float, is_there: Callable[[], bool]) -> None:
    """Wait until something is true; what has no answer yet is not.

    Raises:
        SystemExit: It is not in time.
    """
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with suppress(OSError):  # the port is closed, or the gateway is not ready
            if is_there():
                return
        time.sleep(2)
    raise SystemExit(f"{what}: not within {seconds:.0f} s")


def ask(path: str, key: str = "", body: object = None) -> dict[str, Any]:
    """Return what the gateway answers.

    Raises:
        SystemExit: It refuses a request; the reason is shown.
        OSError: It is not there yet, or not ready.
    """
    request = urllib.request.Request(
        f"http://127.0.0.1:{PORT}{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"X-API-Key": key, "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - the image
            return json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code != SERVICE_UNAVAILABLE:
            raise SystemExit(f"{path}: {error.code}: {error.read().decode()}") from error
        raise


def check_minimal(inside: Inside) -> None:
    """Migrate, load a week by a command, and another one by a run that the daemon starts."""
    inside.run("orchestrate", "migrate")
    inside.run("orchestrate", "load", "finra_otc_weekly", LOADED)
    created = inside.run("orchestrate", "keys", "create", "--role=operator", "--owner=image")
    key = KEY.findall(created)[-1]
    module = ("-m", "orchestration_project.definitions", "--host=127.0.0.1", "--port", CODE_PORT)
    server = ("-m", "orchestration_project.instance.code_server", "code-server", "start", *module)
    inside.start("code-server", "python", *server)
    probe = ("python", "deploy/health.py", "--grpc", CODE_PORT)
    wait_for("code server", READY_SECONDS, lambda: inside.succeeds(*probe))
    given = ("-w", f"{STATE}/workspace.yaml")
    inside.start("daemon", "python", "-m", "orchestration_project.instance.daemon", "run", *given)
    inside.start("gateway", "orchestrate", "gateway", *given, "--host=127.0.0.1", "--port", PORT)
    wait_for("gateway", READY_SECONDS, lambda: ask("/readyz")["daemon"] == "passed")
    wait_for("daemon", READY_SECONDS, lambda: inside.succeeds("sh", "deploy/daemon_alive.sh"))
    body = {"job": "finra_otc_weekly", "partition": LAUNCHED}
    path = f"/api/v1/runs/{ask('/api/v1/runs', key, body)['run_id']}"
    wait_for("run", RUN_SECONDS, lambda: ask(path, key)["status"] == "SUCCESS")


def check_full(inside: Inside) -> None:
    """Load documents of every format, and import the launchers of workers and Kubernetes."""
    inside.run("orchestrate", "migrate")
    inside.run("orchestrate", "domains", "add", "documents")
    inside.run("sh", "-c", LOAD_DOCUMENTS)
    inside.run("python", "-c", "import dagster_celery, dagster_k8s, parsel, selectolax")


LOAD_DOCUMENTS = "orchestrate load documents >/tmp/counts; grep -E '^loaded' /tmp/counts"
"""The demo has damaged files, so the status of the load itself is 1."""

CHECKS = {DEFAULT: check_minimal, "full": check_full}
"""What is checked in each target of the Dockerfile."""


def hash_inputs() -> str:
    """Return the SHA-256 of what the image is built of, in hexadecimal digits."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    parts = [pyproject["build-system"], pyproject["project"], pyproject["tool"]["hatch"]]
    hashed = hashlib.sha256(json.dumps(parts, sort_keys=True).encode())
    for name in INPUTS:
        hashed.update(name.encode() + b"\0" + (ROOT / name).read_bytes() + b"\0")
    return hashed.hexdigest()


def save_layout(target: Path) -> None:
    """Build the default target and write its OCI layout, with the time and commit of a release."""
    given = {name: os.environ[name] for name in ("SOURCE_DATE_EPOCH", "REVISION")}
    with tempfile.TemporaryDirectory(prefix="image-") as name:
        buildah = Buildah(Path(name), given)
        buildah.build_base()
        buildah.build(DEFAULT)
        buildah.save(DEFAULT, target)


def main() -> None:
    """Build and check in a new folder, which is removed at the end."""
    if sys.argv[1:2] == ["--layout"]:
        save_layout(Path(sys.argv[2]))
        return
    built_of = hash_inputs()
    if sys.argv[1:] == ["--is-recorded"]:
        sys.exit(not RECORD.exists() or RECORD.read_text().strip() != built_of)
    if missing := [name for name in NEEDED if shutil.which(name) is None]:
        raise SystemExit(
            f"missing: {', '.join(missing)}; apt install buildah bubblewrap mmdebstrap"
        )
    for port in (CODE_PORT, PORT):
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", int(port))) == 0:
                raise SystemExit(f"port {port} is in use: end what listens there")
    with tempfile.TemporaryDirectory(prefix="image-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the programs in the image are another user's
        buildah = Buildah(folder)
        buildah.build_base()
        for target, check in CHECKS.items():
            buildah.build(target)
            state = folder / target / "state"  # logs lie beside it
            state.mkdir(parents=True)
            os.chown(state, int(USER), int(USER))
            (state / "workspace.yaml").write_text(WORKSPACE)
            with buildah.mounted(target) as root:
                run_checks(check, Inside(root, state))
            size = buildah.size_mb(target)
            sys.stdout.write(f"{target}: built and checked, {size:.0f} MB\n")
            if target == DEFAULT and size > LIMIT_MB:
                raise SystemExit(f"{target}: expected at most {LIMIT_MB} MB, found {size:.0f}")
    RECORD.write_text(f"{built_of}\n")


def run_checks(check: Callable[["Inside"], None], inside: Inside) -> None:
    """Run the checks of a target; where one fails, logs of its programs are shown."""
    try:
        check(inside)
    except SystemExit:
        for name, text in inside.logs():
            sys.stderr.write(f"{name}:\n{text[-3000:]}\n")
        raise
    finally:
        inside.end()


if __name__ == "__main__":
    main()
