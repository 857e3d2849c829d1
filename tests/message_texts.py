"""Collects the texts that people read from the source of a module, and lints them.

`python -m tests.message_texts` lists what is wrong; `--write` lowers the numbers of `messages.txt`,
which lists how many findings each file had when this lint was added.
"""

import ast
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator, Sequence, Set
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
ALLOWED = Path(__file__).with_name("messages.txt")
WORDS = runpy.run_path(str(ROOT / ".ci" / "words.py"))["hits"]

HEADLESS = re.compile(
    r"(?:^|(?<=[.!?] ))(?!What to do\b)(Who|Whose|What|Of|Where|Which"
    r"|(?:In|After|By|On|For|At|To|From|With|Under|Through|Behind) (?:which|what|whom|whose|how))\b"
    r"(?=[^.?]*(?:[.]|$))"
)
"""The first words of a sentence without a subject; a question may begin with them."""

LOG_METHODS = {"log", "debug", "info", "warning", "error", "exception", "critical"}
LOGGERS = {"log", "logger", "progress", "get_dagster_logger"}

LABELS = {"description", "help", "title", "body", "summary", "reason", "detail", "remedy"}
"""Keyword arguments whose text is shown, whatever is called."""

WITHOUT_TEXTS = {"DocumentError", "RobotsUnreachableError"}
"""Classes whose constructor takes no text."""
FORM = {"expected", "found", "remedy"}
"""Keyword arguments of an error beside its first: see errors.py."""

FROZEN = (
    "orchestration_project/migrations/baseline/",
    "orchestration_project/migrations/versions/",
)
"""Modules of versions, whose texts are stored in databases: only a later version replaces one."""

CLASS = re.compile(r"^ *class (\w+)\((?:\w+\.)*(\w+)", re.MULTILINE)

SHORTEST_SENTENCE = 4
"""Words. A shorter literal is a name, a format or a part of a message."""

LISTING = ("git", "ls-files", "--cached", "--others", "--exclude-standard")
"""Lists the files that git knows, and those that it is about to know."""

SQL = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|DROP|WITH|PRAGMA|SET|LOCK|CASE)\b")

PLACEHOLDER = "…"
"""Stands for a value that is known only when the program runs."""


class Text(NamedTuple):
    """A text, its line in the module, and what it is used as."""

    line: int
    kind: str
    text: str


@cache
def error_names() -> Set[str]:
    """Return the four classes of errors, and all below them in the package."""
    names = {"ConfigurationError", "ContractError", "SourceError", "TransientError"}
    bases = [pair for source in package().values() for pair in CLASS.findall(source)]
    while more := {name for name, base in bases if base in names} - names:
        names |= more
    return names - WITHOUT_TEXTS


@lru_cache(maxsize=1)
def nodes_of(source: str) -> Sequence[ast.AST]:
    """Return all nodes of a module: walking through them takes longer than what is done here."""
    return list(ast.walk(ast.parse(source)))


def collect(source: str) -> list[Text]:
    """Return the texts of a module: of docstrings the first paragraph."""
    nodes = nodes_of(source)
    docstrings = list(_docstrings(nodes))
    found = {
        id(node): Text(node.lineno, "docstring", _first_paragraph(str(node.value)))
        for node in docstrings
    }
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    for kind, argument in (argument for call in calls for argument in _arguments(call)):
        for node in _strings(argument):
            found.setdefault(id(node), Text(node.lineno, kind, _text(node)))
    return sorted({*found.values(), *_others(nodes, set(found))})


def _others(nodes: Sequence[ast.AST], collected: set[int]) -> Iterator[Text]:
    """Yield the sentences among the other literals."""
    known = collected | {id(part) for node in nodes for part in _parts(node)}
    for node in nodes:
        if id(node) not in known and _is_string(node):
            text = _text(node)
            if len(text.split()) >= SHORTEST_SENTENCE and not SQL.match(text):
                yield Text(getattr(node, "lineno", 0), "text", text)


def _parts(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.JoinedStr):
        return node.values
    return [node.left, node.right] if isinstance(node, ast.BinOp) else []


def findings(source: str) -> list[tuple[int, str]]:
    """Return line and finding of each text of a module that breaks a rule, and of each bare error.

    An error is bare if it names neither what was expected or found, nor what to do. A text that is
    computed is not looked at.
    """
    found = [
        (line, f"{kind} {finding}: {text!r}")
        for line, kind, text in collect(source)
        for finding in lint(text)
    ]
    bare = [
        (call.lineno, f"{_name(call.func)} without {', '.join(sorted(FORM))}")
        for call in nodes_of(source)
        if isinstance(call, ast.Call) and _name(call.func) in error_names()
        if not {keyword.arg for keyword in call.keywords} & {*FORM, None}
        if any("expected" not in _text(node) for arg in call.args[:1] for node in _strings(arg))
    ]
    return sorted(found + bare)


def log_events(source: str) -> list[tuple[int, list[str]]]:
    """Return line and event names of each log call of a module; no names where it passes none."""
    found: list[tuple[int, list[str]]] = []
    for call in nodes_of(source):
        if isinstance(call, ast.Call) and _is_log_call(call):
            extra = [keyword.value for keyword in call.keywords if keyword.arg == "extra"]
            values = [part for node in extra for part in getattr(node, "values", [])]
            names = [_text(name) for value in values for name in _strings(value)]
            found.append((call.lineno, names))
    return sorted(found)


def lint(text: str) -> list[str]:
    """Return the words of the dialect in a text, and the beginnings of its headless sentences."""
    words = [f"{word!r} (use: {instead})" for _, word, instead in WORDS(text)]
    return words + [f"headless {found[0]!r}" for found in HEADLESS.finditer(text)]


def package(root: Path = ROOT) -> dict[str, str]:
    """Return the source of each module of package and demo in a checkout, but of `FROZEN` ones."""
    listed = subprocess.run(  # noqa: S603 - git
        [*LISTING, "orchestration_project/*.py", "demo/*.py"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    listed = sorted(name for name in listed if (root / name).is_file())
    return {name: (root / name).read_text() for name in listed if not name.startswith(FROZEN)}


def allowed() -> dict[str, int]:
    """Return how many findings each file may have at most."""
    lines = (line.split(maxsplit=1) for line in ALLOWED.read_text().splitlines())
    return {name: int(count) for count, name in lines}


def _arguments(call: ast.Call) -> Iterator[tuple[str, ast.expr]]:
    name = _name(call.func)
    if name == "SkipReason":
        yield from (("skip", arg) for arg in [*call.args, *(k.value for k in call.keywords)])
    elif _is_log_call(call):
        yield from (("log", arg) for arg in call.args[: 2 if name == "log" else 1])
    elif name.endswith(("Error", "Refusal", "Failure")):
        yield from (("error", arg) for arg in call.args)
        yield from (("error", keyword.value) for keyword in call.keywords if keyword.arg in FORM)
    yield from (
        ("description", keyword.value) for keyword in call.keywords if keyword.arg in LABELS
    )


def _is_log_call(call: ast.Call) -> bool:
    if not isinstance(call.func, ast.Attribute) or call.func.attr not in LOG_METHODS:
        return False
    receiver = call.func.value
    name = _name(receiver.func if isinstance(receiver, ast.Call) else receiver)
    return name.lower().strip("_") in LOGGERS


def _strings(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.IfExp):
        yield from _strings(node.body)
        yield from _strings(node.orelse)
    elif _is_string(node):
        yield node


def _is_string(node: ast.AST) -> bool:
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.Add) and (_is_string(node.left) or _is_string(node.right))
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(value) for value in node.values)
    if isinstance(node, ast.BinOp):
        return _text(node.left) + _text(node.right)
    return PLACEHOLDER


def _docstrings(nodes: Sequence[ast.AST]) -> Iterator[ast.Constant]:
    """Yield docstrings, and the strings below a constant or an attribute that describe it."""
    for node in nodes:
        value = node.value if isinstance(node, ast.Expr) else None
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            yield value


def _first_paragraph(text: str) -> str:
    return " ".join(text.strip().split("\n\n")[0].split())


def _name(node: ast.expr) -> str:
    return getattr(node, "attr", getattr(node, "id", ""))


if __name__ == "__main__":
    by_file = {name: findings(source) for name, source in package().items()}
    if "--write" in sys.argv:
        ALLOWED.write_text(
            "".join(f"{len(value)} {name}\n" for name, value in by_file.items() if value)
        )
    else:
        for name, each in by_file.items():
            for line, finding in each:
                sys.stdout.write(f"{name}:{line}: {finding}\n")
