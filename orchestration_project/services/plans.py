"""A plan as a document: made for some datasets, written, read again, and checked before it is used.

It is bound to the code, to the recorded deliveries and so to their captures, and to the loaded
state. `apply` makes the changes that it lists, or refuses it.
"""

import hashlib
import json
import math
import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import select

from orchestration_project.engine.connections.artifacts import ArtifactStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.dataset import DatasetLoad, DatasetLoads
from orchestration_project.engine.deliveries import RecordedDeliveries
from orchestration_project.engine.loader import DatasetLoader
from orchestration_project.engine.plans import PartitionPlan, plan_partition
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import (
    ConfigurationError,
    OrchestrationError,
    UnknownNameError,
    did_you_mean,
)
from orchestration_project.registry import Registry
from orchestration_project.settings import Settings
from orchestration_project.settings.project import (
    CONFIG,
    DEFAULTS,
    PACKAGE_FOLDER,
    PACKAGED,
    own_files,
    project_folder,
)
from orchestration_project.tables.queries.json_rows import write_json
from orchestration_project.tables.spine import fences

FORMAT = "plan 1"

CODE_SUFFIXES = (".py", ".json", ".yaml", ".yml", ".toml")
"""Files of the package, and of a project's own sources, that decide what is loaded."""

PLAN_TAG = "plan"
"""Tag of the runs that apply a plan: its ID."""

PLAN_SESSION = "plan-"
"""Before the ID: the session of these runs."""

ID_DIGITS = 16
"""Hexadecimal digits of an ID."""

PLANS = "plans"
"""Folder of applied plans in the artifact store."""

Z_95 = 1.96
"""Standard deviations of a two-sided interval of 95 %."""


@dataclass(frozen=True)
class Sample:
    """Share of partitions that change, where not all of a table were planned.

    Attributes:
        table: The table.
        planned: Partitions that were planned, chosen at random.
        total: Partitions that have a recorded delivery.
        changing: Of the planned ones, those that would change.
        most: Upper end of the share of all that would change (0-1), with 95 % confidence (Wilson).
    """

    table: str
    planned: int
    total: int
    changing: int
    most: float


@dataclass(frozen=True)
class Plan:
    """Effect of replays.

    Attributes:
        created_at: Time at which it was made.
        code_sha256: Hash of the code that it was made with.
        partitions: The partitions that were planned.
        failures: Those that could not be planned, with the reason.
        samples: Of tables of which some partitions alone were planned.
    """

    created_at: datetime
    code_sha256: str
    partitions: Sequence[PartitionPlan]
    failures: Sequence[tuple[str, str, str]] = ()
    samples: Sequence[Sample] = ()

    @property
    def changing(self) -> list[PartitionPlan]:
        """The partitions that would change."""
        return [partition for partition in self.partitions if partition.is_any]

    @property
    def plan_id(self) -> str:
        """ID: first digits of the hash of what it says, without times."""
        failures = map(_build_fields, self.failures)
        return hash_statements(self.code_sha256, map(asdict, self.partitions), failures)

    def to_fields(self) -> dict[str, Any]:
        """Return it as the fields of its document."""
        fields = ("failures", "samples")
        return {
            "format": FORMAT,
            "id": self.plan_id,
            "created_at": self.created_at,
            "code_sha256": self.code_sha256,
            "partitions": [
                {**asdict(partition), "is_loaded": partition.is_loaded}
                for partition in self.partitions
            ],
            **{name: [_build_fields(item) for item in getattr(self, name)] for name in fields},
        }


def hash_statements(
    code_sha256: str, partitions: Iterable[Mapping[str, Any]], failures: Iterable[Mapping[str, str]]
) -> str:
    """Return the ID of a plan, of the fields of its partitions and failures."""
    statements = {
        "code": code_sha256,
        "partitions": [{**partition, "seconds": 0} for partition in partitions],
        "failures": list(failures),
    }
    return hashlib.sha256(write_json(statements).encode()).hexdigest()[:ID_DIGITS]


def name_plan(plan_id: str) -> str:
    """Return the name of an applied plan's document in the artifact store."""
    return f"{PLANS}/{plan_id}.json"


def find_plan_id(session: str) -> str:
    """Return the ID of the plan that the runs of a session applied; empty: none."""
    match = re.fullmatch(rf"{PLAN_SESSION}([0-9a-f]{{{ID_DIGITS}}})", session)
    return match[1] if match else ""


def _build_fields(item: Any) -> Any:
    if isinstance(item, Sample):
        return asdict(item)
    table, partition_key, reason = item
    return {"table": table, "partition_key": partition_key, "reason": reason}


@cache
def hash_code() -> str:
    """Return the SHA-256 (hex) of the code that decides what is loaded, by path and content.

    It is that of the package, of the folders with sources of one's own, and of `config/`, whose
    limits decide what is quarantined. A checkout and a wheel of the same code have the same hash.
    """
    own = sorted({file.parent for file in own_files()})
    return hash_folders(PACKAGE_FOLDER, *own, defaults=DEFAULTS, project=project_folder())


def hash_folders(package: Path, *own: Path, defaults: Path, project: Path) -> str:
    """Return the SHA-256 (hex) of the code in folders; a project's config replaces a default.

    Default files that a wheel has in the package count as `config/` only: a checkout has them
    elsewhere.
    """
    packaged = package / PACKAGED.name
    code = [
        (f"{root.name}/{name}", file)
        for root in (package, *own)
        for name, file in _find_code(root).items()
        if packaged not in file.parents
    ]
    config = _find_code(defaults / CONFIG) | _find_code(project / CONFIG)
    code += [(f"{CONFIG}/{name}", file) for name, file in sorted(config.items())]
    digest = hashlib.sha256()
    for name, file in code:
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        digest.update(f"{name} {content}\n".encode())
    return digest.hexdigest()


def _find_code(root: Path) -> dict[str, Path]:
    """Return the files of code below a folder by relative path, sorted."""
    files = sorted(file for file in root.rglob("*") if file.suffix in CODE_SUFFIXES)
    return {
        file.relative_to(root).as_posix(): file
        for file in files
        if file.is_file() and "__pycache__" not in file.parts
    }


@dataclass(frozen=True)
class PlanRequest:
    """Partitions to plan.

    Attributes:
        tables: Tables of datasets; empty: all that are loaded by partition.
        partitions: Keys; empty: all with a recorded delivery.
        sample: How many of each table, chosen at random; None: all.
        seed: Of the choice.
    """

    tables: Sequence[str] = ()
    partitions: Sequence[str] = ()
    sample: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class PlannedPartition:
    """A partition of a dataset that is to be planned."""

    load: DatasetLoad
    key: str


@dataclass(frozen=True)
class Planner:
    """Plans replays of this installation's datasets."""

    settings: Settings
    registry: Registry
    warehouse: Warehouse
    artifacts: ArtifactStore
    clock: Clock

    def choose(self, request: PlanRequest) -> list[PlannedPartition]:
        """Return the partitions that a request names.

        Raises:
            UnknownNameError: It names a table that is not loaded by partition, or a partition
                without a recorded delivery.
        """
        loads = self._read_loads()
        for name in request.tables:
            if name not in loads:
                raise UnknownNameError(
                    f"table without a plan: {name!r}",
                    expected=f"one of {', '.join(sorted(loads))}",
                    remedy=did_you_mean(name, loads),
                )
        chosen: list[PlannedPartition] = []
        unknown = set(request.partitions)
        for name in request.tables or sorted(loads):
            keys = sorted(self.warehouse.replayable(loads[name].dataset.table))
            unknown -= set(keys)
            keys = [key for key in keys if not request.partitions or key in request.partitions]
            if request.sample is not None and request.sample < len(keys):
                choice = random.Random(f"{request.seed} {name}")  # noqa: S311 - no secret
                keys = sorted(choice.sample(keys, request.sample))
            chosen += [PlannedPartition(loads[name], key) for key in keys]
        if unknown:
            raise UnknownNameError(
                f"partition without a recorded delivery: {sorted(unknown)[0]!r}",
                expected="a partition key such as T1|2025-11-10 of a table that was loaded",
            )
        return chosen

    def _read_loads(self) -> Mapping[str, DatasetLoad]:
        at = self.clock.now()
        return {
            load.dataset.table.name: load
            for registered in self.registry.registered(DatasetLoads)
            for load in registered.read(self.settings, at)
        }

    def plan_each(
        self, chosen: Sequence[PlannedPartition]
    ) -> Iterator[PartitionPlan | tuple[str, str, str]]:
        """Yield the plan of each partition, or table, key and reason of one that cannot be made."""
        for load, key in ((planned.load, planned.key) for planned in chosen):
            try:
                yield plan_partition(self._open_loader(load), key)
            except OrchestrationError as error:
                yield load.dataset.table.name, key, str(error)

    def _open_loader(self, load: DatasetLoad) -> DatasetLoader[Any, Any]:
        deliveries = RecordedDeliveries(load.dataset, self.warehouse, self.artifacts)
        return DatasetLoader(
            load.dataset,
            deliveries,
            self.warehouse,
            self.artifacts,
            today=self.clock.today(load.dataset.partitioning.calendar.zone),
            run_id="",
            max_reject_ratio=load.max_reject_ratio,
            scratch=self.settings.scratch_path,
            is_reported=lambda *_: "yes",
            first_day=load.first_day,
        )

    def finish(
        self,
        request: PlanRequest,
        chosen: Sequence[PlannedPartition],
        found: Sequence[PartitionPlan | tuple[str, str, str]],
    ) -> Plan:
        """Return the plan of partitions that were planned."""
        partitions = [item for item in found if isinstance(item, PartitionPlan)]
        failures = [item for item in found if isinstance(item, tuple)]
        samples = [] if request.sample is None else self._measure(chosen, partitions)
        return Plan(self.clock.now(), hash_code(), partitions, failures, samples)

    def _measure(
        self, chosen: Sequence[PlannedPartition], partitions: Sequence[PartitionPlan]
    ) -> list[Sample]:
        samples: list[Sample] = []
        tables = {planned.load.dataset.table.name: planned.load.dataset.table for planned in chosen}
        for name, table in tables.items():
            of_table = [partition for partition in partitions if partition.table == name]
            changing = sum(partition.is_any for partition in of_table)
            total = len(self.warehouse.replayable(table))
            samples.append(
                Sample(name, len(of_table), total, changing, bound_share(changing, len(of_table)))
            )
        return [sample for sample in samples if sample.planned < sample.total]


def bound_share(count: int, of: int) -> float:
    """Return the upper end of the share that ``count`` of a random sample shows, 95 % (Wilson)."""
    if not of:
        return 1.0
    share, z2 = count / of, Z_95**2
    middle = share + z2 / (2 * of)
    spread = Z_95 * math.sqrt(share * (1 - share) / of + z2 / (4 * of * of))
    return min(1.0, (middle + spread) / (1 + z2 / of))


@dataclass(frozen=True)
class AppliedPartition:
    """A partition of a plan that is applied: what must be as it was, and what must come of it."""

    table: str
    partition_key: str
    token: int
    added: int
    changed: int
    removed: int


@dataclass(frozen=True)
class PlanDocument:
    """The document of a plan that is to be applied.

    Attributes:
        plan_id: Its ID.
        code_sha256: Hash of the code that it was made with.
        partitions: The partitions that it changes by loads.
        content: The bytes of the document.
    """

    plan_id: str
    code_sha256: str
    partitions: Sequence[AppliedPartition]
    content: bytes

    def keep(self, artifacts: ArtifactStore) -> None:
        """Store the document, which the evidence of its runs has."""
        artifacts.put(name_plan(self.plan_id), self.content)


def read_plan(file: Path) -> PlanDocument:
    """Read the document of a plan.

    Raises:
        ConfigurationError: The file is not a plan, was changed since, or has partitions that could
            not be planned.
    """
    content = file.read_bytes()
    try:
        fields = json.loads(content)
        if fields["format"] != FORMAT:
            raise ValueError(fields["format"])
        entries = fields["partitions"]
        partitions = [_read_partition(entry) for entry in entries if entry["is_loaded"]]
        failures, plan_id, code = fields["failures"], str(fields["id"]), str(fields["code_sha256"])
        stated = [{name: entry[name] for name in entry if name != "is_loaded"} for entry in entries]
    except (ValueError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"invalid plan {file}: expected the JSON of `plan --output`", found=str(error)
        ) from error
    if failures:
        raise ConfigurationError(
            f"invalid plan {file}: expected a plan of all its partitions",
            found=f"{len(failures)} that could not be planned, as {failures[0]['partition_key']}",
            remedy="correct what its failures name, and plan again",
        )
    if plan_id != (computed := hash_statements(code, stated, failures)):
        raise ConfigurationError(
            f"invalid plan {file}: expected the ID of what it says, {computed}",
            found=plan_id,
            remedy="apply the file as `plan --output` wrote it, or plan again",
        )
    return PlanDocument(plan_id, code, partitions, content)


def _read_partition(entry: Mapping[str, Any]) -> AppliedPartition:
    table_difference = entry["differences"][0]
    names = ("added", "changed", "removed")
    counts = [int(table_difference[name]) for name in names]
    return AppliedPartition(entry["table"], entry["partition_key"], int(entry["token"]), *counts)


def refuse_moved(
    warehouse: Warehouse, code_sha256: str, partitions: Sequence[AppliedPartition]
) -> None:
    """Refuse a plan that was made with other code, or of another state.

    Raises:
        ConfigurationError: The code is another, or a partition was delivered since.
    """
    if code_sha256 != hash_code():
        raise ConfigurationError(
            "the code is not the one that the plan was made with",
            expected=code_sha256[:16],
            found=hash_code()[:16],
            remedy="plan again with this code, or check out that of the plan",
        )
    tokens = _read_tokens(warehouse, {partition.table for partition in partitions})
    for partition in partitions:
        token = tokens.get((partition.table, partition.partition_key), 0)
        if token != partition.token:
            raise ConfigurationError(
                f"{partition.partition_key} of {partition.table} was delivered since the plan",
                expected=f"delivery {partition.token}",
                found=f"delivery {token}",
                remedy="plan again",
            )


def _read_tokens(warehouse: Warehouse, tables: set[str]) -> Mapping[tuple[str, str], int]:
    columns = (fences.c.table_name, fences.c.scope_key, fences.c.token)
    with warehouse.reading() as connection:
        rows = connection.execute(select(*columns).where(fences.c.table_name.in_(sorted(tables))))
        return {(name, key): token for name, key, token in rows}
