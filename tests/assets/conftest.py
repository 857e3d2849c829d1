"""Fixtures of tests of assets: an empty database of either kind."""

import pytest

from orchestration_project.engine import runner
from tests.assets.web_shop import shop  # noqa: F401 - a fixture
from tests.prepared import Prepared


@pytest.fixture(autouse=True)
def second_attempt_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test wait for the second attempt of a step."""
    monkeypatch.setattr(runner, "SECONDS_TO_NEXT_ATTEMPT", 0)


BOTH = pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def url(request, demo_settings, prepared: Prepared, tmp_path, monkeypatch) -> str:
    """The URL of an empty database, SQLite's unless a test asks, set as DATABASE_URL."""
    if getattr(request, "param", "sqlite") == "sqlite":
        found = prepared.sqlite(tmp_path / "warehouse.sqlite")
    else:
        found = prepared.postgresql()
    monkeypatch.setenv("DATABASE_URL", found)
    return found
