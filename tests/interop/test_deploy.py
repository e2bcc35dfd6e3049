"""The files of deploy/ match their schemas or pass their tools, and their commands work."""

import copy
import json
import os
import pathlib
import re
import shlex
import subprocess
import time
import tomllib

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


def manifests() -> list:
    files = sorted((DEPLOY / "spinkube").glob("*.yaml"))
    return [manifest for file in files for manifest in yaml.safe_load_all(file.read_text())]


def manifest(kind: str) -> dict:
    return next(copy.deepcopy(document) for document in manifests() if document["kind"] == kind)


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


KINDS = ["CronJob", "Ingress", "Secret", "Service", "SpinApp", "StatefulSet"]


def test_manifests_have_the_expected_kinds():
    assert sorted(document["kind"] for document in manifests()) == KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_manifests_match_their_schemas(kind):
    validate(manifest(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_fields_are_detected(kind):
    """Shows that `test_manifests_match_their_schemas` can fail."""
    invalid = manifest(kind)
    part = invalid["stringData"] if kind == "Secret" else invalid["spec"]
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
    secret, app = manifest("Secret"), manifest("SpinApp")
    named = list(values_of(manifests(), "secretKeyRef"))
    assert {reference["name"] for reference in named} == {secret["metadata"]["name"]}
    assert {reference["key"] for reference in named} == set(secret["stringData"])
    assert {variable["name"] for variable in app["spec"]["variables"]} <= set(VARIABLES)
    for variable in app["spec"]["variables"]:
        assert not VARIABLES[variable["name"]].get("secret") or "valueFrom" in variable, variable
    (store,) = app["spec"]["runtimeConfig"]["keyValueStores"]
    assert (store["name"], store["type"], [option["name"] for option in store["options"]]) == ("default", "redis", ["url"])
    service = manifest("Service")
    assert f"@{service['metadata']['name']}:{service['spec']['ports'][0]['port']}/" in secret["stringData"]["redis-url"]


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
        counts = json.loads(done.stdout)
        if counts["delivered"]:
            return counts
        time.sleep(0.5)
    pytest.fail(f"nothing was delivered: {counts}")


def kubernetes_drain() -> tuple:
    """The command of the CronJob, and the variable of its token."""
    (container,) = manifest("CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    return container["command"], "OPERATOR_TOKEN"


def systemd_drain() -> tuple:
    """The command of the service, and the variable of its token."""
    line = re.search("^ExecStart=(.*)$", (DEPLOY / "systemd/sluice-drain.service").read_text(), re.M)[1]
    return shlex.split(line.replace("$$", "$").replace("%%", "%")), "SPIN_VARIABLE_OPERATOR_TOKEN"


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


def test_redis_keeps_stored_deliveries_when_it_is_killed(data, tmp_path):
    """Redis runs as in the StatefulSet and Sluice with runtime-config/redis.toml; only port and password differ."""
    (container,) = manifest("StatefulSet")["spec"]["template"]["spec"]["containers"]
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
