"""The table of contents: domains, resources, jobs and sensors, assembled once into `defs`."""

import dagster as dg


@dg.asset
def placeholder() -> None:
    """Stand-in until the first domain is in."""


defs = dg.Definitions(assets=[placeholder])
