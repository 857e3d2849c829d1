"""Four eyes on a host: `dagster job execute` of an erasure waits for a second person."""

import json
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from orchestration_project.domains.saas.tables import saas_audit_log
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.roles import Principal, Role
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.services.access.approvals import Approval, Approvals
from orchestration_project.services.erasure.requests import ErasureRequests
from orchestration_project.settings import PROJECT_ROOT, Settings, load_settings
from tests import programs
from tests.resources.weeks import NOON

ANN = "ann.planted@example.com"
ADA, BOB = Principal("ada", Role.ADMIN, "key", "a"), Principal("bob", Role.ADMIN, "session")
JOB = ("dagster", "job", "execute", "-m", "orchestration_project.definitions")


@pytest.fixture
def erasure(demo_settings: Settings, tmp_path: Path) -> tuple[str, Path]:
    """A requested erasure of an entry about Ann: its ID, and the file with the run's config."""
    entry = {
        "entry_id": "e",
        "happened_at": NOON,
        "system": "peopleforce",
        "entity_type": "task",
        "entity_id": "42",
        "operation": "created",
        "detail": json.dumps({"to": ANN}),
        "run_id": "r",
    }
    with open_warehouse(demo_settings) as warehouse:
        with warehouse.writing() as connection:
            connection.execute(insert(saas_audit_log), [entry])
        requests = ErasureRequests(warehouse, Clock())
        request_id = requests.add("saas/person", [ANN], user_name="root", reason="asked for")
    file = tmp_path / "erase.json"
    config = {"request_id": request_id, "dry_run": False}
    file.write_text(json.dumps({"ops": {"erase_subject": {"config": config}}}))
    return request_id, file


def execute(config: Path) -> tuple[int, str]:
    """Execute the job as a person on the host does; return its status and what it logged."""
    state = load_settings().state_path
    status, output, error = programs.run(
        *(state, *JOB, "-j", "operations_erase", "-c", str(config)),
        DAGSTER_HOME=str(PROJECT_ROOT),
        FOUR_EYES="erase",
    )
    return status, output + error


def decide(by: Principal) -> None:
    """Claim the only request, or confirm it once it is claimed."""
    with open_warehouse(load_settings()) as warehouse:
        approvals = Approvals(warehouse, Clock())
        [approval] = approvals.listed()
        if approval.state == "unclaimed":
            approvals.claim(approval.approval_id, by)
        else:
            approvals.confirm(approval.approval_id, approval.sha256, by)


def only_request() -> Approval:
    with open_warehouse(load_settings()) as warehouse:
        [approval] = Approvals(warehouse, Clock()).listed()
    return approval


def detail() -> str:
    with open_warehouse(load_settings()) as warehouse, warehouse.reading() as connection:
        return connection.execute(select(saas_audit_log.c.detail)).scalar_one()


@pytest.mark.slow
def test_a_job_of_the_host_erases_only_what_another_person_confirmed(erasure):
    request_id, config = erasure
    status, said = execute(config)
    assert (status, only_request().state) == (1, "unclaimed")
    assert "erase needs a second person" in said
    decide(ADA)
    with pytest.raises(ConfigurationError, match="cannot be decided"):
        decide(ADA)
    assert execute(config)[0] == 1
    assert ANN in detail()
    decide(BOB)
    status, said = execute(config)
    assert status == 0, said
    assert detail() == json.dumps({"to": "*" * len(ANN)})
    used = only_request()
    assert (used.state, used.used_by) == ("used", f"erasure {request_id}")
    assert (used.requested_by, used.decided_by) == ("ada", "bob")
