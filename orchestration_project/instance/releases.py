"""Releases of the daemon and the worker of a run: a worker executes runs of its own release only.

A worker of another release has other assets and other tables. So the launcher tags each run with
its release, and a worker of another one fails the run with both names. Run retries launch it again:
by then, a run whose message waited during an upgrade has the tag of the new daemon.
"""

import socket
from collections.abc import Mapping

from orchestration_project import release
from orchestration_project.engine.tracing.traceparent import HIDDEN_PREFIX, read_tag
from orchestration_project.errors import ConfigurationError
from orchestration_project.migrations import NEWEST_VERSION

RELEASE_TAG, EARLIER_RELEASE_TAG = f"{HIDDEN_PREFIX}release", "orchestration_project/release"
"""Run tag: the release that launched the run, with the version of its tables."""


def own_release() -> str:
    """Return the release of this process, such as `1.2.0 (tables 0048)`."""
    return f"{release()} (tables {NEWEST_VERSION})"


def other_release(tags: Mapping[str, str]) -> ConfigurationError | None:
    """Return the refusal of a run with ``tags`` that another release launched, None for our own.

    A run without the tag is of a launcher that sets none, and is accepted.
    """
    launched_by = read_tag(tags, RELEASE_TAG, EARLIER_RELEASE_TAG) or own_release()
    if launched_by == own_release():
        return None
    return ConfigurationError(
        f"the worker on {socket.gethostname()} is of another release than the daemon",
        expected=f"release {launched_by}, as the daemon that launched the run",
        found=f"release {own_release()}",
        remedy="install the release of the daemon on that host and start its workers again; then "
        "launch the run again, if its retries have failed, too",
    )
