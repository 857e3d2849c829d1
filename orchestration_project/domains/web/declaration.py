"""Parts of site files: strict models, and selectors that are checked when the file is read."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from orchestration_project.domains.web.json_paths import parse_path
from orchestration_project.domains.web.patterns import compiled

MAX_SELECTOR_LENGTH = 1_000

XPATH_TEXTS = re.compile(r"'[^']*'|\"[^\"]*\"")
XPATH_REFUSED = re.compile(r"\b(?:re|set)\s*:|\b(?:preceding|following)\s*::|\bdocument\s*\(")
"""Functions with patterns that backtrack, and axes that visit a page once per element."""

SIBLINGS = re.compile(
    r"(?:following|preceding)-sibling\s*::\s*[\w*:.-]+(?:\(\s*\))?(?!\s*\[\s*\d+\s*\])(?![\w(:.-])"
)
"""All siblings of each element: a page with 20,000 of them takes minutes."""

UP_AND_DOWN = re.compile(
    r"(?:\.\.|\b(?:parent|ancestor(?:-or-self)?)\s*::[^/\]]+)\s*/(?!\s*(?:@|\.\.))"
)
"""In a predicate, the same by way of the parent."""

FROM_ROOT = re.compile(r"(?:^|[\[(=<>|,+]|\b(?:and|or|div|mod))\s*/")


class Strict(BaseModel):
    """A part of a site file: unknown names are refused, and values are not converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def checked_css(value: str) -> str:
    """Return a selector that the parser of pages takes.

    Raises:
        ValueError: It is not one.
    """
    from selectolax.lexbor import LexborHTMLParser, SelectolaxError  # an extra

    try:
        LexborHTMLParser("<p></p>").css(value)
    except (SelectolaxError, ValueError):
        raise ValueError(f"expected a CSS selector, e.g. 'a.product', found {value!r}") from None
    return value


def checked_pattern(value: str) -> str:
    """Return a pattern that the engine of linear time takes: it never backtracks.

    Raises:
        ValueError: It does not.
    """
    compiled(value)
    return value


def checked_xpath(value: str) -> str:
    """Return an XPath 1.0 that visits no element of a page once per other element.

    Raises:
        ValueError: It is not one, or its time grows with the square of a page or faster.
    """
    from parsel import Selector  # an extra

    bare = XPATH_TEXTS.sub("''", value)
    is_slow = any(
        pattern.search(predicate)
        for predicate in _find_predicates(bare)
        for pattern in (FROM_ROOT, UP_AND_DOWN)
    )
    if XPATH_REFUSED.search(bare) or SIBLINGS.search(bare) or is_slow:
        raise ValueError(
            "expected an XPath without re:, set:, preceding:: and following::, with a number at "
            "siblings, as following-sibling::dd[1], and without / at the start of a predicate or "
            f"after .. in it, e.g. .//b[@class='price'], found {value!r}"
        )
    try:
        Selector(text="<p></p>").xpath(value)
    except ValueError:
        raise ValueError(
            f"expected an XPath 1.0, e.g. .//b[@class='price']/text(), found {value!r}"
        ) from None
    return value


def _find_predicates(path: str) -> list[str]:
    """Return the outermost predicates of a path."""
    predicates, depth, start = list[str](), 0, 0
    for position, character in enumerate(path):
        if character == "[":
            start = position + 1 if depth == 0 else start
            depth += 1
        elif character == "]":
            depth -= 1
            if depth == 0:
                predicates.append(path[start:position])
    return predicates


def checked_path(value: str) -> str:
    """Return a path in JSON.

    Raises:
        ValueError: It is not one.
    """
    parse_path(value)
    return value


def _limit_text(check: AfterValidator) -> tuple[object, AfterValidator]:
    return Field(min_length=1, max_length=MAX_SELECTOR_LENGTH), check


Css = Annotated[str, *_limit_text(AfterValidator(checked_css))]
XPath = Annotated[str, *_limit_text(AfterValidator(checked_xpath))]
Pattern = Annotated[str, *_limit_text(AfterValidator(checked_pattern))]
JsonPath = Annotated[str, *_limit_text(AfterValidator(checked_path))]
TypeName = Annotated[str, Field(pattern=r"^[!-~]{1,200}$")]
"""Type of an object in JSON-LD or microdata, such as ``Product`` or its URL."""
