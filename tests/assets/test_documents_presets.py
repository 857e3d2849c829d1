"""Presets of documents: previewed, applied and recorded, and a verdict that fails the run."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from orchestration_project.assets.documents import DOCUMENTS_LOADING
from orchestration_project.definitions import defs
from orchestration_project.domains.documents.tables import (
    documents,
    documents_chunks,
    documents_pages,
)
from orchestration_project.services.presets import resolve_preset
from tests import databases
from tests.assets.test_documents import DAY, folder, run, tick
from tests.assets.test_operations_presets import choose, shown_by

__all__ = ["folder"]

WORDS = " ".join(f"word{number}" for number in range(1200))


def load(instance: Any, **config: Any) -> bool:
    """Run the job with these options; return whether it succeeded."""
    result = defs.resolve_job_def("documents_load").execute_in_process(
        instance=instance,
        partition_key=DAY,
        raise_on_error=False,
        run_config={"ops": {"documents_load_day": {"config": config}}},
    )
    return result.success


def test_the_presets_have_chunks_of_256_500_and_1024_words_and_grow_less_strict():
    found = {
        name: resolve_preset(name, [DOCUMENTS_LOADING])[0].values
        for name in ("quality", "balanced", "speed", "documents_standard")
    }
    assert {name: values.get("chunk_words") for name, values in found.items()} == {
        "quality": 256,
        "balanced": 500,
        "speed": 1024,
        "documents_standard": None,
    }
    assert [found[name]["fail_on"] for name in ("quality", "balanced", "speed")] == [
        "watch",
        "bad",
        "never",
    ]
    assert [found[name]["ocr"] for name in ("quality", "balanced", "speed")] == [
        "always",
        "auto",
        "never",
    ]


@pytest.mark.slow
def test_a_preset_is_previewed_applied_and_written_with_what_it_made(
    folder: Path, instance: Any, url: str
):
    (folder / "a.txt").write_text(WORDS)
    tick(instance)
    run(instance)
    assert databases.rows(url, select(documents.c.preset)) == [(None,)]
    shown = shown_by(choose(instance, preset="speed"))
    assert "chunk_words" in repr(shown)
    assert choose(instance, preset="speed", who="ada", why="a large folder", dry_run=False).success
    run(instance, replay=True)
    assert databases.rows(url, select(documents.c.preset)) == [("speed",)]
    sizes = databases.rows(url, select(documents_chunks.c.word_count))
    assert sorted(size for (size,) in sizes) == [176, 1024]


@pytest.mark.slow
def test_chunks_of_a_run_overlap_as_its_options_say_and_their_spans_are_exact(
    folder: Path, instance: Any, url: str
):
    (folder / "a.txt").write_text(WORDS)
    tick(instance)
    assert load(instance, chunk_words=100, chunk_overlap=10)
    columns = documents_chunks.c
    spans = databases.rows(
        url,
        select(columns.start_offset, columns.end_offset, columns.text).order_by(
            columns.start_offset
        ),
    )
    [(text,)] = databases.rows(url, select(documents_pages.c.text))
    assert len(spans) > 12
    assert all(text[start:end] == chunk for start, end, chunk in spans)
    for (_, end, chunk), (start, _, following) in pairwise(spans):
        assert text[start:end].split() == chunk.split()[-10:] == following.split()[:10]


@pytest.mark.slow
@pytest.mark.parametrize(("fail_on", "is_success"), [("never", True), ("watch", False)])
def test_a_bad_verdict_fails_the_run_where_the_options_say_so(
    folder: Path, instance: Any, url: str, fail_on: str, is_success: bool
):
    (folder / "bad.pdf").write_bytes(b"%PDF-1.7 and nothing else")
    tick(instance)
    assert load(instance, fail_on=fail_on) == is_success
    assert databases.rows(url, select(documents.c.state)) == [("refused",)]
