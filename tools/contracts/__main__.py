"""Compares the names that others build on with the record, or with `--write` records additions.

Run as `python -m tools.contracts`. A name that is gone or changed incompatibly needs a line in the
changelog, and a released name an earlier deprecation: else it fails, and `--write` writes nothing.
"""

import sys
import tempfile

from tools.clean_environment import clean_environment


def main() -> int:
    """Print what fails and return 1, or write the record."""
    with tempfile.TemporaryDirectory() as folder:
        clean_environment(folder)
        from orchestration_project.settings import PROJECT_ROOT
        from tools.contracts.comparison import COMMAND, undeprecated_removals, unnamed_breaks
        from tools.contracts.record import FILE, format_record, read_record
        from tools.contracts.surface import read_surface

        present = read_surface()
    recorded = read_record(FILE.read_text()) if FILE.is_file() else {}
    changelog = (PROJECT_ROOT / "CHANGELOG.md").read_text()
    breaks = [
        found
        for find in (unnamed_breaks, undeprecated_removals)
        for found in find(recorded, present, changelog)
    ]
    for found in breaks:
        print(found.describe())
    if not breaks and present != recorded:
        if "--write" not in sys.argv:
            print(f"{FILE.relative_to(PROJECT_ROOT)} is outdated: run `{COMMAND}`")
            return 1
        FILE.write_text(format_record(present))
    return 1 if breaks else 0


if __name__ == "__main__":
    sys.exit(main())
