"""`python -m orchestration_project.migrations NAME` writes the next version from the tables.

It also records the hash of the declarations, by which commands know them without importing them.
"""

import sys

from alembic.script import ScriptDirectory

from orchestration_project.errors import ConfigurationError
from orchestration_project.migrations import NEWEST_VERSION, SCHEMA_HASH, VERSIONS
from orchestration_project.migrations.changes import alembic_config
from orchestration_project.migrations.declared import schema_sha256
from orchestration_project.migrations.next_version import write_next_version
from orchestration_project.tables.catalogue import METADATA, VIEWS


def main(name: str) -> int:
    """Write it and the hash, and say where; return 0 also if nothing changed."""
    script = ScriptDirectory.from_config(alembic_config())
    try:
        written = write_next_version(name, script, VERSIONS, METADATA, VIEWS)
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    version = NEWEST_VERSION if written is None else written.file.name[1:5]
    SCHEMA_HASH.write_text(f"{version} {schema_sha256(METADATA.tables, VIEWS)}\n")
    if written is None:
        sys.stdout.write("nothing changed since the newest version: no version is written\n")
    else:
        sys.stdout.write(f"written: {written.file}\n")
        for text in written.dropped:
            sys.stdout.write(f"warning: it drops {text}; a rename must be written manually\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(" ".join(sys.argv[1:])))
