"""A state of the demo for the oracle: loads on several days, exports, and an archive of them.

The commands run in this process; `tests/oracle` imports nothing of the package itself.
"""

import io
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import dagster as dg
import pytest
import zstandard

from orchestration_project.definitions import defs
from orchestration_project.engine.connections.simulator import stop_demos
from orchestration_project.settings import load_settings
from tests import programs
from tests.commands import run_without_failure
from tests.prepared import Prepared

Row = dict[str, Any]


class DemoState:
    """A STATE_DIR with demos, which loads, exports and archives."""

    def __init__(
        self, folder: Path, environment: pytest.MonkeyPatch, instance: dg.DagsterInstance
    ) -> None:
        self._folder = folder
        self._environment = environment
        self._instance = instance

    def set_clock(self, minute: str) -> None:
        """Set the start of the clock to a minute, such as 2026-03-02T15:00."""
        self._environment.setenv("DEMO_CLOCK_NOW", programs.from_then_on(minute))

    def set(self, name: str, value: str) -> None:
        """Change a setting."""
        self._environment.setenv(name, value)

    def run(self, job: str, first: str = "", last: str = "", **options: Any) -> bool:
        """Run a job for a range of partitions; return whether it succeeded."""
        tags = {
            "dagster/asset_partition_range_start": first,
            "dagster/asset_partition_range_end": last or first,
        }
        result = defs.resolve_job_def(job).execute_in_process(
            instance=self._instance,
            raise_on_error=False,
            tags=tags if first else {},
            run_config=options or None,
        )
        return result.success

    def load(self, dataset: str, *partitions: str) -> None:
        """Load a dataset by the command."""
        run_without_failure("load", dataset, *partitions)

    def export(self, table: str, *arguments: str) -> list[Row]:
        """Return the rows of a table as the command exports them."""
        return self._write("export", table, *arguments)

    def diff(self, table: str, *arguments: str) -> list[Row]:
        """Return the rows that the command `diff` writes."""
        return self._write("diff", table, *arguments)

    def gold(self, table: str, *arguments: str) -> list[Row]:
        """Return the rows that the command `gold` derives."""
        return self._write("gold", table, *arguments)

    def explain(self, *number: str) -> Row:
        """Return the explanation of a number: table, key and column."""
        output = io.StringIO()
        with redirect_stdout(output):
            run_without_failure("explain", *number, "--json")
        return json.loads(output.getvalue())

    def _write(self, *arguments: str) -> list[Row]:
        file = self._folder / "rows.ndjson"
        options = ["--format", "ndjson", "--output", str(file), "--force"]
        run_without_failure(*arguments, *options)
        return [json.loads(line) for line in file.read_text().split("\n") if line]

    def archive(self) -> Path:
        """Return an archive with the members of all deliveries, as of evidence, and their bytes."""
        file = self._folder / "archive.zip"
        artifacts = load_settings().state_path / "artifacts"
        with ZipFile(file, "w") as archive:
            for table in ("deliveries", "captures", "landings"):
                lines = [json.dumps(row) + "\n" for row in self.export(table)]
                archive.writestr(f"{table}.jsonl", "".join(lines))
            for blob in self.export("blobs"):
                stored = (artifacts / blob["storage_uri"]).read_bytes()
                begin = blob["byte_offset"] or 0
                frame = stored[begin : begin + blob["stored_byte_count"]]
                size = max(blob["byte_count"], 1)
                content = zstandard.ZstdDecompressor().decompress(frame, max_output_size=size)
                archive.writestr(f"bytes/{blob['sha256']}", content)
        return file

    def evidence(self, partition: str, at: str, *more: str) -> Path:
        """Return the product's evidence archive of a partition at a time, with its bytes."""
        file = self._folder / f"evidence-{len(list(self._folder.glob('evidence-*')))}.zip"
        options = ["--at", at, "--include-bytes", *more, "--output", str(file)]
        run_without_failure("evidence", "export", "--partition", partition, *options)
        return file


@contextmanager
def demo_state(
    folder: Path, settings: Mapping[str, str], prepared: Prepared
) -> Iterator[DemoState]:
    """Lend a small demo with these settings; its programs end with the block."""
    umask = os.umask(0o022)
    with pytest.MonkeyPatch.context() as environment, dg.DagsterInstance.ephemeral() as instance:
        for name, value in {
            **programs.DEMO,
            **settings,
            "STATE_DIR": str(folder / "state"),
        }.items():
            environment.setenv(name, value)
        prepared.sqlite(folder / "state" / "demo.sqlite")
        try:
            yield DemoState(folder, environment, instance)
        finally:
            stop_demos(load_settings())
            os.umask(umask)
