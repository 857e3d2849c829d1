"""Euro reference rates: the ECB's documents as it writes them, damaged ones, and its calendar."""

import io
import zipfile
from datetime import UTC, date, datetime, timedelta

import pytest

from orchestration_project.catalog.fx import RATES, SOURCE
from orchestration_project.domains.fx.settings import FIRST_DAY
from orchestration_project.engine.contracts.audits import Validated
from orchestration_project.engine.contracts.balance import RecordCount
from orchestration_project.engine.contracts.contract import validate
from orchestration_project.engine.contracts.partitioning import Partition
from orchestration_project.engine.contracts.parts import Part
from orchestration_project.engine.own.contracts import iterate_records
from orchestration_project.errors import SourceError
from tests.expecting import expect_present

CALENDAR, DOCUMENTS = RATES.partitioning.calendar, SOURCE.documents
DAILY, LAST_90_DAYS, HISTORY = "eurofxref-daily.xml", "eurofxref-hist-90d.xml", "eurofxref-hist.zip"
MAX_TEXT_BYTES = 64 * 2**20
MONDAY, FRIDAY = Partition(date(2026, 1, 5)), Partition(date(2026, 1, 2))

XML = b"""<?xml version="1.0" encoding="UTF-8"?>
<gesmes:Envelope xmlns:gesmes="http://www.gesmes.org/xml/2002-08-01"
 xmlns="http://www.ecb.int/vocabulary/2002-08-01/eurofxref">
\t<gesmes:subject>Reference rates</gesmes:subject>
\t<gesmes:Sender><gesmes:name>European Central Bank</gesmes:name></gesmes:Sender>
\t<Cube>
\t\t<Cube time='2026-01-05'>
\t\t\t<Cube currency='USD' rate='1.1664'/>
\t\t\t<Cube currency='JPY' rate='183.05'/>
\t\t</Cube>
\t\t<Cube time='2026-01-02'>
<Cube currency='USD' rate='1.1721'/><Cube currency='BGN' rate='1.9558'/></Cube>
\t</Cube>
</gesmes:Envelope>
"""
CSV = """Date,USD,JPY,BGN,CYP,
2026-01-05,1.1664,183.05,N/A,N/A,
2026-01-02,1.1721,183.9,1.9558,N/A,
1999-01-04,1.1789,133.73,N/A,0.58231,
"""


def count_rates(body: bytes) -> RecordCount:
    return expect_present(RATES.count_records)(body)


def archive(text: str = CSV, name: str = "eurofxref-hist.csv") -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(name, text)
    return content.getvalue()


def checked(body: bytes, partition: Partition = MONDAY, limit: float = 0.0) -> Validated:
    parts = [Part(1, body)]
    return validate(
        RATES.contract,
        RATES.parse(parts, partition),
        parts,
        partition_texts=RATES.partitioning.texts_of(partition),
        record_total=None,
        max_reject_ratio=limit,
    )


@pytest.mark.parametrize("body", [XML, archive()], ids=["XML", "zipped CSV"])
def test_the_rates_of_a_day_are_exact_whichever_document_has_them(body):
    found = checked(body)
    assert found.rows.rows() == [
        (date(2026, 1, 5), "JPY", 183_050_000, 1),
        (date(2026, 1, 5), "USD", 1_166_400, 1),
    ]
    assert not found.is_quarantined
    assert DOCUMENTS.version_in(XML, MONDAY) == DOCUMENTS.version_in(archive(), MONDAY)


def test_a_currency_that_vanished_has_rates_until_its_last_day():
    assert checked(archive(), FRIDAY).rows["currency_code"].to_list() == ["BGN", "JPY", "USD"]
    assert checked(archive(), MONDAY).rows["currency_code"].to_list() == ["JPY", "USD"]
    first = checked(archive(), Partition(FIRST_DAY))
    assert dict(first.rows.select("currency_code", "rate").rows())["CYP"] == 582_310


def test_a_day_that_is_published_again_has_another_version_and_the_others_keep_theirs():
    corrected = XML.replace(b"1.1664", b"1.1665")
    assert DOCUMENTS.version_in(corrected, MONDAY) != DOCUMENTS.version_in(XML, MONDAY)
    assert DOCUMENTS.version_in(corrected, FRIDAY) == DOCUMENTS.version_in(XML, FRIDAY)
    assert DOCUMENTS.version_in(XML, Partition(date(2026, 1, 6))) is None


def test_a_document_lists_its_days_and_an_old_day_is_in_the_history_alone():
    assert DOCUMENTS.partitions_in(XML) == [FRIDAY, MONDAY]
    today = date(2026, 1, 6)
    assert DOCUMENTS.names_of(MONDAY, today) == (DAILY, LAST_90_DAYS)
    assert DOCUMENTS.names_of(FRIDAY, today) == (LAST_90_DAYS,)
    assert DOCUMENTS.names_of(Partition(date(2025, 10, 1)), today) == (HISTORY,)


@pytest.mark.parametrize(
    ("rate", "code"),
    [
        ("1.12345678", "not_an_amount"),
        ("-1.2", "not_an_amount"),
        ("1,16", "not_an_amount"),
        ("9" * 19, "not_an_amount"),
    ],
)
def test_a_rate_that_is_not_an_exact_amount_is_rejected_with_its_line(rate, code):
    found = checked(XML.replace(b"1.1664", rate.encode()), limit=1)
    [reject] = found.rejects.to_dicts()
    assert (reject["reason_code"], reject["line_number"]) == (code, 2)
    assert reject["record"] == f"2026-01-05,USD,{rate}"
    assert found.rows["currency_code"].to_list() == ["JPY"]


def test_two_bad_rates_of_a_day_are_two_rejects_and_quarantine_it():
    body = XML.replace(b"1.1664", b"one").replace(b"'JPY'", b"'yen'")
    found = checked(body)
    assert found.rejects["reason_code"].to_list() == ["not_an_amount", "wrong_form"]
    assert found.is_quarantined


def test_a_day_has_no_audit_of_a_number_of_rows_that_the_documents_do_not_have():
    names = [audit.name for audit in checked(XML).audits]
    assert names == list(RATES.contract.audits)
    assert "has_all_rows_of_record_total" not in names


def test_a_rate_of_zero_quarantines_the_day():
    found = checked(XML.replace(b"1.1664", b"0"))
    assert [audit.name for audit in found.audits if audit.blocks] == ["has_positive_rates"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"<html><body>Not here</body></html>", "Cube with currency and rate"),
        (b"not xml at all", "an XML document"),
        (XML[:-40], "an XML document"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><Cube/>', "XML without a document type"),
        (archive()[:-30], "a zip archive"),
        (archive(CSV.replace("Date", "Day")), "a first column Date"),
        (archive("Date,USD,\n2026-01-05,1.1\n"), "as many fields as the header"),
        (archive(CSV.encode("utf-16").decode("latin-1")), "a zip archive with one CSV file"),
        (archive(CSV, "readme.txt"), "one CSV file"),
    ],
)
def test_what_is_not_a_document_of_rates_is_refused_with_what_was_expected(body, expected):
    with pytest.raises(SourceError, match="not a document of euro reference rates") as refused:
        list(iterate_records(SOURCE.declared, body))
    assert expected in str(refused.value.expected)


def test_an_archive_with_a_damaged_byte_is_refused_or_has_the_same_rates():
    body, refused = archive(), 0
    rates = list(iterate_records(SOURCE.declared, body))
    for place in range(len(body)):
        damaged = body[:place] + bytes([body[place] ^ 0xFF]) + body[place + 1 :]
        try:
            assert list(iterate_records(SOURCE.declared, damaged)) == rates
        except SourceError:
            refused += 1
    assert refused > len(body) / 2


def test_a_replay_of_another_document_names_the_setting_of_the_address():
    with pytest.raises(SourceError, match="not a document of euro reference rates") as refused:
        RATES.parse([Part(1, b"<html></html>")], MONDAY)
    assert refused.value.remedy == (
        "see what answers at FX_API_URL; if the ECB changed its format, report it"
    )


def test_an_encrypted_archive_is_refused():
    body = bytearray(archive())
    body[6] |= 1  # of the file's own header
    body[body.index(b"PK\x01\x02") + 8] |= 1  # of the directory
    with pytest.raises(SourceError, match="not a document") as refused:
        list(iterate_records(SOURCE.declared, bytes(body)))
    assert "encrypted" in str(refused.value.found)


@pytest.mark.slow
def test_an_archive_that_unpacks_to_more_than_the_limit_is_refused_unread():
    bomb = archive("Date,USD,\n" + " " * (MAX_TEXT_BYTES + 1))
    with pytest.raises(SourceError, match="not a document"):
        list(iterate_records(SOURCE.declared, bomb))
    assert count_rates(bomb) == (0, 0)


def test_target_holidays_have_no_rates_and_make_nothing_late():
    assert CALENDAR.is_holiday(date(2026, 1, 1))
    assert CALENDAR.is_holiday(date(2026, 4, 3))  # Good Friday
    assert not CALENDAR.is_holiday(date(2026, 1, 6))  # a holiday of some countries
    assert CALENDAR.next_due(date(2026, 4, 2)) == date(2026, 4, 8)  # after Easter Monday


def test_all_days_that_are_due_after_the_newest_are_late_and_no_holiday_is():
    friday_noon = datetime(2026, 4, 10, 12, tzinfo=UTC)
    late = CALENDAR.late_days(date(2026, 4, 2), now=friday_noon, grace=timedelta(hours=6))
    assert late == [date(2026, 4, 7), date(2026, 4, 8), date(2026, 4, 9)]
    assert CALENDAR.late_days(late[-1], now=friday_noon, grace=timedelta(hours=6)) == []


@pytest.mark.parametrize(
    "body",
    [
        XML.replace(b"183.05", b"N/A"),
        archive(CSV.replace("183.05", "N/A").replace("CYP,\n", "CYP,\n2026-01-06,1.2,180,,,\n")),
    ],
    ids=["XML", "zipped CSV"],
)
def test_a_rate_that_is_stated_as_not_available_is_kept_as_a_row_without_a_rate(body):
    found = checked(body)
    assert found.rows.select("currency_code", "rate").rows() == [("JPY", None), ("USD", 1_166_400)]
    assert found.rejects.is_empty()
    assert not found.is_quarantined
    assert DOCUMENTS.version_in(body, MONDAY) != DOCUMENTS.version_in(XML, MONDAY)
