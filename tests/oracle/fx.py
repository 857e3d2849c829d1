"""Recomputes `fx_rates_daily` from the ECB's documents."""

import io
from xml.etree import ElementTree
from zipfile import ZipFile

from tests.oracle.archive import Delivery, Row
from tests.oracle.lines import read_units

KEY = ("rate_date", "currency_code")
CUBE = "{http://www.ecb.int/vocabulary/2002-08-01/eurofxref}Cube"


def parse_delivery(delivery: Delivery) -> dict[tuple, Row]:
    """Return the rates of the delivery's day; a rate that is not available is NULL."""
    rows = {}
    for capture in delivery.captures:
        read = read_csv if capture.content.startswith(b"PK") else read_xml
        for currency, rate in read(capture.content, delivery.partition_key):
            rows[delivery.partition_key, currency] = {
                "rate_date": delivery.partition_key,
                "currency_code": currency,
                "rate": None if rate == "N/A" else read_units(rate),
                "capture_id": capture.capture_id,
            }
    return rows


def read_xml(content: bytes, day: str) -> list[tuple[str, str]]:
    """Return currencies and rates of a day of an XML document."""
    return [
        (rate.attrib["currency"], rate.attrib["rate"])
        for cube in ElementTree.fromstring(content).iter(CUBE)  # noqa: S314 - captured bytes
        if cube.get("time") == day
        for rate in cube
    ]


def read_csv(content: bytes, day: str) -> list[tuple[str, str]]:
    """Return currencies and rates of a day of the zipped wide CSV; its last column is empty.

    N/A is a rate that is not available only between two rates of its currency: before the first
    and after the last one the currency is not quoted.
    """
    with ZipFile(io.BytesIO(content)) as archive:
        lines = archive.read(archive.namelist()[0]).decode().splitlines()
    names, *days = [[value.strip() for value in line.split(",")] for line in lines]
    rates = []
    for place, currency in enumerate(names[1:], start=1):
        quoted = [values[0] for values in days if values[place] != "N/A"]
        if currency and quoted and min(quoted) <= day <= max(quoted):
            rates += [(currency, values[place]) for values in days if values[0] == day]
    return rates
