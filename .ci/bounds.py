"""Compares qualities of the project with `.ci/bounds.json`, whose bounds may only get stricter.

`falls` holds numbers that may only fall, `rises` those that may only rise. `reported` holds limits
that may only fall, too, but a slow machine exceeds them: their values are printed and fail nothing.
All versions of the file in `git log` are compared: a bound that got weaker or vanished is an error.

    python .ci/bounds.py                 the history, and what `benchmarks.structure` measures
    python .ci/bounds.py --history       the history alone
    python .ci/bounds.py --write         make bounds stricter where today's values are
    python .ci/bounds.py --minutes NAME SECONDS   print what a command took beside its limit
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NAME = ".ci/bounds.json"
KINDS = ("falls", "rises", "reported")

PLACES = "python -m benchmarks.structure --list"
"""Prints what counts; beside `git diff` that shows which of it is new."""

Bounds = Mapping[str, Mapping[str, float]]


def compare(older: Bounds, newer: Bounds) -> Iterator[str]:
    """Yield the bounds of the older version that are weaker in the newer one, or not in it."""
    for kind in older.keys() | newer.keys():
        if kind not in KINDS:
            yield f"invalid kind of bounds {kind!r}: expected one of {', '.join(KINDS)}"
    for kind in KINDS:
        for name, bound in older.get(kind, {}).items():
            present = newer.get(kind, {}).get(name)
            if present is None:
                yield f"{name} vanished from {kind}; its bound was {bound:g}"
            elif present < bound if kind == "rises" else present > bound:
                yield f"{name} in {kind} was weakened from {bound:g} to {present:g}"


def check_values(bounds: Bounds, values: Mapping[str, float]) -> Iterator[str]:
    """Yield the values that exceed their bound, or have none."""
    for name, value in sorted(values.items()):
        most, least = bounds["falls"].get(name), bounds["rises"].get(name)
        if most is None and least is None:
            yield f"{name} is {value:g} and has no bound: add it to {NAME}"
        elif most is not None and value > most:
            yield f"{name} is {value:g}, expected at most {most:g}: {PLACES} {name}"
        elif least is not None and value < least:
            yield f"{name} is {value:g}, expected at least {least:g}: {PLACES} {name}"


def run_git(root: Path, *arguments: str) -> str:
    """Return the output of a command of git."""
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)  # noqa: S603 - our own
    return done.stdout


def check_history(root: Path) -> list[str]:
    """Return what was weakened between two consecutive versions, that of the folder included.

    A merge is compared with each of its parents.
    """
    problems: list[str] = []
    log = run_git(
        root, "log", "--full-history", "-m", "--raw", "--no-renames", "--no-abbrev",
        "--format=commit %h", "--", NAME,
    )  # fmt: skip
    commit = ""
    for line in log.splitlines():
        if line.startswith("commit "):
            commit = line.removeprefix("commit ")
        elif line.startswith(":"):
            _, _, older, newer, _ = line.split("\t")[0].split(" ")
            problems += [
                f"commit {commit}: {problem}"
                for problem in compare(_read_blob(root, older), _read_blob(root, newer))
            ]
    committed = run_git(root, "ls-tree", "HEAD", NAME).split()
    if committed:
        present = json.loads((root / NAME).read_text()) if (root / NAME).is_file() else {}
        problems += [
            f"this folder: {problem}"
            for problem in compare(_read_blob(root, committed[2]), present)
        ]
    return problems


def _read_blob(root: Path, blob: str) -> Bounds:
    """Return the bounds of a version; none where the file was not there."""
    return json.loads(run_git(root, "cat-file", "blob", blob)) if blob.strip("0") else {}


def count_versions(root: Path) -> int:
    """Return the number of commits that changed the file."""
    return len(run_git(root, "log", "--full-history", "--format=%h", "--", NAME).split())


def describe_history(root: Path) -> str:
    """Return the number of versions that are compared, and whether the clone lacks some."""
    text = f"{count_versions(root)} versions of {NAME} compared"
    if run_git(root, "rev-parse", "--is-shallow-repository").strip() == "true":
        text += "; this clone is shallow, so earlier versions are not compared"
    return text


def tighten(bounds: Bounds, values: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Return the bounds with today's values where these are stricter, and with new ones."""
    falls, rises = dict(bounds["falls"]), dict(bounds["rises"])
    for name, value in values.items():
        if name in rises:
            rises[name] = max(rises[name], value)
        else:
            falls[name] = min(falls.get(name, value), value)
    return {"falls": falls, "rises": rises, "reported": dict(bounds["reported"])}


def measure(*, is_complete: bool) -> dict[str, float]:
    """Return the qualities by name; complete ones trace loads, too, which takes minutes."""
    option = "--ways" if is_complete else "--qualities"
    command = [sys.executable, "-m", "benchmarks.structure", option]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603 - our own
    return json.loads(done.stdout)["values"]


def describe_minutes(bounds: Bounds, name: str, seconds: float) -> str:
    """Return how long a command took, beside its limit."""
    limit = bounds["reported"][name]
    verdict = "within" if seconds <= 60 * limit else "over"
    return f"{name}: {seconds / 60:.1f}, {verdict} the limit of {limit:g}; a limit fails nothing"


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare; return 1 if a bound was weakened or is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--history", action="store_true", help="compare versions alone")
    parser.add_argument("--write", action="store_true", help="make bounds stricter")
    parser.add_argument("--ways", action="store_true", help="measure what a load enters, too")
    parser.add_argument("--minutes", nargs=2, metavar=("NAME", "SECONDS"))
    options = parser.parse_args(arguments)
    bounds = json.loads((ROOT / NAME).read_text())
    if options.minutes:
        print(describe_minutes(bounds, options.minutes[0], float(options.minutes[1])))
        return 0
    problems = check_history(ROOT)
    if not options.history:
        values = measure(is_complete=options.ways)
        if options.write:
            bounds = tighten(bounds, values)
            (ROOT / NAME).write_text(json.dumps(bounds, indent=2, sort_keys=True) + "\n")
        problems += check_values(bounds, values)
    for problem in problems:
        print(problem, file=sys.stderr)
    print(describe_history(ROOT))
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
