"""Edits of rules as a whole: what they change, conflicts, and all problems of a text."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic

from pydantic import ValidationError
from yaml import YAMLError

from orchestration_project.engine.contracts.edits import EditConflictError
from orchestration_project.engine.contracts.matching import RuleInEffect, RulesInEffect, RuleT
from orchestration_project.errors import ConfigurationError
from orchestration_project.settings.yaml import located, read_yaml, reason_of, syntax_problem

MAX_RULES = 5_000
MAX_PROBLEMS = 20
Place = tuple[int | str, ...]

Problem = tuple[Place, str]
"""Place in a rule, and what is wrong there."""


@dataclass(frozen=True)
class RuleChanges:
    """Names of the rules that an edit adds, changes or ends.

    Attributes:
        numbers: New version of each rule that is added or changed, in the order of the edit.
    """

    added: Sequence[str]
    changed: Sequence[str]
    ended: Sequence[str]
    numbers: Mapping[str, int]


def compare_rules(
    before: Sequence[RuleInEffect[RuleT]], after: Sequence[RuleT], latest: Mapping[str, int]
) -> RuleChanges:
    """Return the changes of an edit.

    Args:
        before: The rules in effect.
        after: All rules of the edit.
        latest: Latest version of each rule that there ever was.
    """
    active = {rule_in_effect.rule.rule_id: rule_in_effect for rule_in_effect in before}
    new = [
        rule.rule_id
        for rule in after
        if rule.rule_id not in active or not active[rule.rule_id].is_as(rule)
    ]
    return RuleChanges(
        sorted(name for name in new if name not in active),
        sorted(name for name in new if name in active),
        sorted(active.keys() - {rule.rule_id for rule in after}),
        {name: latest.get(name, 0) + 1 for name in new},
    )


def require_version(present: RulesInEffect[Any], based_on: str | None, noun: str) -> None:
    """Make sure that an edit started from the rules in effect; None: from any.

    Args:
        present: The rules in effect.
        based_on: Version of the rules that the edit started from.
        noun: What they are called, such as sync rules.

    Raises:
        EditConflictError: They were edited meanwhile.
    """
    if based_on not in (None, present.version):
        raise EditConflictError(
            f"the {noun} changed since they were read",
            expected=f"an edit of version {present.version}",
            found=f"an edit of version {based_on}"[:100],
            remedy="read the rules again, and repeat the edit on them",
        )


@dataclass(frozen=True)
class RulesForm(Generic[RuleT]):
    """Form of the rules of a kind.

    Attributes:
        model: A rule.
        noun: What they are called, such as sync rules.
        page: Page of the documentation that explains them.
    """

    model: type[RuleT]
    noun: str
    page: str

    def refuse(self, problems: Sequence[str], *, count: int | None = None) -> ConfigurationError:
        """Return the error of rules that cannot be used; ``count``: of all their problems."""
        count = len(problems) if count is None else count
        names = [f"and {count - len(problems)} more"] if count > len(problems) else []
        return ConfigurationError(
            f"{count} problem(s) with the {self.noun}",
            expected=f"rules as in {self.page}",
            found="; ".join([*problems, *names]),
            remedy="correct them; those in effect stay as they are",
        )

    def text_of(self, given: Sequence[Any] | str) -> "RulesText[RuleT]":
        """Return rules of a list, or of a text with a list in YAML or JSON.

        Raises:
            ConfigurationError: The text has no list.
        """
        if not isinstance(given, str):
            return RulesText(self, given)
        try:
            rules = read_yaml(given)
        except YAMLError as error:
            raise self.refuse([syntax_problem(error)]) from None
        if not isinstance(rules, list):
            raise self.refuse(["expected a list of rules, e.g. - rule_id: big_orders"])
        return RulesText(self, rules, given)


@dataclass(frozen=True)
class RulesText(Generic[RuleT]):
    """Rules as a list or as YAML; problems of YAML name the line."""

    form: RulesForm[RuleT]
    given: Sequence[Any]
    yaml: str = ""

    def read(self, *examiners: Callable[[RuleT], Sequence[Problem]]) -> list[RuleT]:
        """Return the rules.

        Args:
            examiners: Each returns further problems of a valid rule, with their places in it; the
                next one is asked about a rule without any.

        Raises:
            ConfigurationError: Some cannot be used; names each problem with its place.
        """
        if len(self.given) > MAX_RULES:
            raise self.form.refuse([f"expected at most {MAX_RULES} rules, found {len(self.given)}"])
        read: list[RuleT] = []
        problems: list[Problem] = []
        names: set[str] = set()
        for number, fields in enumerate(self.given):
            try:
                rule = self.form.model.model_validate(fields)
            except ValidationError as error:
                problems += [((number, *one["loc"]), reason_of(one)) for one in error.errors()]
                continue
            if rule.rule_id in names:
                problems.append(((number, "rule_id"), "expected a name of its own"))
            names.add(rule.rule_id)
            read.append(rule)
            rule_problems = next(filter(None, (examine(rule) for examine in examiners)), ())
            problems += [((number, *entries), reason) for entries, reason in rule_problems]
        if problems:
            shown_names = [self._describe(*problem) for problem in problems[:MAX_PROBLEMS]]
            raise self.form.refuse(shown_names, count=len(problems))
        return read

    def _describe(self, place: Place, reason: str) -> str:
        """Return a problem with the rule, the part of it and the line."""
        number, remaining_items = int(place[0]), place[1:]
        fields = self.given[number]
        name = fields.get("rule_id") if isinstance(fields, dict) else None
        rule_name = f"rule {number + 1}" + (f" ({str(name)[:63]})" if name else "")
        text = ": ".join(filter(None, (rule_name, ".".join(map(str, remaining_items)), reason)))
        return located(self.yaml, tuple(map(str, place)), text) if self.yaml else text
