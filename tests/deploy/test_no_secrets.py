"""No file of deploy/ or examples/ holds a password; the health check of what serves no port."""

import re
import runpy
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from orchestration_project.settings import PROJECT_ROOT

NAMED = re.compile(
    r"""(?ix) (?:password|passwd|_pass|secret(?!name|s\b)|token|api_?key|access_?key(?!_?id))[\w-]*
    ["']? [ ]* [:=] [ ]* (?P<value>[^\s,}\]]+)"""
)
"""A name of a secret, and the value that follows it on its line."""

IN_CODE = re.compile(r"(?i)(?:password|secret|token)\w* = [\"'](?P<value>[^\"'{]+)[\"']")
"""A secret as a constant."""

IN_A_URL = re.compile(r"[a-z]+://[^/\s:@\"'{}$]+:(?P<value>[^@/\s\"'{]+)@")

DEFAULTS = re.compile(r"(?i)\b(changeme|minioadmin|admin/admin|guest:guest|postgres:postgres)\b")

HARMLESS = re.compile(
    r"""["']?(/|secrets/|\.\.\.$|…|\$|\?|&|\*|-$|#|\[|\{|<|true\b|false\b|none\b|the\b|s3_secret\b)"""
)
"""How a value begins that is none: a path, variable, anchor, list, mapping or placeholder."""


def values(text: str, *, is_code: bool = False) -> list[str]:
    """Return what may be values of secrets in a text."""
    found = [*(IN_CODE if is_code else NAMED).finditer(text), *IN_A_URL.finditer(text)]
    return [secret["value"] for secret in found if not HARMLESS.match(secret["value"])]


def tracked() -> list[Path]:
    """Return the files of deploy/ and examples/ that are in the repository."""
    listed = ["ls-files", "-z", "--cached", "--others", "--exclude-standard", "deploy", "examples"]
    done = subprocess.run(  # noqa: S603 - fixed words
        ["git", *listed],  # noqa: S607 - git of the PATH
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [PROJECT_ROOT / name for name in filter(None, done.stdout.split("\0"))]


def is_code(file: Path) -> bool:
    """Whether a file is a program."""
    return file.suffix in (".py", ".sh") or file.name == "up"


def test_no_file_of_a_deployment_has_a_default_password():
    found = {
        str(file.relative_to(PROJECT_ROOT)): [
            *values(text, is_code=is_code(file)),
            *DEFAULTS.findall(text),
        ]
        for file in tracked()
        for text in [file.read_text()]
    }
    assert len(found) > 15
    assert {name: value for name, value in found.items() if value} == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("POSTGRES_PASSWORD: hunter2", ["hunter2"]),
        ("default_pass = guest", ["guest"]),
        ("secretKey: 'abc'", ["'abc'"]),
        ("DATABASE_URL=postgresql://me:hunter2@db/x", ["hunter2"]),
        ("POSTGRES_PASSWORD_FILE: /run/secrets/x", []),
        ("password: ${PASSWORD:?}", []),
        ("url: postgresql://me:{password}@db/x", []),
    ],
)
def test_a_password_in_a_file_would_be_found(text: str, expected: list[str]):
    assert values(text) == expected


def test_a_password_in_a_program_would_be_found():
    assert values("PASSWORD = 'hunter2'", is_code=True) == ["hunter2"]
    assert values("password = secrets.token_urlsafe(32)", is_code=True) == []


def test_files_that_are_written_for_an_installation_are_ignored_by_git_and_builds():
    ignored = (PROJECT_ROOT / ".gitignore").read_text().splitlines()
    assert {"deploy/compose/secrets/", "deploy/compose/settings.env", ".env"} <= set(ignored)
    assert "!deploy\n" not in (PROJECT_ROOT / "deploy/Dockerfile.dockerignore").read_text()


def test_the_health_check_sees_a_connection_while_there_is_one():
    is_connected = runpy.run_path(str(PROJECT_ROOT / "deploy" / "health.py"))["is_connected"]
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
        assert not is_connected(port)
        with closing(socket.create_connection(("127.0.0.1", port))):
            assert is_connected(port)
        server.accept()[0].close()
    assert not is_connected(port)


@pytest.mark.parametrize(("argument", "status"), [("1", 1), ("", 2), ("x", 2)])
def test_the_health_check_fails_without_connection_or_port(argument: str, status: int):
    done = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, str(PROJECT_ROOT / "deploy" / "health.py"), argument],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status
    assert done.stderr
