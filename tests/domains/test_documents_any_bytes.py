"""Any bytes end with text or a reason, and the synthetic corpus is found as its manifest says."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestration_demo.documents.corpus import FORMATS, corpus

from orchestration_project.domains.documents.extracted import Extracted
from orchestration_project.domains.documents.extraction import extract, extract_all
from orchestration_project.domains.documents.reasons import REASONS
from orchestration_project.resources.documents.extraction import Extraction, Source
from tests.domains.mutations import ORIGINALS, mutations
from tests.properties import bounded

KINDS = list(ORIGINALS)
PER_KIND = -(-200 // len(KINDS))


def assert_sound(found: Extracted) -> None:
    """Assert that a document has text, or a decisive reason and nothing else."""
    assert all(finding.code in REASONS for finding in found.findings)
    if found.state in ("refused", "encrypted"):
        assert (found.pages, found.children) == ((), ())
    if found.state == "loaded":
        assert found.text.strip() or found.children
    for page in found.pages:
        assert not set(page.text) & {"\0", "\r"}
        page.text.encode()


@pytest.mark.slow
def test_200_damaged_files_end_with_text_or_a_reason():
    files = [
        Source(f"{number}.{kind}", lambda content=content: content)
        for kind in KINDS
        for number, content in enumerate(mutations(kind, PER_KIND, seed=1))
    ]
    with Extraction(workers=2) as extraction:
        found = [document.extracted for document in extraction.extract(files)]
    assert len(found) >= len(files) >= 200
    for document in found:
        assert_sound(document)
    ends = Counter(each.reason_code for each in found)
    assert ends["parser_failed"] + ends["parser_crashed"] + ends["parser_timed_out"] == 0


@bounded
@given(st.binary(max_size=2000), st.sampled_from(KINDS))
def test_any_bytes_end_with_text_or_a_reason(content, kind):
    found = extract(content, name=f"a.{kind}")
    assert_sound(found)
    assert found == extract(content, name=f"a.{kind}")


@pytest.mark.slow
def test_every_format_of_the_corpus_is_found_with_its_words_and_reasons():
    words, wanted = Counter[str](), Counter[str]()
    for expected, content in corpus(seed=3, count=300):
        documents = list(extract_all(content, name=expected.path))
        found = documents[0].extracted
        inside = {
            finding.code for document in documents[1:] for finding in document.extracted.findings
        }
        assert (found.state, found.reason_code or "") == (expected.state, expected.reason_code)
        assert not expected.inner_reason or expected.inner_reason in inside
        text = "\n".join(document.extracted.text for document in documents)
        kind = expected.path.rpartition(".")[2]
        words[kind] += sum(word in text for word in expected.words)
        wanted[kind] += len(expected.words)
        assert [word for word in expected.absent_words if word in text] == []
        for document in documents:
            assert_sound(document.extracted)
    assert set(FORMATS) <= set(wanted)
    assert words == wanted
