"""The picture of error budgets: well-formed, small, and the same for the same figures."""

from xml.etree import ElementTree

import pytest

from orchestration_project.plots.objectives import BudgetLine, error_budgets

SVG = "{http://www.w3.org/2000/svg}"
LINES = [
    BudgetLine("webhooks", "burning", -0.4, [None, 0.0, 1.4]),
    BudgetLine("finra_loads", "exhausted", 0.0, [0.5, 0.5]),
    BudgetLine("gateway $latency", "met", 0.93, [0.0, 0.07]),
    BudgetLine("mqtt_mirror_lag", "no_data", None),
]


def texts_of(svg: bytes) -> set[str]:
    found = ElementTree.fromstring(svg).iter(f"{SVG}text")  # noqa: S314 - our own
    return {str(text.text) for text in found}


def test_each_budget_has_its_name_what_is_left_and_a_state_that_is_not_met():
    svg = error_budgets(LINES)
    assert texts_of(svg) >= {
        *("webhooks", "finra_loads", "gateway $latency", "mqtt_mirror_lag"),
        *("-40%, burning", "0%, exhausted", "93%", "no data", "Error budgets", "Spent by day"),
    }
    assert error_budgets(LINES) == svg
    assert "SYNTHETIC DATA" not in texts_of(svg)
    assert "SYNTHETIC DATA" in texts_of(error_budgets(LINES, is_synthetic=True))


@pytest.mark.slow
def test_twenty_budgets_of_27_days_stay_small():
    line = BudgetLine("an_objective_with_a_long_name_that_is_cut", "met", 0.5, [0.1] * 27)
    assert len(error_budgets([line] * 20)) < 100_000
    assert error_budgets([])
