"""The characters of a file of text: byte order mark, declaration, UTF-8, then detection."""

import codecs
import re
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from io import IncrementalNewlineDecoder, StringIO
from typing import NamedTuple

BOMS = [
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
]
"""In this order: the mark of UTF-32 begins with that of UTF-16."""

DETECTED_BYTES = 32_768
"""Bytes from whose start the encoding is detected; all are decoded by it."""

DETECTED = [
    *("utf_8", "cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257"),
    *("iso8859_2", "iso8859_5", "iso8859_7", "koi8_r", "cp437", "cp850", "mac_roman"),
    *("cp932", "euc_jp", "gb18030", "big5", "cp949"),
]
"""Encodings that files without a declaration have; rarer ones would only be wrong guesses."""

CONTROLS = bytes(set(range(1, 32)) - {7, 8, 9, 10, 12, 13, 27})
"""Control characters that text does not have, beside NUL."""

MAX_NUL_SHARE = 4
"""One of so many bytes may be NUL in a text whose program filled fields with it."""

UTF8 = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
"""A character of UTF-8 of more than one byte, nearly: those that are invalid are rare."""

MIN_GOOD_SHARE = 10
"""Characters of UTF-8 of more than one byte, for each invalid place, in a text in UTF-8."""

PLACES = 5
"""Places of invalid bytes that a note names."""

BLOCK_BYTES = 2**20
"""Decoded at a time: a rare wide character widens the memory of its piece alone."""

EURO_IN_LATIN_9 = b"\xa4"
HIGH_CONTROLS = re.compile(rb"[\x80-\x9f]")
"""Bytes that have characters in Windows-1252 and none in ISO 8859."""

DECLARED = re.compile(
    rb"""(?ix) <\?xml [^>]{0,200}? \s encoding \s*=\s* ["']([\w.:-]{1,40})
    | <meta [^>]{0,300}? charset \s*=\s* ["']?\s*([\w.:-]{1,40})"""
)


class Pieces(NamedTuple):
    """A text that is decoded block by block whenever it is iterated over: none of it is held."""

    content: bytes
    encoding: str
    errors: str = "strict"
    is_cut: bool = False

    def read(self) -> Iterator[str]:
        """Yield the text.

        Raises:
            LookupError: The encoding is unknown.
            ValueError: It makes no text, or the content is not valid.
        """
        decoder = codecs.getincrementaldecoder(self.encoding)(self.errors)
        for start in range(0, len(self.content), BLOCK_BYTES):
            end = start + BLOCK_BYTES
            is_final = end >= len(self.content) and not self.is_cut
            yield _require_text(decoder.decode(self.content[start:end], is_final))


class Decoded(NamedTuple):
    """A text, the encoding it is read by, and reason codes with their details."""

    pieces: Pieces
    encoding: str
    notes: tuple[tuple[str, str], ...] = ()

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.pieces.read())


def with_line_feeds(pieces: Iterable[str]) -> Iterator[str]:
    """Yield the pieces of a text with ``\\n`` as every line break."""
    decoder = IncrementalNewlineDecoder(None, translate=True)
    for piece in pieces:
        yield decoder.decode(piece)
    yield decoder.decode("", final=True)


def lines_of(pieces: Iterable[str]) -> Iterator[str]:
    """Yield the lines of a text that comes in pieces, each with its ``\\n``."""
    begun = list[str]()
    for piece in with_line_feeds(pieces):
        for line in StringIO(piece):
            begun.append(line)
            if line.endswith("\n"):
                yield "".join(begun)
                begun.clear()
    if begun:
        yield "".join(begun)


def looks_binary(start: bytes) -> bool:
    """Return whether the first bytes of a file are not those of a text."""
    if start.startswith(tuple(bom for bom, _ in BOMS)) or utf16_without_mark(start):
        return False
    if start.count(0) > 2 + len(start) // MAX_NUL_SHARE:
        return True
    return len(start) - len(start.translate(None, CONTROLS)) > 2 + len(start) // 50


def utf16_without_mark(content: bytes) -> str | None:
    """Return the UTF-16 in which a text without a mark is, if most characters are ASCII."""
    start = content[:2048]
    half = len(start) // 2
    even, odd = start[0::2].count(0), start[1::2].count(0)
    if half < 4:
        return None
    if odd > 0.7 * half and even <= 0.05 * half:
        return "utf-16-le"
    return "utf-16-be" if even > 0.7 * half and odd <= 0.05 * half else None


def decode(content: bytes, *, declared: str | None = None, is_cut: bool = False) -> Decoded:
    """Return the text of a file. No byte is dropped: those without a character become ``\\xNN``.

    A few invalid bytes do not make a text in UTF-8 one of another encoding.

    Args:
        content: The file.
        declared: An encoding that stands elsewhere, as in the headers of a mail; else it is looked
            for in the first bytes, as XML and HTML declare it.
        is_cut: The content ends somewhere within a text, maybe within a character.
    """
    for bom, encoding in BOMS:
        if content.startswith(bom):
            remaining_chunk = content[len(bom) :]
            return _decode_as(remaining_chunk, encoding, is_cut) or _escape_invalid(
                remaining_chunk, encoding, ()
            )
    return _decode_unmarked(content, declared or _find_declared(content), is_cut)


def _decode_unmarked(content: bytes, named: str | None, is_cut: bool) -> Decoded:
    """Return the text of a file without a byte order mark, in the encoding ``named`` if it fits."""
    notes: tuple[tuple[str, str], ...] = ()
    if named:
        decoded = _decode_as(content, named, is_cut)
        if decoded or (decoded := _decode_damaged(content, named)):
            return decoded
        notes = (("encoding_mismatch", f"declared as {named}"),)
    for encoding in filter(None, (utf16_without_mark(content), "utf-8")):
        if decoded := _decode_as(content, encoding, is_cut):
            return decoded._replace(notes=notes)
    if decoded := _decode_damaged(content):
        return decoded._replace(notes=(*notes, *decoded.notes))
    guessed = _detect_encoding(content)
    if decoded := _decode_as(content, guessed, is_cut):
        return decoded._replace(notes=(*notes, ("encoding_guessed", guessed)))
    return _escape_invalid(content, "utf-8", notes)


def _find_declared(content: bytes) -> str | None:
    match = DECLARED.search(content[:2048])
    return (match[1] or match[2]).decode("ascii") if match else None


def _decode_as(content: bytes, encoding: str, is_cut: bool) -> Decoded | None:
    """Return the text in an encoding; None if it has none, or no text encoding is called so."""
    with suppress(LookupError, UnicodeError, ValueError):
        pieces = Pieces(content, encoding, is_cut=is_cut)
        deque(pieces.read(), maxlen=0)
        return Decoded(pieces, codecs.lookup(encoding).name)
    return None


def _require_text(found: object) -> str:
    """Return a decoded text; some codecs of Python make bytes.

    Raises:
        ValueError: It is not a text.
    """
    if isinstance(found, str):
        return found
    raise ValueError


def _escape_invalid(content: bytes, encoding: str, notes: tuple[tuple[str, str], ...]) -> Decoded:
    places = _find_invalid_bytes(content, encoding)
    named = ", ".join(f"{number:,}" for number in places[:PLACES])
    remaining_text = f" and {len(places) - PLACES:,} more" if len(places) > PLACES else ""
    detail = f"not valid {encoding}: at byte {named}{remaining_text}"
    pieces = Pieces(content, encoding, "backslashreplace")
    return Decoded(pieces, encoding, (*notes, ("undecodable_bytes", detail)))


def _find_invalid_bytes(content: bytes, encoding: str) -> list[int]:
    """Return where the bytes begin, from 0, that have no character in an encoding."""
    places = list[int]()

    def note(error: UnicodeError) -> tuple[str, int]:
        assert isinstance(error, UnicodeDecodeError)  # noqa: S101 - this handler decodes only
        places.append(error.start)
        return "", error.end

    codecs.register_error("orchestration_project.note_places", note)
    content.decode(encoding, "orchestration_project.note_places")
    return places


def _decode_damaged(content: bytes, declared: str | None = None) -> Decoded | None:
    """Return a text in UTF-8 with its invalid bytes escaped; None if it is hardly UTF-8.

    Args:
        content: The file, which is not valid UTF-8.
        declared: Its declared encoding. A text that is declared as UTF-8 needs more characters of
            UTF-8 than invalid places, or a single one of these; another needs ten times as many.
    """
    good = len(UTF8.findall(content))
    if declared is None and not good:
        return None
    bad = len(_find_invalid_bytes(content, "utf-8"))
    if declared is None:
        is_utf8 = bad == 1 or bad * MIN_GOOD_SHARE <= good
    else:
        is_utf8 = _is_called_utf8(declared) and (bad == 1 or bad < good)
    return _escape_invalid(content, "utf-8", ()) if is_utf8 else None


def _is_called_utf8(encoding: str) -> bool:
    with suppress(LookupError):
        return codecs.lookup(encoding).name == "utf-8"
    return False


def _detect_encoding(content: bytes) -> str:
    """Return the most likely encoding of bytes that are not UTF-8.

    0xA4 is the euro in ISO 8859-15, and in Windows-1252 a sign of currency that is hardly used.
    """
    from charset_normalizer import from_bytes

    best = from_bytes(content[:DETECTED_BYTES], cp_isolation=DETECTED).best()
    if best is not None and "cp1252" not in best.could_be_from_charset:
        return best.encoding
    has_euro = EURO_IN_LATIN_9 in content and not HIGH_CONTROLS.search(content)
    return "iso8859-15" if has_euro else "cp1252"
