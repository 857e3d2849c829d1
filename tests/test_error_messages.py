"""The page of errors has every message: none that the code constructs is left out."""

import ast
from pathlib import Path

import pytest

import orchestration_project.definitions  # noqa: F401 - so that most classes of errors exist
from orchestration_project.errors import OrchestrationError
from orchestration_project.settings import PROJECT_ROOT
from tools.reference_pages.error_messages import Message, Sources, UnreadableError, package_sources
from tools.reference_pages.markdown import cell

PAGE = (PROJECT_ROOT / "docs" / "reference" / "errors.md").read_text()
PACKAGE = PROJECT_ROOT / "orchestration_project"
HEAD = "from orchestration_project.errors import ConfigurationError, TransientError\n"
NO_MESSAGES = {"DocumentError", "RobotsUnreachableError", "OrchestrationError"}
"""Classes whose constructor takes no text."""


def subclasses(error: type[OrchestrationError]) -> set[str]:
    """Return the names of all classes below one, and its own."""
    return {error.__name__}.union(*(subclasses(child) for child in error.__subclasses__()))


@pytest.fixture(scope="module")
def sources() -> Sources:
    """The modules of the package."""
    return Sources(package_sources())


@pytest.fixture(scope="module")
def messages(sources: Sources) -> list[Message]:
    """Every message that the generator reads from the package."""
    return list(sources.messages())


def constructions(sources: Sources) -> dict[str, list[str]]:
    """Return the literal pieces of the first argument of each call of an error class, by place."""
    names = subclasses(OrchestrationError) - NO_MESSAGES
    pieces: dict[str, list[str]] = {}
    for module in sources.modules:
        if module.path.startswith(("demo/", "resources/plugins/sdk/")):
            continue  # they have a RefusedError of their own
        for node in module.nodes:
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in names:
                first = node.args[0]
                values = first.values if isinstance(first, ast.JoinedStr) else [first]
                pieces[f"{module.path}:{node.lineno}"] = [
                    str(value.value) for value in values if isinstance(value, ast.Constant)
                ]
    return pieces


def test_the_page_has_the_text_of_every_construction_of_an_error(
    sources: Sources, messages: list[Message]
):
    found = constructions(sources)
    assert len(found) > 500
    assert found.keys() - {message.place for message in messages} == set()
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    cells = {place: [cell(piece) for piece in pieces] for place, pieces in found.items()}
    missing = [
        (place, pieces)
        for place, pieces in cells.items()
        if not any(all(piece in row for piece in pieces) for row in rows)
    ]
    assert missing == []


def test_the_page_has_one_row_for_each_message(messages: list[Message]):
    texts = {(message.error, cell(message.text)) for message in messages if message.text}
    sections = {section.split("`")[0]: section for section in PAGE.split("\n## Messages of `")[1:]}
    assert len(texts) > 540
    assert {
        (error, text) for error, text in texts if f"| `{text}` |" not in sections.get(error, "")
    } == set()


def read(source: str) -> list[tuple[str, str]]:
    """Return class and text of the messages of a module of its own."""
    sources = package_sources()
    planted = {"errors.py": sources["errors.py"], "planted.py": HEAD + source}
    read = Sources(planted).messages()
    return [(message.error, message.text) for message in read if message.place > "planted"]


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("raise ConfigurationError(f'no {name}')", [("ConfigurationError", "no {name}")]),
        (
            "raise ConfigurationError('no a' if x else 'no b')",
            [("ConfigurationError", "no a"), ("ConfigurationError", "no b")],
        ),
        (
            "kind = TransientError if x else ConfigurationError\nraise kind('it failed')",
            [("ConfigurationError", "it failed"), ("TransientError", "it failed")],
        ),
        (
            "def f(what): return TransientError(what)\nraise f('it failed')",
            [("TransientError", "it failed")],
        ),
        (
            "class OwnError(TransientError): 'Mine.'\nraise OwnError('it failed')",
            [("OwnError", "it failed")],
        ),
    ],
)
def test_texts_between_which_the_code_chooses_are_messages_each(
    source: str, found: list[tuple[str, str]]
):
    assert read(source) == found


def test_a_private_function_is_called_by_its_own_module_alone():
    refuse = f"{HEAD}def _refuse(expected): raise ConfigurationError('no row', expected=expected)\n"
    planted = {"a.py": f"{refuse}_refuse('a day')", "b.py": f"{refuse}_refuse('a week')"}
    sources = Sources({"errors.py": package_sources()["errors.py"], **planted})
    texts = {message.expected for message in sources.messages() if message.text == "no row"}
    assert texts == {"a day", "a week"}


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise ConfigurationError(texts[0])", "planted.py:2: ConfigurationError without a text"),
        ("raise ConfigurationError(f'{a}: {b}')", "ConfigurationError without a text"),
        ("raise ConfigurationError()", "ConfigurationError without a text"),
        ("def f(kind): raise kind('it failed')", "an instance of kind, whose class cannot be read"),
        ("raise type(error)('it failed')", "whose class cannot be read"),
        ("raise KINDS[1]('it failed')", "whose class cannot be read"),
        ("fail(ConfigurationError, 'it failed')", "ConfigurationError is passed to fail"),
    ],
)
def test_an_error_that_cannot_be_read_is_refused(source: str, reason: str):
    with pytest.raises(UnreadableError, match=reason.replace("(", r"\(")):
        read(source)


def test_every_module_of_the_package_is_read():
    assert {Path(path) for path in package_sources()} == {
        path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py")
    }
