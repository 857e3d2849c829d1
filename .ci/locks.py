"""The lock files pin what pyproject.toml asks for, once for every Python, and name no host."""

import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCKS = {
    "requirements/runtime.lock": None,
    "requirements/dev.lock": "dev",
    "requirements/bench.lock": "bench",
    "requirements/docs.lock": "docs",
    "requirements/deploy.lock": "deploy",
    "requirements/airflow.lock": "airflow",
    "requirements/measure.lock": "measure",
    "requirements/release.lock": "release",
    "requirements/image.lock": "documents,web,celery,k8s,otel",
}
ALONE = ("docs", "deploy", "measure", "airflow", "release")
"""Extras whose lock has nothing of the project's own."""

PYTHONS = ("3.11", "3.12", "3.13")
HOST = re.compile(r"index-url|find-links|https?://")


def environment(python: str) -> dict[str, str]:
    """Return where a marker is read: that Python on Linux."""
    return {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}


def pinned(lines: list[str], python: str) -> dict[str, str]:
    """Return the version of each package that a lock installs there."""
    found: dict[str, str] = {}
    for line in lines:
        if line.startswith((" ", "#")) or not line.strip():
            continue
        requirement = Requirement(line.rstrip("\\ "))
        if requirement.marker is None or requirement.marker.evaluate(environment(python)):
            (version,) = requirement.specifier
            found[canonicalize_name(requirement.name)] = version.version
    return found


def wanted(project: Mapping[str, object], extra: str | None) -> Iterator[Requirement]:
    """Yield what pyproject.toml asks for, with what an extra, or several with commas, asks for."""
    own = () if extra in ALONE else project["dependencies"]
    extras = extra.split(",") if extra else ()
    more = [each for name in extras for each in project["optional-dependencies"][name]]
    yield from map(Requirement, [*own, *more])


def problems(project: Mapping[str, object]) -> Iterator[str]:
    """Yield what is wrong with the locks."""
    for name, extra in LOCKS.items():
        lines = Path(name).read_text().splitlines()
        yield from (f"{name} names a host: {line}" for line in lines if HOST.search(line))
        for python in PYTHONS:
            versions = pinned(lines, python)
            for requirement in wanted(project, extra):
                version = versions.get(canonicalize_name(requirement.name), "nothing")
                if version == "nothing" or not requirement.specifier.contains(version):
                    yield f"{name}, Python {python}: {requirement} is wanted, {version} is pinned"
            print(f"{python} {name}: {len(versions)} packages")


def main() -> int:
    """Print every problem and return 1 if there is one; of an extra's name, what it asks for."""
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    if len(sys.argv) > 1:
        print(*wanted(project, sys.argv[1]), sep="\n")
        return 0
    found = list(problems(project))
    for each in found:
        print(f"{each}; run `make lock`", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
