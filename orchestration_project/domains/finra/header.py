"""The header line of delimited text: its names, or what the bytes seem to be instead."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass

from orchestration_project.contracts.rules import Part, in_ascii
from orchestration_project.errors import ContractError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
NAMES_SHOWN, NAME_SHOWN_BYTES = 5, 60

UTF_16 = ("text in UTF-16", "save it as UTF-8")
STARTS = (
    (b"\x1f\x8b", ("compressed by gzip", "unpack it")),
    (b"PK\x03\x04", ("a zip archive or a spreadsheet", "unpack it, or save it as text")),
    (b"\xff\xfe", UTF_16),
    (b"\xfe\xff", UTF_16),
    (b"<", ("a web page", "look at it in a browser: it may say why; then download the data again")),
    (b"{", ("JSON", "ask for delimited text")),
    (b"[", ("JSON", "ask for delimited text")),
)
"""How other things begin, what each is, and what to do about it."""

DELIMITER = "|"
OTHER_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}


@dataclass(frozen=True)
class Header:
    """The names of a part's columns, and how its lines are written."""

    names: list[str]
    is_quoted: bool
    has_windows_line_ends: bool


def read_header(
    part: Part, line: bytes, columns: Sequence[str], *, of: str = "the weekly data"
) -> Header:
    r"""Read a part's first ``line``, which must name all of ``columns``, in whatever case.

    A byte order mark, as spreadsheets write it, is no part of the first name, and a carriage
    return at the end is none of the last: the lines of such a part end in ``\r\n``. ``of`` is what
    an error calls the data.

    Raises:
        ContractError: It lacks a column, or names one twice.
    """
    text = line.removeprefix(BYTE_ORDER_MARK).decode("utf-8", "backslashreplace")
    names = _spelled_as(columns, _names(text.removesuffix("\r")))
    missing = [name for name in columns if name not in names]
    repeated = [name for name in columns if names.count(name) > 1]
    if missing or repeated:
        seems = _seems(line, columns) if missing else None
        unknown = [name for name in names if name and name not in columns] if missing else []
        what, remedy = seems or (None, "compare the source's field list with the one expected here")
        raise ContractError(
            f"this is not {of}: it seems to be {what}"
            if what
            else f"the header is not that of {of}: "
            + _in_words({"lacks": missing, "repeats": repeated, "has unknown": unknown}),
            expected=DELIMITER.join(columns),
            found=in_ascii(line, 400),
            remedy=remedy,
            part=part.part_number,
        )
    return Header(names, text.startswith('"'), text.endswith("\r"))


def unquoted(line: str, delimiter: str = DELIMITER) -> list[str] | None:
    """Return the fields of a quoted line; None where quotes do not pair.

    The reader would drop a carriage return at the end, and nothing is to be dropped.
    """
    try:
        fields = next(csv.reader([line], delimiter=delimiter, strict=True), [""])
    except csv.Error:
        return None
    return None if "\r" in line else fields or [""]


def _spelled_as(columns: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return ``names`` in the spelling of ``columns`` where they differ in case alone."""
    spelling = {name.lower(): name for name in columns if name not in names}
    return [spelling.get(name.lower(), name) for name in names]


def _names(text: str, delimiter: str = DELIMITER) -> list[str]:
    return (unquoted(text, delimiter) or []) if text.startswith('"') else text.split(delimiter)


def _in_words(names: dict[str, list[str]]) -> str:
    return "; ".join(
        f"{what} "
        + ", ".join(_shown(name) for name in which[:NAMES_SHOWN])
        + (f" and {len(which) - NAMES_SHOWN} more" if len(which) > NAMES_SHOWN else "")
        for what, which in names.items()
        if which
    )


def _shown(name: str) -> str:
    return in_ascii(name.encode(), NAME_SHOWN_BYTES).replace("\\\\", "\\")  # escaped already


def _seems(line: bytes, columns: Sequence[str]) -> tuple[str, str] | None:
    """Return what a wrong header's bytes look like, and what to do; None where one cannot tell."""
    for start, seems in STARTS:
        if line.lstrip(b" \t\r").startswith(start):
            return seems
    if b"\0" in line:
        return UTF_16
    text = line.removeprefix(BYTE_ORDER_MARK).decode("utf-8", "replace")
    found = {
        mark: len(set(columns) & set(_names(text, mark))) for mark in (DELIMITER, *OTHER_DELIMITERS)
    }
    best = max(found, key=lambda mark: found[mark])
    if found[best] > max(found[DELIMITER], 1):
        return (
            f"text separated by {OTHER_DELIMITERS[best]}, not by {DELIMITER}",
            f"save it with {DELIMITER} between the fields",
        )
    if "\r" in text.removesuffix("\r"):
        return "text whose lines end in carriage returns alone", r"save it with line ends of \n"
    return None
