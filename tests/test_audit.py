"""`make audit`: secrets in tracked files, rules without a reason, known vulnerabilities."""

import runpy

import pytest

from orchestration_project.settings import PROJECT_ROOT

AUDIT = runpy.run_path(str(PROJECT_ROOT / ".ci" / "audit.py"))

PLANTED = {
    "private key": "-----BEGIN PRIVATE" + " KEY-----\n" + 40 * "A",
    "key of AWS": "AKIA" + 16 * "Q",
    "token of GitHub": "ghp_" + 36 * "a",
    "token of Slack": "xoxb-" + 12 * "1",
    "key of Google": "AIza" + 35 * "b",
    "signing secret": "whsec_" + 32 * "c",
    "key of the gateway": "op_ab12cd34_" + 40 * "d",
    "web token": "eyJ" + 12 * "e" + ".eyJ" + 12 * "f",
}


def test_no_tracked_file_has_a_secret_and_no_rule_is_ignored_without_a_reason():
    assert list(AUDIT["find_problems"]()) == []


def test_each_kind_of_secret_is_found_by_its_line():
    assert PLANTED.keys() == AUDIT["SECRETS"].keys()
    for kind, secret in PLANTED.items():
        assert list(AUDIT["secrets_in"](f"first\nkey={secret}\n")) == [(kind, 2)]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("run()  # noqa: " + "S603", [1]),
        ("run()  # noqa: " + "D1, S603", [1]),
        ("run()  # noqa: " + "S603 - our own program", []),
        ("run()  # noqa: " + "D105", []),
    ],
)
def test_a_rule_on_security_is_ignored_with_a_reason(line, found):
    assert list(AUDIT["unexplained_lines"](line)) == found


def test_vulnerabilities_and_packages_that_were_not_audited_are_findings():
    vulnerability = {"id": "PYSEC-1", "fix_versions": ["2"]}
    packages = [
        {"name": "one", "version": "1", "vulns": [vulnerability]},
        {"name": "two", "version": "1", "vulns": []},
        {"name": "three", "skip_reason": "not found"},
    ]
    assert list(AUDIT["find_vulnerabilities"]({"dependencies": packages})) == [
        "one 1: PYSEC-1, fixed in ['2']",
        "three: not audited: not found",
    ]


def test_without_data_on_vulnerabilities_it_says_so_and_does_not_pass(
    tmp_path, monkeypatch, capsys
):
    program = tmp_path / "pip-audit"
    program.write_text("#!/bin/sh\necho 'ConnectionError: no such host' >&2\nexit 1\n")
    program.chmod(0o700)
    monkeypatch.setitem(AUDIT["main"].__globals__, "PIP_AUDIT", program)
    monkeypatch.setitem(AUDIT["main"].__globals__, "find_problems", lambda: iter(()))
    assert AUDIT["main"]() == 3
    assert capsys.readouterr().err.endswith(
        "NOT AUDITED: no data on vulnerabilities was reachable: ConnectionError: no such host\n"
    )
