"""Rules over JSON: conditions, mappings, paths, templates, typed values, and rules in effect.

The rules of the sync and those of webhook routing share them. What a rule is about is a domain's:
its paths, its actions, and the order in which rules are asked.
"""

import hashlib
import json
import math
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from string import Formatter
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

NAME = r"^[a-z][a-z0-9_]{0,62}$"

MAX_PATH = 200

MAX_TEXT = 4_000
"""Longest value of a condition or a mapping, in characters."""

Operator = Literal["is", "is_not", "contains", "starts_with", "is_empty", "is_present"]

WITHOUT_VALUE: tuple[Operator, ...] = ("is_empty", "is_present")

OPERATORS: Mapping[Operator, Callable[[Sequence[str], str], bool]] = {
    "is": lambda texts, wanted: wanted in texts,
    "is_not": lambda texts, wanted: wanted not in texts,
    "contains": lambda texts, wanted: any(wanted in word for word in texts),
    "starts_with": lambda texts, wanted: any(word.startswith(wanted) for word in texts),
    "is_empty": lambda texts, _: not any(texts),
    "is_present": lambda texts, _: any(texts),
}
"""Conditions on the caseless texts of a value; of a list, on those of its items."""

FieldType = Literal["text", "integer", "number", "boolean", "timestamp", "json"]

FIELD_TYPES: tuple[FieldType, ...] = get_args(FieldType)

HOP_LABEL = "routed-by-"
"""Prefix of labels of a routed issue: each names a rule, as its webhooks send no header of ours."""

MAX_INTEGER = 2**63 - 1
"""Largest integer that a column of a database holds."""

LATEST_SECONDS = 253_402_300_799
"""Last second of the year 9999, Unix seconds."""


def fold_case(text: str) -> str:
    """Return a text as conditions compare it: without case, composed."""
    return unicodedata.normalize("NFC", text).casefold()


def fold_texts(value: Any) -> Sequence[str]:
    """Return the caseless texts of a value, of a list those of its items; null is empty."""
    parts = value if isinstance(value, list) else [value]
    return [fold_case(format_value(part)) for part in parts]


def format_value(value: Any) -> str:
    """Return a value as the text that people would write for it; null is empty."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def find_member(document: Any, names: Sequence[str]) -> Any:
    """Return the member of a JSON document at a path; a decimal name is an index of a list.

    Raises:
        LookupError: There is none; one that is null is there.
    """
    member = document
    for name in names:
        if isinstance(member, dict) and name in member:
            member = member[name]
        elif isinstance(member, list) and name.isdecimal() and int(name) < len(member):
            member = member[int(name)]
        else:
            raise LookupError(name)
    return member


@dataclass(frozen=True)
class TemplatePart:
    """A path in a template; ``words`` are its texts for true and false, if any."""

    path: str
    words: tuple[str, str] | None

    @classmethod
    def read(cls, text: str) -> Self:
        """Return the part of a template that stands within braces.

        Raises:
            ValueError: It is neither a path nor a path with two texts.
        """
        path, bar, words = text.partition("|")
        if not bar:
            return cls(path, None)
        if words.count(",") != 1:
            raise ValueError(
                f"invalid {{{text}}}: expected a path and two texts, e.g. {{is_completed|yes,no}}"
            )
        if_true, _, if_false = words.partition(",")
        return cls(path, (if_true, if_false))

    def text_of(self, found: Any) -> str:
        """Return the text of the value at its path; null is empty.

        Raises:
            ValueError: It has words for true and false, and the value is neither.
        """
        if self.words is None or found is None:
            return format_value(found)
        if not isinstance(found, bool):
            raise ValueError(f"invalid {self.path}: expected true or false")
        return self.words[0] if found else self.words[1]


def parse_template(template: str) -> Sequence[tuple[str, TemplatePart | None]]:
    """Return the texts of a template, each with the path that follows it.

    Raises:
        ValueError: It is none: a brace alone, or more within braces than a path and two texts.
    """
    parts: list[tuple[str, TemplatePart | None]] = []
    for literal, text, form, conversion in Formatter().parse(template):
        if form or conversion:
            raise ValueError(f"{{{text}}} has more than a path")
        parts.append((literal, None if text is None else TemplatePart.read(text)))
    return parts


@dataclass(frozen=True)
class TargetFields:
    """Fields that a target takes, with their types.

    Attributes:
        types: Type by name.
        required: Names of fields that must be mapped, and must not be null.
        others: Type of fields that ``types`` does not name; None: they are refused.
    """

    types: Mapping[str, FieldType]
    required: frozenset[str] = field(default_factory=frozenset)
    others: FieldType | None = None

    def type_of(self, name: str) -> FieldType | None:
        """Return the type of a field; None: the target does not take it."""
        field_type = self.types.get(name)
        return self.others if field_type is None else field_type


def convert_json(value: Any, kind: FieldType) -> Any:
    """Return a JSON value as a type; null stays null.

    A timestamp becomes ISO 8601 in UTC, of a number its Unix seconds; of other scalars, texts that
    write a value of the type are read as one.

    Raises:
        ValueError: It is not a value of the type; does not quote it, as it may be private.
    """
    if value is None or kind == "json":
        return value
    if isinstance(value, dict | list):
        raise ValueError(_explain_wrong(kind, value))
    try:
        return _READERS[kind](value)
    except (ValueError, TypeError, OverflowError):
        raise ValueError(_explain_wrong(kind, value)) from None


EXAMPLES: Mapping[FieldType, str] = {
    "text": "a text",
    "integer": "an integer, e.g. 42",
    "number": "a number, e.g. 4.2",
    "boolean": "true or false",
    "timestamp": "a timestamp with time zone, e.g. 2026-11-02T12:00:00Z",
    "json": "any value",
}


def _explain_wrong(kind: FieldType, value: Any) -> str:
    names = {dict: "an object", list: "a list", bool: "a boolean", str: "another text"}
    return f"expected {EXAMPLES[kind]}, found {names.get(type(value), 'a number')}"


def _parse_integer(value: Any) -> int:
    if isinstance(value, bool):
        raise TypeError
    if isinstance(value, str):
        if not (value.isascii() and value.removeprefix("-").isdecimal() and len(value) < 21):
            raise ValueError
        value = int(value)
    if int(value) != value or abs(value) > MAX_INTEGER:
        raise ValueError
    return int(value)


def _parse_number(value: Any) -> int | float:
    if isinstance(value, bool) or (isinstance(value, str) and ("_" in value or len(value) > 400)):
        raise TypeError
    number = value if isinstance(value, int | float) else float(value)
    if not math.isfinite(number):
        raise ValueError
    return number


def _parse_boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    words = {"true": True, "false": False}
    if value not in words:
        raise ValueError
    return words[value]


def _parse_timestamp(value: Any) -> str:
    if isinstance(value, bool):
        raise TypeError
    if isinstance(value, str):
        if ":" not in value:  # a day alone has no time
            raise ValueError
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError
        return moment.astimezone(UTC).isoformat()
    if not 0 <= value <= LATEST_SECONDS:
        raise ValueError
    return datetime.fromtimestamp(value, UTC).isoformat()


_READERS: Mapping[FieldType, Callable[[Any], Any]] = {
    "text": format_value,
    "integer": _parse_integer,
    "number": _parse_number,
    "boolean": _parse_boolean,
    "timestamp": _parse_timestamp,
}


@dataclass(frozen=True)
class Paths:
    """Paths into what rules are about.

    Attributes:
        includes: Whether a text is a path.
        shown: The paths in words, for messages.
    """

    includes: Callable[[str], bool]
    shown: str

    def require(self, path: str, label: str = "") -> None:
        """Make sure that a text is a path; the error has the label before the paths.

        Raises:
            ValueError: It is none.
        """
        if not self.includes(path):
            raise ValueError(f"expected {label}{self.shown}, found {path[:MAX_PATH]!r}")


class RulePart(BaseModel):
    """A part of a rule, or a rule: no other fields, and no change once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Condition(RulePart):
    """Condition on a part of what is matched, case-insensitive.

    Of a list, it must hold of one of its items. A part that is missing is empty.
    """

    paths_known: ClassVar[Paths]

    field: str
    operator: Operator = "is"
    value: str | None = Field(default=None, max_length=MAX_TEXT)

    @model_validator(mode="after")
    def _require_complete(self) -> Self:
        self.paths_known.require(self.field, "field ")
        if (self.value is None) != (self.operator in WITHOUT_VALUE):
            takes = "no value" if self.operator in WITHOUT_VALUE else "a value"
            raise ValueError(f"expected {takes} with {self.operator}")
        return self


class FieldMapping(RulePart):
    """Source of the value of a target's field.

    Attributes:
        target_field: Name of the field, such as a column.
        value: Of static the value itself; of path a part of what is matched; of template text in
            which ``{path}`` stands for a part, ``{path|yes,no}`` for the first text where that is
            true and for the second where it is false, and ``{{`` for a brace.
    """

    paths_known: ClassVar[Paths]

    target_field: str = Field(min_length=1)
    source_type: Literal["static", "path", "template"]
    value: Any

    @model_validator(mode="after")
    def _names_known_parts(self) -> Self:
        for path in self.paths:
            self.paths_known.require(path)
        return self

    @cached_property
    def parts(self) -> Sequence[tuple[str, TemplatePart | None]]:
        """Texts and paths of a template."""
        return parse_template(str(self.value))

    @property
    def paths(self) -> Sequence[str]:
        """The parts that it needs."""
        if self.source_type == "static":
            return ()
        if self.source_type == "path":
            return (str(self.value),)
        return [part.path for _, part in self.parts if part]


MappingT = TypeVar("MappingT", bound=FieldMapping)


def require_one_per_field(mappings: Sequence[MappingT]) -> Sequence[MappingT]:
    """Return mappings, of which no two are of the same field.

    Raises:
        ValueError: Two are.
    """
    names = [mapping.target_field for mapping in mappings]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"expected one mapping per field, found several of {twice[0]}")
    return mappings


class EditedRule(RulePart):
    """A rule that people edit by its name."""

    rule_id: str = Field(pattern=NAME)

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON, without what is not given."""
        return self.model_dump(mode="json", exclude_none=True)


RuleT = TypeVar("RuleT", bound=EditedRule)


@dataclass(frozen=True)
class RuleInEffect(Generic[RuleT]):
    """A rule in effect, and its version, from 1."""

    rule: RuleT
    version_number: int

    @property
    def reference(self) -> str:
        """Its name and version."""
        return f"{self.rule.rule_id}@{self.version_number}"

    @property
    def content(self) -> list[Any]:
        """All that makes it differ from another one, as JSON."""
        return [self.reference, self.rule.as_json()]

    def is_as(self, rule: RuleT) -> bool:
        """Whether it is in effect as a rule says."""
        return self.rule == rule


ActiveT = TypeVar("ActiveT", bound=RuleInEffect[Any])


@dataclass(frozen=True)
class RulesInEffect(Generic[ActiveT]):
    """All rules in effect, in the order in which they are asked."""

    rules: Sequence[ActiveT]

    @cached_property
    def version(self) -> str:
        """A digest that differs once any rule does; an edit names the one that it is based on."""
        content = [active.content for active in self.rules]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
