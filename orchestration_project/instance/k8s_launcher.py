"""Launcher of runs as Kubernetes jobs; heartbeats decide who is alive, as for each launcher."""

from pathlib import Path

from dagster._serdes import ConfigurableClassData
from dagster_k8s import K8sRunLauncher
from kubernetes.config import ConfigException

from orchestration_project.errors import ConfigurationError
from orchestration_project.instance.launcher import RunHealth
from orchestration_project.settings import Settings
from orchestration_project.settings.given import ENVIRONMENT

DAGSTER_HOME = "/opt/dagster/dagster_home"
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


class K8sLauncher(RunHealth, K8sRunLauncher):
    """Starts a Kubernetes job for each run."""

    @classmethod
    def of(cls, settings: Settings, inst_data: ConfigurableClassData | None) -> "K8sLauncher":
        """Return the launcher of the settings KUBERNETES_….

        The credentials are those of the pod's service account, outside of a cluster those of the
        user's kubectl.

        Raises:
            ConfigurationError: No credentials of a cluster are found.
        """
        is_in_cluster = SERVICE_ACCOUNT.exists()
        try:
            return cls(
                service_account_name=settings.kubernetes_service_account,
                instance_config_map=settings.kubernetes_instance_config_map,
                dagster_home=DAGSTER_HOME,
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
