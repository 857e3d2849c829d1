"""Manifest of an evidence archive, and verification against it.

The manifest names every member with its SHA-256. `SHA256SUMS` says the same of the members and of
the manifest, in the form that `sha256sum -c` reads, for who has nothing but the archive.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

from orchestration_project.errors import ContractError

FORMAT = 1
"""Format version of the archive; a reader refuses unknown versions."""

MANIFEST, SUMS, README = "manifest.json", "SHA256SUMS", "README.txt"

NO_MANIFEST = (
    *(ValueError, TypeError, KeyError, AttributeError),
    *(OverflowError, RecursionError),  # of a number without end, or lists in lists in lists
)
"""Errors of reading an invalid manifest."""

RULES_FILE, RECOMPUTE = "rules.json", "recompute.py"

CAPTURED_BYTES = "bytes/"
"""The folder of captured bytes, each under its SHA-256."""


@dataclass(frozen=True)
class Member:
    """A file in the archive; ``row_count`` is None where it has no rows."""

    name: str
    sha256: str
    byte_count: int
    row_count: int | None = None


@dataclass(frozen=True)
class Manifest:
    """Subject of the archive, and every member but itself and the sums."""

    about: Mapping[str, str]
    members: Sequence[Member]

    def to_json(self) -> bytes:
        """Return the text of the member `manifest.json`."""
        content = {
            "format": FORMAT,
            "about": dict(self.about),
            "members": [asdict(member) for member in self.members],
        }
        return f"{json.dumps(content, indent=1)}\n".encode()

    @property
    def sha256(self) -> str:
        """The SHA-256 of its text: it stands for the whole archive."""
        return hashlib.sha256(self.to_json()).hexdigest()

    def sums(self) -> bytes:
        """Return the text of the member `SHA256SUMS`."""
        named = [
            *((member.sha256, member.name) for member in self.members),
            (self.sha256, MANIFEST),
        ]
        return "".join(f"{sha256}  {name}\n" for sha256, name in named).encode()


def read_manifest(content: bytes) -> Manifest:
    """Read the text of a manifest.

    Raises:
        ContractError: It is none, or of another format.
    """
    try:
        document = json.loads(content)
        form = document["format"]
        manifest = Manifest(
            {str(name): str(value) for name, value in document["about"].items()},
            [_parse_member(each) for each in document["members"]],
        )
        manifest.sums()  # a name that is not Unicode, or too deep a value, cannot be written again
    except NO_MANIFEST as error:
        raise ContractError(
            "the manifest cannot be read",
            expected="format, about, and members with name, sha256, byte_count, row_count",
            found=f"{type(error).__name__}: {error}",
            remedy="get the archive again from who made it",
        ) from error
    if form != FORMAT:
        raise ContractError(
            "the archive has another format than this program knows",
            expected=f"format {FORMAT}",
            found=f"format {form}",
            remedy="verify it with the version of the program that made it, or `sha256sum -c`",
        )
    return manifest


def _parse_member(row: Mapping[str, Any]) -> Member:
    return Member(str(row["name"]), str(row["sha256"]), int(row["byte_count"]), row["row_count"])


def sum_of(name: str, sums: bytes) -> str:
    """Return the SHA-256 that the text of `SHA256SUMS` gives for a member, empty if it has none."""
    lines = (line.partition("  ") for line in sums.decode(errors="replace").splitlines())
    return next((sha256 for sha256, _, named in lines if named == name), "")


Kind = Literal["missing", "changed", "extra"]


class Problem(NamedTuple):
    """Defect of a member."""

    kind: Kind
    name: str
    why: str = ""

    def __str__(self) -> str:
        name = ascii(self.name)[1:-1]  # of an archive that anybody may have made
        return f"{self.kind:8}{name}" + (f" ({self.why})" if self.why else "")


class MemberContent(NamedTuple):
    """A member as it was read: its SHA-256, or why it could not be read or must not be there."""

    sha256: str = ""
    trouble: str = ""


def find_problems(promised: Mapping[str, str], found: Mapping[str, MemberContent]) -> list[Problem]:
    """Compare members, name → SHA-256, with those that were found; by name."""
    missing = [Problem("missing", name) for name in promised if name not in found]
    extra = [Problem("extra", name) for name in found if name not in promised]
    changed = [
        Problem("changed", name, found[name].trouble or f"its SHA-256 is {found[name].sha256}")
        for name, sha256 in promised.items()
        if name in found and (found[name].trouble or found[name].sha256 != sha256)
    ]
    return sorted([*missing, *changed, *extra], key=lambda each: each.name)


CONTENTS = {
    "runs.jsonl": "runs: request, user, preset, result",
    "steps.jsonl": "their steps",
    "deliveries.jsonl": "deliveries: each state of a partition that a source sent, and its outcome",
    "captures.jsonl": "captures of these deliveries: address, request, headers, time, SHA-256",
    "blobs.jsonl": "distinct contents of the captures: sizes, SHA-256",
    "rejects.jsonl": "rejected lines, with place, record and reason",
    "audits.jsonl": "audits before loading, with expected and found",
    "balances.jsonl": "equations of deliveries and runs: what came in, and where all of it went",
    "landings.jsonl": "loads, with numbers of changed rows",
    "alerts.jsonl": "alerts about it",
    "alert_deliveries.jsonl": "delivery of these alerts by channel",
    "events.jsonl": "data events, from capture to clean-up",
    "presets.jsonl": "applied presets: values, user, time, reason",
    "checks.jsonl": "checks of the stored data that the runs evaluated",
    "plans/": "plans that the runs applied: what they said would change",
    "run_events.jsonl": "Dagster's log of the runs, in Dagster's own form",
    "settings.jsonl": "values and origin of the settings, by config_hash (see runs.jsonl)",
    "versions.json": "the program that made this archive, and the rules that made the rows",
    "rows/": "the loaded rows of the partition as known at the time, and those derived from them",
    RULES_FILE: "the formula of each column, and which lines of captures are rows",
    RECOMPUTE: "recomputes a published number from the contents, with Python alone",
    "missing_plans.jsonl": "plans that the runs applied and that are not stored any more",
    "missing_bytes.jsonl": "contents that are not stored any more, and why",
    CAPTURED_BYTES: "fetched contents, as they came; the name is the SHA-256",
}
"""Members, or folders of them, and what they hold."""


def render_readme(about: Mapping[str, str]) -> bytes:
    """Return the text of the member `README.txt`, for the person who gets the archive."""
    subject = "\n".join(f"  {name}: {value}" for name, value in about.items())
    contents = "\n".join(f"  {name:24}{text}" for name, text in CONTENTS.items())
    return f"""\
Evidence of fetched, checked and published data

Subject
{subject}

Contents (what does not apply is empty or left out)
{contents}

Verify the archive
  With the program that made it, on any machine, without database or network:
    orchestrate evidence verify FILE.zip
  Without it:
    unzip FILE.zip -d evidence && cd evidence && sha256sum -c SHA256SUMS
  Both find damage, but not forgery: somebody who alters the archive can write new sums, too.
  So ask its maker, over another channel, for the SHA-256 of manifest.json, and compare.

Recompute a number, of a partition with {CAPTURED_BYTES}
    python recompute.py FILE.zip TABLE PARTITION KEY COLUMN
  It names the input rows, their places in the contents, and what was changed.

File formats
  .jsonl files have one JSON object on each line, in UTF-8. Whole numbers of the tables are
  written as text, since many programs round large ones. Times are UTC with microseconds. Columns
  that hold JSON (request, offenders, ...) hold it as text. Money in columns *_usd is US dollars
  times 1,000,000.

Limits
  Secrets are masked as ***; the contents in {CAPTURED_BYTES} are as the source sent them.
  Settings and versions are those under which the archive was made, and the settings that were
  verified under a config_hash of its runs. If a run's config_hash has no line in settings.jsonl,
  its settings were not verified.
  For a partition at a time, deliveries, loads, alerts and events are those until then; runs are
  in the state at which the archive was made.
""".encode()
