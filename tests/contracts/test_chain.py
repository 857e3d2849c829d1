"""Records that are chained and signed: each change of one is named, and other keys are refused."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import polars as pl
import pytest

from orchestration_project.engine.contracts.chain import (
    GROUP,
    MAX_LISTED_ROWS,
    ChainHead,
    ChainKey,
    ChainRecord,
    format_payload,
    generate_key,
    generate_salt,
    hash_groups,
    hash_payload,
    hash_rows,
    hash_subject,
    hash_with_salt,
    is_signed_by,
    iterate_head_problems,
    link_problems,
    read_heads,
    read_key,
    read_public_keys,
    sign_heads,
)
from orchestration_project.errors import ConfigurationError

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
KEY, OTHER_KEY = ChainKey(bytes(32)), ChainKey(bytes([1] * 32))
TRUSTED = frozenset([KEY.public_key])
PUBLIC_KEY = "O2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik="
"""Public key of the private key of 32 zeros, by RFC 8032."""

EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def record(number: int, previous: str, *, key: ChainKey | None = KEY, **fields) -> ChainRecord:
    salt, named = "00" * 16, (f"weeks#{number}", "T1|2026-01-26", '{"tier":"T1"}')
    signed = {
        "previous": previous,
        "table": "weeks",
        "number": number,
        "kind": "load",
        "amends": None,
        "at": NOON.isoformat(),
        "subject": hash_subject(salt, *named),
        **fields,
    }
    payload = format_payload(signed)
    sha256 = hash_payload(payload)
    return ChainRecord(
        *("weeks", number, "load", *named, None, payload, salt, sha256),
        *((key.sign(sha256), key.public_key) if key else (None, None)),
        NOON,
    )


FIRST = record(1, "", key=None)
SECOND = record(2, FIRST.record_sha256)
HEAD = (2, SECOND.record_sha256)


def causes(*records: ChainRecord, head: tuple[int, str] | None = HEAD) -> list[str]:
    return [str(problem) for problem in link_problems(records, TRUSTED, head)]


def test_an_unchanged_chain_has_no_problem():
    assert causes(FIRST, SECOND) == []
    assert causes(head=None) == []
    assert (SECOND.fields["number"], SECOND.name, replace(SECOND, group_id=None).name) == (
        *(2, "weeks#2", "load"),
    )


@pytest.mark.parametrize(
    ("records", "cause"),
    [
        ([SECOND], "expected record 1, found 2: records between were deleted"),
        ([FIRST], "expected a signature of the newest record, found none"),
        ([FIRST, replace(SECOND, payload="{}")], "expected the SHA-256 of its payload"),
        (
            [FIRST, replace(SECOND, payload="no", record_sha256=hash_payload("no"))],
            "expected a JSON object as payload, found other text",
        ),
        ([FIRST, record(2, "another")], "expected the SHA-256 of the record before it"),
        ([FIRST, replace(SECOND, kind="erasure")], "expected kind load, as it was signed"),
        ([FIRST, replace(SECOND, partition_key="T2")], "expected the delivery and partition"),
        (
            [FIRST, record(2, FIRST.record_sha256, key=OTHER_KEY)],
            f"expected a signature by a trusted key, found the key {OTHER_KEY.public_key}",
        ),
        (
            [FIRST, replace(SECOND, public_key=None)],
            "expected a signature by a trusted key, found the key none",
        ),
        (
            [FIRST, replace(SECOND, signature=KEY.sign("another"))],
            "expected a signature of this record, found another",
        ),
    ],
)
def test_each_change_of_a_record_is_named(records: list[ChainRecord], cause: str):
    newest = records[-1]
    found = causes(*records, head=(newest.number, newest.record_sha256))
    place = f"weeks, record {newest.number} (weeks#{newest.number})"
    assert len([text for text in found if text.startswith(f"{place}: {cause}")]) == 1


@pytest.mark.parametrize(
    ("head", "found"), [(None, "none"), ((1, FIRST.record_sha256), "record 1")]
)
def test_a_head_that_is_not_the_newest_record_is_named(head: tuple[int, str] | None, found: str):
    [problem] = causes(FIRST, SECOND, head=head)
    assert problem.endswith(f"expected as head of the chain this newest record, found {found}")


def test_keys_are_base_64_of_32_bytes():
    assert KEY.public_key == PUBLIC_KEY
    assert read_key(f" {'A' * 43}= ", "CHAIN_KEY").public_key == PUBLIC_KEY
    assert read_public_keys(f"{PUBLIC_KEY},, {PUBLIC_KEY}", "CHAIN_TRUSTED_KEYS") == TRUSTED
    assert read_key(generate_key(), "CHAIN_KEY").public_key != PUBLIC_KEY
    for text in ("", "AAAA", "A" * 43 + "!"):
        with pytest.raises(ConfigurationError, match="invalid CHAIN_KEY") as refused:
            read_key(text, "CHAIN_KEY")
        assert refused.value.found == f"{len(text)} characters that are not it"


def test_a_signature_is_of_one_text_by_one_key_in_one_spelling():
    signature = KEY.sign("text")
    assert is_signed_by(PUBLIC_KEY, "text", signature)
    assert not is_signed_by(PUBLIC_KEY, "texts", signature)
    assert not is_signed_by(OTHER_KEY.public_key, "text", signature)
    assert not is_signed_by("no key", "text", signature)
    assert not is_signed_by(PUBLIC_KEY, "text", "no signature")


def test_salts_hide_what_a_hash_is_of():
    assert len(generate_salt()) == 32
    assert generate_salt() != generate_salt()
    assert hash_with_salt(None, "") == EMPTY_SHA256
    assert hash_with_salt("a", "b") == hash_payload("ab")


def test_values_of_rows_have_one_text_each():
    row = (Decimal("1.5"), NOON, date(2026, 3, 2), "ä", None)
    text = '["1.500000", "2026-03-02T12:00:00+00:00", "2026-03-02", "ä", null]\n'
    assert hash_rows([row]) == hash_payload(text)
    assert hash_rows([]) == EMPTY_SHA256
    with pytest.raises(TypeError, match="a record cannot hold a set"):
        format_payload({"rows": {1}})


def test_groups_have_the_hash_of_their_ordered_rows_however_many_there_are():
    many = MAX_LISTED_ROWS + 1
    rows = pl.DataFrame({GROUP: [0, 0, *[2] * many], "key": [2, 1, *range(many)]})
    small, none, large = hash_groups(rows.sample(fraction=1, shuffle=True), ["key"], 3)
    assert (small, none) == (hash_rows([(1,), (2,)]), EMPTY_SHA256)
    [alone] = hash_groups(
        rows.filter(pl.col(GROUP) == 2).with_columns(pl.lit(0).alias(GROUP)), ["key"], 1
    )
    assert large == alone


def test_exported_heads_are_read_as_they_were_signed():
    heads = {"weeks": ChainHead(2, "aa"), "days": ChainHead(1, "bb")}
    text = sign_heads(heads, KEY, NOON)
    assert read_heads(text, "heads.json", TRUSTED) == heads
    assert [*iterate_head_problems(heads, {"weeks": {2: "aa"}, "days": {1: "bb"}})] == []
    deleted, other = iterate_head_problems(heads, {"weeks": {2: "cc"}})
    assert str(deleted) == (
        "days, record 1 (exported head): expected the exported record, "
        "found none: the newest records were deleted"
    )
    assert other.cause == "expected the exported record, found another"


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"signature": "", "tables": {"a": 1}}'])
def test_a_file_that_has_no_heads_is_refused(text: str):
    with pytest.raises(ConfigurationError, match=r"invalid chain heads in heads\.json"):
        read_heads(text, "heads.json", TRUSTED)


def test_heads_that_were_changed_or_that_another_key_signed_are_refused():
    text = sign_heads({"weeks": ChainHead(2, "aa")}, KEY, NOON)
    changed = json.dumps({**json.loads(text), "exported_at": "2026-03-03"})
    foreign = sign_heads({"weeks": ChainHead(2, "aa")}, OTHER_KEY, NOON)
    for other in (changed, foreign):
        with pytest.raises(ConfigurationError, match="invalid signature of the chain heads"):
            read_heads(other, "heads.json", TRUSTED)
