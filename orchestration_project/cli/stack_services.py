"""Services of the stack: programs of the system, configured by the files of `deploy/`."""

import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from orchestration_project.settings import PROJECT_ROOT

DEPLOY = PROJECT_ROOT / "deploy"

LOOPBACK = "127.0.0.1"

SECRET_BYTES = 32


class Program(NamedTuple):
    """A program that is supervised.

    Attributes:
        name: Name of the service and its log.
        command: Executable and arguments.
        environment: Variables beside those of the supervisor.
        user: System user, if the supervisor is root and the program refuses that.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    user: str | None = None


def write_private(file: Path, text: str) -> Path:
    """Write a file that only its owner can read; it is complete or not there."""
    partial = file.with_suffix(f"{file.suffix}.partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(text)
    return partial.replace(file)


def secret_of(folder: Path, name: str) -> str:
    """Return the generated secret ``name``; it is made once, in a private file of ``folder``."""
    file = folder / name
    if not file.exists():
        write_private(file, secrets.token_urlsafe(SECRET_BYTES))
    return file.read_text()


RABBITMQ_SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""Debian's `rabbitmq-server` in the PATH changes its user; this one runs as the user is."""

BROKER_USER = "orchestration"


def rabbitmq(folder: Path, port: int, ports: tuple[int, int], password: str) -> list[Program]:
    """Return Erlang's port mapper and the broker, which keep their state in ``folder``.

    Args:
        folder: A private folder; the broker's node keeps queues and messages in it.
        port: Port of AMQP, on the loopback address.
        ports: Ports of Erlang's port mapper and of the node's distribution, the same.
        password: Password of the one account; the first start makes it.
    """
    mapper, distribution = ports
    folder.mkdir(exist_ok=True)
    (folder / "conf.d").mkdir(exist_ok=True)
    account = [f"default_user = {BROKER_USER}", f"default_pass = {password}"]
    write_private(folder / "conf.d" / "account.conf", "\n".join([*account, ""]))
    text = (DEPLOY / "rabbitmq" / "rabbitmq.conf").read_text()
    here = text.replace("default = 5672", f"local = {LOOPBACK}:{port}")
    write_private(folder / "rabbitmq.conf", here)
    (folder / "enabled_plugins").write_text("[].\n")
    erlang = {"ERL_EPMD_PORT": str(mapper), "ERL_EPMD_ADDRESS": LOOPBACK, "HOME": str(folder)}
    environment = {
        **erlang,
        "RABBITMQ_NODENAME": "orchestration@localhost",
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        "RABBITMQ_CONF_ENV_FILE": str(folder / "none.conf"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_CONFIG_FILES": str(folder / "conf.d" / "*.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
    }
    return [
        Program("epmd", ["epmd", "-port", str(mapper), "-address", LOOPBACK], erlang),
        Program("rabbitmq", [str(RABBITMQ_SERVER)], environment),
    ]


def broker_url(port: int, password: str) -> str:
    """Return BROKER_URL of that broker."""
    return f"amqp://{BROKER_USER}:{password}@{LOOPBACK}:{port}//"
