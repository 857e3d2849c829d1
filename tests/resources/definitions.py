"""Dagster's resources as the project defines them."""

from orchestration_project.catalog import REGISTRY
from orchestration_project.catalog.resources import resource_definitions

RESOURCES = dict(resource_definitions(REGISTRY))
