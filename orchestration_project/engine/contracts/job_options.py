"""Options of a job as people read them, and whether a run config keeps their ranges."""

import re
from collections.abc import Collection, Mapping
from enum import Enum
from typing import Annotated, Any, get_args

import yaml
from annotated_types import Ge, Gt, Le, Lt
from pydantic import AfterValidator, BaseModel, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError

from orchestration_project.errors import ConfigurationError
from orchestration_project.tables.conditions import read_moment

DIGEST = re.compile(r"[0-9a-fA-F]{64}")

RANGE, CHOICES = "Range: ", "One of: "


def _check_moment(text: str | None) -> str | None:
    if text is not None:
        try:
            read_moment(text)
        except ValueError as error:
            expected = "a time with its zone, e.g. 2026-11-01T00:00:00Z"
            raise PydanticCustomError("moment", expected) from error
    return text


def _check_digests(hashes: list[str]) -> list[str]:
    if wrong := [name for name in hashes if not DIGEST.fullmatch(name.strip())]:
        expected = f"64 hexadecimal digits each, e.g. {'0f' * 32}, not {wrong[0][:80]!r}"
        raise PydanticCustomError("digest", "{expected}", {"expected": expected})
    return hashes


Moment = Annotated[str | None, AfterValidator(_check_moment)]
"""An option that is a time with its zone."""

ONLY, LOAD, REPLAY = "only", "load", "replay"
"""Key of an option's `json_schema_extra` that names the one kind of run it is for; the kinds."""

MaxRejectRatio = Annotated[
    float | None,
    Field(
        ge=0,
        le=1,
        examples=[0.05],
        description="Rejected share of rows above which a partition or symbol is quarantined.",
    ),
]
"""The option max_reject_ratio of loads and replays."""

Full = Annotated[
    bool | None,
    Field(
        json_schema_extra={ONLY: LOAD},
        description="Ask the source also for what is loaded or unchanged, what waits or was "
        "refused, and holidays.",
    ),
]
"""The option full of loads."""

Digests = Annotated[list[str], AfterValidator(_check_digests)]
"""An option that lists SHA-256 digests."""


def format_range(field: FieldInfo) -> str:
    """Return the range of a field in words, "" where any number will do."""
    low = next((f"{item.ge:g}" for item in field.metadata if isinstance(item, Ge)), "")
    high = next((f"{item.le:g}" for item in field.metadata if isinstance(item, Le)), "")
    above = next((f"more than {item.gt:g}" for item in field.metadata if isinstance(item, Gt)), "")
    below = next((f"less than {item.lt:g}" for item in field.metadata if isinstance(item, Lt)), "")
    if low and high:
        return f"{low} to {high}"
    parts = [f"{low} or more" if low else above, f"{high} or less" if high else below]
    return ", ".join(filter(None, parts))


def describe_field(field: FieldInfo) -> str:
    """Return the description of a field that ends with its range or choices, each named once."""
    text = field.description or ""
    for label, limits in ((RANGE, format_range(field)), (CHOICES, ", ".join(_list_choices(field)))):
        if limits and label not in text:
            text = f"{text} {label}{limits}."
    return text.strip()


def _list_choices(field: FieldInfo) -> list[str]:
    kinds = [item for item in _collect_types(field.annotation) if isinstance(item, type)]
    return [str(enum.value) for kind in kinds if issubclass(kind, Enum) for enum in kind]


def _collect_types(annotation: Any) -> list[Any]:
    return [
        annotation,
        *(inner for argument in get_args(annotation) for inner in _collect_types(argument)),
    ]


def choose_example(field: FieldInfo) -> Any:
    """Return a value that an option may have: its declared example, or another than its default."""
    if field.examples:
        return field.examples[0]
    kinds = _collect_types(field.annotation)
    if bool in kinds:
        return not field.default
    if choices := _list_choices(field):
        return choices[0]
    if not field.is_required() and field.default not in (None, [], ""):
        return field.default
    raise ValueError(f"missing example of an option: {field.description}")


def describe_job(
    summary: str, op: str, model: type[BaseModel], *, only: Collection[str] | None = None
) -> str:
    """Return the description of a job: what it does, each option, and a run config to copy.

    Args:
        summary: What it does, in a sentence.
        op: The op of the job that has the config.
        model: What the op's config may say.
        only: The options that this job takes; None: all of the model.
    """
    fields = {
        name: field for name, field in model.model_fields.items() if only is None or name in only
    }
    listed = "\n".join(f"- `{name}`: {describe_field(field)}" for name, field in fields.items())
    return f"{summary}\n\nOptions:\n\n{listed}\n\n```yaml\n{_render_config(op, fields)}```"


def describe_kinds(summary: str, op: str, kinds: Mapping[str, tuple[str, type[BaseModel]]]) -> str:
    """Return the description of a job whose op runs the kind that its config selects.

    Args:
        summary: What the job does, in a sentence.
        op: Its op.
        kinds: By name, what each kind does, in a sentence, and what its config may say.
    """
    parts = [f"{summary}\n\nThe config of `{op}` selects one kind."]
    for kind, (what, model) in kinds.items():
        fields = model.model_fields
        options = "\n".join(
            f"  - `{name}`: {describe_field(field)}" for name, field in fields.items()
        )
        parts.append(
            f"- `{kind}`: {what}\n{options}\n\n```yaml\n{_render_config(op, fields, kind)}```"
        )
    return "\n\n".join(parts)


def _render_config(op: str, fields: Mapping[str, FieldInfo], kind: str = "") -> str:
    """Return a run config as YAML: required options, or else the first; the others as comments."""
    required = [name for name, field in fields.items() if field.is_required()]
    given_names = required or list(fields)[:1]
    lines = [f"ops:\n  {op}:\n    config:\n", *([f"      {kind}:\n"] if kind else [])]
    indent = " " * (8 if kind else 6)
    for name, field in fields.items():
        value = yaml.safe_dump(choose_example(field), default_flow_style=True, width=1000)
        text = value.removesuffix("...\n").strip()
        lines.append(f"{indent}{'' if name in given_names else '# '}{name}: {text}\n")
    return "".join(lines)


class OptionFields(BaseModel):
    """Options of a job without Dagster: a preset is checked by them in a small command."""

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """End each description with the range or the choices of its option."""
        for field in cls.model_fields.values():
            field.description = describe_field(field)


class LoadPreset(OptionFields):
    """Options of loads and replays that presets may set."""

    max_reject_ratio: MaxRejectRatio = None
    full: Full = None


EXPECTED = "Input should be "
"""How pydantic begins what it expected."""

OUTSIDE = ("greater_than", "greater_than_equal", "less_than", "less_than_equal")
"""The types of pydantic's errors of a number outside of its range."""


def require_valid(run_config: Mapping[str, Any], models: Mapping[str, type[BaseModel]]) -> None:
    """Make sure that the model of each op can take what a run config gives the op.

    Args:
        run_config: As the Launchpad takes it: ``{"ops": {op: {"config": {field: value}}}}``.
        models: The models by op; an op without one is not looked at.

    Raises:
        ConfigurationError: Naming each field that has an invalid value.
    """
    problems = [
        problem
        for op, model in models.items()
        if (values := find_mapping(run_config, "ops", op, "config"))
        for problem in _find_problems(op, model, values)
    ]
    if problems:
        raise ConfigurationError(
            f"invalid {'; invalid '.join(problems)}", remedy="correct it in the run config"
        )


def find_mapping(config: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    """Return the mapping at a path of a config; empty where it has another shape."""
    member: Any = config
    for name in path:
        member = member.get(name) if isinstance(member, Mapping) else None
    return member if isinstance(member, Mapping) else {}


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _find_expected(model: type[BaseModel], problem: ErrorDetails) -> str:
    """Return the expected value of a model's field: its range, where a number is outside of it."""
    field = model.model_fields.get(str(problem["loc"][0]))
    nested = [part for part in _collect_types(field.annotation) if _is_model(part)] if field else []
    if nested and len(problem["loc"]) > 1:
        field = nested[0].model_fields.get(str(problem["loc"][1]))
    if field is not None and problem["type"] in OUTSIDE:
        return format_range(field)
    return str(problem["msg"]).removeprefix(EXPECTED)


def _find_problems(op: str, model: type[BaseModel], given: Mapping[str, Any]) -> list[str]:
    """Return each field that a model refuses; Dagster reads ``{env: NAME}`` itself."""
    try:
        model(**given)
    except ValidationError as error:
        return [
            f"{'.'.join(map(str, problem['loc']))} in the config of {op}: expected "
            f"{_find_expected(model, problem)}, found {problem['input']!r}"
            for problem in error.errors()
            if not isinstance(problem["input"], Mapping)
        ]
    return []
