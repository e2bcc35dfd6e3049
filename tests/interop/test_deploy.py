"""The files of deploy/ match their schemas or pass their tools, and their commands work."""

import copy
import http.server
import itertools
import json
import os
import pathlib
import re
import shlex
import subprocess
import threading
import time
import tomllib
import urllib.parse

import jsonschema
import kubernetes_validate
import pytest
import requests
import yaml
from conftest import ROOT, free_port, host

DEPLOY = ROOT / "deploy"
KUBERNETES = "1.34"
VARIABLES = tomllib.loads((ROOT / "spin.toml").read_text())["variables"]
EVENT = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "subject": "/nightly/tick"}


def manifests() -> dict:
    """The manifests by file and kind, such as `redis/Service`."""
    files = sorted((DEPLOY / "spinkube").glob("*.yaml"))
    documents = [(file.stem, document) for file in files for document in yaml.safe_load_all(file.read_text())]
    return {f"{stem}/{document['kind']}": document for stem, document in documents}


def manifest(name: str) -> dict:
    return copy.deepcopy(manifests()[name])


def strict(schema):
    """The schema, changed to reject unknown fields."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: strict(value) for key, value in schema.items()}
    return {"additionalProperties": False} | schema if isinstance(schema.get("properties"), dict) else schema


def validate(document: dict):
    if document["kind"] == "SpinApp":
        schema = json.loads((ROOT / "tests/vectors/spinapp.json").read_text())
        # The metadata of every Kubernetes object isn't part of the schema.
        schema["properties"]["metadata"] = {"properties": {"name": {"type": "string"}}}
        jsonschema.validate(document, strict(schema))
    else:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)


NAMES = [
    "drain/CronJob", "flow-ingress/Ingress", "postgres/NetworkPolicy", "postgres/Service", "postgres/StatefulSet",
    "redis/Service", "redis/StatefulSet", "secret/Secret", "sluice-postgres/SpinApp", "sluice/SpinApp",
]
APPS = ["sluice-postgres/SpinApp", "sluice/SpinApp"]


def test_manifests_have_the_expected_kinds():
    assert sorted(manifests()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_manifests_match_their_schemas(name):
    validate(manifest(name))


@pytest.mark.parametrize("name", NAMES)
def test_unknown_fields_are_detected(name):
    """Shows that `test_manifests_match_their_schemas` can fail."""
    invalid = manifest(name)
    part = invalid["stringData"] if invalid["kind"] == "Secret" else invalid["spec"]
    part["replicaz"] = 1
    with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError)):
        validate(invalid)


def values_of(part, key: str):
    """The values of this key at any depth."""
    if isinstance(part, dict):
        if key in part:
            yield part[key]
        part = list(part.values())
    if isinstance(part, list):
        for item in part:
            yield from values_of(item, key)


def test_manifests_agree_with_each_other_and_with_spin_toml():
    secret = manifest("secret/Secret")
    named = list(values_of(list(manifests().values()), "secretKeyRef"))
    assert {reference["name"] for reference in named} == {secret["metadata"]["name"]}
    assert {reference["key"] for reference in named} == set(secret["stringData"])
    for app in map(manifest, APPS):
        assert {variable["name"] for variable in app["spec"]["variables"]} <= set(VARIABLES)
        for variable in app["spec"]["variables"]:
            assert not VARIABLES[variable["name"]].get("secret") or "valueFrom" in variable, variable
    (store,) = manifest("sluice/SpinApp")["spec"]["runtimeConfig"]["keyValueStores"]
    assert (store["name"], store["type"]) == ("default", "redis")
    assert [option["name"] for option in store["options"]] == ["url"]
    for server, url in [("redis", "redis-url"), ("postgres", "database-url")]:
        service = manifest(f"{server}/Service")
        assert f"@{service['metadata']['name']}:{service['spec']['ports'][0]['port']}/" in secret["stringData"][url]


def test_apps_differ_in_their_store_only():
    def rest(name: str) -> dict:
        spec = manifest(name)["spec"]
        variables = [variable for variable in spec["variables"] if not variable["name"].startswith("database_")]
        different = {"replicas", "runtimeConfig", "variables", "checks"}
        return {key: value for key, value in spec.items() if key not in different} | {"variables": variables}

    assert rest(APPS[0]) == rest(APPS[1])


# A URL of PostgreSQL with a user, and an entry of the allow-list.
DATABASE_URL = re.compile(r"postgres://[^\s/'\"`]+@[^\s'\"`]+")
DATABASE_HOST = re.compile(r"(?:database_host=|DATABASE_HOST=|value: )(postgres://[^\s'\"`]+)", re.MULTILINE)
# The client of Spin: tokio-postgres 0.7.12.
PARAMETERS = {"connect_timeout", "keepalives_idle", "keepalives_interval", "keepalives_retries", "tcp_user_timeout"}


def database_urls() -> dict:
    """The files of deploy/ and docs/ with URLs of databases, and these URLs."""
    files = [file for folder in ("deploy", "docs") for file in sorted((ROOT / folder).rglob("*")) if file.is_file()]
    texts = {file.relative_to(ROOT): file.read_text() for file in files if file.suffix != ".png"}
    return {str(file): DATABASE_URL.findall(text) for file, text in texts.items() if DATABASE_URL.search(text)}


def test_database_urls_have_time_limits_and_an_entry_in_the_allow_list():
    urls = database_urls()
    assert sorted(urls) == [
        "deploy/akamai.md", "deploy/fermyon-cloud.md", "deploy/spinkube/secret.yaml", "deploy/systemd/sluice.env",
        "docs/postgresql.md",
    ]
    for file, (url,) in urls.items():
        parts = urllib.parse.urlsplit(url)
        parameters = dict(urllib.parse.parse_qsl(parts.query, strict_parsing=True))
        assert set(parameters) == PARAMETERS | {"sslmode", "options"}, url
        assert parameters["options"] == "-c statement_timeout=5000 -c lock_timeout=2000", url
        # Without TLS only on the loopback interface or within a cluster.
        is_local = parts.hostname == "127.0.0.1" or "." not in parts.hostname
        assert parameters["sslmode"] == ("disable" if is_local else "require"), url
        # The allow-list of the Secret is in the app.
        place = "deploy/spinkube/sluice-postgres.yaml" if file.endswith("secret.yaml") else file
        hosts = DATABASE_HOST.findall((ROOT / place).read_text())
        assert hosts == [f"postgres://{parts.hostname}:{parts.port}"], (file, hosts)


def test_role_has_the_privileges_that_the_schema_names():
    schema = (ROOT / "src/store/postgres/schema.sql").read_text()
    grants = [grant.replace("ROLE", "sluice") for grant in re.findall("^--     (GRANT .*;)$", schema, re.M)]
    role = re.findall("^(GRANT .* ON (?!DATABASE|SCHEMA).*;)$", (DEPLOY / "postgres/role.sql").read_text(), re.M)
    assert len(grants) == 2 and role == grants


def store_delivery(sluice, path="/api/v2/event"):
    """Sends an event to which the engine responds with 503, so Sluice stores it."""
    script = {"next": [{"do": "status", "code": 503, "on": "submit"}]}
    requests.post(f"{sluice.engine}/stand-in/script", json=script, timeout=10).raise_for_status()
    response = requests.post(f"{sluice.url}{path}", json=EVENT, timeout=30)
    assert (response.status_code, response.headers["sluice-outcome"]) == (202, "pending"), response.text


def drain(command: list, **environment) -> dict:
    """Runs a drain command until the pending delivery is due and delivered, and returns the report."""
    for _ in range(60):
        done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done
        *_, counts = map(json.loads, done.stdout.splitlines())
        if counts["delivered"]:
            return counts
        time.sleep(0.5)
    pytest.fail(f"nothing was delivered: {counts}")


def kubernetes_drain() -> tuple:
    """The command of the CronJob, and the variable of its token."""
    (container,) = manifest("drain/CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    return container["command"], "OPERATOR_TOKEN"


def systemd_drain() -> tuple:
    """The command of the service, and the variable of its token."""
    line = re.search("^ExecStart=(.*)$", (DEPLOY / "systemd/sluice-drain.service").read_text(), re.M)[1]
    command = shlex.split(line)
    assert command.pop() == "/opt/sluice/drain.sh"
    return [*command, str(DEPLOY / "drain.sh")], "SPIN_VARIABLE_OPERATOR_TOKEN"


def test_cron_job_has_the_script():
    assert kubernetes_drain()[0] == ["sh", "-c", (DEPLOY / "drain.sh").read_text()]


class Drains(http.server.ThreadingHTTPServer):
    """Responds to drains with these values of `again`, one after the other, and records the times."""

    def __init__(self, again: list):
        super().__init__(("127.0.0.1", 0), DrainHandler)
        self.again, self.times = again, []


class DrainHandler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        assert self.path == "/api/v2/deliveries/drain" and self.headers["authorization"] == "Bearer op3rator"
        self.server.times.append(time.monotonic())
        body = json.dumps({"delivered": 1, "again": self.server.again.pop(0)}, separators=(",", ":")).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.mark.parametrize(
    "again, seconds, calls", [([False], 300, 1), ([True, True, False], 300, 3), ([True, True, True], 0, 1)]
)
def test_drain_script_goes_on_while_more_is_due_and_it_has_time(again, seconds, calls):
    with Drains(again) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environment = {
            "SLUICE_URL": f"http://127.0.0.1:{server.server_port}", "OPERATOR_TOKEN": "op3rator",
            "DRAIN_SECONDS": str(seconds),
        }
        done = subprocess.run(
            [DEPLOY / "drain.sh"], env=os.environ | environment, capture_output=True, text=True, timeout=60
        )
        server.shutdown()
    assert done.returncode == 0 and len(done.stdout.splitlines()) == calls, done
    pauses = [later - earlier for earlier, later in itertools.pairwise(server.times)]
    assert len(server.times) == calls and all(pause >= 1 for pause in pauses), pauses


@pytest.mark.parametrize("read_drain", [kubernetes_drain, systemd_drain])
def test_drain_commands_deliver_and_report_a_wrong_token(sluice, read_drain):
    command, token = read_drain()
    store_delivery(sluice, f"/api/v2/event?ref={read_drain.__name__}")
    wrong = subprocess.run(
        command, env=os.environ | {"SLUICE_URL": sluice.url, token: "wrong"}, capture_output=True, text=True, timeout=60
    )
    assert wrong.returncode == 22 and "unauthorized" in wrong.stdout, wrong
    assert drain(command, SLUICE_URL=sluice.url, **{token: "op3rator"})["delivered"] == 1


def test_separate_file_holds_the_store(data, tmp_path):
    config = tmp_path / "separate-file.toml"
    config.write_text((DEPLOY / "runtime-config/separate-file.toml").read_text())
    with data() as state, host(state, {}, runtime_config=config) as sluice:
        store_delivery(sluice)
        assert (tmp_path / "data/sluice.db").exists() and not os.listdir(state)


def test_file_gives_all_variables(data):
    """Spin looks in the environment for each variable that the file lacks."""
    config = DEPLOY / "runtime-config/variables.toml"
    (provider,) = tomllib.loads(config.read_text())["variables_provider"]
    assert provider["type"] == "static" and provider["values"].keys() == VARIABLES.keys()
    with data() as state, host(state, {}, runtime_config=config) as sluice:
        drained = requests.post(
            f"{sluice.url}/api/v2/deliveries/drain", headers={"authorization": "Bearer change-me"}, timeout=30
        )
        assert drained.status_code == 200, drained.text


def test_redis_keeps_stored_deliveries_when_it_is_killed(data, tmp_path):
    """Redis runs as in the StatefulSet and Sluice with runtime-config/redis.toml; only port and password differ."""
    (container,) = manifest("redis/StatefulSet")["spec"]["template"]["spec"]["containers"]
    port = str(free_port())
    config = tmp_path / "redis.toml"
    text = (DEPLOY / "runtime-config/redis.toml").read_text()
    config.write_text(text.replace("redis://127.0.0.1:6379/0", f"redis://:s3cret@127.0.0.1:{port}/0"))
    assert port in config.read_text()

    with data() as directory, data() as state:
        environment = os.environ | {"DATA": directory, "PORT": port, "REDIS_PASSWORD": "s3cret"}
        cli = ["redis-cli", "-p", port, "--no-auth-warning", "-a", "s3cret"]

        def start() -> subprocess.Popen:
            server = subprocess.Popen(container["command"], env=environment, stdout=subprocess.DEVNULL)
            for _ in range(200):
                if subprocess.run([*cli, "PING"], capture_output=True, text=True).stdout == "PONG\n":
                    return server
                assert server.poll() is None, "redis-server exited"
                time.sleep(0.05)
            pytest.fail("redis-server wasn't ready in time")

        server = start()
        try:
            with host(state, {}, runtime_config=config) as sluice:
                store_delivery(sluice)
            assert "NOAUTH" in subprocess.run(["redis-cli", "-p", port, "PING"], capture_output=True, text=True).stdout
            server.kill()
            server.wait()
            server = start()
            command, token = systemd_drain()
            with host(state, {}, runtime_config=config) as sluice:
                drain(command, SLUICE_URL=sluice.url, **{token: "op3rator"})
        finally:
            server.kill()
            server.wait()


@pytest.fixture
def units(tmp_path) -> list:
    """The paths of the units, in copies that don't need Spin."""
    for file in (DEPLOY / "systemd").glob("sluice*.[st][ei][rm]*"):
        (tmp_path / file.name).write_text(file.read_text().replace("/usr/local/bin/spin ", "/bin/true "))
    return sorted(map(str, tmp_path.iterdir()))


def test_systemd_verifies_the_units(units):
    assert [pathlib.Path(unit).name for unit in units] == ["sluice-drain.service", "sluice-drain.timer", "sluice.service"]
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    for unit in units:
        if unit.endswith(".service"):
            # The threshold is an exposure of 2.0, on a scale from 0 (safe) to 10 (unsafe).
            rate = ["systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", unit]
            done = subprocess.run(rate, capture_output=True, text=True)
            assert done.returncode == 0, f"{unit}: {done.stdout[-200:]}"


def test_systemd_environment_names_variables_of_spin_toml():
    text = (DEPLOY / "systemd/sluice.env").read_text()
    names = re.findall("^SPIN_VARIABLE_([A-Z_]+)=", text, re.M)
    assert names and {name.lower() for name in names} <= set(VARIABLES)


def test_systemd_runtime_config_is_valid(data):
    with data() as state, host(state, {}, runtime_config=DEPLOY / "systemd/runtime-config.toml") as sluice:
        store_delivery(sluice)
        assert os.listdir(state) == ["sqlite_key_value.db"]
