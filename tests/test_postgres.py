"""The server that the tests talk to is the one that was requested."""

import subprocess

import psycopg

from tests.postgres import binaries_asked_for


def test_postgresql_is_new_enough_and_of_the_binaries_that_were_asked_for(postgres_url):
    with psycopg.connect(postgres_url) as connection:
        version = connection.info.server_version
    assert version >= 140_000
    if binaries := binaries_asked_for():
        command = [binaries / "postgres", "--version"]
        output = subprocess.run(command, capture_output=True, check=True, text=True).stdout  # noqa: S603 - the binaries that were requested
        assert f"{version // 10_000}.{version % 10_000}" in output.split()
