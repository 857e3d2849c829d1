"""Rules of euro reference rates, whose numbers can be recomputed from captures, for evidence."""

from collections.abc import Mapping

from orchestration_project.contracts.capture_forms import Form
from orchestration_project.contracts.contract import line_rules, row_formulas
from orchestration_project.contracts.field_formulas import BLANK, replace_field
from orchestration_project.contracts.formulas import Formula, LineRules, TableRules
from orchestration_project.domains.fx.rates import CONTRACT, NOT_AVAILABLE
from orchestration_project.tables.fx import fx_rates_daily


def _attribute(name: str, group: str) -> str:
    return rf"""\s+{name}\s*=\s*["']\s*(?P<{group}>[^"']*?)\s*["']"""


DAY, RATE = _attribute("time", "date"), _attribute("currency", "currency")
FORMS = [
    Form("^PK", [("lines", [",", ["date", "currency", "rate"]])], "eurofxref-hist.csv"),
    Form("<Cube", [("matches", [f"<Cube{DAY}|<Cube{RATE}{_attribute('rate', 'rate')}"])]),
    Form("", [("none", ["XML of the ECB or its zipped CSV", "another file"])]),
]
"""The zipped CSV of the history, with a column for each currency; and documents in XML."""

RATE_DATE: Formula = ["given", "rate_date"]
IS_NOT_AVAILABLE: Formula = ["equal", "rate", ["text", NOT_AVAILABLE]]


def _quoted(operator: str) -> Formula:
    """Return the first day, or the last one, on which a currency is quoted."""
    return ["over", ["currency"], ["where", ["not", IS_NOT_AVAILABLE], [operator, "date"]]]


IS_BETWEEN_RATES: Formula = [
    "and",
    ["greater", RATE_DATE, _quoted("min")],
    ["greater", _quoted("max"), RATE_DATE],
]
FILTERS: Mapping[str, Formula] = {
    "other_days": ["not", ["equal", "date", RATE_DATE]],
    "not_listed": ["and", IS_NOT_AVAILABLE, ["not", IS_BETWEEN_RATES]],
}


def _read_rate(formula: Formula) -> Formula:
    """Return a formula for which a rate that is not available is blank."""
    return replace_field(formula, "rate", ["if", IS_NOT_AVAILABLE, BLANK, "rate"])


REJECTS = [(code, _read_rate(condition)) for code, condition in line_rules(CONTRACT).rejects]
FORMULAS = {name: _read_rate(formula) for name, formula in row_formulas(CONTRACT).items()}

RULES: Mapping[str, TableRules] = {
    fx_rates_daily.name: TableRules(
        fx_rates_daily, None, ("rate_date",), FORMULAS, LineRules(REJECTS, FILTERS, FORMS)
    )
}
"""By table."""
