"""The project's definitions, with just the sensor of schedules that are data, on and hurried."""

from orchestration_project.services.schedules.launching import SENSOR_NAME
from tests.slow.hurried import definitions_with

defs = definitions_with(SENSOR_NAME)
