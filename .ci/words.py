"""Finds words of a private dialect in pages, messages and docstrings, and names the field's word.

`.ci/words.txt` lists how many hits each file had when this check was added. A file may have fewer,
never more; `python .ci/words.py --write` lowers the numbers. The words are in docs/glossary.md.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ALLOWED = ROOT / ".ci" / "words.txt"

INSTEAD = {
    r"(?<!\.)\b(tells?|told|telling)\b": "report, say which, log, return",
    r"\banew\b": "again",
    r"\btried (again|once more|anew)\b": "retried",
    r"\b(held|holds?|holding) back\b": "quarantined",
    r"\b(un|not )?(lands?|landed|landing)\b": "load, write",
    r"\bblanks between\b": "space-separated",
    r"\bmade[ -]up\b": "synthetic",
    r"\b(hears?|heard)\b": "receives, was seen",
    r"\b(believes?|believed)\b": "trusts",
    r"\b(lives?|lived|dies|died|dead for)\b": "runs, exits",
    r"\bby hand\b": "manually",
    r"\bonce more\b": "again",
    r"\blet go of\b": "released",
    r"\bis no (?!longer|more)[a-z]+\b": "is not a …: say what was expected",
    r"\bare no (?!longer|more)[a-z]+\b": "are not …: say what was expected",
    r"\bnobody\b": "name the actor",
    r"\bthe door\b": "login, authentication",
    r"\bwho may come in\b": "who may log in",
    r"\bsigns? of life\b": "heartbeat",
    r"\b(look|looks|looked) through\b": "poll, scan",
    r"\bsays? what\b": "name what is said",
}
ALTERNATIVES = "|".join(f"(?P<w{n}>{pattern})" for n, pattern in enumerate(INSTEAD))
PATTERN = re.compile(rf"\b(?:{ALTERNATIVES})", re.IGNORECASE)
"""All begin at the start of a word; the search is much faster if the whole pattern says so."""


WITHOUT = ("CHANGELOG.md", "docs/glossary.md", "tests/test_words.py")
"""They quote the words that are refused."""

STORED = re.compile(
    r'"told"|or told \(a notice|"held back"|is no (date: |number: |number with up to|amount that)'
    r"|[\"'`\[](not )?landed\\?[\"'`\],]|\bnot landed, and FINRA|Rows landed: new"
    r"|\bLanded: |Runbook: landed|\brunbooks/landed\.md|(Outcome|State|outcome): landed"
    r"|, (or )?landed(, restated| for a new)"
)
"""Values and reasons that databases hold; tests and pages quote them as they are."""

VERSIONS = (
    "orchestration_project/migrations/baseline/",
    "orchestration_project/migrations/versions/",
)
"""Their texts are stored in databases, and stay as they were; only a later version replaces one."""


def hits(text: str) -> list[tuple[int, str, str]]:
    """Return line number, word found and the field's word, without what databases hold."""
    words = list(INSTEAD.values())
    text = STORED.sub(lambda stored: " " * len(stored[0]), text)
    return [
        (text.count("\n", 0, found.start()) + 1, found[0], words[int(str(found.lastgroup)[1:])])
        for found in PATTERN.finditer(text)
    ]


def files(root: Path = ROOT) -> list[Path]:
    """Return pages, package and demo, whose texts people read, with files that are not added."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(  # noqa: S603 - git
        [*command, "*.md", "orchestration_project/*.py", "demo/*.py"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    listed = [name for name in listed if not name.startswith(VERSIONS) and name not in WITHOUT]
    return [root / name for name in sorted(listed) if (root / name).is_file()]


def main() -> int:
    """Compare with what is allowed; return 1 if a file has more."""
    found = {str(file.relative_to(ROOT)): hits(file.read_text()) for file in files()}
    if "--write" in sys.argv:
        lines = [f"{len(words)} {name}\n" for name, words in sorted(found.items()) if words]
        ALLOWED.write_text("".join(lines))
        return 0
    allowed = {
        name: int(count)
        for count, name in (line.split(maxsplit=1) for line in ALLOWED.read_text().splitlines())
    }
    more = {name: words for name, words in found.items() if len(words) > allowed.get(name, 0)}
    for name, words in more.items():
        print(f"{name}: {len(words)} words of the dialect, {allowed.get(name, 0)} allowed")
        for line, word, instead in words:
            print(f"  line {line}: {word!r}; use: {instead}")
    return 1 if more else 0


if __name__ == "__main__":
    sys.exit(main())
