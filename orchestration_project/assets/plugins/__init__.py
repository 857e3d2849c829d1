"""The assets of plugins: one of each enabled plugin, and the edits of admins."""

from orchestration_project.assets.plugins.edits import edit_job, edit_plugins
from orchestration_project.assets.plugins.factory import plugin_asset, plugin_job

__all__ = ["edit_job", "edit_plugins", "plugin_asset", "plugin_job"]
