"""Prints what the definitions of this installation have, and the modules that they import."""

import json
import sys

from orchestration_project.definitions import defs


def counts() -> dict[str, object]:
    """Return numbers of definitions, and the names of the imported modules of the project."""
    graph, repository = defs.resolve_asset_graph(), defs.get_repository_def()
    return {
        "assets": len(graph.get_all_asset_keys()),
        "jobs": len(set(repository.job_names) - {"__ASSET_JOB"}),
        "automations": len(repository.sensor_defs) + len(repository.schedule_defs),
        "checks": len(graph.asset_check_keys),
        "modules": sorted(
            name for name in sys.modules if name.startswith("orchestration_project.")
        ),
    }


if __name__ == "__main__":
    json.dump(counts(), sys.stdout)
