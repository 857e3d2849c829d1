"""DAGSTER_HOME of the programs that `ui` and `stack` start, and its storage without Dagster.

As a program, this module makes or checks that storage: so Dagster is imported in a process that
ends, and not in the one that watches the others as long as they run. IDs of runs are read from the
file of SQLite, as the import of Dagster's storage takes most of the time of a small command.
"""

import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from orchestration_project.cli.exit_statuses import report_error
from orchestration_project.cli.full_disk import full_disk_explained
from orchestration_project.settings import Settings, default_path, load_settings

RUNS_FILE = Path("dagster", "history", "runs.db")
"""File of STATE_DIR with Dagster's runs, and their tags in the table `run_tags`.

At an upgrade of Dagster: the table has a row for each tag of a run, with `key` and `value`.
"""

TAGGED = "SELECT run_id FROM run_tags WHERE key = ? AND value = ? ORDER BY id DESC LIMIT ?"
"""Statement with the arguments tag, value and limit; a later run has a later row."""


def prepare_home(home: Path) -> None:
    """Make ``home`` a DAGSTER_HOME of the project's dagster.yaml, and create or check the storage.

    The root itself as DAGSTER_HOME would fill with folders that Dagster makes there.

    Raises:
        SystemExit: The storage cannot be used, as the program that tried has written.
    """
    link = home / "dagster.yaml"
    link.unlink(missing_ok=True)
    link.symlink_to(default_path(Path("dagster.yaml")))
    status = subprocess.run([sys.executable, "-m", __name__], check=False).returncode  # noqa: S603 - this module
    if status:
        sys.exit(status)


def find_run_ids(settings: Settings, tag: str, value: str, limit: int) -> Sequence[str] | None:
    """Return the ids of the latest runs that have a tag; None: Dagster's instance has to be asked.

    Args:
        settings: They name the storage: only SQLite is read here.
        tag: Name of the tag.
        value: Value of the tag.
        limit: Number of ids that are returned at most.
    """
    if settings.dagster_database_url is not None:
        return None
    file = settings.state_path / RUNS_FILE
    if not file.exists():
        return []
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as runs:
            return [run_id for (run_id,) in runs.execute(TAGGED, (tag, value, limit))]
    except sqlite3.Error:  # locked, or of another version
        return None


def main() -> int:
    """Make or check the storage; return the exit status."""
    from orchestration_project.instance.storage import open_instance

    try:
        with full_disk_explained(load_settings()):
            open_instance().dispose()
    except Exception as error:  # noqa: BLE001 - defects are raised again
        return report_error(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
