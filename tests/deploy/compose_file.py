"""deploy/compose/compose.yaml as a value, and its secrets as `up` writes them."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from dotenv import dotenv_values

from orchestration_project.settings import PROJECT_ROOT

FOLDER = PROJECT_ROOT / "deploy" / "compose"
HOST = "pipelines.example.org"
PROGRAMS = ("migrate", "code-server", "daemon", "gateway", "worker", "bridge")
"""Services that run the project's image and read its settings."""

Service = Mapping[str, Any]


@cache
def compose() -> Mapping[str, Any]:
    """Return the file with its anchors resolved."""
    return yaml.safe_load((FOLDER / "compose.yaml").read_text())


def services(profile: str | None = None) -> Mapping[str, Service]:
    """Return the services, of a profile or all."""
    found = compose()["services"]
    return {
        n: value for n, value in found.items() if profile is None or profile in value["profiles"]
    }


def one_shots() -> set[str]:
    """Return the services that do something and exit."""
    return {name for name, service in services().items() if service["restart"] == "no"}


def waits_for(service: Service) -> Mapping[str, Mapping[str, Any]]:
    """Return what a service waits for, and until when."""
    return service.get("depends_on", {})


def networks_of(service: Service) -> set[str]:
    """Return the networks of a service."""
    return set(service.get("networks", ()))


def secrets_of(service: Service) -> Iterator[tuple[str, str]]:
    """Yield each secret of a service and the path of its file in the container."""
    for secret in service.get("secrets", ()):
        name, target = (
            (secret, secret) if isinstance(secret, str) else (secret["source"], secret["target"])
        )
        yield name, target if target.startswith("/") else f"/run/secrets/{target}"


def settings_of(name: str, profile: str) -> Mapping[str, str]:
    """Return the variables of a program, with those of its profile."""
    of_profile = dotenv_values(FOLDER / f"{profile}.env")
    given = {key: value or "" for key, value in of_profile.items()}
    environment = services()[name].get("environment", {})
    return {**given, **{key: filled(str(value)) for key, value in environment.items()}}


def filled(text: str) -> str:
    """Return a text with the variables that `up` gives, and the defaults of others."""
    text = text.replace("${PUBLIC_HOST:?e.g. pipelines.example.org}", HOST)
    return re.sub(r"\$\{(\w+):-([^}]*)\}", r"\2", text)


def copy_of(folder: Path, written: Path | None = None) -> Path:
    """Return a copy of deploy/compose in which `up` may write: without secrets, or of one with."""
    made = folder / "compose"
    left_out = ("settings.env",) if written else ("secrets", "settings.env")
    shutil.copytree(written or FOLDER, made, ignore=shutil.ignore_patterns(*left_out))
    return made


def run_up(
    folder: Path, *arguments: str, path: Sequence[Path] = (), **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run `up` of a copy, with further folders before the PATH."""
    search = os.pathsep.join([*map(str, path), os.environ["PATH"]])  # noqa: TID251 - a program's
    return subprocess.run(  # noqa: S603 - our own program
        [str(folder / "up"), *arguments],
        env={"PATH": search, "PUBLIC_HOST": HOST, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
