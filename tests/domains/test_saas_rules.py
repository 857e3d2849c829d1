"""Rule that matches a task, fields of its issue, and changes of them."""

from dataclasses import replace
from typing import Any

import pytest

from orchestration_project.domains.saas.dry_run import DryRunDifference, dry_run
from orchestration_project.domains.saas.intents import Intent, intent_of
from orchestration_project.domains.saas.lookup import MissingPathError
from orchestration_project.domains.saas.rules import ActiveRule, RuleSet, read_rules
from orchestration_project.domains.saas.stored_tasks import read_task, recorded, state_hash
from orchestration_project.errors import ConfigurationError
from tests.domains.saas_tasks import WHOLE, rule, rules, task


def condition(field: str, operator: str = "is", value: str | None = None) -> dict:
    return {"field": field, "operator": operator, "value": value}


@pytest.mark.parametrize(
    ("requested", "holds"),
    [
        (condition("title", "contains", "LAPTOP"), True),
        (condition("title", "starts_with", "laptop"), False),
        (condition("title", "is", "order a laptop"), True),
        (condition("title", "is_not", "order a laptop"), False),
        (condition("assignee_email", "is_present"), True),
        (condition("associated_name", "starts_with", "bob"), True),
        (condition("is_completed", "is", "false"), True),
        (condition("fields.team.name", "is", "payroll"), True),
        (condition("fields.tags", "is", "it"), True),
        (condition("fields.tags.1", "is", "new"), True),
        (condition("fields.tags.9", "is_empty"), True),
        (condition("fields.nowhere.at.all", "is_empty"), True),
        (condition("fields.id", "is", "1"), True),
        (condition("fields.team", "contains", "Payroll"), True),
    ],
)
def test_a_condition_holds_of_any_part_of_a_task_whatever_its_case(requested, holds):
    assert rule(conditions=[requested]).matches(task()) is holds


def test_letters_that_look_the_same_are_the_same():
    requested = condition("title", "is", "cafe\u0301 שלום 🙂")
    assert rule(conditions=[requested]).matches(task(title="CAFÉ שלום 🙂"))


def test_a_task_without_title_or_assignee_matches_what_asks_for_none():
    nothing = task(title=None, assignee_email=None, associated_name=None)
    requested = [
        condition(name, "is_empty") for name in ("title", "assignee_email", "associated_name")
    ]
    assert rule(conditions=requested).matches(nothing)
    assert not rule(conditions=[condition("title", "contains", "x")]).matches(nothing)


def test_the_first_rule_by_priority_counts_and_none_means_drop():
    laptops = rule(rule_id="z", priority=1, conditions=[condition("title", "contains", "laptop")])
    drops = {**WHOLE, "action": "drop", "target_project": None, "issue_type": None}
    tags = rule(
        **{**drops, "rule_id": "tags", "priority": 1},
        conditions=[condition("fields.tags", "is", "new")],
    )
    both = rules(laptops, tags)
    assert (both.decide(task()).action, both.decide(task()).rule) == ("drop", both.rules[0])
    assert both.decide(task(fields={})).action == "sync"
    none = both.decide(task(title="A desk", fields={}))
    assert (none.action, none.rule) == ("drop", None)


def test_a_disabled_rule_holds_its_tasks_and_leaves_none_to_the_next_rule():
    narrow = rule(
        rule_id="narrow", priority=1, conditions=[condition("title", "contains", "laptop")]
    )
    held = RuleSet.of([ActiveRule(narrow, 2, "no such project"), ActiveRule(rule(), 1)])
    assert held.decide(task()).action == "hold"
    assert held.decide(task(title="A desk")).action == "sync"


def test_rules_that_cannot_be_used_are_all_named():
    broken = [
        {**WHOLE, "issue_type": None},
        {**WHOLE, "rule_id": "drops", "action": "drop"},
        {**WHOLE, "rule_id": "path", "conditions": [condition("titel", "is", "x")]},
        {**WHOLE, "rule_id": "value", "conditions": [condition("title", "is")]},
        {**WHOLE, "rule_id": "brace", "mappings": [mapping("a", "template", "{title")]},
        {**WHOLE, "rule_id": "code", "mappings": [mapping("a", "template", "{title!r}")]},
        {
            **WHOLE,
            "rule_id": "twice",
            "mappings": [mapping("a", "static", "1"), mapping("a", "static", "2")],
        },
        "no rule",
    ]
    with pytest.raises(ConfigurationError) as error:
        read_rules(broken)
    assert error.value.what == "8 problem(s) with the sync rules"
    for number in range(1, 9):
        assert f"rule {number}" in error.value.found
    assert "rule 1 (all): sync needs target_project and issue_type" in error.value.found
    assert "rule 4 (value): conditions.0: expected a value with is" in error.value.found
    assert "rule 8: expected a mapping, found 'no rule'" in error.value.found


def test_states_are_of_rules_that_make_issues_and_leave_other_versions_as_they_are():
    default = rule()
    assert "states" not in default.as_json()
    assert rule(states={}) == default
    chosen = rule(states={"cancelled_issue": "open"})
    versions = {RuleSet.of([ActiveRule(rule_case, 1)]).version for rule_case in (chosen, default)}
    assert len(versions) == 2
    drops = {"rule_id": "drops", "priority": 1, "action": "drop"}
    broken = [
        {**WHOLE, "states": {"cancelled_issue": "closed"}},
        {**drops, "states": {"completed_task": "cancelled"}},
    ]
    with pytest.raises(ConfigurationError) as error:
        read_rules(broken)
    assert (
        "rule 1 (all): states.cancelled_issue: expected 'completed' or 'open'" in error.value.found
    )
    assert "rule 2 (drops): drop makes no issue" in error.value.found


def test_a_rule_that_matches_everything_may_only_be_the_last():
    with pytest.raises(ConfigurationError) as error:
        read_rules([WHOLE, {**WHOLE, "rule_id": "later", "priority": 10}])
    assert error.value.found == "all matches everything: later is never asked"
    with pytest.raises(ConfigurationError, match="problem") as error:
        read_rules([WHOLE, WHOLE])
    assert "rule 2 (all): rule_id: expected a name of its own" in error.value.found


def mapping(target_field: str, source_type: str, value: str) -> dict[str, str]:
    return {"target_field": target_field, "source_type": source_type, "value": value}


def test_an_issue_is_made_of_title_description_and_assignee_unless_a_mapping_says_otherwise():
    plain = intent_of(task(), ActiveRule(rule(), 3))
    assert plain == Intent(
        "all@3",
        "HR",
        "Task",
        {
            "summary": "Order a laptop",
            "description": "<p>14 inch</p>",
            "assignee": "ana@example.org",
        },
        is_completed=False,
    )
    filled = rule(
        mappings=[
            mapping("summary", "template", "{fields.team.name}: {title} {{{assignee_name}}}"),
            mapping("labels", "path", "fields.tags"),
            mapping("customfield_1", "static", "Payroll"),
        ]
    )
    assert intent_of(task(assignee_name=None), ActiveRule(filled, 1)).fields == {
        "summary": "Payroll: Order a laptop {}",
        "description": "<p>14 inch</p>",
        "assignee": "ana@example.org",
        "labels": ["IT", "new"],
        "customfield_1": "Payroll",
    }
    assert Intent.read(plain.payload) == plain


def filled(template: str, **changes: Any) -> object:
    given = rule(mappings=[mapping("summary", "template", template)])
    return intent_of(task(**changes), ActiveRule(given, 1)).fields["summary"]


@pytest.mark.parametrize(
    ("completed", "plain", "words"), [(True, "true", "yes"), (False, "false", "no")]
)
def test_a_boolean_in_a_template_is_as_json_spells_it_or_one_of_two_words(completed, plain, words):
    task_with = {"is_completed": completed, "fields": {"completed": completed}}
    for path in ("is_completed", "fields.completed"):
        assert filled(f"done: {{{path}}}", **task_with) == f"done: {plain}"
        assert filled(f"done: {{{path}|yes,no}}!", **task_with) == f"done: {words}!"
    assert filled("{is_completed| is done ,}.", **task_with) == (" is done ." if completed else ".")
    by_path = rule(mappings=[mapping("summary", "path", "fields.completed")])
    assert intent_of(task(**task_with), ActiveRule(by_path, 1)).fields["summary"] is completed
    assert by_path.mappings[0].paths == ("fields.completed",)


def test_words_for_what_is_neither_true_nor_false_are_refused_and_null_is_empty():
    assert filled("({fields.urgent|yes,no})", fields={"urgent": None}) == "()"
    with pytest.raises(MissingPathError, match=r"the task has no true or false in fields\.views"):
        filled("{fields.views|yes,no}")


@pytest.mark.parametrize("template", ["{is_completed|yes}", "{is_completed|a,b,c}", "{titel|a,b}"])
def test_words_are_two_of_a_part_that_tasks_have(template):
    with pytest.raises(ConfigurationError, match="problem"):
        read_rules([{**WHOLE, "mappings": [mapping("summary", "template", template)]}])


def test_the_state_of_a_task_has_the_part_whose_words_a_template_has():
    mapped = rules(rule(mappings=[mapping("labels", "template", "{fields.views|yes,no}")]))
    assert "fields.views" in mapped.used


def test_a_template_whose_path_a_task_lacks_says_which():
    filled = rule(mappings=[mapping("labels", "template", "{fields.office.name}")])
    with pytest.raises(MissingPathError, match=r"the task has no fields\.office\.name"):
        intent_of(task(), ActiveRule(filled, 1))


def test_a_task_without_a_title_gets_one():
    assert intent_of(task(title=" "), ActiveRule(rule(), 1)).fields["summary"] == (
        "(task 1 has no title)"
    )


def test_the_state_of_a_task_is_what_rules_use_of_it_and_the_rules():
    before = rules(rule())
    first = state_hash(task(), before)
    assert state_hash(task(fields={"views": 8}, associated_name="Eve"), before) == first
    assert state_hash(task(title="Order a cup"), before) != first
    assert state_hash(task(is_completed=True), before) != first
    assert state_hash(task(), rules(rule(), version=2)) != first
    views = rules(rule(conditions=[condition("fields.views", "is_present")]))
    assert state_hash(task(fields={"views": 8}), views) != state_hash(task(), views)
    assert state_hash(task(fields={"views": None}), views) != state_hash(task(fields={}), views)
    mapped = rules(rule(mappings=[mapping("labels", "template", "{fields.views}")]))
    assert state_hash(task(fields={"views": 8}), mapped) != state_hash(task(), mapped)


def test_a_task_comes_back_from_its_record_as_it_was():
    odd = task(title="\ud83d \0 🙂 " + "x" * 65_536, fields={"big": 10**40, "deep": [[[None]]]})
    assert read_task(recorded(odd)) == odd


def test_a_dry_run_shows_differences_and_counts_the_hidden_ones():
    before = rules(rule())
    cups = rule(
        rule_id="cups",
        priority=1,
        issue_type="Bug",
        conditions=[condition("title", "contains", "cup")],
    )
    broken = rule(mappings=[mapping("labels", "path", "fields.none")])
    tasks = [task(entity_id=str(number), title=f"A cup {number}") for number in range(3)]
    run = dry_run([*tasks, task()], before, rules(cups, broken), most=3)
    assert (run.task_count, run.changed_count, run.by_rule) == (4, 4, {"cups": 3, "all": 1})
    assert run.differences == [
        DryRunDifference("0", "A cup 0", "rule", "all", "cups"),
        DryRunDifference("0", "A cup 0", "type", "Task", "Bug"),
        DryRunDifference("1", "A cup 1", "rule", "all", "cups"),
    ]
    assert run.refused == {"1": "the task has no fields.none"}
    assert dry_run(tasks, before, before, most=3).changed_count == 0


def test_an_edited_rule_makes_another_version_of_all_rules():
    before = rules(
        rule(), rule(rule_id="first", priority=1, conditions=[condition("title", "is", "x")])
    )
    assert (
        rules(*[active_rule.rule for active_rule in reversed(before.rules)]).version
        == before.version
    )
    held = RuleSet.of([replace(before.rules[0], disabled_reason="x"), before.rules[1]])
    assert held.version != before.version
