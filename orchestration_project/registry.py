"""What a domain adds to the project, as one value. Types only: this module imports no domain."""

from typing import TypeAlias

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

AnyJob: TypeAlias = dg.JobDefinition | UnresolvedAssetJobDefinition
"""A job of ops or of assets; Dagster does not export the type of the latter."""
