"""HTTP with one system's manners: timeouts, retries, a shared rate limit and a shared breaker."""

from orchestration_project.connections.http.client import HttpClient, Response

__all__ = ["HttpClient", "Response"]
