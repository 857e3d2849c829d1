"""Links from metadata to what the gateway serves: stored files, captures, evidence archives."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import dagster as dg
import yaml

from orchestration_project.engine.contracts.addresses import is_loopback
from orchestration_project.engine.contracts.job_kinds import HANDLE_RUNS
from orchestration_project.settings import load_shared_settings, without_secrets

API = "/api/v1"
QUARANTINED_PAGE = "/attention?kind=quarantined"
"""Page of the quarantined partitions, with reasons and what to launch."""
FILES = f"{API}/files"
JOBS = "/locations/orchestration_project.definitions/jobs"
"""Address of the jobs of the code location."""


def base_of(public_url: str) -> str:
    """Return the base of links: PUBLIC_URL, or empty if that is an address of this machine.

    A path alone leads to the host that shows it, so it works on any machine.
    """
    base = without_secrets(public_url).rstrip("/")
    return "" if is_loopback(urlsplit(base).hostname or "localhost") else base


@cache
def _base() -> str:
    return base_of(load_shared_settings().public_url)


def link(path: str) -> dg.UrlMetadataValue:
    """Return a link to a path of the gateway."""
    return dg.MetadataValue.url(f"{_base()}{path}")


def render_link(name: str, path: str) -> str:
    """Return the Markdown of a link to a path of the gateway, shown by its name."""
    return f"[{name}]({_base()}{path})"


def build_file_path(name: str) -> str:
    """Return the path of a file in the artifact store: a picture or a staged file."""
    return f"{FILES}?{urlencode({'name': name}, safe='/')}"


def name_in(link: str) -> str:
    """Return the name of the stored file that a link of `build_file_path` leads to."""
    return parse_qs(urlsplit(link).query)["name"][0]


def build_capture_path(sha256: str) -> str:
    """Return the path of captured bytes."""
    return f"{API}/artifacts/{sha256}"


def build_rows_path(table: str, *where: str) -> str:
    """Return the path of the rows of a table that meet all conditions, such as ``source=git``."""
    return f"{API}/tables/{table}?{urlencode({'where': where}, doseq=True)}"


def build_diff_path(table: str, loaded_at: datetime, *where: str) -> str:
    """Return the path of the rows that a load added, changed or removed, with both values."""
    before = loaded_at - timedelta(microseconds=1)
    query = {"since": before.isoformat(), "until": loaded_at.isoformat(), "where": where}
    return f"{API}/tables/{table}/diff?{urlencode(query, doseq=True)}"


def build_explanation_path(table: str, key: str, column: str) -> str:
    """Return the path of the explanation of a number; the key begins with the partition."""
    query = {"key": key, "column": column}
    return f"{API}/tables/{table}/explanation?{urlencode(query)}"


def build_captures_path(group_id: str) -> str:
    """Return the path of the list of a delivery's captures."""
    return f"{API}/artifacts?{urlencode({'where': f'group_id={group_id}'})}"


def build_log_path(run_id: str) -> str:
    """Return the path of a run's log lines."""
    return f"{API}/logs?{urlencode({'run': run_id})}"


def build_trace_path(trace_id: str) -> str:
    """Return the path of a trace."""
    return f"{API}/traces/{quote(trace_id)}"


def build_asset_url(key: Sequence[str]) -> str:
    """Return the address of an asset's page."""
    return f"/assets/{'/'.join(key)}"


def build_run_url(run_id: str) -> str:
    """Return the address of a run's page."""
    return f"/runs/{quote(run_id)}"


def build_partition_url(key: Sequence[str], partition: str) -> str:
    """Return the address of a partition's page, on the server that shows it."""
    return f"{build_asset_url(key)}?view=partitions&partition={quote(partition)}"


def build_check_url(key: Sequence[str], check: str) -> str:
    """Return the address of an asset check, with its description and latest evaluations."""
    return f"{build_asset_url(key)}?view=checks&checkDetail={quote(check)}"


def build_job_url(job: str, first: str, last: str) -> str:
    """Return the address of a job's partitions; its launch dialog opens with these chosen."""
    chosen = {"partition": first} if first == last else {"default_range": f"[{first}...{last}]"}
    return f"{JOBS}/{job}/partitions?{urlencode(chosen)}"


def build_launchpad_url(job: str, op: str, *, note: str = "", **config: object) -> str:
    """Return the address of a job's launchpad, which opens with a config of its op filled in.

    Args:
        job: A job without partitions.
        op: Its op.
        note: Comment above the config; blank: none.
        config: Options of the op.
    """
    filled = yaml.safe_dump({"ops": {op: {"config": config}}})
    comment = f"# {note}\n" if note else ""
    return f"{JOBS}/{job}/playground/setup?{urlencode({'config': comment + filled})}"


def build_retry_url(*, domain: str = "", dry_run: bool) -> str:
    """Return the address of the launchpad that retries failures, of all domains or one."""
    chosen = {"domain": domain} if domain else {}
    note = "dry_run: true only lists the failures; false launches them again."
    return build_launchpad_url(
        *HANDLE_RUNS, note=note, retry_failures={**chosen, "dry_run": dry_run}
    )


def build_evidence_path(file: str) -> str:
    """Return the path of an archive below STATE_DIR/evidence."""
    return f"{API}/evidence/{quote(file)}"
