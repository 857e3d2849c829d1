"""Alert policy: rules, channels, and links to the UI."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from orchestration_project.errors import ConfigurationError
from orchestration_project.services.alerts.rules.channels import Channel
from orchestration_project.services.alerts.rules.notification import Names, Policy, read_rules
from orchestration_project.settings.loading import read_declared

if TYPE_CHECKING:
    import dagster as dg


class Links:
    """The pages of the UI at PUBLIC_URL."""

    def __init__(self, public_url: str) -> None:
        self._public_url = public_url.rstrip("/")

    def run(self, run_id: str) -> str:
        """Return the page of a run."""
        return f"{self._public_url}/runs/{run_id}"

    def backfill(self, backfill_id: str) -> str:
        """Return the page of a backfill."""
        return f"{self._public_url}/runs/b/{backfill_id}"

    def partition(self, asset: str, partition: str) -> str:
        """Return the page of an asset's partition; of an asset without any, its events."""
        if not partition:
            return self._asset(asset, view="events")
        return self._asset(asset, view="partitions", partition=partition)

    def check(self, asset: str, name: str) -> str:
        """Return the page of an asset check."""
        return self._asset(asset, view="checks", checkDetail=name)

    def automation(self) -> str:
        """Return the page of sensors and schedules."""
        return f"{self._public_url}/automation"

    def deployment(self) -> str:
        """Return the page of Dagster's daemons."""
        return f"{self._public_url}/deployment/daemons"

    def _asset(self, asset: str, **query: str) -> str:
        return f"{self._public_url}/assets/{quote(asset)}?{urlencode(query)}"


def read_policy(
    path: Path | None,
    channels: Sequence[Channel],
    broken: Sequence[ConfigurationError] = (),
    *,
    window: timedelta,
) -> Policy:
    """Return the rules of the file, or the built-in one without a file.

    Of one that cannot be used, the policy says why, and has the built-in rule as well: a mistake in
    it silences no channel. Nor does one in a channel, which ``broken`` has.
    """
    problem = next(iter(broken), None)
    if path is None:
        return Policy(channels, window, problem=problem)
    try:
        rules = read_declared(
            path,
            lambda text: read_rules(text, str(path), channels),
            noun=f"alert rules in {path}",
            remedy="correct ALERT_RULES or the file; until then every alert notifies every channel",
        )
    except ConfigurationError as error:
        return Policy(channels, window, problem=problem or error)
    return Policy(channels, window, rules, problem)


def collect_names(repository: "dg.RepositoryDefinition") -> Names:
    """Return the names that rules can match."""
    graph = repository.asset_graph
    assets = frozenset(key.to_user_string() for key in graph.get_all_asset_keys())
    jobs = [job.name for job in repository.get_all_jobs()]
    sensors = [sensor.name for sensor in repository.sensor_defs]
    schedules = [schedule.name for schedule in repository.schedule_defs]
    domains = {asset.partition("/")[0] for asset in assets if "/" in asset}
    return Names(
        domain=frozenset(domains),
        asset=assets,
        check=frozenset(key.name for key in graph.asset_check_keys),
        job=frozenset([*jobs, *sensors, *schedules]),
    )
