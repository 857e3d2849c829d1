"""compose.yaml: hardened, private, started in order, with settings and commands that exist."""

import importlib.util
import ipaddress
import re
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path

import click
import pytest

from orchestration_project.__main__ import root
from orchestration_project.gateway.bind_address import require_safe
from orchestration_project.settings import load_settings
from orchestration_project.settings.settings import setting_names, settings_class
from orchestration_project.settings.values import is_secret
from tests.deploy.compose_file import (
    FOLDER,
    PROGRAMS,
    compose,
    networks_of,
    one_shots,
    secrets_of,
    services,
    settings_of,
    waits_for,
)
from tests.expecting import expect_present

OF_LIBRARIES = {
    "AWS_ENDPOINT_URL",
    "AWS_ALLOW_HTTP",
    "AWS_REGION",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY_FILE",
}
"""Variables that are not our settings: docs/how-to/use-s3.md names them."""

PRIVATE = {
    "postgres": {"data"},
    "s3": {"data"},
    "rabbitmq": {"queue"},
    "mosquitto": {"queue", "events"},
    "prometheus": {"metrics"},
    "victoriametrics": {"metrics"},
    "victorialogs": {"data", "metrics"},
    "alertmanager": {"metrics"},
    "postgres-exporter": {"data", "metrics"},
    "mqtt-exporter": {"queue", "metrics"},
}
"""Services that no other host reaches, and the networks of each."""

WITHOUT_SHELL = {"mqtt-exporter"}
"""Services whose image has its program alone, which Prometheus asks."""


@pytest.mark.parametrize("name", services())
def test_each_service_is_limited_and_hardened(name: str):
    service = services()[name]
    limits = service["deploy"]["resources"]["limits"]
    assert limits.keys() == {"cpus", "memory", "pids"}
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["logging"]["options"]["max-size"]
    assert not service.keys() & {"privileged", "pid", "ipc", "devices", "userns_mode"}
    assert not [volume for volume in service.get("volumes", ()) if "docker.sock" in volume]
    if name in one_shots() | WITHOUT_SHELL:
        assert service["healthcheck"] == {"disable": True}
    else:
        assert {"test", "interval", "timeout", "retries"} <= service["healthcheck"].keys()


@pytest.mark.parametrize("name", services())
def test_only_a_step_without_network_and_secrets_runs_as_root(name: str):
    service = services()[name]
    user, _, group = service["user"].partition(":")
    assert user.isdecimal()
    assert group.isdecimal()
    if user == "0":
        assert service["network_mode"] == "none"
        assert not list(secrets_of(service))
        assert name in one_shots()


def test_images_have_a_version_that_the_operator_may_replace_by_a_digest():
    assert len(services()) > 5
    for name, service in services().items():
        assert re.fullmatch(
            r"\$\{[A-Z0-9_]+_IMAGE:-[a-z0-9_./-]+:v?[0-9][\w.-]*(-\$\{PROFILE\})?\}",
            service["image"],
        ), name


def test_the_proxy_alone_is_published_and_grafana_on_loopback():
    published = {
        name: service["ports"] for name, service in services().items() if "ports" in service
    }
    assert published == {"caddy": ["80:80", "443:443"], "grafana": ["127.0.0.1:3001:3000"]}


def test_brokers_databases_and_grpc_are_in_internal_networks():
    networks = compose()["networks"]
    assert {name for name, network in networks.items() if not network.get("internal")} == {"out"}
    for name, expected in PRIVATE.items():
        assert networks_of(services()[name]) == expected, name
    reach_grpc = {name for name, service in services().items() if "code" in networks_of(service)}
    assert reach_grpc == {"code-server", "daemon", "gateway"}


def test_the_trusted_proxies_are_the_network_that_the_proxy_shares_with_the_gateway_alone():
    members = {name for name, service in services().items() if "proxy" in networks_of(service)}
    assert members == {"caddy", "gateway"}
    [network] = compose()["networks"]["proxy"]["ipam"]["config"]
    assert settings_of("gateway", "minimal")["TRUSTED_PROXIES"] == network["subnet"]
    assert ipaddress.ip_network(network["subnet"]).is_private


@pytest.mark.parametrize("profile", ["minimal", "full"])
def test_services_start_when_what_they_need_is_ready(profile: str):
    present = services(profile)
    for name, service in present.items():
        for other, wait in waits_for(service).items():
            assert other in present or wait.get("required") is False, (name, other)
            is_step = other in one_shots()
            expected = "service_completed_successfully" if is_step else "service_healthy"
            assert wait["condition"] == expected, (name, other)
    awaited = {other for value in present.values() for other in waits_for(value)}
    lasting = {other for name in present.keys() - one_shots() for other in waits_for(present[name])}
    assert one_shots() & present.keys() <= lasting, "`up --wait` takes their end for a failure"
    assert {"postgres", "migrate", "code-server", "gateway"} <= awaited


def test_minimal_is_a_part_of_full():
    assert services("minimal").keys() < services("full").keys() == services().keys()
    assert services("minimal").keys() == {
        *("volumes", "postgres", "migrate", "code-server", "daemon", "gateway", "caddy")
    }


def test_each_variable_of_a_program_is_a_setting():
    fields = settings_class().model_fields
    files = {
        f"{setting_name}_FILE"
        for setting_name in setting_names()
        if is_secret(fields[setting_name])
    }
    known = {setting_name.upper() for setting_name in (*setting_names(), *files)}
    for name in PROGRAMS:
        assert services()[name]["profiles"], name
        for profile in services()[name]["profiles"]:
            assert settings_of(name, profile).keys() - known <= OF_LIBRARIES, name


@pytest.mark.parametrize("profile", ["minimal", "full"])
def test_the_settings_of_a_profile_are_valid_and_let_the_gateway_serve(
    profile: str, written: Path, monkeypatch: pytest.MonkeyPatch
):
    for name, value in settings_of("gateway", profile).items():
        monkeypatch.setenv(name, value.replace("/run/secrets", str(written / "secrets")))
    settings = load_settings()
    assert not settings.problems
    require_safe(settings, "0.0.0.0")  # noqa: S104 - the address of the service
    assert settings.database_url
    assert settings.database_url.get_secret_value().endswith("@postgres:5432/pipelines")


def test_each_file_that_a_variable_names_is_a_secret_of_the_service():
    for name in PROGRAMS:
        mounted = {path for _, path in secrets_of(services()[name])}
        for profile in services()[name]["profiles"]:
            named = settings_of(name, profile).items()
            paths = {value for key, value in named if key.endswith("_FILE")}
            assert paths <= mounted, (name, profile)


def test_each_secret_is_written_and_used(written: Path):
    declared = compose()["secrets"]
    used = {secret for service in services().values() for secret, _ in secrets_of(service)}
    assert declared.keys() == used
    for value in declared.values():
        assert (written / value["file"]).stat().st_size


@pytest.mark.parametrize("name", PROGRAMS)
def test_each_command_exists(name: str):
    assert "entrypoint" not in services()[name]
    program, *arguments = services()[name]["command"]
    if program == "python":
        assert arguments[0] == "-m"
        assert importlib.util.find_spec(arguments[1])
    elif program == "orchestrate":
        parsed(arguments)
    else:
        assert program in {point.name for point in entry_points(group="console_scripts")}


def parsed(arguments: list[str]) -> None:
    """Parse the arguments as `orchestrate` does; raise a click.UsageError for unknown ones."""
    group: click.Command = root
    context = click.Context(group)
    while isinstance(group, click.Group):
        name, *arguments = arguments
        found = expect_present(group.get_command(context, name))
        group = found
    group.make_context(group.name, arguments, resilient_parsing=False)


def test_the_files_that_services_mount_exist_or_are_written_by_up():
    sources = [
        (name, volume.partition(":")[0])
        for name, service in services().items()
        for volume in service.get("volumes", ())
    ]
    assert len(sources) > 5
    for name, source in sources:
        if source.startswith("."):
            assert (FOLDER / source).exists(), (name, source)
        else:
            assert source in compose()["volumes"], (name, source)


def test_health_checks_of_programs_run_what_is_in_the_image():
    checks: Mapping[str, list[str]] = {
        name: services()[name]["healthcheck"]["test"] for name in set(PROGRAMS) - one_shots()
    }
    scripts = {point.name for point in entry_points(group="console_scripts")}
    for name, [kind, program, *_] in checks.items():
        assert kind == "CMD"
        assert program in {"sh", "python", *scripts}, name
