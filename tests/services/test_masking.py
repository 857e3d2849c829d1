"""Identifiers, masked in every form in which data writes them, and records cut out of JSON."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration_project.engine.contracts.subjects import CapturedLines, CapturedRecords
from orchestration_project.services.erasure.rules import Subject, has_subject_at, remove_records

ANN = "ann@example.com"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (f"to {ANN}.", "to ***************."),
        ("ANN@Example.COM", "***************"),
        (r'{"a": "x\nann@example.com"}', r'{"a": "x\n***************"}'),
        (r"ann\u0040example.com", "********************"),
        ("?to=ann%40example.com&x", "?to=*****************&x"),
        ("<a href='mailto:ann@example.com'>", "<a href='mailto:***************'>"),
        ("joann@example.com", "joann@example.com"),
        ("jo-ann@example.com", "jo-ann@example.com"),
        ("ann@example.community", "ann@example.community"),
    ],
)
def test_an_e_mail_address_is_masked_as_a_whole_in_the_same_size(text, masked):
    assert Subject((ANN,)).mask(text) == masked


NAME = 'Zoë "Zo" O\'Brien'


@pytest.mark.parametrize(
    "written",
    [
        NAME,
        json.dumps({"name": NAME}),
        json.dumps({"name": NAME}, ensure_ascii=False),
        json.dumps(json.dumps({"name": NAME})),
        'Zo\\xc3\\xab "Zo" O\'Brien',
        "Zo%C3%AB%20%22Zo%22%20O%27Brien",
        "Zoë &quot;Zo&quot; O&#x27;Brien",
    ],
)
def test_a_name_is_masked_in_each_form_in_which_it_is_written(written):
    masked = Subject((NAME,)).mask(written)
    assert "Brien" not in masked
    assert len(masked.encode()) == len(written.encode())


@pytest.mark.parametrize(
    "content",
    [
        f"é “{ANN}”".encode(),
        b"\xff " + ANN.encode(),
        ANN.encode("utf-16"),
        ANN.encode("utf-16-be"),
        b"\0\0" + ANN.encode(),
    ],
)
def test_bytes_are_masked_in_the_same_size_whatever_their_encoding(content):
    subject = Subject((ANN,))
    masked = subject.mask_bytes(content)
    assert len(masked) == len(content)
    assert not subject.may_be_in(masked)


def test_a_name_beside_an_identifier_is_masked_in_its_document_alone():
    subject = Subject((ANN,), companions={"email": ("name",)})
    document = {"a": {"email": ANN, "name": "Ann Li"}, "b": {"email": "b@x.org", "name": "Bob"}}
    masked = json.loads(subject.mask(json.dumps(document)))
    assert masked["a"] == {"email": "*" * 15, "name": "******"}
    assert masked["b"] == document["b"]
    assert subject.mask("Ann Li") == "Ann Li"


@given(st.text(), st.text(min_size=6, max_size=40).filter(str.strip))
def test_a_mask_never_changes_the_size_and_masking_again_changes_nothing(text, identifier):
    content = f"{text} {identifier} {text}".encode("utf-8", "surrogatepass")
    subject = Subject((identifier.encode("utf-8", "replace").decode(),))
    masked = subject.mask_bytes(content)
    assert len(masked) == len(content)
    assert subject.mask_bytes(masked) == masked


DECLARED = CapturedRecords(source="api", dataset="d", records=("data",), path=("id",))


@pytest.mark.parametrize(
    ("content", "left"),
    [
        (b'{"data": [{"id": 42}]}', b'{"data": []}'),
        (b'{"data": [{"id": "42"}, {"id": 42}]}', b'{"data": []}'),
        (b'{"data":[{"id":1}, {"id":42} , {"id":3}]}', b'{"data":[{"id":1}, {"id":3}]}'),
        (b'{"data": [{"id": 42}, {"id": 1.50}]}', b'{"data": [ {"id": 1.50}]}'),
        (b'{"x": {"data": [{"id": 42}]}}', b'{"x": {"data": [{"id": 42}]}}'),
        (b'{"data": {"id": 42}}', b'{"data": {"id": 42}}'),
        (b'{"data": [{"id": 42}', b'{"data": ['),
        (b"not JSON \xff", b"not JSON \xff"),
        (b"[" * 100_000, b"[" * 100_000),
    ],
)
def test_records_of_a_subject_are_cut_out_and_other_bytes_stay(content, left):
    assert remove_records(content, DECLARED, Subject(("42",)))[0] == left


records = st.lists(st.dictionaries(st.sampled_from(["id", "a"]), st.integers(0, 3) | st.text()))


@pytest.mark.slow
@given(records, st.sampled_from([None, 0, 2]))
def test_what_is_left_of_a_page_is_what_json_says(found, indent):
    content = json.dumps({"n": 1, "data": found, "z": [2]}, indent=indent).encode()
    left, count = remove_records(content, DECLARED, Subject(("1",)))
    kept = [record for record in found if str(record.get("id")) != "1"]
    assert json.loads(left) == {"n": 1, "data": kept, "z": [2]}
    assert count == len(found) - len(kept)


LINES = CapturedLines(source="api", dataset="d", delimiter="|", field="mail")


@pytest.mark.parametrize(
    ("content", "left", "count"),
    [
        (b"n|mail\n1|a@x.org\n2|b@x.org\n", b"n|mail\n2|b@x.org\n", 1),
        (b"mail|n\r\nA@X.org|1\r\nb@x.org|2", b"mail|n\r\nb@x.org|2", 1),
        (b'n|mail\n"two\nlines"|a@x.org\n3|"a@x.org"\n4|c\n', b"n|mail\n4|c\n", 2),
        (b"n|mail\n1\n2|ba@x.org\n", b"n|mail\n1\n2|ba@x.org\n", 0),
        (
            "mail|n\nb|\u2028\x85\x0c\na@x.org|1\n".encode(),
            "mail|n\nb|\u2028\x85\x0c\n".encode(),
            1,
        ),
        (b"n|other\n1|a@x.org\n", b"n|other\n1|a@x.org\n", 0),
        (b"", b"", 0),
        (b"\xff", b"\xff", 0),
    ],
)
def test_lines_of_a_subject_are_cut_out_and_other_bytes_stay(content, left, count):
    assert remove_records(content, LINES, Subject(("a@x.org",))) == (left, count)


@pytest.mark.parametrize(
    ("content", "is_there"),
    [(b'{"a": {"b": 42}}', True), (b'{"a": {"b": true}}', False), (b"[", False), (b"[]", False)],
)
def test_an_identifier_is_found_at_a_path(content, is_there):
    assert has_subject_at(content, ("a", "b"), Subject(("42",))) is is_there
