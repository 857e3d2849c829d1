"""2,000 mixed files, a tenth of them bad, through Dagster's own command: each ends as expected."""

import json
from collections import Counter

import pytest
from orchestration_demo.documents.corpus import write_corpus
from sqlalchemy import func, select

from orchestration_project.domains.documents.tables import documents, documents_files
from tests import databases, programs
from tests.assets.test_documents import assert_spans, assert_words, expected_of, outcomes

COUNT, DAY = 2000, "2026-03-02"


@pytest.mark.slow
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_2000_mixed_files_end_as_the_manifest_says(database, prepared, tmp_path):
    by_state = write_corpus(tmp_path / "corpus", seed=11, count=COUNT)
    expected = expected_of(tmp_path / "corpus")
    assert len(expected) == sum(by_state.values()) == COUNT
    assert sum(not document["words"] for document in expected) == COUNT // 10
    sqlite = tmp_path / "warehouse.sqlite"
    url = prepared.postgresql() if database == "postgresql" else prepared.sqlite(sqlite)
    status, output, error = programs.run(
        tmp_path / "state",
        *("dagster", "job", "execute", "-m", "orchestration_project.definitions"),
        *("-j", "documents_load", "--tags", json.dumps({"dagster/partition": DAY})),
        DATA_PROFILE="real",
        DATABASE_URL=url,
        DOCUMENTS_SOURCE="folder",
        DOCUMENTS_DIR=str(tmp_path / "corpus" / "files"),
        DOCUMENTS_OCR="never",
        DOCUMENTS_STABLE_SECONDS="0",
    )
    assert status == 0, (output, error)
    found = outcomes(url)
    assert Counter(state for state, _ in found.values()) == by_state
    for document in expected:
        state, reason_code = found[document["path"]]
        assert state == document["state"]
        if state != "loaded" or document["reason_code"]:
            assert reason_code == document["reason_code"], document["path"]
    assert_words(url, expected)
    assert_spans(url)
    own = select(func.count()).where(documents.c.parent_id.is_(None))
    contents = {
        (tmp_path / "corpus" / "files" / document["path"]).read_bytes() for document in expected
    }
    assert databases.rows(url, own) == [(len(contents),)]
    states = select(documents_files.c.state, func.count()).group_by(documents_files.c.state)
    assert dict(databases.rows(url, states)) == {"loaded": COUNT}
