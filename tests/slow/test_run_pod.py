"""The command of a run's Kubernetes job, executed as in its pod: the node is reported as a host."""

import subprocess
import sys
from typing import Any

import pytest
from dagster._core.launcher.base import LaunchRunContext

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.dagster_private.definitions import load_repository
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.instance.storage import open_instance
from orchestration_project.services.host_samples import read_latest_samples
from orchestration_project.services.hosts import read_hosts
from orchestration_project.settings import PROJECT_ROOT, child_environment, load_settings
from tests.instance.test_k8s_jobs import cluster, kubectl_config
from tests.programs import PATIENCE_SECONDS, wait_for
from tests.slow import waiting

pytestmark = pytest.mark.slow

NODE = "node-7.example.org"


def test_a_run_in_a_pod_reports_its_node_from_start_to_end(postgres_url, tmp_path, monkeypatch):
    folder = tmp_path / "state" / "pod"
    folder.mkdir(parents=True)
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("DAGSTER_DATABASE_URL", postgres_url)
    monkeypatch.setenv("RUN_LAUNCHER", "k8s")
    monkeypatch.setenv("KUBERNETES_IMAGE", "registry.example.org/orchestration:1")
    in_pod = {"KUBERNETES_IMAGE": "", "KUBECONFIG": ""}
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubectl"))
    job = load_repository(waiting.__name__, "defs", PROJECT_ROOT).get_reconstructable_job(
        "__ASSET_JOB"
    )
    nowhere: Any = None  # the launch asks no workspace
    with (
        cluster() as (port, handler),
        open_instance() as instance,
        open_warehouse(load_settings()) as warehouse,
    ):
        (tmp_path / "kubectl").write_text(kubectl_config(port))
        run = instance.create_run_for_job(
            job.get_definition(),
            job_code_origin=job.get_python_origin(),
            tags={"run_group": "pod"},
        )
        instance.run_launcher.launch_run(LaunchRunContext(run, nowhere))
        [(_, launched)] = handler.received
        [container] = launched["spec"]["template"]["spec"]["containers"]
        [variable] = [
            each["name"]
            for each in container["env"]
            if each.get("valueFrom") == {"fieldRef": {"fieldPath": "spec.nodeName"}}
        ]
        with subprocess.Popen(  # noqa: S603 - the command that Dagster gives to the pod
            [sys.executable, "-m", *container["args"]],
            cwd=PROJECT_ROOT,
            env=child_environment(**{variable: NODE}, **in_pod),
        ) as pod:
            [node] = wait_for(lambda: reported(warehouse), PATIENCE_SECONDS)
            assert (node.host, node.role, node.stopped_at) == (NODE, "run", None)
            wait_for((folder / "notes").exists, PATIENCE_SECONDS)
            [sample] = wait_for(lambda: read_latest_samples(warehouse, Clock().now()), 30)
            assert (sample.host, sample.role) == (NODE, "run")
            (folder / "go").touch()
            assert pod.wait(PATIENCE_SECONDS) == 0
        assert [each.stopped_at is None for each in reported(warehouse)] == [False]


def reported(warehouse):
    return read_hosts(warehouse, Clock().now())
