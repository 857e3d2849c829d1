"""Measures which statements and branches of the pure packages their tests run.

`.ci/coverage.json` has a bound in percent for each package, which only rises: `--write` stores
what was measured, where it is more. A result may be 0.2 below the bound, as random examples differ.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / ".ci" / "coverage.json"
RESULT = ROOT / ".cache" / "coverage.json"
PACKAGE = "orchestration_project"
TOLERANCE = 0.2
"""Percent points that a result may be below its bound."""

TESTS = (
    *("tests/domains", "tests/contracts", "tests/own", "tests/services", "tests/tables"),
    *("tests/test_contracts.py", "tests/test_partitions.py"),
    *("tests/test_reference.py", "tests/test_schemas.py", "tests/test_rules_of_tables.py"),
)
"""Tests of the pure packages; others start databases, and would hide what these lack."""

SLOW_TOO = ("-m", "not histories and not faults")
"""A statement is covered whether or not the default suite has the case that runs it."""


def percentages(files: Mapping[str, Mapping[str, Mapping[str, int]]]) -> dict[str, float]:
    """Return the share of statements and branches that ran, in percent, by package.

    Args:
        files: Summary of each file by its path, as `coverage json` writes it.
    """
    parts: dict[str, list[Mapping[str, int]]] = {}
    for path, file in files.items():
        below = path.split(f"{PACKAGE}/")[-1].removeprefix("engine/")
        parts.setdefault(below.partition("/")[0], []).append(file["summary"])
    return {
        part: round(
            100
            * sum(one["covered_lines"] + one["covered_branches"] for one in summaries)
            / max(1, sum(one["num_statements"] + one["num_branches"] for one in summaries)),
            1,
        )
        for part, summaries in sorted(parts.items())
    }


def fallen(bounds: Mapping[str, float], measured: Mapping[str, float]) -> list[str]:
    """Return a line for each package that is below its bound, or was not measured."""
    return [
        f"{part}: {measured.get(part, 0.0)} % covered, expected {bound} % or more"
        for part, bound in bounds.items()
        if measured.get(part, 0.0) < bound - TOLERANCE
    ]


def measure(arguments: Sequence[str]) -> None:
    """Run the tests under coverage and write the result.

    Raises:
        subprocess.CalledProcessError: A test failed, or nothing was measured.
    """
    RESULT.parent.mkdir(exist_ok=True)
    for stale in RESULT.parent.glob("coverage.data*"):
        stale.unlink()
    coverage = [sys.executable, "-m", "coverage"]
    for command in (
        ["run", "-m", "pytest", "-q", "--dist", "loadfile", *SLOW_TOO, *arguments, *TESTS],
        ["combine", "--quiet"],
        ["json", "--quiet", "-o", str(RESULT)],
    ):
        subprocess.run([*coverage, *command], cwd=ROOT, check=True)  # noqa: S603 - our own


def main(arguments: Sequence[str]) -> int:
    """Measure, compare with the bounds, and return 1 if a package fell below its own."""
    measure([argument for argument in arguments if argument != "--write"])
    measured = percentages(json.loads(RESULT.read_text())["files"])
    bounds: dict[str, float] = json.loads(FILE.read_text()) if FILE.is_file() else {}
    for part, value in measured.items():
        print(f"{part}: {value} %, bound {bounds.get(part, 'none')}")
    problems = fallen(bounds, measured)
    print(*problems, sep="\n", end="\n" if problems else "")
    if "--write" in arguments and not problems:
        raised = {part: max(value, bounds.get(part, 0.0)) for part, value in measured.items()}
        FILE.write_text(json.dumps(raised, indent=2) + "\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
