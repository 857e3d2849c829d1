"""Whatever the bytes, each line ends once: loaded, rejected, a sum, or refused with its part."""

from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestration_project.domains.finra.audits import AUDITS
from orchestration_project.domains.finra.contract import OTHER_SUMS, SYMBOL_TOTALS, check_week
from orchestration_project.engine.contracts.audits import Validated
from orchestration_project.engine.contracts.delimited import count_data_rows
from orchestration_project.engine.contracts.parts import Part
from orchestration_project.errors import ContractError
from tests.domains.weekly import FIRM, TOTAL, WEEK, audited_week, file, line, page, quantities
from tests.properties import bounded

PAGE = page(
    line(),
    line(FIRM),
    line(TOTAL),
    line(TOTAL, summaryTypeCode="OTC_W_FIRM"),
    line(quantities("NA", "7"), issueName="Añejo  Corp.", totalNotionalSum="1.5E3"),
).body
FILE = file(
    "OTC|ECOX|Eco Innovation|OTC Link ECN|OTCN|500|5|2025-12-15",
    "Not Applicable|EP$C|El Paso, PFD (C)  #1||OTCX|7|1|",
).body
WINDOWS_FILE = FILE.replace(b"\n", b"\r\n") + b"\r\n"
QUOTED_FILE = b'"' + FILE.replace(b"|", b'"|"').replace(b"\n", b'"\n"') + b'"'

SPLINTERS = (
    *(b"|", b"\n", b"\r\n", b"\r", b"\0", b'"', b",", b" ", b"-", b"\xff", b"\xed\xa0\x80"),
    *(b"NaN", b"1e308", b"-1", b"0000-00-00", b"0000-01-01", b"9999-12-31", b"9" * 25),
    *(b"\xef\xbb\xbf", "٣".encode(), "\u2028".encode(), b"\x1f\x8b", b"_FIRM"),
)
CUTS = st.tuples(
    st.integers(0, len(PAGE)),
    st.integers(0, 12),
    st.one_of(st.sampled_from(SPLINTERS), st.binary(max_size=6)),
)


def mutated(body: bytes, cuts: list[tuple[int, int, bytes]]) -> bytes:
    for start, length, splinter in cuts:
        at = start % (len(body) + 1)
        body = body[:at] + splinter + body[at + length :]
    return body


BODIES = st.one_of(
    st.binary(max_size=60),
    st.binary(max_size=60).map(lambda tail: FILE.split(b"\n")[0] + b"\n" + tail),
    st.builds(
        mutated,
        st.sampled_from([PAGE, FILE, WINDOWS_FILE, QUOTED_FILE]),
        st.lists(CUTS, min_size=1, max_size=4),
    ),
)


def check_lines(body: bytes, market: str | None) -> Counter[str] | str:
    """Return how many lines ended in which way, or why the part was refused as a whole."""
    try:
        week = check_week([Part(1, body, market)], week_start=WEEK, tier="T1")
    except ContractError as refusal:
        return refusal.what
    assert week.received_count == count_data_rows(body)
    assert week.rejects["line_number"].is_unique().all()
    assert None not in week.rejects["reason"].to_list()
    for row in week.rows.rows():  # that they are values which Python and so a database can hold
        assert None not in row[:6]
    return Counter(loaded=len(week.rows), rejected=len(week.rejects))


@pytest.mark.slow
@bounded
@given(BODIES, st.sampled_from([None, "ATS", "NON_ATS"]))
@example(PAGE.replace(b"2025-12-02", b"0000-01-01"), None)
@example(PAGE + b"\n" + b"|" * 16, None)
@example(b"", "ATS")
def test_each_line_of_bytes_is_counted_or_its_part_is_refused(body, market):
    found = check_lines(body, market)
    if isinstance(found, str):
        assert found.isprintable()
        return
    sums = [code.encode() for code in (*SYMBOL_TOTALS, *OTHER_SUMS)]
    rest = count_data_rows(body) - found.total()
    assert rest >= 0
    if market:
        assert rest == 0  # a file holds no sums
    else:
        assert rest <= sum(any(code in part for code in sums) for part in body.split(b"\n"))


@bounded
@given(st.lists(BODIES, max_size=3), st.integers(0, 20))
def test_any_delivery_is_refused_or_judged_by_every_audit_and_never_crashes(bodies, total):
    parts = [Part(number, body) for number, body in enumerate(bodies, start=1)]
    verdict = judged(parts, total)
    if isinstance(verdict, Validated):
        assert [audit.name for audit in verdict.audits] == list(AUDITS)
        lines = sum(count_data_rows(body) for body in bodies)
        assert verdict.audits[0].outcome == ("passed" if lines == total else "failed")
        assert all(audit.offenders_json.isascii() for audit in verdict.audits)


def judged(parts: list[Part], total: int) -> Validated | ContractError:
    try:
        return audited_week(
            parts, week_start=WEEK, tier="T1", record_total=total, max_reject_ratio=0.005
        )
    except ContractError as refusal:
        return refusal


@pytest.mark.slow
@bounded
@given(st.integers(0, len(PAGE) - 1))
def test_a_page_that_is_cut_anywhere_loses_no_line_unseen(length: int):
    cut = judged([Part(1, PAGE[:length])], count_data_rows(PAGE))
    if isinstance(cut, ContractError):
        return
    whole = judged([Part(1, PAGE)], count_data_rows(PAGE))
    assert isinstance(whole, Validated)
    is_noticed = cut.audits != whole.audits or len(cut.rejects)
    assert is_noticed or cut.rows.equals(whole.rows)
