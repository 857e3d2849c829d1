"""Traefik has the routes of the Caddyfile, and its parts refer to one another."""

import re

import yaml

from orchestration_project.settings import PROJECT_ROOT
from tests.deploy.compose_file import HOST, services

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


def test_prometheus_has_the_key_where_compose_mounts_it():
    text = (DEPLOY / "prometheus" / "prometheus.yml").read_text()
    [job] = yaml.safe_load(text)["scrape_configs"]
    assert job["authorization"]["credentials_file"] == "/run/secrets/metrics_key"
    assert "metrics_key" in services()["prometheus"]["secrets"]
    [target] = job["static_configs"][0]["targets"]
    assert target.partition(":")[0] in services()
