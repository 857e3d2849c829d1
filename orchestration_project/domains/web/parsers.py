"""Parsers of pages in Python, for what a site file cannot express: a page in, values out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from functools import lru_cache
from importlib import import_module
from typing import Annotated, Any, Protocol, runtime_checkable

from pydantic import AfterValidator, Field

MAX_DEPTH = 50
"""Values in one another that a parser may return."""

EXPECTED = "expected package.module:Class with a method items(page)"


class ParsedPage(Protocol):
    """A page as a parser sees it.

    Attributes:
        url: Its URL after redirects.
        body: Its bytes.
    """

    url: str
    body: bytes

    @property
    def text(self) -> str:
        """Its bytes as text."""
        ...

    @property
    def root(self) -> Any:
        """The parsed HTML: an element of `selectolax.lexbor`."""
        ...


@runtime_checkable
class PageParser(Protocol):
    """A class that a site file names as ``parser``; it is made once, without arguments.

    Its instance makes no requests and keeps nothing between pages. Several runs use it at the
    same time.
    """

    def items(self, page: ParsedPage) -> Iterable[Mapping[str, Any]]:
        """Return the items of a page, each a mapping that ``json_path`` of fields selects from.

        Values are texts, whole numbers, `Decimal`, dates, booleans, None, and lists and mappings of
        them; floats are refused. Any exception becomes a reject with reason code ``parser``.
        """
        ...


class ParserError(Exception):
    """A parser failed on a page.

    Attributes:
        kind: Name of the exception; its text may quote the page.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}"[:500])
        self.kind = kind


@lru_cache(maxsize=1_000)
def load_parser(name: str) -> PageParser:
    """Return an instance of the class that a site file names.

    Raises:
        ValueError: The class cannot be imported or made, or has no method items.
    """
    module, _, attribute = name.partition(":")
    try:
        parser_class = getattr(import_module(module), attribute)
        parser = parser_class() if isinstance(parser_class, type) else None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - code of others
        reason = f"{type(error).__name__}: {error}"[:200]
        raise ValueError(f"{EXPECTED}, found {name!r}: {reason}") from None
    if not isinstance(parser, PageParser) or not callable(parser.items):
        raise ValueError(f"{EXPECTED}, found {name!r}")
    return parser


def checked_parser(name: str) -> str:
    """Return the name of a parser that can be used.

    Raises:
        ValueError: It cannot.
    """
    load_parser(name)
    return name


ParserName = Annotated[
    str,
    Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$", max_length=200),
    AfterValidator(checked_parser),
]


def parsed_values(name: str, page: ParsedPage) -> Iterator[Any]:
    """Yield the items that a parser returns for a page, as values of JSON.

    Raises:
        ParserError: It failed, or returned something else.
    """
    try:
        for item in load_parser(name).items(page):
            if not isinstance(item, Mapping):
                raise TypeError(f"expected a mapping, found {type(item).__name__}")
            yield as_json(item)
    except Exception as error:
        raise ParserError(type(error).__name__, str(error)) from error


def as_json(value: Any, depth: int = 0) -> Any:
    """Return a value as one of JSON; decimals and dates become texts.

    Raises:
        TypeError: It has a float, which is not exact, or another type.
        ValueError: It is nested too deep.
    """
    if depth > MAX_DEPTH:
        raise ValueError(f"expected up to {MAX_DEPTH} values in one another")
    match value:
        case None | bool() | int() | str():
            return value
        case Decimal():
            return f"{value:f}"
        case date():
            return value.isoformat()
        case Mapping():
            return {str(key): as_json(item, depth + 1) for key, item in value.items()}
        case Sequence() if not isinstance(value, bytes | bytearray | memoryview):
            return [as_json(item, depth + 1) for item in value]
        case _:
            raise TypeError(f"expected texts, integers or Decimal, found {type(value).__name__}")
