"""`python -m benchmarks.structure.sizes`: sizes by folder, beside those of the merge base.

They have no bound here; they are shown for the review of a change. Folders without a difference are
left out. The base is where the branch left `main`, or the commit that an argument names.
"""

import io
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from benchmarks.structure.modules import PACKAGE
from benchmarks.structure.shapes import count_code_lines
from orchestration_project.settings import PROJECT_ROOT

BASES = ("origin/main", "main")
CODE = PACKAGE.name
TOTAL = "in all"

Size = tuple[str, str]
"""Unit and folder."""


def measure_sizes(files: Mapping[str, str]) -> Counter[Size]:
    """Count modules and code lines of the package, and words of pages, by folder and in all."""
    sizes = Counter[Size]()
    for name, text in files.items():
        parts = PurePosixPath(name).parts
        if parts[0] == CODE and name.endswith(".py"):
            _add(sizes, "modules", parts[1], 1)
            _add(sizes, "code lines", parts[1], count_code_lines(text))
        elif name.endswith(".md"):
            _add(sizes, "words of pages", "/".join(parts[:-1]) or ".", len(text.split()))
    return sizes


def _add(sizes: Counter[Size], unit: str, folder: str, count: int) -> None:
    sizes[unit, folder] += count
    sizes[unit, TOTAL] += count


def describe_sizes(before: Mapping[Size, int], after: Mapping[Size, int]) -> Iterator[str]:
    """Yield a line for each size that differs, and for each total."""
    for size in sorted(before.keys() | after.keys()):
        unit, folder = size
        count, difference = after.get(size, 0), after.get(size, 0) - before.get(size, 0)
        if difference or folder == TOTAL:
            yield f"{unit:<15} {folder:<24} {count:>8,} {difference:>+8,}"


def run_git(root: Path, *arguments: str) -> bytes:
    """Return the output of a command of git."""
    command = ["git", *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, check=True).stdout


def find_base(root: Path, names: Sequence[str]) -> str | None:
    """Return the commit where the branch left the first of these that exists; None: none does."""
    for name in names:
        try:
            return run_git(root, "merge-base", "HEAD", name).decode().strip()
        except subprocess.CalledProcessError:
            continue  # there is no such branch, or a shallow clone ends before its base
    return None


def read_commit(root: Path, commit: str) -> dict[str, str]:
    """Return the modules and pages of a commit."""
    archive = io.BytesIO(run_git(root, "archive", "--format=tar", commit))
    with tarfile.open(fileobj=archive) as tar:
        members = [member for member in tar if member.isfile() and _is_measured(member.name)]
        files = {member.name: tar.extractfile(member) for member in members}
        return {name: file.read().decode() for name, file in files.items() if file is not None}


def read_folder(root: Path) -> dict[str, str]:
    """Return the modules and pages of the working tree that git knows or does not ignore."""
    listed = run_git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    names = [name for name in listed.decode().split("\0") if name and _is_measured(name)]
    return {name: (root / name).read_text() for name in names if (root / name).is_file()}


def _is_measured(name: str) -> bool:
    return name.endswith(".md") or (name.startswith(f"{CODE}/") and name.endswith(".py"))


def report_sizes(root: Path, names: Sequence[str]) -> Iterator[str]:
    """Yield the lines of the report; without a base the totals alone."""
    after = measure_sizes(read_folder(root))
    base = find_base(root, names)
    if base is None:
        yield f"sizes, without a difference: found neither of {', '.join(names)}"
        yield from describe_sizes(after, after)
    else:
        yield f"sizes, and their difference to {base[:10]}"
        yield from describe_sizes(measure_sizes(read_commit(root, base)), after)


if __name__ == "__main__":
    print("\n".join(report_sizes(PROJECT_ROOT, sys.argv[1:] or BASES)))
