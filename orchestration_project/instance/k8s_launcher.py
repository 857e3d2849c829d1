"""Launcher of runs as Kubernetes jobs; heartbeats decide who is alive, as for each launcher."""

from pathlib import Path

from dagster._serdes import ConfigurableClassData
from dagster_k8s import K8sRunLauncher
from kubernetes.config import ConfigException

from orchestration_project.errors import ConfigurationError
from orchestration_project.instance.launcher import RunHealth
from orchestration_project.settings import Settings

DAGSTER_HOME = "/opt/dagster/dagster_home"
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
"""File that each pod of a cluster has."""


class K8sLauncher(RunHealth, K8sRunLauncher):
    """Starts a Kubernetes job for each run."""

    @classmethod
    def of(cls, settings: Settings, inst_data: ConfigurableClassData | None) -> "K8sLauncher":
        """Return the launcher of the settings KUBERNETES_….

        The credentials are those of the pod's service account, outside of a cluster those of the
        user's kubectl.

        Raises:
            ConfigurationError: There are none.
        """
        try:
            return cls(
                service_account_name=settings.kubernetes_service_account,
                instance_config_map=settings.kubernetes_instance_config_map,
                dagster_home=DAGSTER_HOME,
                job_image=settings.kubernetes_image,
                job_namespace=settings.kubernetes_namespace,
                env_config_maps=list(settings.kubernetes_env_config_maps),
                env_secrets=list(settings.kubernetes_env_secrets),
                load_incluster_config=SERVICE_ACCOUNT.exists(),
                inst_data=inst_data,
            )
        except ConfigException as error:
            raise ConfigurationError(
                "RUN_LAUNCHER=k8s cannot be used",
                expected="a pod with a service account, or the configuration of kubectl",
                found=str(error),
                remedy="start the daemon in the cluster, or set KUBECONFIG; or RUN_LAUNCHER=local",
            ) from error
