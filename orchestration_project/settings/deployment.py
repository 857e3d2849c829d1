"""Settings of where runs are executed: the launcher, its broker, and the code servers."""

import re
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings

from orchestration_project.settings.values import Entries, Words, about

BROKER = re.compile(r"(pyamqp|amqps?)://[^\s@]+(:[^\s@]*)?@[^\s@/?#]+(/[^\s?#]*)?")
EXPECTED_BROKER = "expected amqp://user:password@host:5672/vhost"
CODE_SERVER = re.compile(r"[a-z][a-z0-9_]*(\+[a-z][a-z0-9_]*)*=[A-Za-z0-9._-]+:[0-9]{1,5}")

STACK_PORTS: Mapping[str, int] = {
    "https": 8443,
    "http": 8080,
    "gateway": 3000,
    "postgresql": 5433,
    "rabbitmq": 5673,
    "mqtt": 8883,
    "mqtt_certificate": 8884,
    "mqtt_websocket": 8885,
    "prometheus": 9091,
    "victoriametrics": 8429,
    "alertmanager": 9094,
    "postgres_exporter": 9188,
    "mqtt_exporter": 9642,
}


class DeploymentSettings(BaseSettings, defer_build=True):
    """Launchers of runs, and the hosts that execute them."""

    without_effect: ClassVar[frozenset[str]] = frozenset(
        {
            *("run_launcher", "max_concurrent_runs", "broker_url", "code_servers", "code_domains"),
            "domains",
            *(
                "kubernetes_image",
                "kubernetes_pod",
                "kubernetes_namespace",
                "kubernetes_service_account",
            ),
            *("kubernetes_env_config_maps", "kubernetes_env_secrets", "stack_ports"),
            *("program_max_ends", "program_window_minutes"),
        }
    )

    run_launcher: Literal["local", "celery", "k8s"] = Field(
        "local",
        description="Executor of runs: the code server, workers of Celery, or Kubernetes jobs.",
    )
    max_concurrent_runs: int = Field(
        2,
        ge=1,
        le=1000,
        description="Maximum number of runs at the same time; with Celery at most the processes "
        "of all workers.",
        json_schema_extra=about(unit="runs"),
    )
    program_max_ends: int = Field(
        5,
        ge=1,
        le=1000,
        description="Ends of one program of `ui` or `stack` within PROGRAM_WINDOW_MINUTES that end "
        "the command. Before, the program is restarted. An optional program stays off instead.",
        json_schema_extra=about(unit="ends"),
    )
    program_window_minutes: int = Field(
        10,
        ge=1,
        le=1440,
        description="Time in which the ends of a program of `ui` or `stack` are counted.",
        json_schema_extra=about(unit="minutes"),
    )
    broker_url: SecretStr | None = Field(
        None,
        description="URL of the RabbitMQ broker of workers, amqp:// or with TLS amqps://, with "
        "user and password.",
        json_schema_extra=about(required_when="RUN_LAUNCHER=celery", group="security"),
    )
    domains: Words = Field(
        (),
        description="Domains of this installation, e.g. finra,documents, or all; in place of what "
        "`orchestrate domains` stored. A domain that is off keeps its tables.",
        json_schema_extra=about(
            default="(finra in a demo, else those with a source; and what was added)"
        ),
    )
    code_servers: Entries = Field(
        (),
        description="Code servers of other hosts, by the domains that they have, e.g. "
        "finra=host1:4266,prices+saas=host2:4266.",
        json_schema_extra=about(
            default="(one of the same machine, with every domain)",
            allowed="DOMAIN[+DOMAIN]=HOST:PORT entries",
        ),
    )
    code_domains: Words = Field(
        (),
        description="Domains of the code server of this host, e.g. finra; with a minus the domains "
        "that it lacks, e.g. -finra.",
        json_schema_extra=about(default="(all)", group="tuning"),
    )
    kubernetes_pod: str = Field(
        "",
        description="Pod of this program; Kubernetes jobs have its image, config maps and pull "
        "secrets too.",
        json_schema_extra=about(default="(none)"),
    )
    kubernetes_image: str | None = Field(
        None,
        description="Container image of Kubernetes jobs.",
        json_schema_extra=about(
            default="(that of KUBERNETES_POD)",
            required_when="RUN_LAUNCHER=k8s without KUBERNETES_POD",
        ),
    )
    kubernetes_namespace: str = Field("default", description="Namespace of Kubernetes jobs.")
    kubernetes_service_account: str = Field(
        "default", description="Service account of Kubernetes jobs."
    )
    kubernetes_env_config_maps: Entries = Field(
        (),
        description="Config maps of settings of Kubernetes jobs.",
        json_schema_extra=about(default="(those of KUBERNETES_POD)"),
    )
    kubernetes_env_secrets: Entries = Field(
        (), description="Secrets of settings of Kubernetes jobs."
    )

    stack_ports: Entries = Field(
        (),
        description="Ports of the services that `stack` starts, e.g. https=443,http=80.",
        json_schema_extra=about(
            default="(" + ",".join(f"{name}={port}" for name, port in STACK_PORTS.items()) + ")",
            allowed="SERVICE=PORT entries",
        ),
    )

    @field_validator("stack_ports")
    @classmethod
    def _are_ports(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            name, _, port = text.partition("=")
            if name not in STACK_PORTS or not port.isdecimal() or not 0 < int(port) < 65536:
                expected = f"expected SERVICE=PORT, SERVICE one of {', '.join(STACK_PORTS)}"
                raise ValueError(f"{expected}; found {text}")
        return value

    @property
    def ports_of_stack(self) -> Mapping[str, int]:
        """Ports of the services of `stack`, by service."""
        given_names = dict(stack_port.split("=") for stack_port in self.stack_ports)
        return {name: int(given_names.get(name, port)) for name, port in STACK_PORTS.items()}

    @field_validator("broker_url")
    @classmethod
    def _is_broker(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if info.data.get("run_launcher") == "celery":
            if value is None:
                raise ValueError(f"RUN_LAUNCHER=celery needs it: {EXPECTED_BROKER}")
            if not BROKER.fullmatch(value.get_secret_value()):
                raise ValueError(EXPECTED_BROKER)
        return value

    @field_validator("code_servers")
    @classmethod
    def _are_code_servers(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            if not CODE_SERVER.fullmatch(text):
                raise ValueError(f"expected DOMAIN=HOST:PORT, e.g. finra=host1:4266; found {text}")
        domains = [name for text in value for name in text.partition("=")[0].split("+")]
        if len(set(domains)) < len(domains):
            raise ValueError("expected each domain at one code server")
        return value

    @property
    def code_server_addresses(self) -> Mapping[str, tuple[str, int]]:
        """Host and port of each code server of another host, by its domains as given."""
        entries = [server.partition("=") for server in self.code_servers]
        addresses = {domains: address.rpartition(":") for domains, _, address in entries}
        return {domains: (host, int(port)) for domains, (host, _, port) in addresses.items()}

    @property
    def domains_elsewhere(self) -> Sequence[str]:
        """Domains that code servers of other hosts have."""
        return [name for domains in self.code_server_addresses for name in domains.split("+")]
