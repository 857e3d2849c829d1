"""Sensors and schedules that say in the UI what the first line of their function says."""

from collections.abc import Callable
from typing import Any

import dagster as dg


def sensor(**options: Any) -> Callable[[Callable[..., Any]], dg.SensorDefinition]:
    """Do what `dg.sensor` does, whose ``options`` these are."""
    return lambda decide: dg.sensor(**options, description=_said_of(decide))(decide)


def schedule(**options: Any) -> Callable[[Callable[..., Any]], dg.ScheduleDefinition]:
    """Do what `dg.schedule` does, whose ``options`` these are."""
    return lambda decide: dg.schedule(**options, description=_said_of(decide))(decide)


def _said_of(decide: Callable[..., Any]) -> str:
    return str(decide.__doc__).partition("\n")[0]
