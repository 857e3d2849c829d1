"""The Kubernetes job of a run, as a server of the cluster's API receives it."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, NamedTuple

import dagster as dg
import pytest
import yaml
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher.base import LaunchRunContext
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.test_utils import create_run_for_test
from dagster_k8s.client import DagsterK8sUnrecoverableAPIError

from orchestration_project.instance.heartbeats import NODE
from orchestration_project.instance.storage import open_instance
from orchestration_project.settings import PROJECT_ROOT
from tests.deploy.kubernetes_objects import restriction_problems

RECORDED = PROJECT_ROOT / "tests" / "deploy" / "run_job.yaml"
"""The job of a run; `make check-deploy` compares it with the schema of Kubernetes."""


POD: Mapping[str, Any] = {
    "kind": "Pod",
    "apiVersion": "v1",
    "metadata": {"name": "daemon-7d9f", "namespace": "orchestration"},
    "spec": {
        "containers": [
            {
                "name": "daemon",
                "image": "registry.example.org/orchestration@sha256:" + "0" * 64,
                "envFrom": [{"configMapRef": {"name": "orchestration-settings-5g9h2k"}}],
            }
        ],
        "imagePullSecrets": [{"name": "registry"}],
    },
}
"""The pod of the daemon, as the API shows it, as far as runs take something of it."""


class Cluster(BaseHTTPRequestHandler):
    """Shows the daemon's pod and takes jobs, each name once, as the API of a cluster does.

    Attributes:
        received: Path and content of each job that it took.
        failures: Statuses of the next answers, by the method of their requests.
    """

    received: list[tuple[str, Mapping[str, Any]]]
    failures: dict[str, int]

    def do_GET(self) -> None:
        """Return the pod."""
        self._answer(self.failures.pop("GET", 200), POD)

    def do_POST(self) -> None:
        """Take a job and return it."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        names = [job["metadata"]["name"] for _, job in self.received]
        usual = 409 if body["metadata"]["name"] in names else 201
        status = self.failures.pop("POST", usual)
        if status == 201:
            self.received.append((self.path, body))  # before the answer, after which a test looks
        self._answer(status, body)

    def _answer(self, status: int, body: Mapping[str, Any]) -> None:
        if status >= 400:
            body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status}
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Write nothing."""


class Site(NamedTuple):
    """A cluster, and an instance that launches runs there."""

    instance: dg.DagsterInstance
    received: list[tuple[str, Mapping[str, Any]]]
    failures: dict[str, int]

    def launch(self, run: dg.DagsterRun) -> None:
        """Launch a run."""
        nowhere: Any = None  # the launch asks no workspace
        self.instance.run_launcher.launch_run(LaunchRunContext(run, nowhere))


@contextmanager
def cluster() -> Iterator[tuple[int, type[Cluster]]]:
    """Serve a cluster's API on a free port; yield it and the handler of its requests."""
    handler = type("Handler", (Cluster,), {"received": [], "failures": {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server.server_port, handler
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def site(tmp_path, monkeypatch) -> Iterator[Site]:
    """A cluster with settings as those of deploy/kubernetes, and a secret planted in them."""
    (tmp_path / "url").touch(0o600)
    (tmp_path / "url").write_text(f"sqlite:///{tmp_path}/planted-secret.sqlite")
    for name, value in {
        "DATABASE_URL_FILE": tmp_path / "url",
        "STATE_DIR": tmp_path / "state",
        "RUN_LAUNCHER": "k8s",
        "KUBERNETES_POD": "daemon-7d9f",
        "KUBERNETES_NAMESPACE": "orchestration",
        "KUBERNETES_SERVICE_ACCOUNT": "orchestration-run",
        "KUBERNETES_ENV_SECRETS": "orchestration-run-secrets",
        "KUBECONFIG": tmp_path / "kubectl",
    }.items():
        monkeypatch.setenv(name, str(value))
    with cluster() as (port, handler):
        (tmp_path / "kubectl").write_text(kubectl_config(port))
        with open_instance() as instance:
            yield Site(instance, handler.received, handler.failures)


def kubectl_config(port: int) -> str:
    """Return the configuration of kubectl for a cluster at a port."""
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "users": [{"name": "u", "user": {}}],
        }
    )


def queued(instance: dg.DagsterInstance, image: str | None = None) -> dg.DagsterRun:
    """Return a run that is to be launched; its code may be in an image of its own."""
    repository = RepositoryPythonOrigin(
        executable_path="python",
        code_pointer=ModuleCodePointer("orchestration_project.definitions", "defs"),
        container_image=image,
    )
    return create_run_for_test(
        instance, job_name="any", job_code_origin=JobPythonOrigin("any", repository)
    )


def test_the_job_of_a_run_is_restricted_and_has_secrets_by_reference(site: Site):
    site.launch(queued(site.instance, "registry.example.org/own:1"))
    [(path, job)] = site.received
    assert path.startswith("/apis/batch/v1/namespaces/orchestration/jobs")
    pod = job["spec"]["template"]["spec"]
    assert restriction_problems(pod) == []
    [container] = pod["containers"]
    assert container["image"] == "registry.example.org/own:1"
    assert container["args"][:5] == ["python", "-m", "dagster", "api", "execute_run"]
    assert {"secretRef": {"name": "orchestration-run-secrets"}} in container["envFrom"]
    node = {"name": NODE, "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}
    assert node in container["env"]
    assert "planted-secret" not in json.dumps(job)


def test_the_job_of_a_run_is_the_recorded_one_with_what_the_launching_pod_has(site: Site):
    run = queued(site.instance)
    site.launch(run)
    [(_, job)] = site.received
    [container] = job["spec"]["template"]["spec"]["containers"]
    [launching] = POD["spec"]["containers"]
    assert container["image"] == launching["image"]
    assert launching["envFrom"][0] in container["envFrom"]
    assert job["spec"]["template"]["spec"]["imagePullSecrets"] == [{"name": "registry"}]
    container["args"] = container["args"][:5]  # and the run as JSON
    container["env"] = [
        variable for variable in container["env"] if "VERSION" not in variable["name"]
    ]
    text = yaml.safe_dump(job).replace(run.run_id, "RUN_ID")
    assert yaml.safe_load(text) == yaml.safe_load(RECORDED.read_text())


def test_while_the_api_of_the_cluster_is_away_the_run_stays_in_the_queue(site: Site):
    run = queued(site.instance)
    site.failures["GET"] = 503
    with pytest.raises(DagsterUserCodeUnreachableError, match="the run stays in the queue"):
        site.launch(run)
    assert site.received == []
    site.launch(run)
    assert len(site.received) == 1


def test_a_job_that_an_attempt_without_answer_created_is_that_of_the_run(site: Site):
    run = queued(site.instance)
    site.launch(run)
    site.launch(run)
    [(_, job)] = site.received
    assert run.run_id in job["metadata"]["name"]


def test_a_job_that_the_cluster_refuses_is_no_run_of_the_queue(site: Site):
    run = queued(site.instance, "registry.example.org/own:1")
    site.failures["POST"] = 422
    with pytest.raises(DagsterK8sUnrecoverableAPIError):
        site.launch(run)


@pytest.mark.parametrize("missing", ["securityContext", "resources"])
def test_a_pod_with_more_rights_would_be_noticed(missing: str):
    container = {"name": "c", "image": "i"}
    assert any(
        missing in restriction_problem
        for restriction_problem in restriction_problems({"containers": [container]})
    )
