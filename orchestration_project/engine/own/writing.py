"""A proposed declaration as the text of a source file, in Python or in YAML."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestration_project.engine.own.proposing import Proposal, ProposedField

MAX_SIMPLE_LINE_LENGTH, MAX_LINE_LENGTH = 88, 100


@dataclass(frozen=True, kw_only=True)
class RequestOptions:
    """The parts of requests to a source beside its address.

    Attributes:
        secret_headers: Environment variables of headers, by header.
        bearer: Environment variable of a bearer token; empty: none.
        cursor: Query parameter and path of a cursor; None: there is none.
        page_size: Records of a numbered page; 0: pages are not numbered.
    """

    secret_headers: Mapping[str, str]
    bearer: str = ""
    cursor: tuple[str, str] | None = None
    page_size: int = 0


def render_source(name: str, proposal: Proposal, options: RequestOptions, *, is_file: bool) -> str:
    """Return the text of ``defs/<name>/source.py``."""
    arguments = _render_arguments(proposal, options)
    function = "file_source" if is_file else "http_source"
    partitions = f'Daily(since="{proposal.day}"'
    partitions += f', column="{proposal.day_field}")' if proposal.day_field else ")"
    source = _call(function, [_quote_text(proposal.address), *arguments], indent=4)
    names = {"Daily", "Dataset", "Field", function, "row_count", "usual_size"}
    kinds = {field.kind for field in proposal.fields}
    names |= {"decimal"} if any(kind.startswith("decimal") for kind in kinds) else set()
    names |= {"cursor"} if options.cursor else set()
    names |= {"pages"} if options.page_size else set()
    days = sorted(kinds & {"date", "datetime"})
    lines = [
        f'"""Source of {name}: say here what one row is, and who publishes it."""',
        "",
        *([f"from datetime import {', '.join(days)}", ""] if days else []),
        *_render_imports(sorted(names, key=lambda each: (each[0].islower(), each))),
        "",
        f"{name} = Dataset(",
        f'    "{name}",',
        f"    key=[{', '.join(map(_quote_text, proposal.key))}],",
        f"    partitions={partitions},",
        "    fields=[",
        *(f"        {_render_field(field)}," for field in proposal.fields),
        "    ],",
        f"    source={source},",
        "    checks=[row_count(min=1), usual_size(0.5)],",
        ")",
        "",
    ]
    return "\n".join(lines)


TYPE_WORDS = {
    "str": "text",
    "int": "integer",
    "bool": "boolean",
    "datetime": "timestamp",
    '"json"': "json",
}
"""Types in YAML, by what they are in Python, where they differ."""


def render_yaml(name: str, proposal: Proposal, options: RequestOptions, *, is_file: bool) -> str:
    """Return the text of ``defs/<name>/defs.yaml``."""
    partitions = {"every": "day", "since": str(proposal.day)}
    partitions |= {"column": proposal.day_field} if proposal.day_field else {}
    source = {"path" if is_file else "url": proposal.address, "format": proposal.format}
    if proposal.records:
        source["records"] = proposal.records
    if proposal.format == "csv" and proposal.delimiter != ",":
        source["delimiter"] = proposal.delimiter
    lines = [
        f"type: orchestration_project.{'FileDataset' if is_file else 'HttpDataset'}",
        "attributes:",
        f"  name: {_render_scalar(name)}",
        f"  key: [{', '.join(map(_render_scalar, proposal.key))}]",
        f"  partitions: {_render_mapping(partitions)}",
        "  fields:",
        *(f"    - {_render_mapping(_build_attributes(field))}" for field in proposal.fields),
        "  source:",
        *(f"    {key}: {_render_scalar(value)}" for key, value in source.items()),
        *_render_requests(options),
        "  checks: {row_count: {min: 1}, usual_size: 0.5}",
        "",
    ]
    return "\n".join(lines)


def _build_attributes(field: ProposedField) -> dict[str, object]:
    """Return the attributes of a field in YAML."""
    values: dict[str, object] = {"name": field.name, "type": TYPE_WORDS.get(field.kind, field.kind)}
    values["description"] = _describe_field(field)
    values |= {"source": field.source} if field.source != field.name else {}
    return {**values, "optional": True} if field.is_optional else values


def _render_requests(options: RequestOptions) -> list[str]:
    """Return the lines of requests to a source in YAML."""
    paging: dict[str, object] = {}
    if options.cursor:
        paging = {"by": "cursor", "parameter": options.cursor[0], "path": options.cursor[1]}
    if options.page_size:
        paging = {"by": "pages", "size": options.page_size}
    lines = {
        "secret_headers": _render_mapping(options.secret_headers) if options.secret_headers else "",
        "bearer": _render_scalar(options.bearer) if options.bearer else "",
        "paging": _render_mapping(paging) if paging else "",
    }
    return [f"    {key}: {text}" for key, text in lines.items() if text]


PLAIN = re.compile(r"[A-Za-z_][\w-]*")
"""Texts that YAML has without quotes, but for RESERVED."""

RESERVED = ("y", "n", "yes", "no", "on", "off", "null", "true", "false")


def _render_mapping(values: Mapping[str, object]) -> str:
    members = (f"{_render_scalar(key)}: {_render_scalar(value)}" for key, value in values.items())
    return f"{{{', '.join(members)}}}"


def _render_scalar(value: object) -> str:
    text = str(value)
    is_plain = PLAIN.fullmatch(text) and text.lower() not in RESERVED
    return text if is_plain else json.dumps(value, ensure_ascii=False)


def _render_arguments(proposal: Proposal, options: RequestOptions) -> list[str]:
    arguments = [f'format="{proposal.format}"']
    if proposal.records:
        arguments.append(f"records={_quote_text(proposal.records)}")
    if proposal.format == "csv" and proposal.delimiter != ",":
        arguments.append(f"delimiter={_quote_text(proposal.delimiter)}")
    if options.secret_headers:
        members = (f"{_quote_text(k)}: {_quote_text(v)}" for k, v in options.secret_headers.items())
        arguments.append(f"secret_headers={{{', '.join(members)}}}")
    if options.bearer:
        arguments.append(f"bearer={_quote_text(options.bearer)}")
    if options.cursor:
        parameter, path = options.cursor
        arguments.append(f"paging=cursor({_quote_text(parameter)}, path={_quote_text(path)})")
    if options.page_size:
        arguments.append(f"paging=pages(size={options.page_size})")
    return arguments


def _render_field(field: ProposedField) -> str:
    arguments = [_quote_text(field.name), field.kind, _quote_text(_describe_field(field))]
    if field.source != field.name:
        arguments.append(f"source={_quote_text(field.source)}")
    if field.is_optional:
        arguments.append("optional=True")
    return _call("Field", arguments, indent=8)


def _describe_field(field: ProposedField) -> str:
    return f"for example {field.example[:40]}" if field.example else "blank in the sample"


def _render_imports(names: Sequence[str]) -> list[str]:
    line = f"from orchestration_project import {', '.join(names)}"
    if len(line) <= MAX_SIMPLE_LINE_LENGTH:
        return [line]
    return ["from orchestration_project import (", *(f"    {name}," for name in names), ")"]


def _call(function: str, arguments: Sequence[str], *, indent: int) -> str:
    """Return a call in one line, or with a line for each argument."""
    line = f"{function}({', '.join(arguments)})"
    if len(line) + indent + len("source=,") <= MAX_LINE_LENGTH:
        return line
    inner = "".join(f"\n{' ' * (indent + 4)}{argument}," for argument in arguments)
    return f"{function}({inner}\n{' ' * indent})"


def _quote_text(text: str) -> str:
    """Return a text as Python has it in double quotes."""
    escaped = repr(text)[1:-1].replace("\\'", "'").replace('"', '\\"')
    return f'"{escaped}"'
