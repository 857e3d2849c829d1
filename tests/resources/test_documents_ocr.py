"""Tesseract as the child of a worker: known words, and what ends without text."""

import shutil
import stat
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from orchestration_project.domains.documents.extracted import Extracted
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.documents import setups
from orchestration_project.resources.documents.extraction import Extraction, Source
from orchestration_project.resources.documents.setups import ocr_rule
from orchestration_project.resources.documents.tesseract import OcrRule
from orchestration_project.resources.documents.worker import ReaderSettings
from tests.domains.documents import codes
from tests.domains.pictures import WORDS, as_png, as_tiff, scanned

MIB = 1024**2
needs_tesseract = pytest.mark.skipif(not shutil.which("tesseract"), reason="no Tesseract here")


def recognised(rule: OcrRule, files: dict[str, bytes]) -> dict[str, Extracted]:
    sources = [Source(name, lambda content=content: content) for name, content in files.items()]
    settings = ReaderSettings(ocr=rule)
    with Extraction(workers=1, memory_bytes=512 * MIB, settings=settings) as extraction:
        return {document.path[0]: document.extracted for document in extraction.extract(sources)}


def are_in(words: Iterable[str], text: str) -> bool:
    return all(word in text for line in words for word in line.split())


@pytest.mark.slow
@needs_tesseract
def test_tesseract_finds_the_known_words_of_images_and_scanned_pages():
    rule = ocr_rule("always", "eng", 100)
    assert rule is not None
    second = ("Another page with pears",)
    files = {
        "a.png": as_png(),
        "a.tif": as_tiff(WORDS, second),
        "a.pdf": scanned(WORDS, "native words"),
    }
    found = recognised(rule, files)
    assert {name: codes(value) for name, value in found.items()} == {name: [] for name in files}
    assert are_in(WORDS, found["a.png"].text)
    assert are_in(WORDS, found["a.tif"].pages[0].text)
    assert are_in(second, found["a.tif"].pages[1].text)
    page, native = found["a.pdf"].pages
    assert are_in(WORDS, page.text)
    assert (page.method, native.method, native.confidence) == ("ocr", "native", None)
    assert 0.8 < (page.confidence or 0) <= 1


@needs_tesseract
def test_a_language_that_is_not_installed_names_the_package_to_install():
    rule = ocr_rule("auto", "eng+xho_old", 100)
    assert rule is not None
    found = recognised(rule, {"a.png": as_png()})["a.png"]
    assert (found.state, codes(found)) == ("needs_ocr", ["ocr_language_missing"])
    assert found.findings[0].detail == "install tesseract-ocr-xho-old"
    assert found.reason is not None
    assert found.reason.category == "needs_configuration"


def test_whether_images_are_recognised_is_a_setting(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(setups, "which", lambda _: None)
    assert ocr_rule("never", "eng", 1) is None
    assert ocr_rule("auto", "eng", 1) is None
    with pytest.raises(ConfigurationError, match="Tesseract is not installed"):
        ocr_rule("always", "eng", 1)
    monkeypatch.setattr(setups, "which", lambda _: "/nowhere/tesseract")
    rule = ocr_rule("auto", "eng", 1)
    assert rule is not None
    assert rule.missing == ("eng",)


def program(folder: Path, text: str) -> OcrRule:
    """Return the rule of a program of ours in the place of Tesseract."""
    path = folder / "tesseract"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return OcrRule(str(path), "eng", 20, environment=(("PATH", "/usr/bin:/bin"),))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "seconds", "code", "detail"),
    [
        ("exec sleep 60", 0.3, "ocr_timed_out", "limit 0.3 s"),
        ("while :; do :; done", 1, "ocr_timed_out", "limit 1 s"),
        ("echo trouble >&2; exit 3", 20, "ocr_failed", "trouble"),
        ("kill -SEGV $$", 20, "ocr_failed", "status -11"),
    ],
)
def test_a_program_that_hangs_or_fails_leaves_the_page_without_text(
    tmp_path: Path, text: str, seconds: float, code: str, detail: str
):
    rule = replace(program(tmp_path, text), seconds=seconds)
    found = recognised(rule, {"a.png": as_png()})["a.png"]
    assert (codes(found), found.findings[0].detail) == ([code], detail)


@pytest.mark.slow
def test_the_program_has_no_secret_in_its_environment_writes_no_file_and_has_the_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DOCUMENTS_PASSWORDS", "a secret of ours")
    shown = "echo $(ulimit -d) $(ulimit -f) $(env | grep -c PATH=) $(env | grep -c secret)"
    found = recognised(program(tmp_path, f"{shown} >&2; exit 1"), {"a.png": as_png()})["a.png"]
    assert found.findings[0].detail == f"{512 * 1024} 0 1 0"


@pytest.mark.slow
def test_a_missing_program_is_named(tmp_path: Path):
    rule = OcrRule(str(tmp_path / "none"), "eng", 5)
    found = recognised(rule, {"a.png": as_png()})["a.png"]
    assert codes(found) == ["ocr_failed"]
