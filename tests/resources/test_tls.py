"""TLS options of a URL reach the driver, for our database and for Dagster's own storage."""

import dagster as dg
import pytest

from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.instance.storage import open_instance
from tests.resources.weeks import PartitionLoader, row
from tests.tls import make_certificate, tls_proxy


@pytest.fixture
def proxy(postgres_url, tmp_path):
    with tls_proxy(postgres_url, tmp_path / "tls") as proxy:
        yield proxy


def strangers(folder):
    return str(make_certificate(folder / "strangers")[1])


@pytest.mark.slow
def test_rows_are_loaded_through_tls_with_a_verified_certificate(
    proxy, postgres_url, clock, own_schema, tmp_path
):
    url = proxy.url(postgres_url, sslmode="verify-full", sslrootcert=str(proxy.certificate))
    with Warehouse(url, clock=clock, schema=own_schema) as warehouse:
        warehouse.prepare(holds="real")
        partition_loader = PartitionLoader(warehouse, tmp_path)
        partition_loader.write_batch(*(row(f"A{n}") for n in range(3000)))
        assert len(partition_loader.quantities()) == 3000
    assert set(proxy.versions) == {"TLSv1.3"}


def test_a_server_that_another_authority_vouches_for_is_refused(
    proxy, postgres_url, clock, tmp_path
):
    url = proxy.url(postgres_url, sslmode="verify-ca", sslrootcert=strangers(tmp_path))
    with (
        Warehouse(url, clock=clock) as warehouse,
        pytest.raises(ConfigurationError, match="certificate verify failed"),
    ):
        warehouse.prepare(holds="real")
    assert proxy.versions == []


def test_a_server_of_another_name_is_refused_where_the_name_is_to_be_verified(
    proxy, postgres_url, clock
):
    url = proxy.url(postgres_url, sslmode="verify-full", sslrootcert=str(proxy.certificate))
    by_number = url.replace("localhost", "127.0.0.1")
    with (
        Warehouse(by_number, clock=clock) as warehouse,
        pytest.raises(ConfigurationError, match="does not match host name"),
    ):
        warehouse.prepare(holds="real")


@pytest.mark.slow
def test_dagsters_own_storage_is_reached_through_tls_or_not_at_all(
    proxy, postgres_url, tmp_path, monkeypatch
):
    @dg.asset
    def one() -> None: ...

    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    safe = proxy.url(postgres_url, sslmode="verify-full", sslrootcert=str(proxy.certificate))
    monkeypatch.setenv("DAGSTER_DATABASE_URL", safe)
    with open_instance() as instance:
        run_id = dg.materialize([one], instance=instance).run_id
        assert [run.run_id for run in instance.get_runs()] == [run_id]
    assert set(proxy.versions) == {"TLSv1.3"}
    unsafe = proxy.url(postgres_url, sslmode="verify-full", sslrootcert=strangers(tmp_path))
    monkeypatch.setenv("DAGSTER_DATABASE_URL", unsafe)
    with pytest.raises(ConfigurationError, match="certificate verify failed") as refusal:
        open_instance()
    assert refusal.value.what == "Dagster's database cannot be reached"
