"""The objects of deploy/kubernetes, and what a restricted namespace refuses in a pod."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from orchestration_project.settings import PROJECT_ROOT

FOLDER = PROJECT_ROOT / "deploy" / "kubernetes"
BASE = FOLDER / "base"
COMPONENTS = sorted((FOLDER / "components").iterdir())

Object = Mapping[str, Any]


def kustomization() -> Object:
    """Return kustomization.yaml."""
    return yaml.safe_load((BASE / "kustomization.yaml").read_text())


def objects() -> Sequence[Object]:
    """Return the objects of all files of the base and of the components."""
    files = [BASE / name for name in kustomization()["resources"]]
    for component in COMPONENTS:
        named = yaml.safe_load((component / "kustomization.yaml").read_text())["resources"]
        files += [component / name for name in named]
    return [document for file in files for document in yaml.safe_load_all(file.read_text())]


def of_kind(kind: str) -> Mapping[str, Object]:
    """Return the objects of a kind, by name."""
    return {
        document["metadata"]["name"]: document for document in objects() if document["kind"] == kind
    }


def settings() -> Mapping[str, str]:
    """Return the settings of the config map that kustomize generates."""
    [generated] = kustomization()["configMapGenerator"]
    [name] = generated["envs"]
    lines = (BASE / name).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if not line.startswith("#"))


def pods() -> Mapping[str, Object]:
    """Return the pods of deployments and jobs, by name."""
    found = {**of_kind("Deployment"), **of_kind("Job")}
    return {name: value["spec"]["template"]["spec"] for name, value in found.items()}


def restriction_problems(pod: Object) -> list[str]:
    """Return what is missing in a pod: Kubernetes' restricted level, limits, a read-only root."""
    found = pod.get("securityContext", {})
    problems = [
        *_unless(found.get("runAsNonRoot") is True, "securityContext.runAsNonRoot"),
        *_unless(found.get("runAsUser", 0) > 0, "securityContext.runAsUser"),
        *_unless(
            found.get("seccompProfile") == {"type": "RuntimeDefault"},
            "securityContext.seccompProfile",
        ),
        *_unless(not pod.keys() & {"hostNetwork", "hostPID", "hostIPC"}, "host namespaces"),
        *_unless(all("hostPath" not in volume for volume in pod.get("volumes", ())), "hostPath"),
    ]
    for container in (*pod["containers"], *pod.get("initContainers", ())):
        own, resources = container.get("securityContext", {}), container.get("resources", {})
        drops = own.get("capabilities", {}).get("drop")
        problems += [
            *_unless(own.get("allowPrivilegeEscalation") is False, "allowPrivilegeEscalation"),
            *_unless(own.get("readOnlyRootFilesystem") is True, "readOnlyRootFilesystem"),
            *_unless(drops == ["ALL"], "capabilities.drop"),
            *_unless(resources.get("limits", {}).keys() >= {"cpu", "memory"}, "resources.limits"),
        ]
    return problems


def _unless(is_met: bool, what: str) -> Iterator[str]:
    if not is_met:
        yield what
