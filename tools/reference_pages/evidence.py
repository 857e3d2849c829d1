"""The page of evidence archives: what each member holds, and the formulas of `rules.json`."""

from orchestration_project.catalog import REGISTRY
from orchestration_project.engine.contracts.formulas import OPERATORS
from orchestration_project.services.evidence.absences import WITHOUT_FORMULA
from orchestration_project.services.evidence.rules import CONTENTS
from tools.reference_pages.markdown import code, page, section, table


def write() -> str:
    """Return the page."""
    members = [(code(name), content) for name, content in CONTENTS.items()]
    operators = [(code(name), operator.meaning) for name, operator in OPERATORS.items()]
    return page(
        "evidence",
        [
            section("Members", table(("member", "content"), members)),
            section("Tables with formulas", table(("table", "rows of", "columns"), _tables())),
            section(
                "Without a formula",
                table(
                    ("table or column", "reason"),
                    ((code(name), reason) for name, reason in WITHOUT_FORMULA.items()),
                ),
            ),
            section("Operators of formulas", table(("operator", "value"), operators)),
        ],
    )


def _tables() -> list[tuple[str, str, str]]:
    """Return each table of `rules.json`, what its formulas read, and how many columns have one."""
    return [
        (
            code(name),
            code(rules.rows_of) if rules.rows_of else "captures",
            f"{len(rules.columns)} of {len(rules.table.columns)}",
        )
        for name, rules in REGISTRY.rules.items()
        if rules.columns
    ]
