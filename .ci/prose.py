"""Checks how pages, headings, docstrings and commit subjects are written.

`.ci/prose.txt` lists how many hits of each kind a file had when this check was added. A file may
have fewer, never more; `python .ci/prose.py --write` lowers the numbers. Words are checked by
`.ci/words.py`. Pages of docs/reference come from the code, and are not read here.
"""

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ALLOWED = ROOT / ".ci" / "prose.txt"
SOURCES = (
    "orchestration_project/*.py",
    "demo/*.py",
    "tools/*.py",
    "benchmarks/*.py",
)

MAX_WORDS = 30
MAX_CHARACTERS = 110
FENCE = re.compile(r"^ *(```|~~~).*?^ *\1`*\s*$", re.DOTALL | re.MULTILINE)
HEADLESS = re.compile(
    r"(who|whose|whom|what|where|which|of|in which|after which|how (it|they|a|an|the|this)|how)\b"
    r"(?! to\b)|(is|are|does|did) ",
    re.IGNORECASE,
)
"""How a heading or a docstring begins that names neither a topic nor a task."""

SUBJECT = re.compile(r"(?P<area>[a-z][a-z-]*): (?P<verb>[a-z]+)\b.*[^.]")
MAX_SUBJECT_LENGTH = 60
SUBJECTS = 50
SINCE = "3800cec2a6"
"""The commit after which the rule holds."""

VERBS = set((ROOT / ".ci" / "verbs.txt").read_text().split())
"""Verbs of subjects, in the imperative."""

Hit = tuple[int, str]


def prose_of(text: str) -> str:
    """Return a page without its code, each line in its place."""
    return FENCE.sub(lambda found: "\n" * found[0].count("\n"), text)


def long_sentences(text: str) -> Iterator[Hit]:
    """Yield the sentences of more than 30 words; a cell, an item and a line break of one end it."""
    blocks = re.split(r"(\n\s*\n|\n(?=\s*(?:[-*|>]|\d+\.|#) ?))", prose_of(text))
    line = 1
    for block in blocks:
        cells = block.strip("| \n").split("|") if block.lstrip().startswith("|") else [block]
        for cell in cells:
            for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z`\"(*\[])", cell):
                words = re.findall(r"[^\s]*\w[^\s]*", sentence)
                if len(words) > MAX_WORDS:
                    yield line, f"{len(words)} words: {' '.join(words[:8])} …"
        line += block.count("\n")


def headings(text: str) -> Iterator[Hit]:
    """Yield the headings that begin as a question or a clause, or end with a question mark."""
    for number, line in enumerate(prose_of(text).splitlines(), 1):
        found = re.match(r"#+ (.*)", line)
        if found and (HEADLESS.match(found[1]) or found[1].rstrip().endswith("?")):
            yield number, f"heading {found[1]!r} names no topic or task"


def long_lines(text: str) -> Iterator[Hit]:
    """Yield the lines of more than 110 characters that are no row of a table."""
    for number, line in enumerate(prose_of(text).splitlines(), 1):
        if len(line) > MAX_CHARACTERS and not line.lstrip().startswith("|"):
            yield number, f"{len(line)} characters"


def docstrings(text: str) -> Iterator[Hit]:
    """Yield the first lines of docstrings that have no subject or verb of their own."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(text)):
        said = ast.get_docstring(node) if isinstance(node, kinds) else None
        first = (said or "").partition("\n")[0]
        if HEADLESS.match(first):
            yield getattr(node, "lineno", 1), f"docstring {first!r}"


PAGE_CHECKS = {"sentence": long_sentences, "heading": headings, "line": long_lines}


def listed(*patterns: str) -> list[str]:
    """Return the files that git knows, and those that it is about to know."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603 - git
    return sorted(name for name in done.stdout.split() if (ROOT / name).is_file())


def hits() -> dict[tuple[str, str], list[Hit]]:
    """Return what is found, by kind and file."""
    found: dict[tuple[str, str], list[Hit]] = {}
    for name in listed("*.md"):
        if name.startswith("docs/reference/"):
            continue
        for kind, check in PAGE_CHECKS.items():
            found[kind, name] = list(check((ROOT / name).read_text()))
    for name in listed(*SOURCES):
        found["docstring", name] = list(docstrings((ROOT / name).read_text()))
    return {each: places for each, places in found.items() if places}


def wrong_subject(subject: str) -> str:
    """Return what is wrong with the subject of a commit; nothing if it is right."""
    if len(subject) > MAX_SUBJECT_LENGTH:
        return f"{len(subject)} characters, {MAX_SUBJECT_LENGTH} allowed"
    found = SUBJECT.fullmatch(subject)
    if found is None:
        return "not of the form `area: verb object`"
    return "" if found["verb"] in VERBS else f"{found['verb']!r} is not in the list of verbs"


def subjects() -> list[str]:
    """Return the last subjects, the latest first; of merges none."""
    git = ["git", "log", f"-{SUBJECTS}", "--no-merges", "--format=%s"]
    options = {"cwd": ROOT, "capture_output": True, "text": True}
    done = subprocess.run([*git, f"{SINCE}..HEAD"], check=False, **options)  # noqa: S603 - git
    if done.returncode:  # a shallow clone has no such commit
        done = subprocess.run(git, check=False, **options)  # noqa: S603 - git
    return done.stdout.splitlines()


def main() -> int:
    """Compare with what is allowed; return 1 if a file has more, or a subject is wrong."""
    found = hits()
    if "--write" in sys.argv:
        lines = [f"{len(each)} {kind} {name}\n" for (kind, name), each in sorted(found.items())]
        ALLOWED.write_text("".join(lines))
        return 0
    allowed = Counter[tuple[str, str]]()
    for line in ALLOWED.read_text().splitlines():
        count, kind, name = line.split(maxsplit=2)
        allowed[kind, name] = int(count)
    more = {each: places for each, places in found.items() if len(places) > allowed[each]}
    for (kind, name), places in more.items():
        print(f"{name}: {len(places)} hits of {kind}, {allowed[kind, name]} allowed")
        for line, said in places:
            print(f"  line {line}: {said}")
    wrong = {subject: problem for subject in subjects() if (problem := wrong_subject(subject))}
    for subject, problem in wrong.items():
        print(f"commit {subject!r}: {problem}")
    return 1 if more or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
