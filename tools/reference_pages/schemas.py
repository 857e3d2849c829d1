"""JSON Schemas of YAML files, from their models: editors complete and check the files by them."""

import json
from collections.abc import Mapping
from typing import Any

from orchestration_project.catalog import REGISTRY
from orchestration_project.domains.prices.overrides import VENDORS
from orchestration_project.domains.web.sites import Site
from orchestration_project.engine.contracts.exports import ExportsFile
from orchestration_project.engine.contracts.presets import PresetTarget
from orchestration_project.engine.contracts.uploads import InboxesFile
from orchestration_project.engine.contracts.webhooks.sources import SourcesFile
from orchestration_project.services.alerts.rules.notification import RulesFile
from orchestration_project.services.objectives.rules.objectives import ObjectivesFile
from orchestration_project.settings.checks import CheckLimits

DRAFT = "https://json-schema.org/draft/2020-12/schema"

FOLDER = "../../config/schemas"
"""Folder of the schemas, seen from docs/reference."""


def schemas() -> Mapping[str, Mapping[str, Any]]:
    """Return each schema by the name of the file that it is for."""
    return {
        "alerts": RulesFile.model_json_schema(),
        "checks": CheckLimits.model_json_schema(),
        "exports": ExportsFile.model_json_schema(),
        "preset": _preset(),
        "prices": _spellings(),
        "inboxes": InboxesFile.model_json_schema(),
        "slo": ObjectivesFile.model_json_schema(),
        "site": Site.model_json_schema(),
        "webhooks": SourcesFile.model_json_schema(),
    }


def write() -> Mapping[str, str]:
    """Return each schema by its path."""
    return {
        f"{FOLDER}/{name}.schema.json": json.dumps({"$schema": DRAFT, **schema}, indent=2) + "\n"
        for name, schema in schemas().items()
    }


def _preset() -> Mapping[str, Any]:
    """Return the schema of presets: the fields that one may set, by the op of its job."""
    ops = {each.op: _op(each) for each in REGISTRY.preset_targets}
    return _object({"ops": {**_object(ops), "maxProperties": 1}}, required=["ops"])


def _op(target: PresetTarget) -> Mapping[str, Any]:
    schema = target.model.model_json_schema()
    choices = {f"#/$defs/{name}": each for name, each in schema.get("$defs", {}).items()}
    config = _object(
        {name: _inlined(schema["properties"][name], choices) for name in target.fields}
    )
    return {**_object({"config": config}), "description": f"Job: {target.job}"}


def _inlined(field: Mapping[str, Any], choices: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema of a field with its choices, which pydantic puts elsewhere."""
    kinds = [choices.get(each.get("$ref", ""), each) for each in field.get("anyOf", ())]
    return {**field, "anyOf": kinds} if kinds else field


def _spellings() -> Mapping[str, Any]:
    """Return the schema of `prices.yaml`: by vendor, its spelling of a symbol; none: left out."""
    symbol = {"type": ["string", "number", "boolean", "null"]}
    vendor = {"type": ["object", "null"], "additionalProperties": symbol}
    return _object(dict.fromkeys(VENDORS, vendor))


def _object(properties: Mapping[str, Any], **other: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False, **other}
