"""The typed client of the gateway's API, for programs elsewhere; it needs an address and a key."""

from orchestration_project.client.client import Client
from orchestration_project.client.transport import ApiError, RunFailedError

__all__ = ["ApiError", "Client", "RunFailedError"]
