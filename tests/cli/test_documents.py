"""The command `documents show`: outcome and text of files, escaped, with its exit status."""

import json
from datetime import date
from pathlib import Path

import pytest
from orchestration_demo.documents.packages import archive, xlsx

from orchestration_project.__main__ import main
from orchestration_project.resources.documents import extraction
from tests.domains.documents import a_story
from tests.domains.pictures import as_png
from tests.domains.test_documents_encrypted import PASSWORD, encrypted_zip

STORY = a_story()


def test_files_that_are_extracted_are_shown_with_text(tmp_path: Path, capsys):
    (tmp_path / "a.md").write_bytes(b"# Title\n\nsome words\x1b[31m\n\nmore\n\nnot shown\n")
    assert main(["documents", "show", str(tmp_path / "a.md"), "--lines", "3"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        f"{tmp_path}/a.md: loaded, text/markdown, 1 page, 7 words",
        "  title: Title",
        "  | # Title",
        "  | some words\\x1b[31m",
        "  | more",
    ]
    assert err == "1 documents: 1 loaded\n"


@pytest.mark.slow
def test_a_file_that_fails_has_its_reason_and_does_not_stop_others(tmp_path: Path, capsys):
    (tmp_path / "bad\nname.json").write_bytes(b"{")
    (tmp_path / "a.zip").write_bytes(archive([("in.txt", b"inner words")]))
    (tmp_path / "bytes\udcff.txt").write_bytes(b"named by bytes")
    names = ["bad\nname.json", "a.zip", "gone", ".", "bytes\udcff.txt"]
    assert main(["documents", "show", *(str(tmp_path / name) for name in names)]) == 1
    out = capsys.readouterr().out
    assert f"{tmp_path}/bad\\nname.json: refused, application/json, 0 pages, 0 words\n" in out
    assert "  truncated: the file ends too early (Expecting property name" in out
    assert f"{tmp_path}/a.zip > in.txt: loaded, text/plain, 1 page, 2 words\n" in out
    assert f"{tmp_path}/bytes\\udcff.txt: loaded, text/plain, 1 page, 3 words\n" in out
    assert "  vanished: " in out
    assert "  not_a_file: " in out


@pytest.mark.slow
def test_json_has_pages_tables_and_reasons(tmp_path: Path, capsys):
    (tmp_path / "a.xlsx").write_bytes(xlsx(STORY, has_values=False))
    assert main(["documents", "show", str(tmp_path / "a.xlsx"), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["path"], row["state"], row["title"]) == (
        [str(tmp_path / "a.xlsx")],
        "loaded",
        STORY.title,
    )
    assert row["created_at"] == STORY.created_at.isoformat()
    assert [finding["code"] for finding in row["findings"]] == ["formula_without_value"]
    table = row["pages"][1]["tables"][0]
    name, amount, day = STORY.rows[1]
    assert table["rows"][1] == [name, amount, day.isoformat() if isinstance(day, date) else ""]


@pytest.mark.slow
def test_the_limits_of_a_reader_are_options(tmp_path: Path, capsys):
    (tmp_path / "a.txt").write_bytes(b"x" * 70 * 1024**2)
    assert main(["documents", "show", str(tmp_path / "a.txt"), "--memory-mib", "64"]) == 1
    assert "parser_out_of_memory: the reader exceeded its memory" in capsys.readouterr().out


def test_without_a_file_it_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["documents", "show"])
    assert ended.value.code == 2


def test_without_the_extra_it_says_which_to_install(monkeypatch, capsys):
    monkeypatch.setitem(extraction.LIBRARIES, "no_such_library", "no-such-library")
    assert main(["documents", "show", "a.txt"]) == 1
    err = capsys.readouterr().err
    assert "the extra documents" in err
    assert "pip install 'orchestration_project[documents]'" in err


@pytest.mark.slow
def test_passwords_and_ocr_are_those_of_the_settings(tmp_path: Path, monkeypatch, capsys):
    (tmp_path / "a.zip").write_bytes(encrypted_zip(b"inner words"))
    (tmp_path / "a.png").write_bytes(as_png())
    monkeypatch.setenv("DOCUMENTS_OCR", "never")
    assert main(["documents", "show", str(tmp_path / "a.zip"), str(tmp_path / "a.png")]) == 1
    out = capsys.readouterr().out
    assert f"{tmp_path}/a.zip: encrypted, application/zip" in out
    assert f"{tmp_path}/a.png: needs_ocr, image/png" in out
    monkeypatch.setenv("DOCUMENTS_PASSWORDS", f"wrong\n{PASSWORD}")
    assert main(["documents", "show", str(tmp_path / "a.zip")]) == 0
    shown = capsys.readouterr()
    assert "inner words" in shown.out
    assert PASSWORD not in shown.out + shown.err
    monkeypatch.setenv("DOCUMENTS_OCR", "always")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["documents", "show", str(tmp_path / "a.png")]) == 1
    assert "Tesseract is not installed" in capsys.readouterr().err
