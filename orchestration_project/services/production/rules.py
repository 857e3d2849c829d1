"""Rules of the production checks: each judges one line of the checklist, without I/O."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Literal, NamedTuple, TypeAlias

from orchestration_project.engine.contracts.addresses import is_loopback

State: TypeAlias = Literal["ok", "warning", "failed", "unknown"]

EXPECTED: Mapping[str, str] = {
    "tls": "PUBLIC_URL with https:// and TRUSTED_PROXIES",
    "certificate": "a certificate for the host of PUBLIC_URL, valid for 14 days or more",
    "login": "GATEWAY_AUTH=on",
    "session_secret": "SESSION_SECRET with 12 different characters or more",
    "bind": "gateway and code server on loopback, or the gateway behind a TLS proxy",
    "data_profile": "DATA_PROFILE=real without DEMO_CLOCK_NOW",
    "admin": "an admin key valid for 14 days or more, or an admin of OIDC_ROLES",
    "keys": "no first key of `ui`, and each valid key made and ending within 365 days",
    "database": "PostgreSQL as DATABASE_URL and DAGSTER_DATABASE_URL, and a connection",
    "database_tls": "sslmode verify-full or verify-ca for PostgreSQL on another host",
    "migrations": "tables of the version of this release",
    "backup": "a complete backup within BACKUP_MAX_AGE_HOURS, by default 24 hours",
    "restore": "a restore with --check recorded within 31 days",
    "retention": "ARTIFACTS_CAPTURED_DAYS and WEBHOOK_BODY_DAYS",
    "clean_up": "a run of operations_clean_up with dry_run: false within 31 days",
    "alerts": "an alert channel, and valid rules",
    "alert_delivery": "a message to each channel within 31 days",
    "clock": "at most 2 s between the clocks of this host and the database",
    "disk": "15 % of the disk of STATE_DIR free",
    "logs": "LOG_FORMAT=json, and LOG_LEVEL other than DEBUG",
}
"""Expected state by check, in the order of the checklist."""

MONTH = timedelta(days=31)
"""Age from which a restore, a clean-up or a message no longer counts as recent."""

MAX_KEY_AGE = timedelta(days=365)
ENDS_SOON = timedelta(days=14)
MIN_DIFFERENT_CHARACTERS = 12
AS_THEIR_USER = "run this command on their host, as their user"
MAX_SKEW_SECONDS = 2
MIN_FREE_SHARE, WARNED_FREE_SHARE = 0.05, 0.15

SAFE_MODES = ("verify-full", "verify-ca")
"""Values of sslmode that check the server's certificate; require only encrypts."""


class Verdict(NamedTuple):
    """Result of a rule: state, finding and remedy; without a remedy if all is well."""

    state: State
    found: str
    remedy: str = ""


class ProductionCheck(NamedTuple):
    """Check of one line of the checklist."""

    name: str
    state: State
    expected: str
    found: str
    remedy: str

    @property
    def message(self) -> str:
        """The expected and the found state, in one line."""
        return f"expected {self.expected}, found {self.found}"


UNKNOWN_HOST = ""
"""Host of a listener whose process is another user's, and cannot be read."""


class Listener(NamedTuple):
    """Address that a program of this installation listens on."""

    program: str
    host: str
    port: int

    def __str__(self) -> str:
        if self.host == UNKNOWN_HOST:
            return f"{self.program} of another user"
        return f"{self.program} on {self.host}:{self.port}"


class KeyTerms(NamedTuple):
    """Valid key of the gateway, and its times."""

    key_id: str
    is_admin: bool
    is_first: bool
    created_at: datetime
    expires_at: datetime


class DatabaseAddress(NamedTuple):
    """Database that a setting names: hosts separated by commas; none: local socket or file."""

    setting: str
    backend: str
    host: str
    sslmode: str


class BackupTimes(NamedTuple):
    """Times of backups and restores; None: it never happened."""

    latest_at: datetime | None
    verified_at: datetime | None
    missing_count: int


def build_check(name: str, verdict: Verdict) -> ProductionCheck:
    """Return the check of this name with its verdict."""
    return ProductionCheck(name, verdict.state, EXPECTED[name], verdict.found, verdict.remedy)


def judge_tls(public_url: str, proxies: Sequence[str]) -> Verdict:
    """Judge whether people reach the UI by TLS, which a trusted proxy serves."""
    found = f"PUBLIC_URL={public_url}, TRUSTED_PROXIES={','.join(proxies) or 'not set'}"
    is_https = public_url.lower().startswith("https://")
    if is_https and proxies:
        return Verdict("ok", found)
    remedy = "put a proxy with TLS in front, and set PUBLIC_URL and TRUSTED_PROXIES"
    return Verdict("warning" if proxies else "failed", found, remedy)


def judge_login(gateway_auth: str) -> Verdict:
    """Judge whether the gateway requires a login."""
    found = f"GATEWAY_AUTH={gateway_auth}"
    return Verdict("ok", found) if gateway_auth == "on" else Verdict("failed", found, "remove it")


def judge_session_secret(secret: str | None) -> Verdict:
    """Judge the key that signs sessions by the variety of its characters."""
    remedy = "write a random one to the file that SESSION_SECRET_FILE names"
    if secret is None:
        return Verdict("warning", "a generated one in STATE_DIR", remedy)
    different = len(set(secret))
    state = "ok" if different >= MIN_DIFFERENT_CHARACTERS else "failed"
    return Verdict(state, f"{different} different characters", "" if state == "ok" else remedy)


def judge_bind(listeners: Sequence[Listener], *, is_behind_proxy: bool) -> Verdict:
    """Judge the addresses that others may reach; code servers have no login."""
    if not listeners:
        return Verdict(
            "unknown",
            "no gateway or code server with this DAGSTER_HOME among the readable processes",
            AS_THEIR_USER,
        )
    found = ", ".join(map(str, listeners))
    known = [listener for listener in listeners if listener.host != UNKNOWN_HOST]
    reachable = [listener for listener in known if not is_loopback(listener.host)]
    code_servers = [listener for listener in reachable if listener.program != "gateway"]
    if len(reachable) > len(code_servers) and not is_behind_proxy:
        return Verdict("failed", found, "serve on 127.0.0.1, or set PUBLIC_URL and TRUSTED_PROXIES")
    if any(ip_address(listener.host).is_unspecified for listener in code_servers):
        return Verdict("failed", found, "serve gRPC on an address of a private network")
    if code_servers:
        return Verdict("warning", found, "keep gRPC off public networks by a firewall")
    if len(known) < len(listeners):
        return Verdict("unknown", found, AS_THEIR_USER)
    return Verdict("ok", found)


def judge_data_profile(*, is_demo: bool, has_demo_clock: bool) -> Verdict:
    """Judge whether data and clock are real."""
    found = "DATA_PROFILE=demo" if is_demo else "DATA_PROFILE=real"
    found += " with DEMO_CLOCK_NOW" if has_demo_clock else ""
    if is_demo or has_demo_clock:
        return Verdict("failed", found, "set the setting …_SOURCE of each domain to a real source")
    return Verdict("ok", found)


def judge_admin(keys: Sequence[KeyTerms], *, has_oidc_admin: bool, now: datetime) -> Verdict:
    """Judge whether an admin can log in, also in two weeks."""
    if has_oidc_admin:
        return Verdict("ok", "an admin of OIDC_ROLES")
    ends = [key.expires_at for key in keys if key.is_admin]
    if not ends:
        remedy = "run `orchestrate keys create --role admin --owner NAME`"
        return Verdict("failed", "no valid admin key", remedy)
    found = f"an admin key valid until {max(ends):%Y-%m-%d %H:%M} UTC"
    if max(ends) - now < ENDS_SOON:
        return Verdict("warning", found, "run `orchestrate keys rotate KEY_ID`")
    return Verdict("ok", found)


def judge_keys(keys: Sequence[KeyTerms], now: datetime) -> Verdict:
    """Judge the age and the end of valid keys, and whether the first one is still valid."""
    old = [
        key.key_id
        for key in keys
        if now - key.created_at > MAX_KEY_AGE or key.expires_at - now > MAX_KEY_AGE
    ]
    if old:
        remedy = "run `orchestrate keys rotate KEY_ID`"
        return Verdict("failed", f"older or ending later: {', '.join(old)}", remedy)
    if first := [key.key_id for key in keys if key.is_first]:
        remedy = "create a key for each person, then `orchestrate keys revoke KEY_ID`"
        return Verdict("warning", f"the first key of `ui`: {', '.join(first)}", remedy)
    return Verdict("ok", f"{len(keys)} valid keys")


def judge_database(addresses: Sequence[DatabaseAddress], problem: str) -> Verdict:
    """Judge the kind of both databases, and whether ours can be reached."""
    if problem:
        return Verdict("failed", problem, "start the database, or correct DATABASE_URL")
    found = ", ".join(f"{address.setting}: {address.backend}" for address in addresses)
    if any(address.backend != "postgresql" for address in addresses):
        return Verdict("failed", found, "set both URLs; see docs/how-to/use-postgresql.md")
    return Verdict("ok", found)


def list_hosts(
    host: str | None,
    query: Mapping[str, str | Sequence[str]],
    environment: Mapping[str, str],
) -> list[str]:
    """Return the hosts that libpq may connect to; a service names those of a file of its own."""
    named = [host, query.get("host"), query.get("hostaddr")]
    if not any(named):
        named = [environment.get("PGHOST"), environment.get("PGHOSTADDR")]
    if service := query.get("service") or environment.get("PGSERVICE"):
        named.append(f"service {service}")
    lists = [[hosts] if isinstance(hosts, str) else hosts for hosts in named if hosts]
    return [name for hosts in lists for name in hosts]


def judge_database_tls(addresses: Sequence[DatabaseAddress]) -> Verdict:
    """Judge whether connections to databases of other hosts are encrypted and verified."""
    remote = [
        address
        for address in addresses
        if address.backend == "postgresql" and any(map(_is_remote, address.host.split(",")))
    ]
    if not remote:
        return Verdict("ok", "no PostgreSQL on another host")
    found = ", ".join(
        f"{address.setting} on {address.host}: sslmode {address.sslmode or 'not set'}"
        for address in remote
    )
    if all(address.sslmode in SAFE_MODES for address in remote):
        return Verdict("ok", found)
    is_encrypted = all(address.sslmode in (*SAFE_MODES, "require") for address in remote)
    remedy = "add ?sslmode=verify-full&sslrootcert=FILE to the URL"
    return Verdict("warning" if is_encrypted else "failed", found, remedy)


def _is_remote(host: str) -> bool:
    """Say whether a host may be another one; a folder is that of a local socket."""
    return bool(host) and not host.startswith("/") and not is_loopback(host)


def judge_migrations(version: str | None, newest: str) -> Verdict:
    """Judge the version of the tables."""
    if version == newest:
        return Verdict("ok", f"version {version}")
    found = f"version {version}, not {newest}" if version else "no tables"
    return Verdict("failed", found, "back up, and run `orchestrate migrate`")


def judge_backup(times: BackupTimes, max_age: timedelta, now: datetime) -> Verdict:
    """Judge the age of the latest backup, and whether it is complete."""
    if times.latest_at is None:
        remedy = "enable the timer orchestration-back-up, or run `orchestrate backup --to DIR`"
        return Verdict("failed", "no backup", remedy)
    found = f"the latest of {times.latest_at:%Y-%m-%d %H:%M} UTC"
    if now - times.latest_at > max_age:
        return Verdict("failed", found, "read the log of the timer orchestration-back-up")
    if times.missing_count:
        found += f" without {times.missing_count} artifacts"
        return Verdict("warning", found, "run `orchestrate artifacts repair --from DIR`")
    return Verdict("ok", found)


def judge_restore(times: BackupTimes, now: datetime) -> Verdict:
    """Judge when a backup was last restored and read back."""
    remedy = (
        "with empty databases, run `orchestrate restore --from DIR --check`; the next backup to "
        "DIR records it"
    )
    if times.verified_at is None:
        return Verdict("failed", "no recorded restore", remedy)
    found = f"the latest of {times.verified_at:%Y-%m-%d %H:%M} UTC"
    return (
        Verdict("ok", found)
        if _is_recent(times.verified_at, now)
        else Verdict("warning", found, remedy)
    )


def judge_retention(days: Mapping[str, int | None]) -> Verdict:
    """Judge whether captured bytes and bodies have an age from which they are deleted.

    Args:
        days: Days by setting; None: kept for ever.
    """
    unset = [name for name, value in days.items() if value is None]
    if unset:
        found = f"kept for ever, as not set: {', '.join(unset)}"
        return Verdict("warning", found, "set them; see docs/how-to/retention.md")
    return Verdict("ok", ", ".join(f"{name}={value}" for name, value in days.items()))


def is_clean_up(params: str) -> bool:
    """Whether the run config of operations_clean_up deletes, and not only measures."""
    config: object = json.loads(params)
    for name in ("ops", "clean_up", "config"):
        config = config.get(name) if isinstance(config, dict) else None
    actions = config.values() if isinstance(config, dict) else ()
    return any(isinstance(action, dict) and action.get("dry_run") is False for action in actions)


def judge_clean_up(latest_at: datetime | None, now: datetime) -> Verdict:
    """Judge when a run last deleted what is older than the retention."""
    remedy = "run `orchestrate automation on retention`"
    if latest_at is None:
        return Verdict("warning", "no recorded run", remedy)
    found = f"the latest of {latest_at:%Y-%m-%d %H:%M} UTC"
    return Verdict("ok", found) if _is_recent(latest_at, now) else Verdict("warning", found, remedy)


def judge_alerts(channels: Sequence[str], problem: str) -> Verdict:
    """Judge whether alerts reach anybody."""
    if problem:
        return Verdict("failed", problem, "run `orchestrate alerts check`")
    if not channels:
        return Verdict("failed", "no channel", "set ALERT_URLS or ALERT_URL_<CHANNEL>")
    return Verdict("ok", ", ".join(channels))


def judge_alert_delivery(
    channels: Sequence[str], accepted_at: Mapping[str, datetime], refusal: str, now: datetime
) -> Verdict:
    """Judge whether each channel accepted a message lately.

    Args:
        channels: Names of the channels.
        accepted_at: When each channel that ever accepted a message last did.
        refusal: Channels that do not accept messages now, in words; empty: none.
        now: The present time.
    """
    if not channels:
        return Verdict("unknown", "no channel to send to", "set ALERT_URLS")
    if refusal:
        return Verdict("failed", refusal, "check the service and the setting of the channel")
    remedy = "run `orchestrate verify --send-test`; `alerts test` records nothing"
    untried = [name for name in channels if name not in accepted_at]
    if untried:
        return Verdict("unknown", f"no recorded message to {', '.join(untried)}", remedy)
    oldest = min(accepted_at[name] for name in channels)
    found = f"the latest to each since {oldest:%Y-%m-%d %H:%M} UTC"
    return Verdict("ok", found) if _is_recent(oldest, now) else Verdict("warning", found, remedy)


def judge_clock(skew_seconds: float | None) -> Verdict:
    """Judge by how much this host's clock is ahead of the database's; None: it has no clock."""
    if skew_seconds is None:
        return Verdict("unknown", "no time, as SQLite has no server")
    found = f"{skew_seconds:+.1f} s"
    if abs(skew_seconds) > MAX_SKEW_SECONDS:
        return Verdict("failed", found, "set both clocks by NTP")
    return Verdict("ok", found)


def judge_disk(free_bytes: int, total_bytes: int, min_free_bytes: int) -> Verdict:
    """Judge the free share of a disk; below ``min_free_bytes`` no run starts."""
    share = free_bytes / total_bytes
    found = f"{share:.0%} free ({free_bytes // 1024**2:,} MiB)".replace("%", " %")
    if share >= WARNED_FREE_SHARE and free_bytes >= min_free_bytes:
        return Verdict("ok", found)
    is_full = share < MIN_FREE_SHARE or free_bytes < min_free_bytes
    remedy = "free some space, or move STATE_DIR; see docs/how-to/retention.md"
    return Verdict("failed" if is_full else "warning", found, remedy)


def judge_logs(log_format: str, log_level: str) -> Verdict:
    """Judge whether programs can read the log lines, and whether they are few enough."""
    found = f"LOG_FORMAT={log_format}, LOG_LEVEL={log_level}"
    if log_format == "json" and log_level != "DEBUG":
        return Verdict("ok", found)
    return Verdict("warning", found, "set LOG_FORMAT=json and LOG_LEVEL=INFO")


def _is_recent(moment: datetime, now: datetime) -> bool:
    return now - moment <= MONTH
