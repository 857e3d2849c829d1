"""Rules of tables: the command and the archive have the same, and each column is accounted for."""

import json

from orchestration_project.catalog import REGISTRY
from orchestration_project.definitions import defs
from orchestration_project.engine.contracts.formulas import NOT_DECLARED, serialize_rules
from orchestration_project.services.evidence.absences import explain_absence
from orchestration_project.services.explanation import RULES_FILE, read_rules
from orchestration_project.tables.catalogue import METADATA, asset_of


def test_the_command_and_the_archive_have_the_same_rules():
    rules = read_rules()
    assert list(rules) == list(REGISTRY.rules)
    for name, declared in REGISTRY.rules.items():
        written = json.loads(json.dumps(serialize_rules(declared)))
        assert serialize_rules(rules[name]) == written, (
            "run `python -m tools.reference_pages --write`"
        )


def gold_tables() -> set[str]:
    """Return the tables of gold assets that the catalog publishes, and those as of a time."""
    by_asset = {asset_of(name): name for name in METADATA.tables}
    graph = defs.resolve_asset_graph()
    keys = [key for key in graph.get_all_asset_keys() if "gold" in graph.get(key).kinds]
    return {by_asset[key.to_user_string()] for key in keys} | REGISTRY.tables_as_of.keys()


def test_each_gold_table_has_formulas_or_a_reason():
    gold = gold_tables()
    assert {"finra_symbol_week", "prices_returns", "mqtt_tasks", "web_changes"} <= gold
    absent = gold - REGISTRY.rules.keys()
    assert [table for table in sorted(absent) if explain_absence(table) == NOT_DECLARED] == []


def test_each_column_has_a_formula_or_a_reason():
    document = json.loads(RULES_FILE.read_text())
    reasons = document[NOT_DECLARED]
    assert reasons["finra_symbol_week_short"].startswith("rows of other tables")
    assert len(REGISTRY.rules) == len(document["tables"]) >= 19
    for name, rules in REGISTRY.rules.items():
        columns = document["tables"][name]["columns"]
        assert list(columns) == [column.key for column in rules.table.columns]
        for column, entry in columns.items():
            has_reason = reasons.get(f"{name}.{column}", NOT_DECLARED) != NOT_DECLARED
            assert (entry["formula"] == NOT_DECLARED) == has_reason, (name, column)
