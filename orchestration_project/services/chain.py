"""Comparison of all tables with their chains, and the heads of the chains outside the database."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from orchestration_project.engine.connections.artifacts import open_artifacts
from orchestration_project.engine.contracts.chain import (
    ChainHead,
    ChainProblem,
    hash_heads,
    sign_heads,
)
from orchestration_project.engine.environment import open_chain_key, read_trusted_keys
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.chain_checking import (
    ChainReport,
    check_heads,
    check_table,
    find_unknown_chains,
    list_chained_tables,
)
from orchestration_project.engine.warehouse.chaining import read_chain_heads
from orchestration_project.errors import ConfigurationError, TransientError
from orchestration_project.settings import Settings

SECONDS_TO_SEND = 30


@dataclass(frozen=True)
class ChainVerdict:
    """Result of a comparison of all tables with their chains.

    Attributes:
        reports: Results by table.
        problems: All that does not fit; those of exported heads first.
        heads: Newest records of the tables.
    """

    reports: list[ChainReport]
    problems: list[ChainProblem]
    heads: Mapping[str, ChainHead]

    @property
    def heads_sha256(self) -> str:
        """SHA-256 (hex) over the heads of all tables."""
        return hash_heads(self.heads)


def verify_chains(
    warehouse: Warehouse, settings: Settings, exported: Mapping[str, ChainHead]
) -> ChainVerdict:
    """Compare one state of the database with its chains, and with exported heads."""
    trusted = read_trusted_keys(settings)
    with warehouse.reading() as connection:
        problems = [*check_heads(connection, exported), *find_unknown_chains(connection)]
        reports = [
            check_table(connection, table, trusted) for table in list_chained_tables(connection)
        ]
        heads = read_chain_heads(connection)
    problems += [problem for report in reports for problem in report.problems]
    return ChainVerdict(reports, problems, heads)


def export_heads(warehouse: Warehouse, settings: Settings, target: str, at: datetime) -> str:
    """Write the signed heads to a file, a folder of an S3 bucket, or an HTTP address.

    In S3 the object's name has the time, so that none is overwritten; a bucket with a default
    retention locks it.

    Returns:
        Where they were written to.

    Raises:
        ConfigurationError: The target cannot be used.
        TransientError: The target did not accept them.
    """
    with warehouse.reading() as connection:
        text = sign_heads(read_chain_heads(connection), open_chain_key(settings), at)
    scheme = urlsplit(target).scheme
    if scheme in ("http", "https"):
        _post(target, text)
        return target
    if scheme == "s3":
        name = f"chain-heads-{at:%Y%m%dT%H%M%SZ}.json"
        open_artifacts(target, setting="--export-heads").put(name, text.encode())
        return f"{target.rstrip('/')}/{name}"
    with _explain_file_errors(target):
        Path(target).write_text(text)
    return target


def read_exported(path: str) -> str:
    """Return the text of exported heads.

    Raises:
        ConfigurationError: The file cannot be read.
    """
    with _explain_file_errors(path):
        return Path(path).read_text()


@contextmanager
def _explain_file_errors(path: str) -> Iterator[None]:
    try:
        yield
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"invalid file of chain heads {path}",
            expected="a file that can be read and written, an s3:// or an https:// address",
            found=getattr(error, "strerror", None) or str(error),
            remedy="correct the path or its permissions",
        ) from error


def _post(url: str, text: str) -> None:
    import httpx

    host = urlsplit(url).hostname
    try:
        response = httpx.post(
            url,
            content=text,
            headers={"Content-Type": "application/json"},
            timeout=SECONDS_TO_SEND,
        )
    except httpx.HTTPError as error:
        raise TransientError(
            f"{host} did not accept the chain heads",
            expected="an answer with status 2xx",
            found=type(error).__name__,
            remedy="check the address, and repeat the command",
        ) from None  # its text may hold the secret part of the address
    if not response.is_success:
        raise TransientError(
            f"{host} did not accept the chain heads",
            expected="an answer with status 2xx",
            found=f"HTTP {response.status_code}",
            remedy="check the address, and repeat the command",
        )
