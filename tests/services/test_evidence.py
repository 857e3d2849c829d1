"""Defects of an archive, and its description of itself."""

import hashlib
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration_project.services.evidence.rules import (
    CONTENTS,
    MANIFEST,
    Manifest,
    Member,
    MemberContent,
    find_problems,
    read_manifest,
    render_readme,
    sum_of,
)
from orchestration_project.settings import PROJECT_ROOT
from tests.properties import bounded

WHOLE = Manifest({"run": "1"}, [Member("a", "0" * 64, 7, 1), Member("b", "1" * 64, 0)])
names = st.sampled_from("abcd")
hashes = st.sampled_from("12")


@given(
    promised=st.dictionaries(names, hashes),
    found=st.dictionaries(names, st.builds(MemberContent, hashes, st.sampled_from(["", "torn"]))),
)
@settings(bounded, max_examples=100)
def test_each_member_that_is_not_as_promised_is_a_problem_of_one_kind(promised, found):
    kinds = {problem.name: problem.kind for problem in find_problems(promised, found)}
    for name in set(promised) | set(found):
        is_same = name in promised and found.get(name) == MemberContent(promised[name])
        assert kinds.get(name) == (
            None
            if is_same
            else "missing"
            if name not in found
            else "extra"
            if name not in promised
            else "changed"
        )


def test_a_manifest_is_read_as_it_was_written_and_the_sums_are_those_of_sha256sum():
    assert read_manifest(WHOLE.to_json()) == WHOLE
    own = hashlib.sha256(WHOLE.to_json()).hexdigest()
    assert WHOLE.sums().decode() == f"{'0' * 64}  a\n{'1' * 64}  b\n{own}  {MANIFEST}\n"
    assert sum_of(MANIFEST, WHOLE.sums()) == WHOLE.sha256 == own
    assert sum_of("c", WHOLE.sums()) == ""


def test_its_reader_and_the_docs_name_what_each_member_holds():
    text = render_readme({"run": "1"}).decode()
    documented = PROJECT_ROOT / "docs" / "reference" / "evidence.md"
    in_docs = set(re.findall(r"`([\w/]+(?:\.jsonl?|\.py|/))", documented.read_text()))
    assert all(f"\n  {name} " in text for name in CONTENTS)
    assert {*CONTENTS} - {"rows/", "bytes/"} <= in_docs
