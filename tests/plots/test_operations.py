"""The picture of the control tower: well-formed, small, and the same for the same figures."""

from xml.etree import ElementTree

import polars as pl
import pytest

from orchestration_project.plots.operations import control_tower
from orchestration_project.services.ledger.rules.standings import COUNTS, sum_by_day

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.slow
def test_the_picture_names_each_domain_and_is_the_same_for_the_same_figures():
    row = ("finra", "", 3, "SUCCESS", None, 7, 0, 10, 10, 0, 99)
    days = sum_by_day(pl.DataFrame([row], COUNTS, orient="row"))
    shares = {"finra": [1.0, 0.5, 0.25], "web $A": [None, None, 0.0]}
    svg = control_tower(days, shares)
    found = ElementTree.fromstring(svg).iter(f"{SVG}text")  # noqa: S314 - our own
    texts = [str(text.text) for text in found]
    assert {"finra", "web $A", "Runs by day", "Rows loaded by day", "days ago"} <= set(texts)
    assert {"24 h", "7 d", "28 d", "100%"} <= set(texts)
    assert "succeeded, % of succeeded and failed runs" in texts
    assert texts.count("no runs") == 2
    assert len(svg) < 40_000
    assert control_tower(days, shares) == svg
    assert "SYNTHETIC DATA" not in texts
    assert b">SYNTHETIC DATA</text>" in control_tower(days, shares, is_synthetic=True)
    assert control_tower(sum_by_day(pl.DataFrame(schema=COUNTS)), {})
