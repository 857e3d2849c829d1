"""Audits the checkout: rules of ruff on security, secrets in tracked files, known vulnerabilities.

Vulnerabilities of the packages of requirements/runtime.lock come from osv.dev by pip-audit. Where
that cannot be reached, the audit says so and ends with status 3: it never passes unseen.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LOCK = "requirements/runtime.lock"
PIP_AUDIT = ROOT / ".venv-release/bin/pip-audit"
SECONDS = 600

IGNORED = re.compile(r"#\s*noqa:\s*(?:[A-Z]+\d+,\s*)*S\d{3}(?:,\s*[A-Z]+\d+)*\s*$")
"""A line that ignores a rule on security without a reason."""

REASONS_DUE = ("orchestration_project", "demo", "deploy", "tools", ".ci")
"""Folders in which such a line needs its reason."""

SECRETS = {
    "private key": r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----\s+[A-Za-z0-9+/=]{32,}",
    "key of AWS": r"\bAKIA[0-9A-Z]{16}\b",
    "token of GitHub": r"\bgh[pousr]_[A-Za-z0-9]{36}\b",
    "token of Slack": r"\bxox[abprs]-[0-9A-Za-z-]{10,}",
    "key of Google": r"\bAIza[0-9A-Za-z_-]{35}\b",
    "signing secret": r"\bwhsec_[A-Za-z0-9+/=]{24,}",
    "key of the gateway": r"\bop_[a-z0-9]{4,}_[A-Za-z0-9_-]{30,}",
    "web token": r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}",
}
"""Patterns of secrets by kind."""

EXAMPLES = {
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw": "example of the specification of Standard Webhooks",
    "op_ab12cd34_abcdefghijklmnopqrstuvwxyz-0123456789_AB": "invented by a test of compose/up",
    "AKIAIOSFODNN7EXAMPLE": "example of the manual of AWS",
}
"""Synthetic secrets that a scan must not report, with their origin."""


def secrets_in(text: str) -> Iterator[tuple[str, int]]:
    """Yield kind and line number of each secret in a text; the secret itself is not shown."""
    for kind, pattern in SECRETS.items():
        for found in re.finditer(pattern, text):
            if found[0] not in EXAMPLES:
                yield kind, text.count("\n", 0, found.start()) + 1


def unexplained_lines(text: str) -> Iterator[int]:
    """Yield the numbers of lines that ignore a rule on security without a reason."""
    for number, line in enumerate(text.splitlines(), 1):
        if IGNORED.search(line):
            yield number


def read_tracked() -> Iterator[tuple[str, str]]:
    """Yield path and text of each tracked file; bytes that are no text are left out."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"],  # noqa: S607 - git of the PATH
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            yield name, (ROOT / name).read_bytes().decode(errors="ignore")


def find_problems() -> Iterator[str]:
    """Yield secrets in tracked files, and rules that are ignored without a reason."""
    for name, text in read_tracked():
        yield from (f"{name}:{line}: {kind}" for kind, line in secrets_in(text))
        if name.endswith(".py") and name.startswith(REASONS_DUE):
            yield from (f"{name}:{line}: no reason for noqa" for line in unexplained_lines(text))


def find_vulnerabilities(report: Mapping[str, Any]) -> Iterator[str]:
    """Yield the vulnerabilities of a report of pip-audit, and packages that it left out."""
    for package in report["dependencies"]:
        name = package["name"]
        if reason := package.get("skip_reason"):
            yield f"{name}: not audited: {reason}"
        for each in package.get("vulns", []):
            yield f"{name} {package['version']}: {each['id']}, fixed in {each['fix_versions']}"


def read_report() -> Mapping[str, Any] | str:
    """Return the report of pip-audit on the lock, or why there is none."""
    command = [str(PIP_AUDIT), "--requirement", LOCK, "--disable-pip", "--require-hashes"]
    command += ["--vulnerability-service", "osv", "--format", "json", "--progress-spinner", "off"]
    try:
        done = subprocess.run(  # noqa: S603 - our own program
            command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS
        )
        return json.loads(done.stdout)
    except FileNotFoundError:
        return f"{PIP_AUDIT.relative_to(ROOT)} is not installed"
    except subprocess.TimeoutExpired:
        return f"no answer within {SECONDS} seconds"
    except json.JSONDecodeError:
        return (done.stderr.strip().splitlines() or ["no reason"])[-1]


def main() -> int:
    """Audit; return 1 for a finding, 3 if vulnerabilities could not be read."""
    rules = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--quiet", "--select", "S", "."], cwd=ROOT
    )
    problems = list(find_problems())
    report = read_report()
    if not isinstance(report, str):
        problems += find_vulnerabilities(report)
        print(f"vulnerabilities: {len(report['dependencies'])} packages compared with osv.dev")
    print(*problems, sep="\n", end="\n" if problems else "")
    if isinstance(report, str):
        print(f"NOT AUDITED: no data on vulnerabilities was reachable: {report}", file=sys.stderr)
    if rules.returncode or problems:
        return 1
    return 3 if isinstance(report, str) else 0


if __name__ == "__main__":
    sys.exit(main())
