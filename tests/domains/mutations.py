"""Files of all formats, and damaged copies of them, for the tests of readers."""

from collections.abc import Iterator
from io import BytesIO
from random import Random
from zipfile import ZipFile

from orchestration_demo.documents.corpus import FORMATS
from orchestration_demo.documents.damage import png
from orchestration_demo.documents.packages import archive

from tests.domains.documents import a_story

ORIGINALS = {
    **{kind: write(a_story(place)) for place, (kind, (write, _)) in enumerate(FORMATS.items())},
    "png": png(),
}
"""Extension to a whole file."""


def mutations(kind: str, count: int, seed: int) -> Iterator[bytes]:
    """Yield damaged copies of a file of a format; half of those of an archive are whole archives
    with one damaged member.
    """
    random = Random(f"{kind} {seed}")  # noqa: S311 - to be repeated
    original = ORIGINALS[kind]
    is_archive = original.startswith(b"PK")
    for _ in range(count):
        if is_archive and random.random() < 0.5:
            yield _with_damaged_member(original, random)
        else:
            yield damaged(original, random)


def damaged(content: bytes, random: Random) -> bytes:
    """Return bytes with one to eight changes, each of one of six kinds."""
    changed = bytearray(content)
    for _ in range(random.randint(1, 8)):
        start = random.randrange(len(changed) + 1)
        end = min(len(changed), start + random.choice((1, 1, 2, 8, 64, 500)))
        match random.randrange(6):
            case 0:
                changed[start:end] = random.randbytes(end - start)
            case 1:
                del changed[start:end]
            case 2:
                changed[start:start] = changed[start:end] * random.randint(1, 20)
            case 3:
                changed[start:end] = random.choice((b"\0", b"\xff", b"9", b"<", b"(")) * (
                    end - start
                )
            case 4:
                other = random.choice(list(ORIGINALS.values()))
                place = random.randrange(len(other))
                changed[start:end] = other[place : place + (end - start)]
            case _:
                if random.random() < 0.2:
                    del changed[start:]
    return bytes(changed)


def _with_damaged_member(content: bytes, random: Random) -> bytes:
    with ZipFile(BytesIO(content)) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    name = random.choice(list(parts))
    parts[name] = damaged(parts[name], random)
    return archive(parts.items())
