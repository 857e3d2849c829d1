"""Storage of Dagster's own data: below STATE_DIR, or in PostgreSQL if a URL names one.

dagster.yaml names these classes without any config. Each process reads the settings itself, so a
database password is never part of the instance that Dagster passes on command lines.
"""

import fcntl
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Self

from dagster import DagsterInstance
from dagster._core.storage.cloud_storage_compute_log_manager import (
    PollingComputeLogSubscriptionManager,
)
from dagster._core.storage.compute_log_manager import CapturedLogContext
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._core.storage.root import LocalArtifactStorage
from dagster_postgres import DagsterPostgresStorage
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from orchestration_project.engine.connections.files import ensure_state_folder
from orchestration_project.engine.environment import open_shared_store
from orchestration_project.engine.warehouse.connecting import has_rest_of_password
from orchestration_project.engine.warehouse.remedies import REFUSES_OPTION, WITHOUT_OPTION
from orchestration_project.errors import ConfigurationError
from orchestration_project.instance.logs import mirrored
from orchestration_project.instance.postgres import PostgresStorage
from orchestration_project.instance.shared_logs import SharedLogs
from orchestration_project.instance.sqlite import SqliteStorage
from orchestration_project.services.dagster_instance import (
    READ_ONLY_REMEDY,
    find_driver_error,
    list_storage_errors,
)
from orchestration_project.settings import default_path, load_shared_settings, without_secrets


def open_instance() -> DagsterInstance:
    """Return the instance of the project's dagster.yaml, whatever DAGSTER_HOME says."""
    return DagsterInstance.from_config(str(default_path(Path("dagster.yaml")).parent))


def postgres_url(url: str) -> str:
    """Return ``url`` naming the driver that dagster-postgres brings.

    SQLAlchemy 2.1 takes a bare postgresql:// for psycopg 3, which dagster-postgres does not speak.

    Raises:
        ConfigurationError: It is not a PostgreSQL URL.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise _build_url_error("no database URL") from None  # SQLAlchemy's text quotes the password
    if has_rest_of_password(parsed):
        raise _build_url_error("a password with an @ that is not written as %40")
    if parsed.get_backend_name() not in ("postgresql", "postgres"):
        raise _build_url_error(f"a {parsed.get_backend_name()} URL")
    return parsed.set(drivername="postgresql+psycopg2").render_as_string(hide_password=False)


def _build_url_error(found: str) -> ConfigurationError:
    return ConfigurationError(
        "DAGSTER_DATABASE_URL cannot be used",
        expected="postgresql://user:password@host:port/database",
        found=found,
        remedy="correct it, or unset it to keep Dagster's data in SQLite below STATE_DIR",
    )


class SettingsStorage(DagsterPostgresStorage):
    """Runs, events, schedules: SQLite below STATE_DIR, PostgreSQL if DAGSTER_DATABASE_URL is set.

    It only chooses: what Dagster gets is one of its own two storages, which keeps secrets out of
    what it stores, and SQLite's opened faster. It extends one that Dagster exports, as
    dagster.yaml can name no other class.
    """

    @classmethod
    def config_type(cls) -> Mapping[str, Any]:
        """Return the config that dagster.yaml may give: none."""
        return {}

    @classmethod
    def from_config_value(  # pyright: ignore[reportIncompatibleMethodOverride] - it chooses
        cls, inst_data: Any, config_value: Mapping[str, Any]
    ) -> SqliteStorage | PostgresStorage:
        """Open the storage that the settings name."""
        settings = load_shared_settings()
        url = settings.dagster_database_url
        folder = ensure_state_folder(settings, "dagster")
        with _lock_storage(folder):
            if url is None:
                return SqliteStorage.from_local(str(folder), inst_data)
            return _open_postgres(url.get_secret_value(), inst_data)


@contextmanager
def _lock_storage(folder: Path) -> Iterator[None]:
    """Hold a lock while the storage is opened: two processes that create it collide in Dagster."""
    with (folder / "storage.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # ends with the process, however that ends
        yield


def _open_postgres(url: str, inst_data: Any) -> PostgresStorage:
    try:
        storage = PostgresStorage(postgres_url(url), inst_data)
        run_storage: Any = storage.run_storage
        with run_storage.connect() as connection:
            is_read_only = connection.execute(text("SHOW transaction_read_only")).scalar() == "on"
    except list_storage_errors() as error:
        message = str(find_driver_error(error)).strip()
        raise ConfigurationError(
            "Dagster's database cannot be reached",
            expected=f"PostgreSQL at {without_secrets(url)}",
            found=message,
            remedy=WITHOUT_OPTION.format(setting="DAGSTER_DATABASE_URL")
            if REFUSES_OPTION in message
            else "start the server, or correct or unset DAGSTER_DATABASE_URL",
        ) from error
    if is_read_only:
        raise ConfigurationError(
            "Dagster's database is read-only",
            expected=f"a writable PostgreSQL at {without_secrets(url)}",
            found="a database whose transactions are read-only",
            remedy=READ_ONLY_REMEDY,
        )
    return storage


EXTENSIONS = ("out", "err")
"""Extensions of the files of stdout and stderr, as Dagster names them."""


class StateComputeLogs(LocalComputeLogManager):
    """Compute logs of steps, below STATE_DIR, and in a bucket that ARTIFACTS_URL names."""

    def __init__(self, base_dir: str, **options: Any) -> None:
        super().__init__(base_dir, **options)
        store = open_shared_store(load_shared_settings())
        self.shared = SharedLogs(store, Path(base_dir)) if store else None
        if self.shared:
            self._subscription_manager = PollingComputeLogSubscriptionManager(self)

    @classmethod
    def config_type(cls) -> Mapping[str, Any]:
        """Return the config that dagster.yaml may give: none."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Mapping[str, Any]) -> Self:
        """Keep the logs below STATE_DIR."""
        return cls(
            str(ensure_state_folder(load_shared_settings(), "dagster", "compute_logs")),
            inst_data=inst_data,
        )

    @contextmanager
    def capture_logs(self, log_key: Sequence[str]) -> Iterator[CapturedLogContext]:
        """Capture the output of a step, and show it on the console meanwhile."""
        out, err = (
            Path(self.get_captured_local_path(log_key, extension)) for extension in EXTENSIONS
        )
        shared = self.shared.stored_meanwhile([out, err]) if self.shared else nullcontext()
        with shared, mirrored(sys.stdout, out), mirrored(sys.stderr, err):
            yield CapturedLogContext(log_key)
        complete = Path(self.complete_artifact_path(log_key))
        complete.touch()  # ends the following of the log
        if self.shared:
            self.shared.put(complete)

    def is_capture_complete(self, log_key: Sequence[str]) -> bool:
        """Whether all of the logs are there, here or in the artifact store."""
        if super().is_capture_complete(log_key):
            return True
        complete = Path(self.complete_artifact_path(log_key))
        if self.shared is None or not self.shared.has(complete):
            return False
        for extension in EXTENSIONS:  # a download reads the file of this host
            self.shared.fetch(Path(self.get_captured_local_path(log_key, extension)))
        complete.touch()
        return True

    def get_log_data_for_type(
        self,
        log_key: Sequence[str],
        io_type: Any,
        offset: int | None = 0,
        max_bytes: int | None = None,
    ) -> tuple[bytes, int] | tuple[None, int]:
        """Return the output of a step so far: its file here, or in the artifact store."""
        extension = io_type.value.removeprefix("std")
        file = Path(self.get_captured_local_path(log_key, extension))
        if self.shared is None or file.exists():
            return super().get_log_data_for_type(log_key, io_type, offset, max_bytes)
        return self.shared.read(file, offset or 0, max_bytes)

    def delete_logs(
        self, log_key: Sequence[str] | None = None, prefix: Sequence[str] | None = None
    ) -> None:
        """Delete logs of this host, and those of a prefix in the artifact store, too."""
        super().delete_logs(log_key, prefix)
        if self.shared and prefix:
            self.shared.delete(Path(self._base_dir).joinpath(*prefix))


class StateArtifacts(LocalArtifactStorage):
    """Files that Dagster itself stores, below STATE_DIR."""

    @classmethod
    def config_type(cls) -> Mapping[str, Any]:
        """Return the config that dagster.yaml may give: none."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Mapping[str, Any]) -> Self:
        """Keep the files below STATE_DIR."""
        return cls(str(ensure_state_folder(load_shared_settings(), "dagster")), inst_data=inst_data)
