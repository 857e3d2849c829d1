"""Signatures, advice, and the difference of permissions to the granted ones."""

from typing import Any

import pytest

from orchestration_project.domains.plugins.advice import advise
from orchestration_project.domains.plugins.manifest import Budget, Permissions
from orchestration_project.domains.plugins.permissions_diff import (
    Change,
    compare,
    is_wider,
    selected,
)
from orchestration_project.domains.plugins.signatures import (
    SIGNATURE_FILE,
    public_key_of,
    read_key,
    verify,
)
from orchestration_project.errors import ConfigurationError, ContractError
from tests.plugin_files import PUBLIC_KEY, flipped, plugin_files, signed


def test_a_signature_holds_for_exactly_the_signed_files():
    files = signed(plugin_files())
    verify(files, PUBLIC_KEY, "example.org")
    others = [
        files | {"main.py": b"import os"},
        files | {"more.py": b""},
        {path: file for path, file in files.items() if path != "main.py"},
        files | {SIGNATURE_FILE: flipped(files[SIGNATURE_FILE])},
        files | {SIGNATURE_FILE: b"\xff"},
        files | {SIGNATURE_FILE: b""},
        signed(plugin_files(), bytes(32)),
    ]
    for other in others:
        with pytest.raises(ContractError, match="is not that of"):
            verify(other, PUBLIC_KEY, "example.org")


def test_a_key_is_32_bytes_of_base64():
    assert len(read_key(f" {PUBLIC_KEY}\n")) == 32
    assert public_key_of(bytes(32)) != PUBLIC_KEY
    for written in ("", "abc", "é", PUBLIC_KEY[:-4]):
        with pytest.raises(ConfigurationError, match="invalid key"):
            read_key(written)


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ("import socket", "socket"),
        ("from urllib.request import urlopen", "urllib"),
        ("import os\nos.system('x')", "system"),
        ("import ctypes as c", "ctypes"),
        ("eval('1')", "eval"),
        ("__import__('socket')", "__import__"),
        ("().__class__.__base__.__subclasses__()", "__subclasses__"),
        ("open('/etc/passwd')", "open"),
        ("def (", "not valid Python"),
        ("x = " + "(" * 5_000, "not valid Python"),
    ],
)
def test_advice_names_the_line_of_what_to_look_at(source: str, word: str):
    (found,) = advise({"main.py": source.encode()})
    assert (found.file, found.line) == ("main.py", 2 if "\n" in source else 1)
    assert word in found.what


def test_there_is_no_advice_on_plain_code():
    assert advise(plugin_files()) == []
    assert advise({"data.bin": b"\0"})[0].what.startswith("binary data")


def asked(**fields: Any) -> Permissions:
    return Permissions.model_validate(fields)


def changes_of(granted: Permissions | None, wanted: Permissions) -> dict[str, Change]:
    found = compare(granted, wanted, Budget(), Budget())
    return {advice.name: advice.change for advice in found if advice.permission != "budget"}


HOST = {"host": "a.org", "methods": ["GET"]}
READ = {"name": "q", "table": "t", "columns": ["a"], "filters": ["a"], "max_rows": 10}


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        ({"hosts": [HOST]}, {"hosts": [HOST]}, Change.SAME),
        ({"hosts": [HOST]}, {"hosts": [HOST | {"methods": ["GET", "POST"]}]}, Change.WIDER),
        ({"hosts": [HOST | {"methods": ["GET", "POST"]}]}, {"hosts": [HOST]}, Change.NARROWER),
        ({"hosts": [HOST]}, {"hosts": [HOST | {"scheme": "http"}]}, Change.WIDER),
        ({"hosts": [HOST]}, {"hosts": []}, Change.REMOVED),
        ({}, {"hosts": [HOST]}, Change.ADDED),
        ({"reads": [READ]}, {"reads": [READ | {"columns": ["a", "b"]}]}, Change.WIDER),
        ({"reads": [READ]}, {"reads": [READ | {"table": "u"}]}, Change.WIDER),
        ({"reads": [READ]}, {"reads": [READ | {"max_rows": 11}]}, Change.WIDER),
        ({"reads": [READ]}, {"reads": [READ | {"max_rows": 9}]}, Change.NARROWER),
        ({"tables": ["x"]}, {"tables": ["x"]}, Change.SAME),
        ({"endpoints": [{"name": "x"}]}, {"endpoints": [{"name": "x", "description": "d"}]}, None),
    ],
)
def test_a_permission_is_compared_with_the_granted_one(
    before: dict[str, Any], after: dict[str, Any], change: Change | None
):
    (found,) = changes_of(asked(**before), asked(**after)).values()
    assert found is (change or Change.NARROWER)


def test_a_larger_budget_is_wider_and_nothing_is_granted_at_first():
    nothing = Permissions()
    assert not is_wider(compare(nothing, nothing, Budget(), Budget(rows=1)))
    assert is_wider(compare(nothing, nothing, Budget(), Budget(rows=10_001)))
    assert is_wider(compare(None, nothing, None, Budget()))


def test_a_grant_names_what_is_asked_for():
    wanted = asked(
        hosts=[HOST, {"host": "b.org"}],
        secrets=[{"name": "T", "host": "b.org"}],
        tables=["x", "y"],
    )
    assert selected(wanted, {}, plugin="rss") == wanted
    some = selected(wanted, {"hosts": ["a.org"], "tables": []}, plugin="rss")
    assert some == asked(hosts=[HOST])
    with pytest.raises(ConfigurationError, match=r"does not request 'c.org'"):
        selected(wanted, {"hosts": ["c.org"]}, plugin="rss")
    with pytest.raises(ConfigurationError, match="invalid kind of permission 'host'"):
        selected(wanted, {"host": ["a.org"]}, plugin="rss")
    with pytest.raises(ConfigurationError, match="expected its host"):
        selected(wanted, {"hosts": ["a.org"], "secrets": ["T"]}, plugin="rss")
