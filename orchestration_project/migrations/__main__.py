"""`python -m orchestration_project.migrations NAME` writes the next version from the tables."""

import sys

from alembic.script import ScriptDirectory

from orchestration_project.errors import ConfigurationError
from orchestration_project.migrations import VERSIONS
from orchestration_project.migrations.next_version import write_next_version
from orchestration_project.migrations.scripts import alembic_config
from orchestration_project.tables.catalogue import METADATA, VIEWS


def main(name: str) -> int:
    """Write it, and say where; return 0 also if nothing changed."""
    script = ScriptDirectory.from_config(alembic_config())
    try:
        written = write_next_version(name, script, VERSIONS, METADATA, VIEWS)
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if written is None:
        sys.stdout.write("nothing changed since the newest version: no version is written\n")
    else:
        sys.stdout.write(f"written: {written.file}\n")
        for text in written.dropped:
            sys.stdout.write(f"warning: it drops {text}; a rename must be written manually\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(" ".join(sys.argv[1:])))
