"""The assets of plugins: one of each enabled plugin, and the edits of admins."""

from orchestration_project.assets.plugins.edits import edit_job, edit_plugins
from orchestration_project.assets.plugins.factory import build_plugin_asset, build_plugin_job

__all__ = ["build_plugin_asset", "build_plugin_job", "edit_job", "edit_plugins"]
