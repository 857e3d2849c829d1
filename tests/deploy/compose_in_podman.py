"""Starts the programs of compose.yaml by Debian's podman in the image that `make image` builds.

No registry is needed. PostgreSQL, RabbitMQ, mosquitto and S3 (moto) run beside the containers, as
their images are not at hand; the containers reach them by the names of compose.yaml. Commands,
settings, secrets, user, capabilities, read-only root and health checks are those of compose.yaml,
in its profile `full`. A run that the gateway takes is executed by the worker.

Not as in compose.yaml: one network namespace for all, no init, and no limits of CPU and memory, as
cgroups may not be the container's. Needs root, podman and buildah.
"""

import argparse
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg

from orchestration_project.settings import PROJECT_ROOT
from tests.deploy.compose_file import PROGRAMS, copy_of, secrets_of, services, settings_of
from tests.mosquitto import EXAMPLE, Mosquitto
from tests.programs import wait_for
from tests.rabbitmq import PASSWORD, running_broker
from tests.slow.tcp_postgres import tcp_server

NEEDED = ("buildah", "mmdebstrap", "podman", "unshare")
IMAGE = "localhost/orchestration_project:full"
PROFILE = "full"
NAMES = ("postgres", "rabbitmq", "mosquitto", "s3", "code-server", "gateway", "victorialogs")
LIMITS = ("nofile=1024:1024", "nproc=1024:1024")
"""Below those of this process: a container may not raise them here."""

UNIFIED_CGROUPS = "/sys/fs/cgroup/unified"
STATE_MOUNT = "state:/var/lib/orchestration_project"
JOB = "operations_checks"
"""A job that needs no source."""

READY_SECONDS, RUN_SECONDS = 240, 300


class Podman:
    """Podman over the store of `buildah`."""

    def __init__(self, folder: Path, secrets: Path) -> None:
        self._command = ("podman", f"--root={folder / 'store'}", f"--runroot={folder / 'run'}")
        self._secrets = secrets

    def call(self, *arguments: str, is_required: bool = True) -> str:
        """Run podman; return what it printed.

        Raises:
            SystemExit: It failed.
        """
        done = subprocess.run([*self._command, *arguments], capture_output=True, text=True)  # noqa: S603
        if done.returncode and is_required:
            raise SystemExit(
                f"podman {' '.join(arguments)}:\n{(done.stdout + done.stderr)[-3000:]}"
            )
        return done.stdout if done.returncode == 0 else ""

    def start(self, name: str, command: Sequence[str] = (), *, is_detached: bool = True) -> str:
        """Start a service of compose.yaml, or another command with its settings."""
        service = services(PROFILE)[name]
        options = options_of(name, service, self._secrets)
        kind = ("--detach", f"--name={name}") if is_detached else ("--rm",)
        return self.call("run", *kind, *options, IMAGE, *(command or service["command"]))

    def is_healthy(self, name: str) -> bool:
        """Return whether the health check of a service succeeds."""
        check = services(PROFILE)[name]["healthcheck"]["test"][1:]
        done = subprocess.run(  # noqa: S603
            [*self._command, "exec", name, *check], capture_output=True
        )
        return done.returncode == 0

    def logs(self, name: str) -> str:
        """Return the end of the log of a service."""
        command = [*self._command, "logs", "--tail=8", name]
        done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603
        return done.stdout + done.stderr


def options_of(name: str, service: Mapping[str, Any], secrets: Path) -> Iterator[str]:
    """Yield the options of podman for a service of compose.yaml."""
    yield from (
        "--network=host",
        f"--hostname={name}",  # a claim of a run names host and process
        "--cgroups=disabled",
        "--no-healthcheck",
        f"--user={service['user']}",
    )
    yield from (f"--ulimit={limit}" for limit in LIMITS)
    if service["read_only"]:
        yield "--read-only"
    yield from (f"--cap-drop={capability}" for capability in service["cap_drop"])
    yield from (f"--security-opt={option.partition(':')[0]}" for option in service["security_opt"])
    yield f"--group-add={os.getgid()}"
    yield from (f"--tmpfs={mount}" for mount in service["tmpfs"])
    yield from (f"--volume={mount}" for mount in service["volumes"])
    yield from (f"--add-host={host}:127.0.0.1" for host in NAMES)
    for key, value in settings_of(name, PROFILE).items():
        yield f"--env={key}={value}"
    for secret, path in secrets_of(service):
        yield f"--volume={secrets / secret}:{path}:ro"


@contextmanager
def running_services(folder: Path, secrets: Path) -> Iterator[None]:
    """Run what the programs need, at the ports of compose.yaml."""
    for name in ("postgresql", "broker", "mosquitto"):
        (folder / name).mkdir()
    with ExitStack() as stack:
        server = stack.enter_context(tcp_server("127.0.0.1", folder / "postgresql", 5432))
        with psycopg.connect(server.url, autocommit=True) as client:
            for role, database in (("orchestration", "pipelines"), ("dagster", "dagster")):
                client.execute(f"CREATE ROLE {role} LOGIN".encode())
                client.execute(f"CREATE DATABASE {database} OWNER {role}".encode())
        stack.enter_context(running_broker(folder / "broker", port=5672))
        text = (EXAMPLE / "mosquitto.conf").read_text()
        for old, new in (
            ("/etc/mosquitto/certs/server.pem", secrets / "mqtt_certificate"),
            ("/etc/mosquitto/certs/clients.pem", secrets / "mqtt_ca"),
            ("/etc/mosquitto/certs/server.key", secrets / "mqtt_key"),
            ("/etc/mosquitto/passwords", secrets / "mqtt_accounts"),
            ("/etc/mosquitto/acl", EXAMPLE / "acl"),
            ("/var/lib/mosquitto/", f"{folder / 'mosquitto'}/"),
        ):
            text = text.replace(old, str(new))
        mosquitto = Mosquitto(folder / "mosquitto", text, 8883)
        mosquitto.start()
        stack.callback(mosquitto.end)
        moto = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "8333"]
        s3 = subprocess.Popen(moto, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603
        stack.callback(s3.wait)
        stack.callback(s3.kill)
        wait_for(has_bucket, 60)
        yield


def has_bucket() -> bool:
    """Make the bucket, once the server answers."""
    url = "http://127.0.0.1:8333/orchestration"
    with suppress(OSError):
        urllib.request.urlopen(urllib.request.Request(url, method="PUT")).close()
        return True
    return False


def ask(path: str, key: str, body: object = None) -> dict[str, Any]:
    """Return what the gateway answers to the proxy in front of it."""
    headers = {
        "X-API-Key": key,
        "Content-Type": "application/json",
        "Host": "gateway",
        "X-Forwarded-Proto": "https",
    }
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:3000{path}", data, headers)
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - http
        return json.load(answer)


def start_all(podman: Podman) -> None:
    """Start each program in the order of compose.yaml, and execute a run by the worker."""
    podman.start("migrate", is_detached=False)
    report("migrate: status 0")
    for name in PROGRAMS[1:]:
        podman.start(name)
        wait_for(lambda name=name: podman.is_healthy(name), READY_SECONDS, poll_seconds=2)
        report(f"{name}: healthy")
    command = ("orchestrate", "keys", "create", "--role=operator", "--owner=compose")
    key = re.findall(r"\bop_[0-9a-f]+_[\w-]+", podman.start("migrate", command, is_detached=False))
    requested = ask("/api/v1/runs", key[-1], {"job": JOB})
    path = f"/api/v1/runs/{requested['run_id']}"
    wait_for(lambda: ask(path, key[-1])["status"] == "SUCCESS", RUN_SECONDS, poll_seconds=2)
    report(f"{JOB}: executed by the worker")


def report(line: str) -> None:
    """Write a line at once."""
    print(line, flush=True)  # noqa: T201 - a program


def inside(folder: Path) -> int:
    """Run all in network and mount namespaces of its own; return the exit status."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)  # noqa: S607
    if Path(UNIFIED_CGROUPS).is_mount():  # crun refuses both versions at once
        subprocess.run(["umount", UNIFIED_CGROUPS], check=True)  # noqa: S603, S607
    with tempfile.TemporaryDirectory(prefix="compose-", dir="/var/tmp") as name:
        work = Path(name)
        work.chmod(0o755)
        secrets = copy_of(work) / "secrets"
        up = runpy.run_path(str(secrets.parent / "up"))
        secrets.mkdir(mode=0o700)
        up["write_secret"]("rabbitmq_password", f"{PASSWORD}\n")
        up["write_secrets"]()
        secrets.chmod(0o755)
        podman = Podman(folder, secrets)
        with running_services(work, secrets):
            try:
                start_all(podman)
            except BaseException:
                for program in PROGRAMS[1:]:
                    report(f"== {program}\n{podman.logs(program)}")
                raise
            finally:
                podman.call("rm", "--force", "--all", is_required=False)
                podman.call("volume", "rm", "--force", "--all", is_required=False)
    return 0


def main() -> int:
    """Build the image in a new folder, or use that of a folder, and start the programs in it."""
    parser = argparse.ArgumentParser(prog="python -m tests.deploy.compose_in_podman")
    parser.add_argument("--folder", type=Path, help="folder with the image of an earlier build")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if missing := [name for name in NEEDED if not shutil.which(name)]:
        report(f"missing: {', '.join(missing)}; apt install buildah mmdebstrap podman")
        return 2
    if options.inside:
        return inside(options.folder)
    with tempfile.TemporaryDirectory(prefix="image-", dir="/var/tmp") as name:
        folder = options.folder or Path(name)
        if not options.folder:
            folder.chmod(0o755)
            buildah = runpy.run_path(str(PROJECT_ROOT / "deploy" / "image.py"))["Buildah"](folder)
            buildah.build_base()
            buildah.build(PROFILE)
            report("image: built")
        module = (sys.executable, "-m", __spec__.name, "--inside", f"--folder={folder}")
        command = ["unshare", "--net", "--mount", *module]
        return subprocess.run(command, cwd=PROJECT_ROOT).returncode  # noqa: S603


if __name__ == "__main__":
    sys.exit(main())
