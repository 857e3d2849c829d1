"""Changes of an edit of rules, and edits that started from other rules than those in effect."""

import pytest

from orchestration_project.engine.contracts.edits import EditConflictError
from orchestration_project.engine.contracts.matching import (
    Condition,
    EditedRule,
    FieldMapping,
    Paths,
    RuleInEffect,
    RulesInEffect,
    require_one_per_field,
)
from orchestration_project.engine.contracts.rule_edits import (
    MAX_PROBLEMS,
    MAX_RULES,
    RuleChanges,
    RulesForm,
    compare_rules,
    require_version,
)
from orchestration_project.errors import ConfigurationError

PATHS = Paths(lambda text: text in ("color", "size"), "color or size")


class CarCondition(Condition):
    paths_known = PATHS


class CarMapping(FieldMapping):
    paths_known = PATHS


class CarRule(EditedRule):
    conditions: tuple[CarCondition, ...] = ()
    mappings: tuple[CarMapping, ...] = ()
    note: str | None = None


FORM = RulesForm(CarRule, "car rules", "docs/cars.md")


def rule(name: str, note: str | None = None) -> CarRule:
    return CarRule(rule_id=name, note=note)


def active(name: str, number: int, note: str | None = None) -> RuleInEffect[CarRule]:
    return RuleInEffect(rule(name, note), number)


def test_an_edit_adds_changes_and_ends_rules_and_leaves_the_same_ones():
    before = [active("kept", 1), active("edited", 2, "old"), active("gone", 1)]
    after = [rule("new"), rule("edited", "new"), rule("kept"), rule("back")]
    latest = {"kept": 1, "edited": 2, "gone": 1, "back": 4}
    assert compare_rules(before, after, latest) == RuleChanges(
        added=["back", "new"],
        changed=["edited"],
        ended=["gone"],
        numbers={"new": 1, "edited": 3, "back": 5},
    )


def test_an_edit_without_changes_has_none():
    assert compare_rules([active("kept", 7)], [rule("kept")], {"kept": 7}) == RuleChanges(
        [], [], [], {}
    )


def test_the_version_differs_once_a_rule_or_its_number_does():
    versions = [
        RulesInEffect(rules).version
        for rules in (
            [active("one", 1)],
            [active("one", 2)],
            [active("one", 1, "note")],
            [active("one", 1), active("two", 1)],
            [],
        )
    ]
    assert len(set(versions)) == 5
    assert RulesInEffect([active("one", 1)]).version == versions[0]
    assert {len(version) for version in versions} == {16}


def test_an_edit_of_other_rules_than_those_in_effect_is_a_conflict():
    present = RulesInEffect([active("one", 1)])
    require_version(present, present.version, "car rules")
    require_version(present, None, "car rules")
    with pytest.raises(EditConflictError) as conflict:
        require_version(present, "0" * 200, "car rules")
    error = conflict.value
    assert error.what == "the car rules changed since they were read"
    assert error.expected == f"an edit of version {present.version}"
    assert error.found == f"an edit of version {'0' * 200}"[:100]


def test_a_text_is_read_as_its_list_is():
    fields = [{"rule_id": "red", "conditions": [{"field": "color", "value": "red"}]}]
    text = "- rule_id: red\n  conditions: [{field: color, value: red}]\n"
    assert FORM.text_of(text).read() == FORM.text_of(fields).read()
    [read] = FORM.text_of(text).read()
    assert read.as_json() == {
        "rule_id": "red",
        "conditions": [{"field": "color", "operator": "is", "value": "red"}],
        "mappings": [],
    }


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        (
            {"conditions": [{"field": "weight", "value": "1"}]},
            "conditions.0: expected field color or size, found 'weight'",
        ),
        ({"conditions": [{"field": "size"}]}, "conditions.0: expected a value with is"),
        (
            {"conditions": [{"field": "size", "operator": "is_empty", "value": "1"}]},
            "conditions.0: expected no value with is_empty",
        ),
        (
            {"mappings": [{"target_field": "x", "source_type": "template", "value": "{weight}"}]},
            "mappings.0: expected color or size, found 'weight'",
        ),
        ({"rule_id": "Red"}, "rule_id: "),
        ({"colour": "red"}, "colour: "),
    ],
)
def test_a_problem_is_named_with_its_rule_and_place(fields: dict, problem: str):
    with pytest.raises(ConfigurationError) as refused:
        FORM.text_of([{"rule_id": "red", **fields}]).read()
    assert refused.value.what == "1 problem(s) with the car rules"
    name = fields.get("rule_id", "red")
    assert f"rule 1 ({name}): {problem}" in refused.value.found


def test_problems_of_yaml_name_the_line_and_further_examiners_ask_about_valid_rules():
    text = "- rule_id: red\n- rule_id: red\n- rule_id: blue\n  note: x\n"
    with pytest.raises(ConfigurationError) as refused:
        FORM.text_of(text).read(
            lambda rule: [(("note",), "expected none")] if rule.note else [],
            lambda rule: [((), "expected another rule")],
        )
    problems = refused.value.found.split("; ")
    assert problems == [
        "line 1: rule 1 (red): expected another rule",
        "line 2: rule 2 (red): rule_id: expected a name of its own",
        "line 2: rule 2 (red): expected another rule",
        "line 4: rule 3 (blue): note: expected none",
    ]


@pytest.mark.parametrize("text", ["rule_id: red", "- [", "3"])
def test_a_text_without_a_list_is_refused(text: str):
    with pytest.raises(ConfigurationError, match=r"problem\(s\) with the car rules"):
        FORM.text_of(text)


def test_many_problems_are_counted_and_too_many_rules_refused_at_once():
    with pytest.raises(ConfigurationError) as refused:
        FORM.text_of(
            [{"rule_id": f"r{number}", "x": 1} for number in range(MAX_PROBLEMS + 3)]
        ).read()
    assert refused.value.what == f"{MAX_PROBLEMS + 3} problem(s) with the car rules"
    assert refused.value.found.endswith("; and 3 more")
    with pytest.raises(ConfigurationError) as refused:
        FORM.text_of([{}] * (MAX_RULES + 1)).read()
    assert refused.value.found == f"expected at most {MAX_RULES} rules, found {MAX_RULES + 1}"


def test_two_mappings_of_one_field_are_refused():
    mappings = [CarMapping(target_field=name, source_type="static", value="1") for name in "aba"]
    assert require_one_per_field(mappings[:2]) == mappings[:2]
    with pytest.raises(ValueError, match="expected one mapping per field, found several of a"):
        require_one_per_field(mappings)
