"""Puts the default files of the checkout into the package of a wheel.

An editable installation has none of them: there, the package reads them at the top of the checkout.
A table `force-include` in pyproject.toml would copy them for both.
"""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class DefaultFiles(BuildHookInterface):
    """Hook of Hatch's wheels; its option `defaults` lists files and folders."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the files to a wheel, unless it is for an editable installation."""
        if version == "standard":
            build_data["force_include"] |= {
                path: f"orchestration_project/defaults/{path}" for path in self.config["defaults"]
            }
