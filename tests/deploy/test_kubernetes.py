"""deploy/kubernetes: restricted pods, probes, policies, secrets by reference; settings exist."""

import importlib.util
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import yaml

from orchestration_project.gateway.bind_address import require_safe
from orchestration_project.instance.k8s_launcher import DAGSTER_HOME
from orchestration_project.settings import PROJECT_ROOT, load_settings
from orchestration_project.settings.settings import setting_names
from tests.deploy.compose_file import services
from tests.deploy.kubernetes_objects import (
    BASE,
    FOLDER,
    kustomization,
    of_kind,
    pods,
    restriction_problems,
)
from tests.deploy.test_compose import OF_LIBRARIES, parsed

CONTAINERS = {name: pod["containers"][0] for name, pod in pods().items()}
LASTING = ("code-server", "daemon", "gateway")


@pytest.mark.parametrize("name", pods())
def test_each_pod_fits_a_restricted_namespace(name: str):
    assert restriction_problems(pods()[name]) == []
    assert len(pods()[name]["containers"]) == 1
    [namespace] = of_kind("Namespace").values()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("name", LASTING)
def test_each_lasting_program_has_probes_for_start_traffic_and_life(name: str):
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= CONTAINERS[name].keys()


def test_programs_are_those_of_compose_with_the_same_commands():
    for name, container in CONTAINERS.items():
        assert container["command"] == services()[name]["command"], name
        program, *arguments = container["command"]
        if program == "orchestrate":
            parsed(arguments)
        elif program == "python":
            assert importlib.util.find_spec(arguments[1])
        else:
            assert program in {each.name for each in entry_points(group="console_scripts")}


def test_the_daemon_is_never_there_twice():
    spec = of_kind("Deployment")["daemon"]["spec"]
    assert (spec["replicas"], spec["strategy"]["type"]) == (1, "Recreate")


def test_secrets_are_referred_to_and_none_is_in_the_base():
    assert of_kind("Secret") == {}
    assert "secretGenerator" not in kustomization()
    for pod in pods().values():
        [volume] = [each for each in pod["volumes"] if "secret" in each]
        assert volume["secret"] == {"secretName": "orchestration-secrets", "defaultMode": 0o440}
        assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"]


def test_only_what_starts_and_ends_runs_has_a_token_of_the_cluster():
    with_token = {name for name, pod in pods().items() if pod["automountServiceAccountToken"]}
    [binding] = of_kind("RoleBinding").values()
    allowed = {each["name"] for each in binding["subjects"]}
    assert {pods()[name]["serviceAccountName"] for name in with_token} == allowed
    assert with_token == {"daemon", "gateway"}
    accounts = of_kind("ServiceAccount")
    assert {pod["serviceAccountName"] for pod in pods().values()} <= accounts.keys()
    [role] = of_kind("Role").values()
    assert not [rule for rule in role["rules"] if "*" in str(rule) or "secrets" in str(rule)]


def test_the_network_is_closed_but_for_named_ways():
    policies = of_kind("NetworkPolicy")
    assert policies["deny"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    ways_in = {name for name, each in policies.items() if each["spec"].get("ingress")}
    assert ways_in == {"code-server", "gateway"}
    [grpc] = policies["code-server"]["spec"]["ingress"]
    [expression] = grpc["from"][0]["podSelector"]["matchExpressions"]
    assert expression["values"] == ["daemon", "gateway"]
    assert {each["spec"].get("type", "ClusterIP") for each in of_kind("Service").values()} == {
        "ClusterIP"
    }


def test_the_settings_are_valid_and_let_the_gateway_serve(tmp_path: Path, monkeypatch):
    data = of_kind("ConfigMap")["orchestration-settings"]["data"]
    assert data.keys() - {name.upper() for name in setting_names()} <= OF_LIBRARIES
    for name, text in {
        "database_url": "postgresql://me@db/pipelines",
        "dagster_database_url": "postgresql://me@db/dagster",
        "session_secret": "s" * 40,
        "s3_secret": "s" * 40,
    }.items():
        (tmp_path / name).touch(0o440)
        (tmp_path / name).chmod(0o640)
        (tmp_path / name).write_text(text)
    files = {each["name"]: Path(each["value"]) for each in CONTAINERS["gateway"]["env"]}
    mounts = {each["name"]: each["mountPath"] for each in CONTAINERS["gateway"]["volumeMounts"]}
    assert {str(file.parent) for file in files.values()} == {mounts["secrets"]}
    variables = {**data, **{name: str(tmp_path / file.name) for name, file in files.items()}}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert not settings.problems
    require_safe(settings, "0.0.0.0")  # noqa: S104 - the address of the service
    assert settings.kubernetes_service_account in of_kind("ServiceAccount")
    assert settings.kubernetes_instance_config_map in of_kind("ConfigMap")
    assert settings.kubernetes_namespace == kustomization()["namespace"]


def test_the_instance_of_runs_is_dagster_yaml():
    instance = of_kind("ConfigMap")["orchestration-instance"]["data"]["dagster.yaml"]
    assert instance.strip() == (PROJECT_ROOT / "dagster.yaml").read_text().strip()
    assert DAGSTER_HOME.startswith("/opt/dagster")


def test_every_file_of_the_base_is_a_resource():
    files = {each.name for each in BASE.glob("*.yaml")} - {"kustomization.yaml"}
    assert files == set(kustomization()["resources"])


def test_the_chart_gets_the_classes_of_dagster_yaml_and_pods_as_those_of_the_base():
    values = yaml.safe_load((FOLDER / "dagster-chart.yaml").read_text())
    own = yaml.safe_load((PROJECT_ROOT / "dagster.yaml").read_text())
    [logs] = values["computeLogManager"]["config"].values()
    [launcher] = values["runLauncher"]["config"].values()
    [queue] = values["dagsterDaemon"]["runCoordinator"]["config"].values()
    for each, name in (
        (logs, "compute_logs"),
        (launcher, "run_launcher"),
        (queue, "run_coordinator"),
    ):
        assert (each["module"], each["class"]) == (own[name]["module"], own[name]["class"])
    [code_server] = values["dagster-user-deployments"]["deployments"]
    assert code_server["port"] == 4266
    for each in (values["dagsterDaemon"], code_server):
        container = {key: each[key] for key in ("securityContext", "resources")}
        pod = {"securityContext": each["podSecurityContext"], "containers": [container]}
        assert restriction_problems({**pod, "volumes": each["volumes"]}) == []
        assert {one["name"] for one in each["envConfigMaps"]} <= of_kind("ConfigMap").keys()
    assert values["dagsterWebserver"]["replicaCount"] == 0


@pytest.mark.parametrize(
    "name",
    [
        "compose/compose.yaml",
        "kubernetes/base/kustomization.yaml",
        "kubernetes/dagster-chart.yaml",
        "traefik/dynamic.yaml",
    ],
)
def test_a_file_that_was_not_run_says_so(name: str):
    assert "# Not run: " in (PROJECT_ROOT / "deploy" / name).read_text()
