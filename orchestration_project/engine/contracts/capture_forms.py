"""Forms of captures: how the records of captured bytes are read, declared as data.

`recompute.py` of an evidence archive reads the same forms.
"""

import csv
import io
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from zipfile import ZipFile


@dataclass(frozen=True)
class Form:
    """Rules by which captures of a kind are read.

    Attributes:
        contains: A regular expression that captures of this form contain.
        records: Readers of its records, lines or matches, each with its arguments. The reader none
            has as arguments what is expected, and what the capture is instead.
        member: Name of the file that is read, of a zip archive; None: the capture itself.
        moved_to: A record without the first of these fields gets the ``time`` of the next one that
            has them all, in which none is null: a dividend without a trade counts on the next day.
    """

    contains: str
    records: Sequence[tuple[str, Sequence[Any]]]
    member: str | None = None
    moved_to: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the form, as `rules.json` has it."""
        records = [[reader, list(arguments)] for reader, arguments in self.records]
        member = {} if self.member is None else {"member": self.member}
        moved_to = {"moved_to": list(self.moved_to)} if self.moved_to else {}
        return {"contains": self.contains, "records": records, **member, **moved_to}

    @property
    def unreadable(self) -> str | None:
        """Why captures of this form have no records that can be read; None: they have."""
        expected, found = next((texts for name, texts in self.records if name == "none"), ("", ""))
        return f"the capture is {found}: expected {expected}" if found else None


def build_delimited_form(delimiter: str) -> Form:
    """Return the form of a row a line, with ``delimiter`` between fields that may be quoted.

    The first line names the fields.
    """
    return Form("", [("lines", [delimiter])])


class ReadRecord(NamedTuple):
    """A record of a capture: its place and its fields.

    Attributes:
        number: Its line, from 1, with the header.
        offset: Its first byte, from 0.
        content: Its bytes.
        fields: Its texts by name; none: it cannot be split.
    """

    number: int
    offset: int
    content: bytes
    fields: Mapping[str, str]


BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def find_form(content: bytes, forms: Sequence[Form]) -> Form | None:
    """Return the first form that a capture has; None: its form is not declared."""
    return next((form for form in forms if re.search(form.contains.encode(), content)), None)


def read_records(
    content: bytes, form: Form, containing: Sequence[str] = ()
) -> Iterator[ReadRecord]:
    """Return the records of a capture; only those that contain some texts."""
    if form.member is not None:
        with ZipFile(io.BytesIO(content)) as archive:
            content = archive.read(form.member)
    records = (
        record
        for reader, arguments in form.records
        for record in READERS[reader](content, containing, *arguments)
    )
    return iter(_move_events(list(records), form.moved_to)) if form.moved_to else records


HALF_A_DAY = 12 * 60 * 60


def _move_events(records: Sequence[ReadRecord], names: Sequence[str]) -> list[ReadRecord]:
    """Give records without the first field the time of the next record that has them all.

    The first record is that of the first day; an event before it keeps its time.
    """
    complete = (
        int(record.fields["time"])
        for record in records
        if all(record.fields.get(name, "null") != "null" for name in names)
    )
    times, events = sorted(complete), []
    for record in records:
        time = int(record.fields["time"])
        if names[0] not in record.fields and time >= int(records[0].fields["time"]):
            position = bisect_right(times, time - HALF_A_DAY)
            next_time = times[position] if position < len(times) else time
            record = record._replace(fields={**record.fields, "time": str(next_time)})
        events.append(record)
    return events


def _read_lines(
    content: bytes,
    containing: Sequence[str],
    delimiter: str,
    unpivoted: Sequence[str] = (),
    renamed: Sequence[tuple[str, str]] = (),
) -> Iterator[ReadRecord]:
    """Yield the lines of a capture below its header.

    A byte order mark is dropped; names of fields are in lower case, or ``renamed``. With
    ``unpivoted``, a line has a record for each cell that is not blank: of its first field, the name
    and the text of the cell.
    """
    texts = () if unpivoted else [text.encode() for text in containing]
    first, _, _ = content.partition(b"\n")
    header = first.removeprefix(BYTE_ORDER_MARK).removesuffix(b"\r").decode(errors="replace")
    is_quoted, is_windows = header.startswith('"') or delimiter == ",", first.endswith(b"\r")
    plain = [name.strip() for name in _split(header, delimiter, is_quoted) or []]
    names = [dict(renamed).get(name.lower(), name) for name in plain]
    number, counted = 1, 0
    for start, end in _find_places(content, max(reversed(texts), key=len, default=b"")):
        line = content[start:end]
        if start > len(first) and all(text in line for text in texts):
            number, counted = number + content.count(b"\n", counted, start), start
            plain = line.removesuffix(b"\r") if is_windows else line
            fields = _split_fields(plain, names, delimiter, is_quoted)
            if not unpivoted:
                named = {name.lower(): text for name, text in fields.items()}
                yield ReadRecord(number, start, line, named)
            for cell in _expand_cells(fields, unpivoted, containing):
                yield ReadRecord(number, start, line, cell)


def _expand_cells(
    fields: Mapping[str, str], names: Sequence[str], containing: Sequence[str]
) -> Iterator[Mapping[str, str]]:
    """Yield a record for each cell of a line, with its three texts by ``names``."""
    (_, first), *cells = fields.items() if names and fields else [("", "")]
    for cell in cells:
        texts = (first, *cell)
        if all(cell) and all(text in texts for text in containing):
            yield dict(zip(names, texts, strict=True))


def _find_places(content: bytes, text: bytes) -> Iterator[tuple[int, int]]:
    """Yield the first byte and the end of each line that contains a text."""
    end = -1
    while 0 <= (position := content.find(text, end + 1)) < len(content):
        start, end = content.rfind(b"\n", 0, position) + 1, content.find(b"\n", position)
        end = len(content) if end < 0 else end
        yield start, end


def _split(text: str, delimiter: str, is_quoted: bool) -> list[str] | None:
    if not is_quoted:
        return text.split(delimiter)
    try:
        return next(csv.reader([text], delimiter=delimiter, strict=True), [""])
    except csv.Error:
        return None


def _split_fields(
    line: bytes, names: Sequence[str], delimiter: str, is_quoted: bool
) -> dict[str, str]:
    """Return the trimmed fields of a line by name; empty: it cannot be split."""
    try:
        texts = _split(line.decode(), delimiter, is_quoted)
    except UnicodeDecodeError:
        return {}
    if texts is None or len(texts) != len(names) or b"\0" in line or b"\r" in line:
        return {}
    return {name: text.strip() for name, text in zip(names, texts, strict=True)}


def _read_matches(content: bytes, containing: Sequence[str], pattern: str) -> Iterator[ReadRecord]:
    """Yield the matches of a regular expression that have its last group.

    Its groups are the fields; one that does not match has the text of an earlier match. Where they
    are lists with commas, a match has a record for each place in them.

    Raises:
        ValueError: Its lists differ in length.
    """
    fields: dict[str, str] = {}
    number, counted = 1, 0
    for match in re.finditer(pattern.encode(), content):
        texts = {
            name: text.decode() for name, text in match.groupdict().items() if text is not None
        }
        fields = fields | texts
        if not match[match.re.groups]:
            continue
        number, counted = number + content.count(b"\n", counted, match.start()), match.start()
        lists = [[value.strip() for value in text.split(",")] for text in fields.values()]
        for values in zip(*lists, strict=True):
            if all(text in values for text in containing):
                shown_chunk = match[0] if len(lists[0]) == 1 else ", ".join(values).encode()
                yield ReadRecord(
                    number, match.start(), shown_chunk, dict(zip(fields, values, strict=True))
                )


READERS: Mapping[str, Callable[..., Iterator[ReadRecord]]] = {
    "lines": _read_lines,
    "matches": _read_matches,
    "none": lambda *_: iter(()),
}
