"""The page of errors: their classes, and every message that is raised with what to do."""

import inspect
from collections.abc import Iterable

from orchestration_project import errors
from orchestration_project.domains.documents.reasons import REASONS
from orchestration_project.engine.contracts.failures import Category
from orchestration_project.errors import OrchestrationError
from orchestration_project.gateway.api.problems import CATEGORIES, STATUSES
from tools.reference_pages.error_messages import Sources, package_sources
from tools.reference_pages.markdown import code, first_sentence, page, section, table

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


def write(sources: Sources | None = None) -> str:
    """Return the page of the errors in ``sources``; None: those of the package."""
    sources = sources or Sources(package_sources())
    general = [
        error
        for error in vars(errors).values()
        if inspect.isclass(error) and issubclass(error, OrchestrationError)
        if error is not OrchestrationError
    ]
    rows = [
        (
            code(error.__name__),
            code(error.category),
            "yes" if error.is_retryable else "no",
            STATUSES.get(error.category, 500),
            first_sentence(error.__doc__),
        )
        for error in general
    ]
    names = [error.__name__ for error in general]
    special = sorted(sources.docstrings.keys() - {*names, OrchestrationError.__name__})
    texts = messages(sources)
    sections = [
        section("Classes", table(("class", "category", "retried", "HTTP", "meaning"), rows)),
        section(
            "Special classes",
            table(
                ("class", "one of", "meaning"),
                [
                    (
                        code(name),
                        code(sources.bases[name]),
                        first_sentence(sources.docstrings[name]),
                    )
                    for name in special
                ],
            ),
        ),
        section(
            "Categories of failed runs",
            table(
                ("`error_category`", "meaning", "what to do"),
                [(code(name), *texts) for name, texts in FAILURES.items()],
            ),
        ),
        section("Problems of the API", table(("status", "`category`"), sorted(CATEGORIES.items()))),
    ]
    for name in [*names, *special]:
        of_class = sorted({tuple(parts) for error, *parts in texts if error == name})
        if of_class:
            shown = [(code(text), expected, remedy) for text, expected, remedy in of_class]
            columns = ("message", "expected", "what to do")
            sections.append(section(f"Messages of `{name}`", table(columns, shown)))
    return page("errors", sections)


def messages(sources: Sources) -> Iterable[tuple[str, str, str, str]]:
    """Return class, text, expected value and remedy of each message."""
    stated = [
        (message.error, message.text, message.expected, message.remedy)
        for message in sources.messages()
        if message.text
    ]
    of_documents = [
        ("DocumentError", reason.meaning, "", reason.remedy) for reason in REASONS.values()
    ]
    return [*stated, *of_documents]
