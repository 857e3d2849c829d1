"""Documents: extraction and whole runs by workers, PDF, memory, recall, and markitdown beside."""

from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

from orchestration_demo.documents.corpus import FORMATS, write_corpus
from orchestration_demo.documents.pdf import story_pdf
from orchestration_demo.documents.story import Words, make_story

from benchmarks.bench import Bench, Report, Sides, seconds
from benchmarks.child import call
from benchmarks.report import Line, at_least, at_most, informative_line, line
from benchmarks.rig import CLOCK

SIDES = "benchmarks.document_sides"
MEMORY_MIB = 512
PEER_FORMATS = (
    *("pdf", "docx", "pptx", "xlsx", "xls", "html", "epub"),
    *("csv", "json", "jsonl", "md", "txt", "zip"),
)
"""Formats that both read."""

FORMAT_SHARE, PDF_SECTIONS = 10, 40
"""Files of a format, one for so many of all; sections of the PDF for each hundred files."""


def documents(bench: Bench) -> list[Line]:
    """Speed, memory and recall of documents of all formats, a tenth of them bad."""
    count = bench.sizes.documents
    with bench.rig.sqlite_place() as place:
        corpus = place.state / "corpus"
        write_corpus(corpus, seed=36, count=count)
        files = corpus / "files"
        return [
            *_extraction(bench, files),
            *_whole_runs(bench, files, count),
            *_pdf(bench, place.state),
            *_against_peer(bench, place.state),
            _recall(corpus),
            Line(
                "files of documents, docling",
                "files/s",
                ours=None,
                against=None,
                ratio=None,
                required="",
                holds=True,
                note="not run: it downloads models",
            ),
        ]


def _extraction(bench: Bench, files: Path) -> list[Line]:
    found = bench.in_turns(
        {
            name: lambda workers=workers: call(
                f"{SIDES}:extract", {}, folder=str(files), workers=workers
            )
            for name, workers in (("two", 2), ("one", 1))
        }
    )
    return [_files_a_second("extraction of documents alone, two workers against one", found, 1.6)]


def _files_a_second(measure: str, found: Mapping[str, list[Report]], least: float) -> Line:
    speeds = {
        name: [each["files"] / each["seconds"] for each in some] for name, some in found.items()
    }
    ours, against = speeds.values()
    note = f"{next(iter(found.values()))[0]['files']:,} files"
    return line(measure, "files/s", ours, against, at_least(least), note=note)


def _whole_runs(bench: Bench, files: Path, count: int) -> list[Line]:
    found = bench.in_turns(
        {
            name: lambda workers=workers: _load(bench, files, count, workers)
            for name, workers in (("two", 2), ("one", 1))
        }
    )
    limit = MEMORY_MIB
    return [
        _files_a_second("run of documents_load, two workers against one", found, 1.3),
        line(
            f"peak memory of {count:,} documents, against DOCUMENTS_MEMORY_MIB",
            "MiB",
            [each["peak"] for each in found["two"]],
            [limit],
            at_most(1.15),
            note="proportional set size of the run and its two workers together",
        ),
        informative_line(
            "run of documents_load: CPU of the main process",
            "s",
            found["two"][0]["cpu"],
            note=f"of {seconds(found['two'])[0]:.1f} s",
        ),
    ]


def _load(bench: Bench, files: Path, count: int, workers: int = 2) -> Report:
    """Load a folder into a new PostgreSQL database."""
    with bench.rig.place() as place:
        environment = {
            "STATE_DIR": str(place.state),
            "DAGSTER_HOME": str(place.state / "dagster"),
            "DATABASE_URL": str(place.database_url),
            "DATA_PROFILE": "real",
            "DEMO_CLOCK_NOW": CLOCK,
            "DOCUMENTS_DIR": str(files),
            "DOCUMENTS_MEMORY_MIB": str(MEMORY_MIB),
            "DOCUMENTS_OCR": "never",
            "DOCUMENTS_SOURCE": "folder",
            "DOCUMENTS_STABLE_SECONDS": "0",
            "DOCUMENTS_WORKERS": str(workers),
            "LOG_LEVEL": "ERROR",
        }
        return call(f"{SIDES}:load", environment, files=count)


def _pdf(bench: Bench, folder: Path) -> list[Line]:
    sections = max(bench.sizes.documents * PDF_SECTIONS // 100, 20)
    words = Words(Random(1))  # noqa: S311 - to be repeated
    story = make_story(Random(1), words, sections=sections, rows=1)  # noqa: S311 - the same
    file = folder / "long.pdf"
    file.write_bytes(story_pdf(story))
    found = bench.in_turns({"pdf": lambda: call(f"{SIDES}:pdf", {}, file=str(file))})["pdf"]
    return [
        line(
            "text of PDF, against bare pypdfium2",
            "pages/s",
            [each["ours"] for each in found],
            [each["bare"] for each in found],
            at_least(0.75),
        )
    ]


def _against_peer(bench: Bench, folder: Path) -> list[Line]:
    count = max(bench.sizes.documents // FORMAT_SHARE, 2)
    found: dict[str, dict[str, list[Report]]] = {}
    formats = PEER_FORMATS[: bench.sizes.document_formats]
    for kind in formats:
        files = folder / "formats" / kind
        _write_format(files, kind, count)
        found[kind] = bench.in_turns(_sides(bench, files, count))
    lines = [
        _files_a_second(f"whole run of {kind}, against markitdown in two processes", each, 5)
        for kind, each in found.items()
    ]
    count *= len(formats)
    together = bench.in_turns(_sides(bench, folder / "formats", count))
    name = "one run of all these formats, against markitdown in two processes"
    return [_files_a_second(name, together, 5), *lines]


def _sides(bench: Bench, files: Path, count: int) -> Sides:
    """Return both sides over the files of a folder."""
    return {
        "ours": lambda: _load(bench, files, count),
        "peer": lambda: call(f"{SIDES}:convert", {}, folder=str(files)),
    }


def _write_format(folder: Path, kind: str, count: int) -> None:
    folder.mkdir(parents=True)
    write, _ = FORMATS[kind]
    words = Words(Random(kind))  # noqa: S311 - to be repeated
    for number in range(count):
        random = Random(f"{kind} {number}")  # noqa: S311 - the same
        story = make_story(random, words, sections=random.randint(1, 4))
        (folder / f"{number:05d}.{kind}").write_bytes(write(story))


def _recall(corpus: Path) -> Line:
    found: dict[str, Any] = call(f"{SIDES}:recall", {}, folder=str(corpus), peer=list(PEER_FORMATS))
    wanted, ours, theirs = found["wanted"], found["ours"], found["theirs"]
    both = sum(wanted.get(kind, 0) for kind in PEER_FORMATS)
    peer = sum(theirs.values()) / both
    own = sum(ours.get(kind, 0) for kind in PEER_FORMATS) / both
    least = ", ".join(
        f"{kind} {theirs[kind] / wanted[kind]:.2f}"
        for kind in PEER_FORMATS
        if wanted.get(kind) and theirs.get(kind, 0) < 0.99 * wanted[kind]
    )
    return line(
        "recall of known words, digital formats",
        "share",
        [sum(ours.values()) / sum(wanted.values())],
        [1],
        at_least(0.99),
        note=f"on the formats that both read: ours {own:.3f}, markitdown {peer:.3f} ({least})",
    )
