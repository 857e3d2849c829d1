"""PDF: text in reading order, properties, attachments, and files that cannot be read."""

from datetime import UTC, datetime

import pytest
from orchestration_demo.documents.damage import cut
from orchestration_demo.documents.pdf import (
    ENCRYPTION,
    Text,
    many_pages_pdf,
    pages_to_pdf,
    scanned_pdf,
    story_pdf,
)

from orchestration_project.domains.documents.extracted import Child, Limits
from orchestration_project.domains.documents.extraction import extract
from orchestration_project.domains.documents.formats.pdf import pdf_time
from tests.domains.documents import a_story, codes, missing

LEFT = [Text(72, 700 - 15 * n, f"left {n} words of the first column") for n in range(4)]
RIGHT = [Text(330, 700 - 15 * n, f"right {n} words of the second one") for n in range(4)]
ABOVE = Text(72, 770, "A title above both columns", 16)


def test_a_story_has_its_words_and_properties():
    story = a_story()
    found = extract(story_pdf(story), name="a.pdf")
    assert (found.state, codes(found), found.media_type) == ("loaded", [], "application/pdf")
    assert missing(found, story.known("footer")) == []
    assert (found.title, found.author) == (story.title, story.author)
    assert found.created_at == story.created_at
    assert [page.number for page in found.pages] == [1, 2]
    assert found.pages[0].text.startswith(story.title + "\n")


@pytest.mark.parametrize(
    "lines", [[ABOVE, *LEFT, *RIGHT], [*RIGHT, *LEFT, ABOVE], [*LEFT[::-1], *RIGHT[::-1], ABOVE]]
)
def test_columns_are_read_one_after_the_other_in_whatever_order_they_are_drawn(lines):
    found = extract(pages_to_pdf([lines]), name="a.pdf")
    assert found.text.split("\n") == [line.text for line in (ABOVE, *LEFT, *RIGHT)]


def side_by_side(*columns):
    return [line for row in zip(*columns, strict=True) for line in row]


def test_columns_that_are_drawn_line_by_line_are_read_one_after_the_other_with_a_note():
    below = [Text(72, 500, f"1 {'A footnote under both columns ' * 3}".strip(), 9)]
    found = extract(pages_to_pdf([[ABOVE, *side_by_side(LEFT, RIGHT), *below]]), name="a.pdf")
    assert found.text.split("\n") == [line.text for line in (ABOVE, *LEFT, *RIGHT, *below)]
    assert [(finding.code, finding.detail) for finding in found.findings] == [
        ("reading_order_guessed", "page 1")
    ]


def test_a_word_that_is_divided_at_the_end_of_a_line_of_a_column_is_one_word():
    left = [line._replace(text=f"{line.text} manip-") for line in LEFT[:1]]
    left += [LEFT[1]._replace(text="ulation in the left column"), *LEFT[2:]]
    found = extract(pages_to_pdf([side_by_side(left, RIGHT)]), name="a.pdf")
    assert found.text.startswith(f"{LEFT[0].text} manipulation in the left column\n")


def test_three_columns_are_read_one_after_the_other():
    columns = [
        [Text(50 + 180 * c, 700 - 14 * r, f"column {c} line {r} has words") for r in range(6)]
        for c in range(3)
    ]
    found = extract(pages_to_pdf([side_by_side(*columns)]), name="a.pdf")
    assert found.text.split("\n") == [line.text for column in columns for line in column]


def test_a_table_of_two_columns_is_read_by_rows():
    names = ["Item", "Consulting of the whole year", "Travel", "Sum"]
    amounts = ["Amount", "1,250.00", "237.50", "1,487.50"]
    rows = [
        Text(x, 700 - 16 * row, text)
        for row, texts in enumerate(zip(names, amounts, strict=True))
        for x, text in zip((60, 400), texts, strict=True)
    ]
    found = extract(pages_to_pdf([rows]), name="a.pdf")
    assert [line.split() for line in found.text.split("\n")] == [
        f"{name} {amount}".split() for name, amount in zip(names, amounts, strict=True)
    ]
    assert codes(found) == []


def test_a_table_drawn_by_columns_is_read_by_rows():
    columns = [[Text(72 + 100 * c, 700 - 15 * r, f"c{c}r{r}") for r in range(3)] for c in range(3)]
    drawn = [cell for column in reversed(columns) for cell in column]
    found = extract(pages_to_pdf([[*drawn, Text(72, 750, "Above a narrow table", 14)]]), name="a")
    assert found.text.split("\n")[0] == "Above a narrow table"
    assert set(found.text.split()) >= {cell.text for cell in drawn}


def test_a_page_without_text_needs_recognition_and_the_others_are_loaded():
    pages = extract(scanned_pdf(2), name="a.pdf")
    assert (pages.state, codes(pages)) == ("needs_ocr", ["needs_ocr"])
    assert [page.method for page in pages.pages] == ["none", "none"]
    mixed = extract(pages_to_pdf([[], [ABOVE]]), name="a.pdf")
    assert (mixed.state, codes(mixed), mixed.text) == ("loaded", [], f"\n{ABOVE.text}")
    some = extract(pages_to_pdf([[], [ABOVE]], image=bytes(4096)), name="a.pdf")
    assert (some.state, codes(some)) == ("loaded", ["pages_need_ocr"])
    assert [page.method for page in some.pages] == ["none", "native"]
    scans = extract(pages_to_pdf([[ABOVE]], image=bytes(4096)), name="a.pdf")
    assert (scans.state, [page.method for page in scans.pages]) == ("loaded", ["native"])


def test_a_word_that_is_divided_at_the_end_of_a_line_is_one_word():
    lines = [Text(72, 700, "A long manip-"), Text(72, 685, "ulation of the Franco-")]
    found = extract(pages_to_pdf([[*lines, Text(72, 670, "British kind")]]), name="a.pdf")
    assert found.text == "A long manipulation of the Franco-British kind"


def test_attachments_are_children():
    content = pages_to_pdf([[ABOVE]], attachments=[("data.csv", b"a,b\n"), ("b.bin", b"\0\1")])
    children = extract(content, name="a.pdf").children
    assert children == (Child("data.csv", b"a,b\n"), Child("b.bin", b"\0\1"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (story_pdf(a_story(), trailer=b"/Encrypt " + ENCRYPTION), "encrypted"),
        (cut(story_pdf(a_story())), "truncated"),
        (b"%PDF-1.7\n" + bytes(range(256)) + b"%%EOF", "corrupt"),
        (pages_to_pdf([[]]), "no_text"),
        (many_pages_pdf(20_000), "too_many_pages"),
    ],
)
def test_a_bad_pdf_has_its_reason(content, reason):
    found = extract(content, name="a.pdf")
    assert found.reason_code == reason
    assert found.state != "loaded"


def test_a_limit_of_pages_is_kept():
    content = pages_to_pdf([[ABOVE]] * 3)
    assert extract(content, name="a", limits=Limits(pages=3)).state == "loaded"
    assert extract(content, name="a", limits=Limits(pages=2)).reason_code == "too_many_pages"


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("D:20260102030405Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("D:20260102030405+01'30'", datetime(2026, 1, 2, 1, 34, 5, tzinfo=UTC)),
        ("D:20260102030405-08'00", datetime(2026, 1, 2, 11, 4, 5, tzinfo=UTC)),
        ("20260102", datetime(2026, 1, 2, tzinfo=UTC)),
        ("D:2026", datetime(2026, 1, 1, tzinfo=UTC)),
        ("D:20261402", None),
        ("D:00010101000000+23'00'", None),
        ("yesterday", None),
    ],
)
def test_a_date_of_pdf_is_read_in_utc(text, time):
    assert pdf_time(text) == time
