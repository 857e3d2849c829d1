"""Addresses of the pages of Dagster's UI that alerts lead to."""

from urllib.parse import quote, urlencode


class Links:
    """The pages of the UI at UI_URL."""

    def __init__(self, ui_url: str) -> None:
        self._ui_url = ui_url.rstrip("/")

    def run(self, run_id: str) -> str:
        """Return the page of a run."""
        return f"{self._ui_url}/runs/{run_id}"

    def backfill(self, backfill_id: str) -> str:
        """Return the page of a backfill."""
        return f"{self._ui_url}/runs/b/{backfill_id}"

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
        return f"{self._ui_url}/automation"

    def deployment(self) -> str:
        """Return the page of Dagster's daemons."""
        return f"{self._ui_url}/deployment/daemons"

    def _asset(self, asset: str, **query: str) -> str:
        return f"{self._ui_url}/assets/{quote(asset)}?{urlencode(query)}"
