"""Traefik has the routes of the Caddyfile, and its parts refer to one another."""

import re
import shutil
import subprocess
from urllib.parse import urlsplit

import yaml

from orchestration_project.gateway.api.alerts import PATH
from orchestration_project.settings import PROJECT_ROOT
from tests.deploy.compose_file import HOST, networks_of, services

DEPLOY = PROJECT_ROOT / "deploy"
CADDYFILE = (DEPLOY / "caddy" / "Caddyfile").read_text()
TRAEFIK = yaml.safe_load((DEPLOY / "traefik" / "dynamic.yaml").read_text())
HTTP = TRAEFIK["http"]

HEADERS = {
    "Strict-Transport-Security": ("stsSeconds", "max-age={}"),
    "X-Content-Type-Options": ("contentTypeNosniff", "nosniff"),
    "X-Frame-Options": ("frameDeny", "DENY"),
    "Referrer-Policy": ("referrerPolicy", "{}"),
    "Permissions-Policy": ("permissionsPolicy", "{}"),
}
"""Headers by the options of Traefik that set them, and the text of an option's value."""


def test_headers_are_those_of_the_caddyfile():
    options = HTTP["middlewares"]["headers"]["headers"]
    found = {name: text.format(options[option]) for name, (option, text) in HEADERS.items()}
    assert found == dict(re.findall(r'^\t\t([\w-]+) "(.*)"$', CADDYFILE, re.MULTILINE))
    assert options["customResponseHeaders"] == {"Server": ""}
    assert "\t\t-Server\n" in CADDYFILE


def test_routes_are_those_of_the_caddyfile():
    plain, secure = HTTP["routers"]["redirect"], HTTP["routers"]["gateway"]
    assert "redir https://{$PUBLIC_HOST}" in CADDYFILE
    assert HTTP["middlewares"][plain["middlewares"][0]]["redirectScheme"]["scheme"] == "https"
    [internal] = re.findall(r"@internal path (.*)", CADDYFILE)
    hidden = [f"!Path(`{path}`)" for path in internal.split() if "*" not in path]
    hidden += [f"!PathPrefix(`{path[:-1]}`)" for path in internal.split() if path.endswith("*")]
    assert secure["rule"] == " && ".join([f"Host(`{HOST}`)", *hidden])
    [server] = HTTP["services"]["gateway"]["loadBalancer"]["servers"]
    given = services()["caddy"]["environment"]
    assert server["url"] == f"http://{given['GATEWAY']}"
    assert "reverse_proxy {$GATEWAY:" in CADDYFILE


def test_what_routers_name_there_is():
    assert HTTP["routers"]
    for router in HTTP["routers"].values():
        assert set(router.get("middlewares", ())) <= HTTP["middlewares"].keys()
        assert router["service"] in HTTP["services"]
        assert router.get("tls", {}).get("options", "modern") in TRAEFIK["tls"]["options"]


def test_compose_gives_each_variable_of_the_caddyfile_that_has_no_default():
    needed = set(re.findall(r"\{\$(\w+)\}", CADDYFILE)) - {"PUBLIC_PORT"}
    assert needed <= services()["caddy"]["environment"].keys()


def test_prometheus_and_alertmanager_have_keys_and_targets_of_compose():
    found = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    [job] = [
        scrape_config
        for scrape_config in found["scrape_configs"]
        if scrape_config["job_name"] == "orchestration"
    ]
    assert job["authorization"]["credentials_file"] == "/run/secrets/metrics_key"
    assert "metrics_key" in services()["prometheus"]["secrets"]
    requested = [*found["scrape_configs"], *found["alerting"]["alertmanagers"]]
    addresses = [
        address for request in requested for address in request["static_configs"][0]["targets"]
    ]
    sends = yaml.safe_load((DEPLOY / "alertmanager" / "alertmanager.yml").read_text())
    [receiver] = sends["receivers"]
    [hook] = receiver["webhook_configs"]
    url = urlsplit(hook["url"])
    key = hook["http_config"]["authorization"]["credentials_file"]
    assert (key, url.path) == ("/run/secrets/alerts_key", f"/api/v1{PATH}")
    assert "alerts_key" in services()["alertmanager"]["secrets"]
    for address in (*addresses, url.netloc):
        assert "metrics" in networks_of(services()[address.partition(":")[0]]), address


def test_alertmanager_waits_for_no_other_alert():
    route = yaml.safe_load((DEPLOY / "alertmanager" / "alertmanager.yml").read_text())["route"]
    assert (route["group_by"], "routes" in route) == (["..."], False)
    if shutil.which("amtool"):
        command = ["amtool", "check-config", str(DEPLOY / "alertmanager" / "alertmanager.yml")]
        assert subprocess.run(command, capture_output=True, check=False).returncode == 0  # noqa: S603 - Debian's
