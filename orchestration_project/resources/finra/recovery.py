"""Captured bytes of FINRA, requested or read again."""

import re
from urllib.parse import urlsplit

from orchestration_project.domains.finra.datasets import DATASETS
from orchestration_project.domains.finra.settings import FinraSettings
from orchestration_project.engine.recovery import RecordedCapture, Recovery, RecoveryEnvironment
from orchestration_project.engine.source import FolderSource
from orchestration_project.resources.finra.api import FinraApi
from orchestration_project.resources.finra.files import DATASET, FinraFiles
from orchestration_project.settings import Settings

QUERY = re.compile(r"/data/group/[A-Za-z0-9_-]+/name/[A-Za-z0-9_-]+", re.ASCII)
"""Path of a query, at the end of the URL of a page."""

FILE = "file:"
"""Start of the URLs of files in a folder."""

LICENSED = {dataset.name: dataset for dataset in DATASETS if dataset.is_licensed}


def _is_page(capture: RecordedCapture, settings: Settings) -> bool:
    """Whether it is a page of the Query API that the settings name, or of its demo."""
    chosen = FinraSettings.of(settings)
    is_own = chosen.is_demo or capture.url.startswith(f"{chosen.finra_api_url.rstrip('/')}/")
    is_source = capture.source == chosen.finra_source and chosen.finra_source != "files"
    return is_own and is_source and _find_path(capture) is not None


def _find_path(capture: RecordedCapture) -> str | None:
    match = QUERY.search(urlsplit(capture.url).path)
    return match[0] if match and capture.url.endswith(match[0]) else None


def _fetch_page(capture: RecordedCapture, given: RecoveryEnvironment) -> bytes | None:
    source, path = given.open("finra"), _find_path(capture)
    if not isinstance(source, FinraApi) or path is None:
        return None
    return source.api.fetch_again(path, capture.request)


def _is_file(capture: RecordedCapture, settings: Settings) -> bool:
    chosen = FinraSettings.of(settings)
    is_weekly = capture.dataset == DATASET and chosen.finra_source == "files"
    is_licensed = capture.dataset in LICENSED and chosen.finra_bonds_files_dir is not None
    return capture.source == "files" and capture.url.startswith(FILE) and (is_weekly or is_licensed)


def _read_file(capture: RecordedCapture, given: RecoveryEnvironment) -> bytes | None:
    name = capture.url.removeprefix(FILE)
    if capture.dataset in LICENSED:
        source = given.open("finra_datasets").of(LICENSED[capture.dataset])
        return source.folder.read(name) if isinstance(source, FolderSource) else None
    weekly = given.open("finra")
    return weekly.read_again(name) if isinstance(weekly, FinraFiles) else None


RECOVERIES = [
    Recovery(way="source", applies=_is_page, read=_fetch_page),
    Recovery(way="source", applies=_is_file, read=_read_file),
]
"""Pages of the Query API, and files of a folder."""
