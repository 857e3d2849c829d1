"""The characters of a file of text: byte order mark, declaration, UTF-8, then detection."""

import codecs
import re
from contextlib import suppress
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

CONTROLS = bytes(set(range(32)) - {7, 8, 9, 10, 12, 13, 27})
"""Control characters that text does not have."""

DECLARED = re.compile(
    rb"""(?ix) <\?xml [^>]{0,200}? \s encoding \s*=\s* ["']([\w.:-]{1,40})
    | <meta [^>]{0,300}? charset \s*=\s* ["']?\s*([\w.:-]{1,40})"""
)


class Decoded(NamedTuple):
    """A text, the encoding it was read by, and reason codes with their details."""

    text: str
    encoding: str
    notes: tuple[tuple[str, str], ...] = ()


def looks_binary(start: bytes) -> bool:
    """Return whether the first bytes of a file are not those of a text."""
    if start.startswith(tuple(bom for bom, _ in BOMS)) or utf16_without_mark(start):
        return False
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

    Args:
        content: The file.
        declared: An encoding that stands elsewhere, as in the headers of a mail; else it is looked
            for in the first bytes, as XML and HTML declare it.
        is_cut: The content ends somewhere within a text, maybe within a character.
    """
    for bom, encoding in BOMS:
        if content.startswith(bom):
            return _by(content[len(bom) :], encoding, is_cut) or _escaped(
                content[len(bom) :], encoding, ()
            )
    named, notes = declared or _declared(content), ()
    if named:
        found = _by(content, named, is_cut)
        if found:
            return found
        notes = (("encoding_mismatch", f"declared as {named}"),)
    for encoding in filter(None, (utf16_without_mark(content), "utf-8")):
        if found := _by(content, encoding, is_cut):
            return found._replace(notes=notes)
    guessed = _detected(content)
    if found := _by(content, guessed, is_cut):
        return found._replace(notes=(*notes, ("encoding_guessed", guessed)))
    return _escaped(content, "utf-8", notes)


def _declared(content: bytes) -> str | None:
    found = DECLARED.search(content[:2048])
    return (found[1] or found[2]).decode("ascii") if found else None


def _by(content: bytes, encoding: str, is_cut: bool) -> Decoded | None:
    """Return the text in an encoding; None if it has none, or no text encoding is called so."""
    with suppress(LookupError, UnicodeError, ValueError):
        decoder = codecs.getincrementaldecoder(encoding)("strict")
        return Decoded(_text(decoder.decode(content, not is_cut)), codecs.lookup(encoding).name)
    return None


def _text(found: object) -> str:
    """Return a decoded text; some codecs of Python make bytes.

    Raises:
        ValueError: It is not a text.
    """
    if isinstance(found, str):
        return found
    raise ValueError


def _escaped(content: bytes, encoding: str, notes: tuple[tuple[str, str], ...]) -> Decoded:
    text = content.decode(encoding, "backslashreplace")
    return Decoded(text, encoding, (*notes, ("undecodable_bytes", f"not valid {encoding}")))


def _detected(content: bytes) -> str:
    """Return the most likely encoding of bytes that are not UTF-8."""
    from charset_normalizer import from_bytes

    best = from_bytes(content[:DETECTED_BYTES], cp_isolation=DETECTED).best()
    if best is None:
        return "cp1252"
    return "cp1252" if "cp1252" in best.could_be_from_charset else best.encoding
