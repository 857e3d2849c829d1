"""Rules of tables: the command and the archive have the same, and each column is accounted for."""

import json

from orchestration_project.catalog import REGISTRY
from orchestration_project.contracts.formulas import NOT_DECLARED, rules_document, to_json
from orchestration_project.services.explanation import read_rules
from orchestration_project.tables.schema import METADATA


def test_the_command_and_the_archive_have_the_same_rules():
    rules = read_rules()
    assert list(rules) == list(REGISTRY.rules)
    for name, declared in REGISTRY.rules.items():
        written = json.loads(json.dumps(to_json(declared)))
        assert to_json(rules[name]) == written, "run `python -m reference_pages --write`"


def test_each_column_of_a_table_with_rules_has_a_formula_or_is_not_declared():
    others = REGISTRY.tables_as_of.keys() - REGISTRY.rules.keys()
    document = rules_document(
        REGISTRY.rules.values(), [METADATA.tables[name] for name in sorted(others)]
    )
    assert document[NOT_DECLARED].keys() == others
    assert "z_score" in document[NOT_DECLARED]["finra_symbol_anomalies_week"]
    assert len(REGISTRY.rules.items()) == len(document["tables"]) >= 3
    for name, rules in REGISTRY.rules.items():
        columns = document["tables"][name]["columns"]
        assert list(columns) == [column.key for column in rules.table.columns]
        undeclared = {
            column for column, entry in columns.items() if entry["formula"] == NOT_DECLARED
        }
        assert undeclared == columns.keys() - rules.columns.keys()
