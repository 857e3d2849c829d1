"""HTTP with one system's manners: timeouts, retries, a shared rate limit and a shared breaker.

The client is imported at its first use: most programs that read the state of requests send none.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestration_project.engine.http.client import (
        AnswerLimits,
        Hooks,
        HttpClient,
        Network,
        Policies,
        Response,
    )
    from orchestration_project.engine.http.limits import BreakerPolicy
    from orchestration_project.engine.http.request import RetryPolicy

__all__ = [
    "AnswerLimits",
    "BreakerPolicy",
    "Hooks",
    "HttpClient",
    "Network",
    "Policies",
    "Response",
    "RetryPolicy",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.client"), name)
