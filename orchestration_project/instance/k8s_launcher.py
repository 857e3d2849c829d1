"""Launcher of runs as Kubernetes jobs; heartbeats decide who is alive, as for each launcher.

A job has the image, config maps and pull secrets of the pod that launches it, KUBERNETES_POD: each
is named once, where that pod is declared.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import Any

from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster_k8s import K8sRunLauncher
from dagster_k8s.client import DagsterK8sAPIRetryLimitExceeded, DagsterK8sUnrecoverableAPIError
from kubernetes.client.rest import ApiException
from kubernetes.config import ConfigException
from urllib3.exceptions import HTTPError  # noqa: TID251 - what the client of Kubernetes raises

from orchestration_project.errors import ConfigurationError
from orchestration_project.instance.heartbeats import NODE
from orchestration_project.instance.launcher import RunHealth
from orchestration_project.settings import Settings
from orchestration_project.settings.given import ENVIRONMENT

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
"""File that each pod of a cluster has."""


RESTRICTED = {
    "allow_privilege_escalation": False,
    "read_only_root_filesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
FOLDERS = {"state": "/var/lib/orchestration_project", "tmp": "/tmp"}  # noqa: S108 - of a container
RUN_POD = {
    "container_config": {
        "security_context": RESTRICTED,
        "resources": {
            "requests": {"cpu": "250m", "memory": "512Mi"},
            "limits": {"cpu": "2", "memory": "4Gi"},
        },
        "volume_mounts": [{"name": name, "mount_path": path} for name, path in FOLDERS.items()],
        "env": [{"name": NODE, "value_from": {"field_ref": {"field_path": "spec.nodeName"}}}],
    },
    "pod_spec_config": {
        "automount_service_account_token": False,
        "security_context": {
            "run_as_non_root": True,
            "run_as_user": 10001,
            "run_as_group": 10001,
            "fs_group": 10001,
            "seccomp_profile": {"type": "RuntimeDefault"},
        },
        "volumes": [{"name": name, "empty_dir": {}} for name in FOLDERS],
    },
}
"""Pods of runs as deploy/kubernetes has others: namespaces may refuse those with more rights.

The tag `dagster-k8s/config` of a run replaces parts of it, such as limits.
"""


SECONDS_TO_READ_POD = 10

AWAY = (DagsterK8sAPIRetryLimitExceeded, HTTPError, ApiException)
"""Errors of a cluster's API that does not answer, or cannot now; retries of Dagster are over."""


class K8sLauncher(RunHealth, K8sRunLauncher):
    """Starts a Kubernetes job for each run."""

    pod_name: str = ""

    def launch_run(self, context: Any) -> None:
        """Create the job of a run, unless an attempt whose answer was lost has created it.

        Raises:
            DagsterUserCodeUnreachableError: The cluster's API is away or refuses to show the pod;
                Dagster's queue then tries again later.
        """
        try:
            super().launch_run(context)
        except DagsterK8sUnrecoverableAPIError as error:
            if error.k8s_api_exception.status != HTTPStatus.CONFLICT:
                raise
        except AWAY as error:
            raise DagsterUserCodeUnreachableError(
                f"the cluster's API did not take the run: expected an answer, found {error}; "
                "if it is away, wait; if it refuses, give the service account the rights of "
                "deploy/kubernetes/base/accounts.yaml; the run stays in the queue"
            ) from error

    @cached_property
    def _pod(self) -> Any:
        """Specification of the pod that launches, which never changes; None: it is not named."""
        if not self.pod_name:
            return None
        pod: Any = self._api_client.core_api.read_namespaced_pod(
            self.pod_name, self.job_namespace, _request_timeout=SECONDS_TO_READ_POD
        )
        return pod.spec

    @property
    def job_image(self) -> str | None:
        """Image of KUBERNETES_IMAGE, else of the pod."""
        if self._job_image or self._pod is None:
            return self._job_image
        return self._pod.containers[0].image

    @property
    def env_config_maps(self) -> Sequence[str]:
        """Config maps of KUBERNETES_ENV_CONFIG_MAPS, else of the pod."""
        if self._env_config_maps or self._pod is None:
            return self._env_config_maps
        sources = self._pod.containers[0].env_from or ()
        return [source.config_map_ref.name for source in sources if source.config_map_ref]

    @property
    def image_pull_secrets(self) -> Sequence[Mapping[str, str]]:
        """Pull secrets of the pod, those of its service account included."""
        secrets = () if self._pod is None else self._pod.image_pull_secrets or ()
        return [{"name": secret.name} for secret in secrets]

    @classmethod
    def of(cls, settings: Settings, inst_data: Any) -> "K8sLauncher":
        """Return the launcher of the settings KUBERNETES_….

        The credentials are those of the pod's service account, outside of a cluster those of the
        user's kubectl.

        Raises:
            ConfigurationError: No image is named, or no credentials of a cluster are found.
        """
        if not settings.kubernetes_image and not settings.kubernetes_pod:
            raise ConfigurationError(
                "RUN_LAUNCHER=k8s cannot be used",
                expected="KUBERNETES_IMAGE, or KUBERNETES_POD of a pod with that image",
                found="neither",
                remedy="set KUBERNETES_POD as deploy/kubernetes/base/daemon.yaml does",
            )
        is_in_cluster = SERVICE_ACCOUNT.exists()
        try:
            launcher = cls(
                service_account_name=settings.kubernetes_service_account,
                instance_config_map="",  # a run gets its instance by its command
                dagster_home="",  # the image sets it
                job_image=settings.kubernetes_image,
                job_namespace=settings.kubernetes_namespace,
                env_config_maps=list(settings.kubernetes_env_config_maps),
                env_secrets=list(settings.kubernetes_env_secrets),
                run_k8s_config=RUN_POD,
                load_incluster_config=is_in_cluster,
                kubeconfig_file=None if is_in_cluster else ENVIRONMENT.get("KUBECONFIG"),
                inst_data=inst_data,
            )
        except ConfigException as error:
            raise ConfigurationError(
                "RUN_LAUNCHER=k8s cannot be used",
                expected="a pod with a service account, or the configuration of kubectl",
                found=str(error),
                remedy="start the daemon in the cluster, or set KUBECONFIG; or RUN_LAUNCHER=local",
            ) from error
        launcher.pod_name = settings.kubernetes_pod
        return launcher
