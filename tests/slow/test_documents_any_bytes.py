"""10,000 damaged files of each format end with text or a reason."""

from collections import Counter
from datetime import timedelta

import pytest

from orchestration_project.resources.documents.extraction import Extraction, Source
from tests.domains.mutations import ORIGINALS, mutations
from tests.domains.test_documents_any_bytes import assert_sound

CRASHING = ("parser_crashed", "parser_failed", "parser_timed_out", "parser_out_of_memory")
MAX_CRASHES = 0.01
"""Share of the files that may end their process: XLS files that claim gigabytes, or loop."""

CPU_SECONDS = 5
"""Ends a reader that loops, on a busy machine too; wall clock ends one that waits."""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ORIGINALS)
def test_10_000_damaged_files_of_a_format_end_with_text_or_a_reason(kind: str):
    count, ends = 0, Counter[str | None]()
    with Extraction(
        workers=2, timeout=timedelta(seconds=60), cpu_seconds=CPU_SECONDS
    ) as extraction:
        files = (
            Source(f"{number}.{kind}", lambda content=content: content)
            for number, content in enumerate(mutations(kind, 10_000, seed=2))
        )
        for document in extraction.extract(files):
            assert_sound(document.extracted)
            ends[document.extracted.reason_code] += 1
            count += document.parent_id is None
    assert count == 10_000
    assert sum(ends[code] for code in CRASHING) <= MAX_CRASHES * count, ends
