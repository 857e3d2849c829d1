"""DAGSTER_HOME of the programs that `ui` and `stack` start, with the storage that they share.

As a program, this module makes or checks that storage: so Dagster is imported in a process that
ends, and not in the one that watches the others as long as they run.
"""

import subprocess
import sys
from pathlib import Path

from orchestration_project.cli.exit_statuses import report_error
from orchestration_project.cli.full_disk import full_disk_explained
from orchestration_project.settings import default_path, load_settings


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
