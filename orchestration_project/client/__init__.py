"""The typed client of the gateway's API, for programs elsewhere; it needs an address and a key."""

from orchestration_project.client.asking import frame_of_parquet
from orchestration_project.client.data import DataMethods
from orchestration_project.client.extensions import PluginMethods
from orchestration_project.client.installation import InstallationMethods
from orchestration_project.client.messages import MqttMethods
from orchestration_project.client.program_logs import LogMethods
from orchestration_project.client.runs import RunMethods
from orchestration_project.client.transport import ApiError, RunFailedError

__all__ = ["ApiError", "Client", "RunFailedError", "frame_of_parquet"]


class Client(RunMethods, DataMethods, MqttMethods, LogMethods, PluginMethods, InstallationMethods):
    """A gateway at ``url``, asked as whoever ``key`` is; closed at the end of a `with`.

    Every method raises `ApiError` where the gateway says that it did not do it, and
    `httpx.TransportError` where it cannot be reached after some attempts.
    """
