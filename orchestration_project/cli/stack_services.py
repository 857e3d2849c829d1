"""Services of the stack: programs of the system, configured by the files of `deploy/`."""

import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Collection, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import psycopg
import yaml
from psycopg import sql

from orchestration_project.errors import ConfigurationError
from orchestration_project.settings import default_path
from orchestration_project.settings.given import ENVIRONMENT

DEPLOY = Path("deploy")
"""Folder of configuration files, in the project folder and among the defaults."""

LOOPBACK = "127.0.0.1"

SECRET_BYTES = 32


class Program(NamedTuple):
    """A program that is supervised.

    Attributes:
        name: Name of the service and its log.
        command: Executable and arguments.
        environment: Variables beside those of the supervisor.
        user: System user, if the supervisor is root and the program refuses that.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    user: str | None = None


def write_private(file: Path, text: str) -> Path:
    """Write a file that only its owner can read; it is complete or not there."""
    partial = file.with_suffix(f"{file.suffix}.partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(text)
    return partial.replace(file)


def secret_of(folder: Path, name: str) -> str:
    """Return the generated secret ``name``; it is made once, in a private file of ``folder``."""
    file = folder / name
    if not file.exists():
        write_private(file, secrets.token_urlsafe(SECRET_BYTES))
    return file.read_text()


RABBITMQ_SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""Debian's `rabbitmq-server` in the PATH changes its user; this one runs as the user is."""

BROKER_USER = "orchestration"


def rabbitmq(folder: Path, port: int, ports: tuple[int, int], password: str) -> list[Program]:
    """Return Erlang's port mapper and the broker, which keep their state in ``folder``.

    Args:
        folder: A private folder; the broker's node keeps queues and messages in it.
        port: Port of AMQP, on the loopback address.
        ports: Ports of Erlang's port mapper and of the node's distribution, the same.
        password: Password of the one account; the first start makes it.
    """
    mapper, distribution = ports
    folder.mkdir(exist_ok=True)
    (folder / "conf.d").mkdir(exist_ok=True)
    account = [f"default_user = {BROKER_USER}", f"default_pass = {password}"]
    write_private(folder / "conf.d" / "account.conf", "\n".join([*account, ""]))
    text = default_path(DEPLOY / "rabbitmq" / "rabbitmq.conf").read_text()
    here = text.replace("default = 5672", f"local = {LOOPBACK}:{port}")
    write_private(folder / "rabbitmq.conf", here)
    (folder / "enabled_plugins").write_text("[].\n")
    erlang = {"ERL_EPMD_PORT": str(mapper), "ERL_EPMD_ADDRESS": LOOPBACK, "HOME": str(folder)}
    environment = {
        **erlang,
        "RABBITMQ_NODENAME": "orchestration@localhost",
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        "RABBITMQ_CONF_ENV_FILE": str(folder / "none.conf"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_CONFIG_FILES": str(folder / "conf.d" / "*.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
    }
    return [
        Program("epmd", ["epmd", "-port", str(mapper), "-address", LOOPBACK], erlang),
        Program("rabbitmq", [str(RABBITMQ_SERVER)], environment),
    ]


def broker_url(port: int, password: str) -> str:
    """Return BROKER_URL of that broker."""
    return f"amqp://{BROKER_USER}:{password}@{LOOPBACK}:{port}//"


TOOLS = {
    "caddy": "caddy",
    "epmd": "erlang-base",
    str(RABBITMQ_SERVER): "rabbitmq-server",
    "mosquitto": "mosquitto",
    "mosquitto_passwd": "mosquitto",
    "openssl": "openssl",
    "prometheus": "prometheus",
}
"""Programs of the stack beside PostgreSQL's, and the Debian package of each."""


class OptionalService(NamedTuple):
    """A service that the stack starts if its program is installed.

    Attributes:
        program: The program, and its Debian package.
        title: Name for people.
        lack: What lacks without it.
        job: Name of its job in prometheus.yml; empty: it has none.
    """

    program: str
    title: str
    lack: str
    job: str = ""


OPTIONAL: Mapping[str, OptionalService] = {
    "victoriametrics": OptionalService(
        "victoria-metrics", "VictoriaMetrics", "Prometheus keeps 15 days of metrics, not a year"
    ),
    "alertmanager": OptionalService(
        "prometheus-alertmanager",
        "Alertmanager",
        "/attention has no alerts of Prometheus",
        "alertmanager",
    ),
    "postgres_exporter": OptionalService(
        "prometheus-postgres-exporter",
        "Exporter of PostgreSQL",
        "dashboards lack the server",
        "postgresql",
    ),
    "mqtt_exporter": OptionalService(
        "prometheus-mqtt-exporter",
        "Exporter of mosquitto",
        "dashboards lack the broker",
        "mosquitto",
    ),
}
"""By the name of the port in STACK_PORTS."""


def installed_services() -> list[str]:
    """Return the optional services whose programs are installed."""
    return [name for name, value in OPTIONAL.items() if find_program(value.program)]


SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")


def require_tools() -> Path:
    """Return the folder of PostgreSQL's programs.

    Raises:
        ConfigurationError: Programs are missing; names them and one line that installs them.
    """
    missing = {name: package for name, package in TOOLS.items() if not find_program(name)}
    folder = _find_postgresql()
    if folder is None:
        missing["postgres"] = "postgresql"
    if missing or folder is None:
        packages = " ".join(sorted({*missing.values()}))
        raise ConfigurationError(
            "the stack cannot start",
            expected="the programs of its services",
            found=f"missing: {', '.join(sorted(Path(name).name for name in missing))}",
            remedy=f"sudo apt-get install --no-install-recommends {packages}",
        )
    return folder


def find_program(name: str) -> str | None:
    """Return the path of a program, also from the folders that only root has in its PATH."""
    folders = [ENVIRONMENT.get("PATH", os.defpath), *SYSTEM_FOLDERS]
    return shutil.which(name, path=os.pathsep.join(folders))


def _find_postgresql() -> Path | None:
    def release(folder: Path) -> float:
        name = folder.parent.name
        return float(name) if re.fullmatch(r"\d+(\.\d+)?", name) else 0

    paths = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if _has_server(path)]
    if paths:
        return max(paths, key=release)
    on_path = shutil.which("postgres")
    return Path(on_path).parent if on_path and _has_server(Path(on_path).parent) else None


def _has_server(folder: Path) -> bool:
    return all((folder / name).exists() for name in ("initdb", "postgres"))


POSTGRESQL_USER = "postgres"
"""System user of PostgreSQL's server where root starts the stack: it refuses to run as root."""

DATABASE_USER = "orchestration"
DATABASES = ("pipelines", "dagster")

EXPORTER = "exporter"
"""Account of the exporters, in PostgreSQL and in mosquitto: it reads the state of the server."""


def postgresql(binaries: Path, folder: Path, port: int, password: str) -> Program:
    """Return PostgreSQL's server; its data folder is made at the first start.

    Args:
        binaries: Folder of PostgreSQL's programs.
        folder: A private folder. Root's is not used: the data are then in Debian's
            /var/lib/postgresql, which the server's user can reach.
        port: Port on the loopback address.
        password: Password of the one role, which the first start makes.
    """
    user = POSTGRESQL_USER if os.geteuid() == 0 else None
    data = data_folder(folder)
    if not (data / "PG_VERSION").exists():
        _make_data_folder(binaries, data, password, user)
    options = {
        "listen_addresses": LOOPBACK,
        "port": port,
        "unix_socket_directories": "",
        "max_connections": 200,
    }
    texts = [text for name, value in options.items() for text in ("-c", f"{name}={value}")]
    return Program("postgresql", [str(binaries / "postgres"), "-D", str(data), *texts], {}, user)


def data_folder(folder: Path) -> Path:
    """Return PostgreSQL's data folder."""
    return _name_root_data_folder(folder) if os.geteuid() == 0 else folder / "data"


def data_folders(folder: Path) -> list[Path]:
    """Return the existing folders outside of ``folder`` of a stack that root started."""
    data = _name_root_data_folder(folder)
    return sorted(data.parent.glob(f"{data.name}*"))


def _name_root_data_folder(folder: Path) -> Path:
    digest = sha256(str(folder).encode()).hexdigest()[:12]
    return Path("/var/lib/postgresql") / f"orchestration-{digest}"


def _make_data_folder(binaries: Path, data: Path, password: str, user: str | None) -> None:
    """Make a data folder whose one role has a password; a half-made one is made again."""
    partial = data.with_name(f"{data.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True, mode=0o700)
    password_file = write_private(partial.with_suffix(".password"), password)
    if user:
        shutil.chown(partial, user)
        shutil.chown(password_file, user)
    initdb = [str(binaries / "initdb"), "-D", str(partial), "--username", DATABASE_USER]
    names = ["--auth=scram-sha-256", f"--pwfile={password_file}", "--encoding=UTF8", "--locale=C"]
    completed_process = subprocess.run(  # noqa: S603 - PostgreSQL's own
        [*initdb, *names], cwd="/", user=user, group=user, capture_output=True, text=True
    )
    password_file.unlink()
    if completed_process.returncode:
        raise ConfigurationError(
            "PostgreSQL's data folder cannot be made",
            expected=f"initdb to make {data}",
            found=completed_process.stderr.strip()[-500:],
            remedy="correct what it names, and start again",
        )
    partial.rename(data)


def database_url(port: int, password: str, database: str) -> str:
    """Return the URL of one of its databases."""
    return f"postgresql://{DATABASE_USER}:{quote(password)}@{LOOPBACK}:{port}/{database}"


PASSING_REFUSALS = ("starting up", "shutting down", "not yet accepting", "recovery", "too many")
"""Words of PostgreSQL's refusals that end by themselves; each other FATAL error is final."""

CONNECT_SECONDS = 5


def has_databases(port: int, password: str, folder: Path) -> bool:
    """Make the databases that are missing; return False while the server does not answer.

    Args:
        port: Port of PostgreSQL on the loopback address.
        password: Password of the one role.
        folder: The stack's folder, for what to do about a refusal.

    Raises:
        ConfigurationError: The server refuses the login, or to make a database.
    """
    url = database_url(port, password, "postgres")
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_SECONDS) as connection:
            names = {name for (name,) in connection.execute("SELECT datname FROM pg_database")}
            for name in DATABASES:
                if name not in names:
                    connection.execute(f"CREATE DATABASE {name} ENCODING 'UTF8'".encode())
    except psycopg.Error as error:
        refusal = str(error).strip().splitlines()[-1:]
        is_answer = "FATAL:" in str(error) or not isinstance(error, psycopg.OperationalError)
        if not is_answer or any(words in str(error) for words in PASSING_REFUSALS):
            return False
        raise _explain_refusal("PostgreSQL", "postgresql", refusal, folder) from None
    return True


def has_account(port: int, password: str, folder: Path) -> bool:
    """Whether the broker accepts the stack's account; False while it does not answer.

    Raises:
        ConfigurationError: The broker refuses the login.
    """
    from amqp.exceptions import AccessRefused, AMQPError
    from kombu.connection import Connection

    try:
        with Connection(broker_url(port, password), connect_timeout=CONNECT_SECONDS) as connection:
            connection.connect()
    except AccessRefused as error:
        raise _explain_refusal("RabbitMQ", "rabbitmq", [str(error)], folder) from None
    except (AMQPError, OSError):
        return False
    return True


def prepare_exporter(port: int, password: str, own_password: str) -> None:
    """Make the account of PostgreSQL's exporter, which reads the state of the server alone.

    Args:
        port: Port of PostgreSQL on the loopback address.
        password: Password of the owner.
        own_password: Password of the account.
    """
    name = sql.Identifier(EXPORTER)
    with psycopg.connect(
        database_url(port, password, "postgres"), autocommit=True, connect_timeout=CONNECT_SECONDS
    ) as connection:
        roles = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [EXPORTER])
        if roles.fetchone() is None:
            connection.execute(
                sql.SQL(
                    "CREATE ROLE {} LOGIN CONNECTION LIMIT 5 PASSWORD {} IN ROLE pg_monitor"
                ).format(name, sql.Literal(own_password))
            )


def _explain_refusal(
    server: str, name: str, found: Sequence[str], folder: Path
) -> ConfigurationError:
    data = data_folder(folder / name) if name == "postgresql" else folder / name
    return ConfigurationError(
        f"the {server} of the stack refuses the stack's login",
        expected=f"the account whose password is in {folder / 'secrets' / name}",
        found="".join(found),
        remedy="put the password of the first start into that file; or delete all state by "
        f"`orchestrate reset`, then also {data} if it is still there",
    )


def caddy(folder: Path, ports: Mapping[str, int]) -> Program:
    """Return the proxy with TLS; its authority and certificates are in ``folder``."""
    folder.mkdir(exist_ok=True)
    environment = {
        "XDG_DATA_HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
        "PUBLIC_HOST": "localhost",
        "PUBLIC_PORT": "" if ports["https"] == 443 else f":{ports['https']}",
        "GATEWAY": f"{LOOPBACK}:{ports['gateway']}",
        "HTTP_PORT": str(ports["http"]),
        "HTTPS_PORT": str(ports["https"]),
        "BIND": LOOPBACK,
    }
    config = str(default_path(DEPLOY / "caddy" / "Caddyfile"))
    run = ["caddy", "run", "--adapter", "caddyfile", "--config", config]
    return Program("caddy", run, environment)


def authority(folder: Path) -> Path:
    """Return the certificate of Caddy's authority, which browsers and clients have to trust."""
    return folder / "caddy" / "pki" / "authorities" / "local" / "root.crt"


ADDRESSES = {
    "gateway:3000": "gateway",
    "victoriametrics:8428": "victoriametrics",
    "alertmanager:9093": "alertmanager",
    "postgres-exporter:9187": "postgres_exporter",
    "mqtt-exporter:9641": "mqtt_exporter",
}
"""Addresses in deploy/, and the services in STACK_PORTS that they are of."""


def prometheus(
    folder: Path, key_file: Path, ports: Mapping[str, int], started: Collection[str]
) -> Program:
    """Return Prometheus, which scrapes the gateway with a key, and the optional services.

    Args:
        folder: A private folder, for 15 days of samples.
        key_file: File of the key.
        ports: By service.
        started: Optional services that run; the others are left out of its configuration.
    """
    folder.mkdir(exist_ok=True)
    text = _set_ports(default_path(DEPLOY / "prometheus" / "prometheus.yml").read_text(), ports)
    safe_load = yaml.safe_load(text.replace("/run/secrets/metrics_key", str(key_file)))
    jobs = {"orchestration", *(OPTIONAL[name].job for name in started)}
    safe_load["scrape_configs"] = [
        job for job in safe_load["scrape_configs"] if job["job_name"] in jobs
    ]
    if "victoriametrics" not in started:
        del safe_load["remote_write"]
    if "alertmanager" not in started:
        del safe_load["alerting"]
    config = write_private(folder / "prometheus.yml", yaml.safe_dump(safe_load, sort_keys=False))
    rules = default_path(DEPLOY / "prometheus" / "rules")
    shutil.copytree(rules, folder / "rules", dirs_exist_ok=True)
    options = [
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--storage.tsdb.retention.time=15d",
        f"--web.listen-address={LOOPBACK}:{ports['prometheus']}",
    ]
    return Program("prometheus", ["prometheus", *options], {})


def _set_ports(text: str, ports: Mapping[str, int]) -> str:
    """Return a configuration of deploy/ with the addresses of the stack."""
    for address, service in ADDRESSES.items():
        text = text.replace(address, f"{LOOPBACK}:{ports[service]}")
    return text


def victoriametrics(folder: Path, ports: Mapping[str, int]) -> Program:
    """Return VictoriaMetrics, which keeps a year of samples in ``folder``."""
    options = [
        f"-storageDataPath={folder}",
        "-retentionPeriod=1y",
        f"-httpListenAddr={LOOPBACK}:{ports['victoriametrics']}",
    ]
    return Program("victoriametrics", [OPTIONAL["victoriametrics"].program, *options], {})


def alertmanager(folder: Path, key_file: Path, ports: Mapping[str, int]) -> Program:
    """Return Alertmanager, which sends alerts of Prometheus to the gateway with a key."""
    folder.mkdir(exist_ok=True)
    text = _set_ports(default_path(DEPLOY / "alertmanager" / "alertmanager.yml").read_text(), ports)
    config = write_private(
        folder / "alertmanager.yml", text.replace("/run/secrets/alerts_key", str(key_file))
    )
    options = [
        f"--config.file={config}",
        f"--storage.path={folder / 'data'}",
        "--cluster.listen-address=",
        f"--web.listen-address={LOOPBACK}:{ports['alertmanager']}",
    ]
    return Program("alertmanager", [OPTIONAL["alertmanager"].program, *options], {})


def postgres_exporter(password_file: Path, ports: Mapping[str, int]) -> Program:
    """Return the exporter of PostgreSQL's metrics."""
    environment = {
        "DATA_SOURCE_URI": f"{LOOPBACK}:{ports['postgresql']}/{DATABASES[0]}?sslmode=disable",
        "DATA_SOURCE_USER": EXPORTER,
        "DATA_SOURCE_PASS_FILE": str(password_file),
    }
    listen = f"--web.listen-address={LOOPBACK}:{ports['postgres_exporter']}"
    command = [OPTIONAL["postgres_exporter"].program, listen]
    return Program("postgres-exporter", command, environment)


def mqtt_exporter(folder: Path, password_file: Path, ports: Mapping[str, int]) -> Program:
    """Return the exporter of mosquitto's metrics; ``folder`` is the broker's."""
    text = default_path(DEPLOY / "mosquitto" / "exporter.yaml").read_text()
    text = text.replace("mosquitto:8883", f"localhost:{ports['mqtt']}")
    command = [
        OPTIONAL["mqtt_exporter"].program,
        f"-config={write_private(folder / 'exporter.yaml', text)}",
        f"-listen-address={LOOPBACK}",
        f"-listen-port={ports['mqtt_exporter']}",
        "-treat-mqtt-password-as-file-name=true",
    ]
    environment = {
        "MQTT2PROM_MQTT_PASSWORD": str(password_file),
        "SSL_CERT_FILE": str(certificate_of_broker(folder)),
    }
    return Program("mqtt-exporter", command, environment)


MQTT_PORTS = ("mqtt", "mqtt_certificate", "mqtt_websocket")
"""Ports of the listeners of deploy/mosquitto, in its order."""


def mosquitto(folder: Path, passwords: Mapping[str, str], ports: Mapping[str, int]) -> Program:
    """Return the broker of MQTT, with TLS and an account for each program.

    Args:
        folder: A private folder.
        passwords: By account of deploy/mosquitto/acl.
        ports: By listener.
    """
    (folder / "data").mkdir(parents=True, exist_ok=True)
    certificate_of_broker(folder)
    accounts = "".join(f"{user}:{password}\n" for user, password in passwords.items())
    hashed = ["mosquitto_passwd", "-U", str(write_private(folder / "passwords", accounts))]
    subprocess.run(hashed, check=True, capture_output=True)  # noqa: S603 - Debian's
    write_private(folder / "acl", default_path(DEPLOY / "mosquitto" / "acl").read_text())
    text = default_path(DEPLOY / "mosquitto" / "mosquitto.conf").read_text()
    for name in ("server.pem", "clients.pem"):
        text = text.replace(f"/etc/mosquitto/certs/{name}", str(folder / "server.pem"))
    text = text.replace("/etc/mosquitto/certs/server.key", str(folder / "server.key"))
    text = text.replace("/etc/mosquitto/", f"{folder}/")
    text = text.replace("/var/lib/mosquitto/", f"{folder / 'data'}/")
    listeners = iter(MQTT_PORTS)
    text = re.sub(r"(?m)^listener \d+$", lambda _: _render_listener(ports, listeners), text)
    user = "user root\n" if os.geteuid() == 0 else ""  # the default could not read these files
    config = write_private(folder / "mosquitto.conf", user + text)
    return Program("mosquitto", [str(find_program("mosquitto")), "-c", str(config)], {})


def _render_listener(ports: Mapping[str, int], listeners: Iterator[str]) -> str:
    # without its second line, a listener of WebSocket is on all addresses
    return f"listener {ports[next(listeners)]} {LOOPBACK}\nsocket_domain ipv4"


def certificate_of_broker(folder: Path) -> Path:
    """Return the broker's certificate for localhost, its own authority; it is made once."""
    certificate, key = folder / "server.pem", folder / "server.key"
    if not certificate.exists():
        folder.mkdir(exist_ok=True)
        write_private(key, "")
        names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"]
        command += ["ec_paramgen_curve:P-256", "-nodes", "-days", "825", "-subj", "/CN=localhost"]
        command += ["-addext", names, "-keyout", str(key), "-out", str(certificate)]
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - Debian's
    return certificate
