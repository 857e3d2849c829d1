"""deploy/kubernetes: restricted pods, probes, policies, secrets by reference; settings exist."""

import importlib.util
import runpy
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import yaml

from orchestration_project.gateway.bind_address import require_safe
from orchestration_project.settings import PROJECT_ROOT, load_settings
from orchestration_project.settings.settings import setting_names
from tests.deploy.compose_file import services
from tests.deploy.kubernetes_objects import (
    BASE,
    COMPONENTS,
    FOLDER,
    Object,
    kustomization,
    of_kind,
    pods,
    restriction_problems,
    settings,
)
from tests.deploy.test_compose import OF_LIBRARIES, parsed

SERVICE = runpy.run_path(str(PROJECT_ROOT / "deploy" / "health.py"))["SERVICE"]

CONTAINERS = {name: pod["containers"][0] for name, pod in pods().items()}
LASTING = ("code-server", "daemon", "gateway", "worker", "bridge")


def literals(component: str) -> dict[str, str]:
    """Return the settings that a component changes."""
    [folder] = [declared for declared in COMPONENTS if declared.name == component]
    found = yaml.safe_load((folder / "kustomization.yaml").read_text())
    [generated] = found["configMapGenerator"]
    return dict(literal.split("=", 1) for literal in generated["literals"])


def variables_of(container: Object, given: Mapping[str, str], secrets: Path) -> Mapping[str, str]:
    """Return the variables of a container, with files of secrets in a folder of the test."""
    own = {
        variable["name"]: variable.get("value", "daemon-5d4c")  # the name of the pod
        for variable in container["env"]
    }
    mounts = {
        volume_mount["name"]: volume_mount["mountPath"]
        for volume_mount in container["volumeMounts"]
    }
    return {
        name: value.replace(mounts["secrets"], str(secrets))
        for name, value in {**settings(), **given, **own}.items()
    }


@pytest.mark.slow_after_first
@pytest.mark.parametrize("name", pods())
def test_each_pod_fits_a_restricted_namespace(name: str):
    assert restriction_problems(pods()[name]) == []
    assert len(pods()[name]["containers"]) == 1
    [namespace] = of_kind("Namespace").values()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.slow_after_first
@pytest.mark.parametrize("name", LASTING)
def test_each_lasting_program_waits_until_the_tables_are_migrated(name: str):
    [first] = pods()[name]["initContainers"]
    program, *arguments = first["command"]
    assert program == "orchestrate"
    parsed(arguments)
    assert arguments[:2] == ["migrate", "--wait"]


def test_the_job_migrates_the_tables_of_dagster_too():
    [first] = pods()["migrate"]["initContainers"]
    assert first["command"] == ["dagster", "instance", "migrate"]
    assert {"name": "RUN_LAUNCHER", "value": "local"} in first["env"], "the instance opens it"
    assert of_kind("Job")["migrate"]["spec"]["ttlSecondsAfterFinished"]


def test_the_image_is_named_once_and_runs_take_what_the_launching_pod_has():
    named = {
        container["image"]
        for pod in pods().values()
        for container in (*pod["containers"], *pod["initContainers"])
    }
    assert named == {kustomization()["images"][0]["name"]}
    assert not settings().keys() & {"KUBERNETES_IMAGE", "KUBERNETES_ENV_CONFIG_MAPS"}
    launching = {
        name
        for name, container in CONTAINERS.items()
        for variable in container["env"]
        if variable["name"] == "KUBERNETES_POD"
    }
    assert launching == {"daemon", "gateway"}
    for name in launching:
        assert CONTAINERS[name]["envFrom"] == [{"configMapRef": {"name": "orchestration-settings"}}]


def test_budgets_keep_runs_and_let_each_lasting_program_move():
    budgets = of_kind("PodDisruptionBudget")
    recorded = yaml.safe_load((PROJECT_ROOT / "tests/deploy/run_job.yaml").read_text())
    labels = recorded["spec"]["template"]["metadata"]["labels"]
    assert budgets["runs"]["spec"]["maxUnavailable"] == 0
    assert budgets["runs"]["spec"]["selector"]["matchLabels"].items() <= labels.items()
    others = {name: budget for name, budget in budgets.items() if name != "runs"}
    assert {value["spec"]["maxUnavailable"] for value in others.values()} == {1}
    for name, value in others.items():
        template = of_kind("Deployment")[name]["spec"]["template"]
        assert value["spec"]["selector"]["matchLabels"] == template["metadata"]["labels"]


def test_no_probe_starts_dagster():
    for name in LASTING:
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            check = CONTAINERS[name][probe]
            command = check.get("exec", {}).get("command", ["native"])
            assert command[0] in {"native", "sh", "python"}
            assert not command[1:] or (PROJECT_ROOT / command[1]).exists()
    assert CONTAINERS["code-server"]["livenessProbe"]["grpc"]["service"] == SERVICE


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
            assert program in {
                entry_point.name for entry_point in entry_points(group="console_scripts")
            }


def test_daemon_and_bridge_are_never_there_twice():
    for name in ("daemon", "bridge"):
        spec = of_kind("Deployment")[name]["spec"]
        assert (spec["replicas"], spec["strategy"]["type"]) == (1, "Recreate")


def test_secrets_are_referred_to_and_none_is_in_the_base():
    assert of_kind("Secret") == {}
    assert "secretGenerator" not in kustomization()
    for pod in pods().values():
        [volume] = [volume for volume in pod["volumes"] if "secret" in volume]
        assert volume["secret"] == {"secretName": "orchestration-secrets", "defaultMode": 0o440}
        assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"]


@pytest.mark.slow
def test_only_what_starts_and_ends_runs_has_a_token_of_the_cluster():
    with_token = {name for name, pod in pods().items() if pod["automountServiceAccountToken"]}
    [binding] = of_kind("RoleBinding").values()
    allowed = {subject["name"] for subject in binding["subjects"]}
    assert {pods()[name]["serviceAccountName"] for name in with_token} == allowed
    assert with_token == {"daemon", "gateway"}
    accounts = of_kind("ServiceAccount")
    assert {pod["serviceAccountName"] for pod in pods().values()} <= accounts.keys()
    [role] = of_kind("Role").values()
    assert not [rule for rule in role["rules"] if "*" in str(rule) or "secrets" in str(rule)]


def test_the_network_is_closed_but_for_named_ways():
    policies = of_kind("NetworkPolicy")
    assert policies["deny"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    ways_in = {name for name, policy in policies.items() if policy["spec"].get("ingress")}
    assert ways_in == {"code-server", "gateway"}
    [grpc] = policies["code-server"]["spec"]["ingress"]
    [expression] = grpc["from"][0]["podSelector"]["matchExpressions"]
    assert expression["values"] == ["daemon", "gateway"]
    assert {value["spec"].get("type", "ClusterIP") for value in of_kind("Service").values()} == {
        "ClusterIP"
    }


SECRETS = {
    "database_url": "postgresql://me@db/pipelines",
    "dagster_database_url": "postgresql://me@db/dagster",
    "session_secret": "s" * 40,
    "s3_secret": "s" * 40,
    "broker_url": "amqps://me:s@broker.example.org:5671",
    "mqtt_password": "s" * 40,
}


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """Files of orchestration-secrets, as a pod has them."""
    for name, text in SECRETS.items():
        (tmp_path / name).touch(0o440)
        (tmp_path / name).chmod(0o640)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("given", "programs"),
    [
        ({}, ("migrate", "code-server", "daemon", "gateway")),
        (literals("worker"), ("migrate", "code-server", "daemon", "gateway", "worker")),
        (literals("bridge") | {"MQTT_URL": "mqtts://broker.example.org:8883"}, ("bridge",)),
    ],
)
def test_the_settings_of_each_container_are_valid(given, programs, secrets: Path, monkeypatch):
    for name in programs:
        pod = pods()[name]
        for container in (*pod["containers"], *pod["initContainers"]):
            with monkeypatch.context() as environment:
                for variable, value in variables_of(container, given, secrets).items():
                    environment.setenv(variable, value)
                assert not load_settings().problems, (name, container["name"])


def test_the_settings_let_the_gateway_serve(secrets: Path, monkeypatch):
    assert settings().keys() - {name.upper() for name in setting_names()} <= OF_LIBRARIES
    for variable, value in variables_of(CONTAINERS["gateway"], {}, secrets).items():
        monkeypatch.setenv(variable, value)
    loaded = load_settings()
    require_safe(loaded, "0.0.0.0")  # noqa: S104 - the address of the service
    assert loaded.kubernetes_service_account in of_kind("ServiceAccount")
    assert loaded.kubernetes_namespace == kustomization()["namespace"]


def test_every_file_of_base_and_components_is_a_resource():
    files = {path.name for path in BASE.glob("*.yaml")} - {"kustomization.yaml"}
    assert files == set(kustomization()["resources"])
    for component in COMPONENTS:
        named = yaml.safe_load((component / "kustomization.yaml").read_text())["resources"]
        assert {path.name for path in component.iterdir()} == {"kustomization.yaml", *named}


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
    for workload in (values["dagsterDaemon"], code_server):
        container = {key: workload[key] for key in ("securityContext", "resources")}
        pod = {"securityContext": workload["podSecurityContext"], "containers": [container]}
        assert restriction_problems({**pod, "volumes": workload["volumes"]}) == []
        assert [one["name"] for one in workload["envConfigMaps"]] == ["orchestration-settings"]
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
