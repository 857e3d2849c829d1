"""The client: what the API can do, as methods with typed results."""

from orchestration_project.client.data import DataMethods
from orchestration_project.client.installation import InstallationMethods
from orchestration_project.client.runs import RunMethods
from orchestration_project.client.saas import SaasMethods


class Client(RunMethods, DataMethods, SaasMethods, InstallationMethods):
    """A gateway at ``url``, asked as whoever ``key`` is; closed at the end of a `with`.

    Every method raises `ApiError` where the gateway says that it did not do it, and
    `httpx.TransportError` where it cannot be reached after some attempts.
    """
