"""Synthetic documents: the same bytes for a seed, a tenth of them bad, copies and near copies."""

import json
from collections import Counter
from pathlib import Path

import pytest
from orchestration_demo.documents.__main__ import main
from orchestration_demo.documents.corpus import FORMATS, corpus
from orchestration_demo.documents.damage import BAD


def test_a_seed_gives_the_same_bytes_and_another_one_others():
    first = list(corpus(seed=1, count=60))
    assert first == list(corpus(seed=1, count=60))
    others = {content for _, content in corpus(seed=2, count=60)}
    same = [expected for expected, content in first if content in others]
    assert {expected.state for expected in same} <= {"empty", "needs_ocr"}


def test_a_corpus_has_all_formats_all_reasons_copies_and_near_copies():
    made = {expected.path: (expected, content) for expected, content in corpus(seed=1, count=300)}
    kinds = Counter(path.rpartition(".")[2] for path in made)
    assert set(FORMATS) <= set(kinds)
    bad = [each for each, _ in made.values() if each.path.rpartition(".")[0].endswith("9")]
    assert len(bad) == 30
    assert {document.reason_code for document in bad} == {document.reason_code for document in BAD}
    copies = [each for each, _ in made.values() if each.copy_of]
    assert copies
    assert all(made[copy.path][1] == made[copy.copy_of][1] for copy in copies)
    similar = [each for each, _ in made.values() if each.similar_to]
    assert similar
    for document in similar:
        original = made[document.similar_to][0]
        assert len(set(document.words) - set(original.words)) == 1
        assert len(set(document.words) & set(original.words)) >= document.paragraph_count


def test_known_words_are_of_one_document_alone():
    made = [expected for expected, _ in corpus(seed=1, count=200)]
    own = [document for document in made if not document.copy_of and not document.similar_to]
    words = [word for document in own for word in document.words]
    assert len(set(words)) == len(words) > 1000


def test_the_command_writes_files_and_a_manifest_beside_them(tmp_path: Path, capsys):
    main(["--into", str(tmp_path), "--count", "30", "--seed", "5"])
    assert capsys.readouterr().out.startswith("30 synthetic files in ")
    lines = [json.loads(line) for line in (tmp_path / "manifest.jsonl").read_text().splitlines()]
    files = {
        path.relative_to(tmp_path / "files").as_posix(): path.read_bytes()
        for path in (tmp_path / "files").rglob("*.*")
    }
    assert files == {expected.path: content for expected, content in corpus(seed=5, count=30)}
    assert [line["path"] for line in lines] == [each.path for each, _ in corpus(seed=5, count=30)]
    with pytest.raises(SystemExit):
        main(["--into", str(tmp_path), "--count", "0"])
