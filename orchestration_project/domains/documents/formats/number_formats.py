"""Number formats of XLSX: leading zeros and percentages as a sheet shows them, and errors."""

import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from io import BytesIO
from typing import NamedTuple

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue] - compiled, without types

from orchestration_project.domains.documents.xml import (
    Element,
    children_named,
    local_name,
    parse_xml,
)

PERCENT_CODES = {"9": "0%", "10": "0.00%"}
"""Built-in formats of percentages by their number."""

LITERAL = re.compile(r'"([^"]*)"|\\(.)|_.|\*.|\[[^\]]*\]')
"""Texts, escaped characters, blanks, fills, and colours or conditions of a format."""

PADDED = re.compile(r"^(?=(?:[^0]*0){2})[0\-/() ]*$")
"""Zeros alone, with separators between them: a number is filled with zeros from the left."""

PERCENT = re.compile(r"^[#,0]*(?:\.([0#]+))?\s*%$")
MARKED_ERROR = re.compile(rb"""\bt=["']e["']""")

DIGIT = "\0"
"""Mark of a digit within a template."""

Show = Callable[[str], str | None]
"""Returns a stored number as it is shown; None: it is shown as it is stored."""


class ShownCell(NamedTuple):
    """A cell that is shown otherwise than its stored value reads.

    Attributes:
        reference: Column and row, such as ``B2``.
        text: The shown text.
        is_value: The text takes the place of the value in the table too: the zeros of an
            identifier, or an error.
        is_error: It is an error.
    """

    reference: str
    text: str
    is_value: bool
    is_error: bool = False


def shown_formats(styles: bytes) -> Mapping[str, tuple[Show, bool]]:
    """Return the functions of styles that pad numbers or are percentages, by a style's number.

    The second value is `ShownCell.is_value`.
    """
    root = parse_xml(styles)
    codes = dict(PERCENT_CODES)
    for element in root.iter("{*}numFmt"):
        codes[element.get("numFmtId", "")] = element.get("formatCode", "")
    functions = dict[str, tuple[Show, bool]]()
    for cell_styles in children_named(root, "cellXfs"):
        for index, style in enumerate(children_named(cell_styles, "xf")):
            if show := _show_of(codes.get(style.get("numFmtId", ""), "")):
                functions[str(index)] = show
    return functions


def _show_of(code: str) -> tuple[Show, bool] | None:
    section = code.partition(";")[0]
    bare = LITERAL.sub("", section).strip()
    if percent := PERCENT.match(bare):
        digits = (percent[1] or "").count("0")
        return lambda text: _format_percentage(text, digits), False
    if PADDED.match(bare):
        template = _build_template(section)
        return lambda text: _fill_template(text, template), True
    return None


def _build_template(section: str) -> str:
    """Return a format with `DIGIT` for each digit, and its texts without quotes."""
    pieces, end = list[str](), 0
    for literal in LITERAL.finditer(section):
        pieces += [section[end : literal.start()].replace("0", DIGIT)]
        pieces += [literal[1] or literal[2] or ""]
        end = literal.end()
    return "".join([*pieces, section[end:].replace("0", DIGIT)]).strip()


def _fill_template(text: str, template: str) -> str | None:
    """Return a whole number in the zeros of a template, such as ``000-00-0000``."""
    number = _parse_decimal(text)
    if number is None or number < 0 or number != number.to_integral_value():
        return None
    count = template.count(DIGIT)
    digits = f"{int(number)}".rjust(count, "0")
    extra_count = len(digits) - count  # digits beyond the template stand in front of its first one
    names = iter([digits[: extra_count + 1], *digits[extra_count + 1 :]])
    return "".join(next(names) if mark == DIGIT else mark for mark in template)


def _format_percentage(text: str, digits: int) -> str | None:
    """Return a percentage with all its digits, ``digits`` of them at least after the point."""
    number = _parse_decimal(text)
    if number is None or not -30 < number.adjusted() < 30:
        return None
    percent = (Decimal(f"{number:.15g}") * 100).normalize()  # a sheet shows 15 digits at most
    places = max(digits, -int(percent.as_tuple().exponent))
    return f"{percent:.{places}f}%"


def _parse_decimal(text: str) -> Decimal | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def shown_cells(sheet: bytes, formats: Mapping[str, tuple[Show, bool]]) -> Iterator[ShownCell]:
    """Yield the cells of a sheet that have an error or one of ``formats``.

    The sheet is well-formed and declares no entities. Its tree is not kept.
    """
    if not formats and not MARKED_ERROR.search(sheet):
        return
    events = etree.iterparse(BytesIO(sheet), tag="{*}c", resolve_entities=False, no_network=True)
    for _, cell in events:
        if shown_cell := _render_cell(cell, formats):
            yield shown_cell
        cell.clear()
        while cell.getprevious() is not None:
            del cell.getparent()[0]


def _render_cell(cell: Element, formats: Mapping[str, tuple[Show, bool]]) -> ShownCell | None:
    reference, kind = cell.get("r", ""), cell.get("t", "n")
    value = next((each.text or "" for each in cell if local_name(each) == "v"), "")
    if kind == "e":
        return ShownCell(reference, value or "#ERROR!", True, True)
    show, is_value = formats.get(cell.get("s", "0"), (None, False))
    text = show(value) if show and kind == "n" and value else None
    return ShownCell(reference, text, is_value) if text is not None else None
