"""A DAG of Airflow 3 that loads a week of FINRA's OTC data by the gateway, and reads its rows.

The tasks run in the environment of this package, whose Python ORCHESTRATION_PYTHON names, as
Airflow's own packages need other versions. GATEWAY_URL and GATEWAY_KEY name the gateway and the key
of an operator. A retried task waits for the run that its first attempt launched.
"""

import os
from datetime import timedelta
from typing import Any

from airflow.sdk import Param, dag, get_current_context, task

PYTHON = os.environ["ORCHESTRATION_PYTHON"]

API_VERSIONS = ["1"]
"""Versions of the API that this DAG was written for."""


@dag(
    dag_id="finra_week",
    schedule=None,
    params={
        "tier": Param("T1", enum=["T1", "T2", "OTCE"]),
        "week": Param("2026-02-02", format="date"),
    },
    default_args={"retries": 1, "retry_delay": timedelta(seconds=10)},
    tags=["finra"],
)
def finra_week() -> None:
    """Load a week of a tier, wait until it has ended, and summarize its rows."""

    @task.external_python(python=PYTHON, expect_airflow=False)
    def require_api(known: list[str]) -> None:
        """Refuse a gateway whose API has another version."""
        import os

        from orchestration_project.client import Client

        with Client(os.environ["GATEWAY_URL"], os.environ["GATEWAY_KEY"]) as client:
            found = client.api_version()
        if found not in known:
            raise RuntimeError(
                f"invalid version of the API: expected {' or '.join(known)}, found {found}; "
                "take the DAG of the gateway's release"
            )

    @task
    def name_partition() -> dict[str, str]:
        """Return the partition, and a key that is the same in each attempt of this DAG run."""
        context: Any = get_current_context()
        given = context["params"]
        return {
            "partition": f"{given['tier']}|{given['week']}",
            "key": f"airflow-{context['run_id']}-{given['tier']}-{given['week']}",
        }

    @task.external_python(python=PYTHON, expect_airflow=False)
    def load(named: dict[str, str]) -> str:
        """Launch the load, once for all attempts, and wait for it; return the run's ID."""
        import os

        from orchestration_project.client import Client

        with Client(os.environ["GATEWAY_URL"], os.environ["GATEWAY_KEY"]) as client:
            launched = client.launch(
                "finra_otc_weekly", partition=named["partition"], idempotency_key=named["key"]
            )
            return client.wait(launched.run_id, progress=True).run_id

    @task.external_python(python=PYTHON, expect_airflow=False)
    def read(named: dict[str, str], loaded_by: str) -> dict[str, int]:
        """Return how many rows and shares the week has; ``loaded_by`` is the run that loaded it."""
        import os

        from orchestration_project.client import Client

        tier, _, week = named["partition"].partition("|")
        with Client(os.environ["GATEWAY_URL"], os.environ["GATEWAY_KEY"]) as client:
            rows = client.frame("finra_otc_weekly", where=[f"tier={tier}", f"week_start={week}"])
        print(f"run {loaded_by}: {len(rows)} rows of {named['partition']}")
        return {"rows": len(rows), "shares": int(rows["share_quantity"].sum())}

    named = name_partition()
    loaded = load(named)
    require_api(API_VERSIONS) >> named
    read(named, loaded)


dag_object = finra_week()

if __name__ == "__main__":
    dag_object.test()
