"""The Kubernetes job of a run, as a server of the cluster's API receives it."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.launcher.base import LaunchRunContext
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.test_utils import create_run_for_test

from orchestration_project.instance.storage import open_instance
from tests.deploy.kubernetes_objects import restriction_problems

IMAGE = "registry.example.org/orchestration:1"


class Cluster(BaseHTTPRequestHandler):
    """Accepts jobs, as the API of a cluster does."""

    received: list[tuple[str, Mapping[str, Any]]]

    def do_POST(self) -> None:
        """Take a job and return it."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.append((self.path, json.loads(body)))
        self.send_response(201)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Write nothing."""


@contextmanager
def cluster() -> Iterator[tuple[int, list[tuple[str, Mapping[str, Any]]]]]:
    """Serve a cluster's API on a free port; yield it and what was received."""
    received: list[tuple[str, Mapping[str, Any]]] = []
    handler = type("Handler", (Cluster,), {"received": received})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server.server_port, received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


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


def launched(instance: dg.DagsterInstance) -> dg.DagsterRun:
    """Return a run that is to be launched, whose code is in an image."""
    repository = RepositoryPythonOrigin(
        executable_path="python",
        code_pointer=ModuleCodePointer("orchestration_project.definitions", "defs"),
        container_image=IMAGE,
    )
    return create_run_for_test(
        instance, job_name="any", job_code_origin=JobPythonOrigin("any", repository)
    )


def test_the_job_of_a_run_is_restricted_and_has_secrets_by_reference(tmp_path, monkeypatch):
    (tmp_path / "url").touch(0o600)
    (tmp_path / "url").write_text(f"sqlite:///{tmp_path}/planted-secret.sqlite")
    monkeypatch.setenv("DATABASE_URL_FILE", str(tmp_path / "url"))
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("RUN_LAUNCHER", "k8s")
    monkeypatch.setenv("KUBERNETES_IMAGE", IMAGE)
    monkeypatch.setenv("KUBERNETES_NAMESPACE", "orchestration")
    monkeypatch.setenv("KUBERNETES_ENV_SECRETS", "orchestration-run-secrets")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubectl"))
    nowhere: Any = None  # the launch asks no workspace
    with cluster() as (port, received):
        (tmp_path / "kubectl").write_text(kubectl_config(port))
        with open_instance() as instance:
            run = launched(instance)
            instance.run_launcher.launch_run(LaunchRunContext(run, nowhere))
    [(path, job)] = received
    assert path.startswith("/apis/batch/v1/namespaces/orchestration/jobs")
    pod = job["spec"]["template"]["spec"]
    assert restriction_problems(pod) == []
    [container] = pod["containers"]
    assert container["args"][:5] == ["python", "-m", "dagster", "api", "execute_run"]
    assert {"secretRef": {"name": "orchestration-run-secrets"}} in container["envFrom"]
    assert "planted-secret" not in json.dumps(job)


@pytest.mark.parametrize("missing", ["securityContext", "resources"])
def test_a_pod_with_more_rights_would_be_noticed(missing: str):
    container = {"name": "c", "image": "i"}
    assert any(missing in each for each in restriction_problems({"containers": [container]}))
