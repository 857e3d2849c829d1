"""Every setting that domains share, and how settings are read; those of a domain lie with it."""

from orchestration_project.settings.chosen import domain_of_name, domains_on, off_domain, require_on
from orchestration_project.settings.given import child_environment
from orchestration_project.settings.loading import (
    load_settings,
    load_shared_settings,
    origins,
    places,
    read_secrets,
    settings_of_file,
)
from orchestration_project.settings.profile import switched_off
from orchestration_project.settings.project import (
    PACKAGE_FOLDER,
    PROJECT,
    PROJECT_ROOT,
    project_folder,
    require_project_folder,
)
from orchestration_project.settings.settings import Settings, settings_class, shown_values
from orchestration_project.settings.values import (
    SECRET_QUERY_WORDS,
    default_files,
    default_path,
    project_path,
    without_query,
    without_secrets,
)

__all__ = [
    "PACKAGE_FOLDER",
    "PROJECT",
    "PROJECT_ROOT",
    "SECRET_QUERY_WORDS",
    "Settings",
    "child_environment",
    "default_files",
    "default_path",
    "domain_of_name",
    "domains_on",
    "load_settings",
    "load_shared_settings",
    "off_domain",
    "origins",
    "places",
    "project_folder",
    "project_path",
    "read_secrets",
    "require_on",
    "require_project_folder",
    "settings_class",
    "settings_of_file",
    "shown_values",
    "switched_off",
    "without_query",
    "without_secrets",
]
