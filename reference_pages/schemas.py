"""JSON Schemas of YAML files, from their models: editors complete and check the files by them."""

import json
from collections.abc import Mapping

from orchestration_project.settings.checks import CheckLimits

MODELS = {"checks": CheckLimits}
"""The model of each file, by the file's name."""


def write() -> Mapping[str, str]:
    """Return each schema by its path, seen from docs/reference."""
    return {
        f"../../schemas/{name}.schema.json": json.dumps(model.model_json_schema(), indent=2) + "\n"
        for name, model in MODELS.items()
    }
