"""Files in worker processes: what ends a reader is the reason of its file alone."""

import os
import socket
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from orchestration_demo.documents.damage import nested
from orchestration_demo.documents.packages import archive

from orchestration_project.domains.documents.chunks import ChunkRule, chunk_spans
from orchestration_project.domains.documents.extracted import Limits
from orchestration_project.domains.documents.extraction import Document, extract_all
from orchestration_project.domains.documents.fingerprints import fingerprint_of
from orchestration_project.domains.documents.reasons import DocumentError
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.documents import extraction
from orchestration_project.resources.documents.extraction import Extraction, Source, read_file
from orchestration_project.resources.documents.worker import ReaderSettings
from orchestration_project.settings import PROJECT_ROOT
from tests import programs
from tests.domains.documents import a_story
from tests.resources import document_functions

MIB = 1024**2


def sources(**named: bytes) -> list[Source]:
    return [Source(name, lambda content=content: content) for name, content in named.items()]


@pytest.mark.slow
def test_what_ends_a_reader_is_the_reason_of_its_file_alone():
    inner = archive([("a.txt", b"inner words"), ("crash", b"x")])
    files = sources(crash=b"x", eat=b"x", **{"raise": b"x", "return": b"x"})
    with Extraction(
        workers=2,
        memory_bytes=256 * MIB,
        max_result_bytes=MIB,
        function=document_functions.misbehave,
    ) as opened:
        found = list(opened.extract([*files, *sources(good=b"words", zipped=inner)]))
    assert {document.path: document.extracted.reason_code for document in found} == {
        ("crash",): "parser_crashed",
        ("eat",): "parser_out_of_memory",
        ("raise",): "parser_failed",
        ("return",): "result_too_large",
        ("good",): None,
        ("zipped",): None,
        ("zipped", "a.txt"): None,
        ("zipped", "crash"): "parser_crashed",
    }


def test_passwords_are_neither_in_arguments_nor_in_the_environment_of_a_worker(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("DOCUMENTS_PASSWORDS", "a secret of ours")
    settings = ReaderSettings(passwords=("a secret of ours",))
    with Extraction(
        workers=1, settings=settings, function=document_functions.show_process
    ) as opened:
        (found,) = opened.extract(sources(any=b"x"))
    assert "PATH=" in found.extracted.name
    assert "secret" not in found.extracted.name
    assert "secret" not in repr(settings)


def test_a_reader_that_hangs_is_ended():
    with Extraction(
        workers=1, timeout=timedelta(seconds=0.5), function=document_functions.misbehave
    ) as opened:
        (found,) = opened.extract(sources(hang=b"x"))
    assert (found.extracted.reason_code, found.extracted.state) == ("parser_timed_out", "refused")


@pytest.mark.slow
def test_processes_find_what_one_finds():
    content = archive([("in.zip", nested(a_story())), ("b.txt", b"b"), ("c.json", b"{")])
    settings = ReaderSettings(chunk_rule=ChunkRule(2))
    with Extraction(workers=2, limits=Limits(depth=3), settings=settings) as opened:
        found = list(opened.extract(sources(a=content, b=b"")))
    alone = [
        *extract_all(content, name="a", limits=Limits(depth=3)),
        *extract_all(b"", name="b"),
    ]
    assert sorted(map(without_parts, found)) == sorted(map(with_derived, alone))


def without_parts(document: Document) -> Document:
    """Return a document without the count of parts, which tests of these compare."""
    return document._replace(extracted=replace(document.extracted, parts=None))


def with_derived(document: Document) -> Document:
    """Return a document with what a process derives of its text, unless none opened it."""
    pages, reason = document.extracted.pages, document.extracted.reason_code
    if reason == "nested_too_deep":
        return document
    derived = replace(
        document.extracted,
        fingerprint=fingerprint_of(page.text for page in pages),
        chunk_spans=tuple(chunk_spans(pages, ChunkRule(2))),
    )
    return document._replace(extracted=derived)


@pytest.mark.slow
def test_a_reader_that_uses_cpu_time_without_an_end_is_ended():
    with Extraction(workers=1, cpu_seconds=1, function=document_functions.burn) as opened:
        (found,) = opened.extract(sources(a=b"words"))
    (finding,) = found.extracted.findings
    assert finding == ("parser_timed_out", "CPU time")


@pytest.mark.slow
def test_a_worker_has_no_network_where_namespaces_are_allowed():
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        Extraction(workers=1, function=document_functions.connect) as opened,
    ):
        port = str(server.getsockname()[1]).encode()
        (found,) = opened.extract(sources(a=port))
    assert found.extracted.name in ("OSError False", "connected True")


@pytest.mark.slow
def test_a_worker_writes_no_file(tmp_path: Path):
    target = tmp_path / "written"
    with Extraction(workers=1, function=document_functions.write) as opened:
        (found,) = opened.extract(sources(a=str(target).encode()))
    assert found.extracted.name == "OSError"
    assert not target.exists() or target.stat().st_size == 0


@pytest.mark.slow
def test_a_worker_opens_a_limited_number_of_files():
    with Extraction(workers=1, function=document_functions.open_many) as opened:
        (found,) = opened.extract(sources(a=b"words"))
    assert found.extracted.name == "EMFILE True"


@pytest.mark.slow
def test_programs_that_a_reader_started_are_killed_with_its_worker():
    with Extraction(
        workers=1, timeout=timedelta(seconds=0.5), function=document_functions.start_and_hang
    ) as opened:
        started, hung = opened.extract(sources(start=b"x", hang=b"x"))
        assert hung.extracted.reason_code == "parser_timed_out"
        assert programs.wait_for(lambda: is_gone(int(started.extracted.name)))


def is_gone(pid: int) -> bool:
    """Return whether a process has ended, by /proc; one whose parent did not wait for it counts."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return True


def reason_of(path: Path, *, max_bytes: int = 100) -> str:
    with pytest.raises(DocumentError) as raised:
        read_file(path, max_bytes=max_bytes)
    return raised.value.reason_code


def test_a_regular_file_and_a_link_to_one_are_read(tmp_path: Path):
    file, link = tmp_path / "a\nb", tmp_path / "link"
    file.write_bytes(b"x" * 100)
    link.symlink_to(file)
    assert read_file(link, max_bytes=100) == read_file(file, max_bytes=100) == b"x" * 100


def test_what_cannot_be_read_has_its_reason(tmp_path: Path):
    pipe, large, loop = tmp_path / "pipe", tmp_path / "large", tmp_path / "loop"
    os.mkfifo(pipe)
    large.touch()
    os.truncate(large, 2**31)
    loop.symlink_to(loop)
    assert reason_of(tmp_path) == "not_a_file"
    assert reason_of(pipe) == "not_a_file"
    assert reason_of(Path("/dev/null")) == "not_a_file"
    assert reason_of(large) == "too_large"
    assert reason_of(tmp_path / "gone") == "vanished"
    assert reason_of(loop) == "unreadable"
    assert reason_of(tmp_path / "a\0b") == "unreadable"
    assert reason_of(Path("/proc/self/cmdline")) == "changed_while_read"  # of 0 bytes, it says


@pytest.mark.slow
def test_a_file_that_cannot_be_read_does_not_stop_others(tmp_path: Path):
    paths = [tmp_path / "gone", tmp_path / "there"]
    paths[1].write_bytes(b"words")
    read = [Source(path.name, partial(read_file, path, max_bytes=100)) for path in paths]
    with Extraction(workers=1) as opened:
        found = {document.path[0]: document for document in opened.extract(read)}
    assert found["gone"].extracted.reason_code == "vanished"
    assert found["gone"].document_id is None
    assert found["there"].extracted.text == "words"


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(extraction.LIBRARIES, "no_such_library", "no-such-library")
    with pytest.raises(ConfigurationError, match="libraries are missing") as raised:
        Extraction(workers=1)
    assert "no-such-library" in raised.value.found
    assert "[documents]" in raised.value.remedy


@pytest.mark.slow
def test_a_worker_imports_neither_dagster_nor_polars():
    program = (
        "import sys; from orchestration_project.resources.documents import worker; "
        "sys.exit(bool({'dagster', 'polars', 'pyarrow', 'pydantic'} & sys.modules.keys()))"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=PROJECT_ROOT, check=False)  # noqa: S603 - our own
    assert done.returncode == 0
