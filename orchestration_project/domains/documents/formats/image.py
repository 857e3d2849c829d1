"""Images: pages without text, for character recognition."""

import struct

from orchestration_project.domains.documents.extracted import Draft
from orchestration_project.domains.documents.reasons import DocumentError

ENDS = {"image/png": b"IEND", "image/jpeg": b"\xff\xd9", "image/gif": b"\x3b"}
"""Bytes that are near the end of a whole file."""

TAIL_BYTES = 1024


def read(content: bytes, draft: Draft) -> None:
    """Add a page for each image of the file: recognised, else with method ``none``.

    Raises:
        DocumentError: ``truncated``.
    """
    end = ENDS.get(draft.media_type)
    if end and end not in content[-TAIL_BYTES:]:
        raise DocumentError("truncated", "the image's end is missing")
    count = tiff_pages(content, draft.limits.pages) if draft.media_type == "image/tiff" else 1
    draft.check_pages(count)
    texts = draft.recognise(lambda: content) or ()
    for text, confidence in texts[:count]:
        draft.add_page(text, method="ocr", confidence=confidence)
    for _ in range(count - len(draft.pages)):
        draft.add_page("", method="ocr" if texts else "none")


def tiff_pages(content: bytes, most: int) -> int:
    """Return the number of images of a TIFF file, at most ``most + 1``.

    Raises:
        DocumentError: ``truncated`` or ``corrupt``.
    """
    order = "<" if content.startswith(b"II") else ">"
    seen_numbers = set[int]()
    try:
        (place,) = struct.unpack_from(f"{order}I", content, 4)
        while place and len(seen_numbers) <= most:
            if place in seen_numbers:
                raise DocumentError("corrupt", "its directories form a loop")
            seen_numbers.add(place)
            (entries,) = struct.unpack_from(f"{order}H", content, place)
            (place,) = struct.unpack_from(f"{order}I", content, place + 2 + 12 * entries)
    except struct.error as error:
        raise DocumentError("truncated", "a directory of the TIFF file is missing") from error
    if not seen_numbers:
        raise DocumentError("corrupt", "a TIFF file without an image")
    return len(seen_numbers)
