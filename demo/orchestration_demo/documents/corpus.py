"""A corpus: files in all formats with known words, a tenth of them bad, and its manifest."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

from orchestration_demo.documents import compound, packages, pdf, texts
from orchestration_demo.documents.damage import BAD
from orchestration_demo.documents.story import Story, Words, make_story, near_duplicate

DOCX_ASIDES = ("header", "footer", "footnote", "comment", "text_box", "inserted")

FORMATS: Mapping[str, tuple[Callable[[Story], bytes], tuple[str, ...]]] = {
    "pdf": (pdf.story_pdf, ("footer",)),
    "docx": (packages.docx, DOCX_ASIDES),
    "xlsx": (packages.xlsx, ()),
    "pptx": (packages.pptx, ("text_box", "notes")),
    "html": (texts.html, ()),
    "md": (lambda story: texts.markdown(story).encode(), ()),
    "txt": (lambda story: texts.plain(story).encode(), ()),
    "log": (lambda story: texts.log(story).encode(), ()),
    "csv": (lambda story: texts.delimited(story).encode(), ()),
    "tsv": (lambda story: texts.delimited(story, "\t").encode(), ()),
    "eml": (texts.mail, ()),
    "msg": (compound.msg, ()),
    "xls": (compound.xls, ()),
    "ods": (packages.ods, ()),
    "epub": (packages.epub, ()),
    "rtf": (texts.rtf, ()),
    "json": (lambda story: texts.as_json(story).encode(), ()),
    "jsonl": (lambda story: texts.json_lines(story).encode(), ()),
    "xml": (lambda story: texts.xml(story).encode(), ()),
    "zip": (lambda story: packages.archive(_members(story)), ()),
}
"""Extension to its writer, and to the places outside of the body that it has."""

BAD_EVERY, COPY_EVERY, SIMILAR_EVERY = 10, 25, 25
BAD_AT, COPY_AT, SIMILAR_AT = 9, 7, 13
"""One file of ten is bad; one of 25 has the bytes of an earlier one, and one resembles one."""


@dataclass(frozen=True)
class Expected:
    """The outcome that extraction should have for a file; a line of the manifest.

    Attributes:
        path: Below the folder of files, with ``/``.
        state: Of `documents`: loaded, empty, needs_ocr, encrypted or refused.
        reason_code: The decisive one; empty where there is none.
        inner_reason: Of a file within it.
        words: Known words of the document and of the files within it.
        absent_words: Must not be found.
        language: Of the text; empty where there is none.
        copy_of: The path of a file with the same bytes.
        similar_to: The path of a file with the same text but for one paragraph.
        paragraph_count: Paragraphs of the text, of which all but one are those of `similar_to`.
    """

    path: str
    state: str = "loaded"
    reason_code: str = ""
    inner_reason: str = ""
    words: tuple[str, ...] = ()
    absent_words: tuple[str, ...] = ()
    language: str = ""
    copy_of: str = ""
    similar_to: str = ""
    paragraph_count: int = 0


def _members(story: Story) -> Iterator[tuple[str, bytes]]:
    yield "docs/story.txt", texts.plain(story).encode()
    yield "picture-less.md", b"# Nothing else\n"


def corpus(*, seed: int, count: int) -> Iterator[tuple[Expected, bytes]]:
    """Yield files with what to expect of them; equal for equal arguments, to the byte.

    Args:
        seed: Decides all of them.
        count: Number of files.
    """
    words = Words(Random(f"{seed} words"))  # noqa: S311 - synthetic, and repeatable
    kinds = list(FORMATS)
    good: list[tuple[Expected, Story, str]] = []
    for index in range(count):
        random = Random(f"{seed} {index}")  # noqa: S311 - the same
        story = make_story(random, words, sections=random.randint(1, 4))
        folder = f"{index % 7:02d}"
        if index % BAD_EVERY == BAD_AT:
            yield _bad(f"{folder}/{index:05d}", index // BAD_EVERY, story, random)
        elif index % COPY_EVERY == COPY_AT and good:
            yield _copy(f"{folder}/{index:05d}", random.choice(good))
        elif index % SIMILAR_EVERY == SIMILAR_AT and good:
            yield _similar(f"{folder}/{index:05d}", random.choice(good), random, words)
        else:
            kind = kinds[len(good) % len(kinds)]
            found = _good(f"{folder}/{index:05d}.{kind}", kind, story)
            good.append((found[0], story, kind))
            yield found


def _good(path: str, kind: str, story: Story) -> tuple[Expected, bytes]:
    write, asides = FORMATS[kind]
    expected = Expected(
        path,
        words=story.known(*asides),
        absent_words=(story.deleted,) if kind in ("docx", "html") else (),
        language=story.language,
    )
    return expected, write(story)


def _copy(path: str, original: tuple[Expected, Story, str]) -> tuple[Expected, bytes]:
    expected, story, kind = original
    found, content = _good(f"{path}.{kind}", kind, story)
    return Expected(**{**asdict(found), "copy_of": expected.path}), content


def _similar(
    path: str, original: tuple[Expected, Story, str], random: Random, words: Words
) -> tuple[Expected, bytes]:
    expected, story, kind = original
    similar = near_duplicate(story, random, words)
    found, content = _good(f"{path}.{kind}", kind, similar)
    count = sum(len(section.paragraphs) for section in story.sections)
    changes = {"similar_to": expected.path, "paragraph_count": count}
    return Expected(**{**asdict(found), **changes}), content


def _bad(path: str, place: int, story: Story, random: Random) -> tuple[Expected, bytes]:
    bad = BAD[place % len(BAD)]
    expected = Expected(
        f"{path}.{bad.extension}",
        bad.state,
        bad.reason_code,
        bad.inner_reason,
        language=story.language if bad.state == "loaded" else "",
    )
    return expected, bad.write(story, random)


def write_corpus(folder: Path, *, seed: int, count: int) -> Mapping[str, int]:
    """Write files below ``folder/files``, and ``folder/manifest.jsonl`` with a line for each.

    Returns:
        Number of files by expected state.

    Raises:
        OSError: A file cannot be written.
    """
    states = dict[str, int]()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "manifest.jsonl").open("w", encoding="utf-8") as manifest:
        for expected, content in corpus(seed=seed, count=count):
            file = folder / "files" / expected.path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            manifest.write(json.dumps(asdict(expected)) + "\n")
            states[expected.state] = states.get(expected.state, 0) + 1
    return states
