"""The page of errors: their classes, and every message that is raised with what to do."""

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orchestration_project
from orchestration_project import errors
from orchestration_project.domains.operations.failures import Category
from orchestration_project.errors import OrchestrationError
from orchestration_project.gateway.api.problems import CATEGORIES, STATUSES
from reference_pages.markdown import code, first_sentence, page, section, table

PACKAGE = Path(orchestration_project.__path__[0])
LEFT_OUT = ("demo", "new_source")

FAILURES: dict[Category, tuple[str, str]] = {
    "source": ("the source's answer cannot be used", "read the message; ask the source"),
    "contract": (
        "data broke a rule and is quarantined",
        "see `audits` and `rejects`; replay after a change of rules",
    ),
    "configuration": ("a setting, name or run config is invalid", "correct it"),
    "transient": ("unreachable, throttled or busy, also at the last attempt", "run it again"),
    "database": ("the database refused, or was unreachable", "see the message"),
    "refused": ("a step ended itself by Dagster's `Failure`", "read the message"),
    "crash": ("the run's process exited or never started", "see the run's log"),
    "canceled": ("a user ended or deleted the run", ""),
    "defect": ("an unforeseen error", "report it, with the run's log"),
}
"""Meaning and remedy of each `error_category` in the run ledger."""


@dataclass(frozen=True, order=True)
class Message:
    """One error as the code raises it; names in braces stand for values."""

    text: str
    error: str
    expected: str
    remedy: str


def write() -> str:
    """Return the page."""
    classes = [
        each
        for each in vars(errors).values()
        if inspect.isclass(each) and issubclass(each, OrchestrationError)
    ]
    named = [each for each in classes if each is not OrchestrationError]
    rows = [
        (
            code(each.__name__),
            code(each.category),
            "yes" if each.is_retryable else "no",
            STATUSES.get(each.category, 500),
            first_sentence(each.__doc__),
        )
        for each in named
    ]
    found = sorted(set(messages({each.__name__ for each in named})))
    sections = [
        section("Classes", table(("class", "category", "retried", "HTTP", "meaning"), rows)),
        section(
            "Categories of failed runs",
            table(
                ("`error_category`", "meaning", "what to do"),
                [(code(name), *texts) for name, texts in FAILURES.items()],
            ),
        ),
        section("Problems of the API", table(("status", "`category`"), sorted(CATEGORIES.items()))),
    ]
    for each in named:
        of_class = [
            (code(message.text), message.expected, message.remedy)
            for message in found
            if message.error == each.__name__
        ]
        if of_class:
            shown = table(("message", "expected", "what to do"), of_class)
            sections.append(section(f"Messages of `{each.__name__}`", shown))
    return page("errors", sections)


def messages(classes: set[str]) -> Iterator[Message]:
    """Yield what the package raises of these classes, where the text stands at the raise."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.relative_to(PACKAGE).parts[0] in LEFT_OUT:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                text = _text(node.args[0]) if node.args else ""
                if node.func.id in classes and _has_words(text):
                    given = {each.arg: _text(each.value) for each in node.keywords}
                    yield Message(
                        text, node.func.id, given.get("expected", ""), given.get("remedy", "")
                    )


def _has_words(text: str) -> bool:
    return " " in text.strip()


def _text(node: ast.expr) -> str:
    """Return a literal text; of an f-string with the names of its values in braces."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(
            f"{{{_name(each.value)}}}" if isinstance(each, ast.FormattedValue) else _text(each)
            for each in node.values
        )
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left) + _text(node.right)
    return ""


def _name(node: ast.expr) -> str:
    """Return the last name of what is put in, the shortest that says what it is."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Call) and node.args:
        return _name(node.args[-1])
    return "…"
