"""Recognised text: Tesseract's TSV as pages, and images as it takes them."""

import pytest

from orchestration_project.domains.documents.extracted import Options
from orchestration_project.domains.documents.extraction import extract
from orchestration_project.domains.documents.recognition import (
    MAX_PIXELS,
    Problem,
    Recognised,
    RecognitionError,
    pgm,
    read_tsv,
    scale_for,
)
from tests.domains.documents import codes
from tests.domains.pictures import as_png, as_tiff, scanned

HEAD = "level page_num block_num par_num line_num word_num left top width height conf text"


def tsv(*rows: str) -> str:
    return "\n".join("\t".join(row.split(" ")) for row in (HEAD, *rows))


def row(place: str, confidence: str, text: str) -> str:
    return f"5 {place} 1 0 0 9 9 {confidence} {text}"


def test_words_become_lines_paragraphs_and_pages_with_their_mean_confidence():
    found = read_tsv(
        tsv(
            "1 1 0 0 0 0 0 0 9 9 -1 ",
            row("1 1 1 1", "90", "two"),
            row("1 1 1 1", "80.5", '"words'),
            row("1 1 1 2", "100", "below"),
            row("1 2 1 1", "10", "apart"),
            row("2 1 1 1", "50", "next"),
            row("2 1 1 1", "-1", "layout"),
            row("2 1 1 1", "95", ""),
        )
    )
    assert found == [
        Recognised('two "words\nbelow\n\napart', 0.7013),
        Recognised("next", 0.5),
    ]
    assert read_tsv("") == read_tsv(HEAD.replace(" ", "\t")) == [Recognised("", None)]


def test_pages_are_rendered_at_300_dots_per_inch_within_a_bound_of_pixels():
    assert scale_for(595, 842) == pytest.approx(300 / 72)
    scale = scale_for(14_400, 14_400)
    assert (14_400 * scale) ** 2 == pytest.approx(MAX_PIXELS)
    assert pgm(b"ab-cd-", 2, 2, 3) == b"P5\n2 2\n255\nabcd"


def reading(*pages: Recognised) -> Options:
    return Options(recognise=lambda _: list(pages))


def failing(code: Problem) -> Options:
    def fail(_: bytes) -> list[Recognised]:
        raise RecognitionError(code, "what was found")

    return Options(recognise=fail)


def test_recognised_pages_have_method_and_confidence():
    found = extract(as_tiff(("a",), ("b",)), name="a.tif", options=reading(Recognised("one", 0.5)))
    assert [(page.text, page.method, page.confidence) for page in found.pages] == [
        ("one", "ocr", 0.5),
        ("", "ocr", None),
    ]
    assert (found.state, codes(found)) == ("loaded", [])
    mixed = extract(scanned(("a",), "native"), name="a.pdf", options=reading(Recognised("x", 1)))
    assert [(page.text, page.method) for page in mixed.pages] == [
        ("x", "ocr"),
        ("native", "native"),
    ]
    assert codes(mixed) == []
    nothing = extract(as_png(), name="a.png", options=reading(Recognised("", None)))
    assert (nothing.state, codes(nothing)) == ("empty", ["no_text"])


@pytest.mark.parametrize(
    ("code", "count"), [("ocr_timed_out", 1), ("ocr_language_missing", 1), ("ocr_failed", 3)]
)
def test_only_an_image_that_cannot_be_read_lets_the_next_ones_be_tried(code: Problem, count: int):
    tried = list[bytes]()

    def fail(image: bytes) -> list[Recognised]:
        tried.append(image)
        raise RecognitionError(code, "what was found")

    found = extract(scanned(*[("a",)] * 3), name="a.pdf", options=Options(recognise=fail))
    assert (codes(found), len(found.pages), len(tried)) == ([code], 3, count)
    assert all(each.startswith(b"P5\n") for each in tried)


@pytest.mark.parametrize("code", ["ocr_language_missing", "ocr_timed_out", "ocr_failed"])
def test_why_an_image_is_not_recognised_is_the_reason_of_its_document(code: Problem):
    for content, name in ((as_png(), "a.png"), (scanned(("a",)), "a.pdf")):
        found = extract(content, name=name, options=failing(code))
        assert (found.state, codes(found)) == ("needs_ocr", [code])
        assert found.findings[0].detail == "what was found"
        assert [page.method for page in found.pages] == ["none"]
    mixed = extract(scanned(("a",), "native"), name="a.pdf", options=failing(code))
    assert (mixed.state, codes(mixed)) == ("loaded", ["pages_need_ocr"])
    assert mixed.findings[0].detail == "1 of 2 pages: what was found"
