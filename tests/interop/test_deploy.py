"""What deploy/ has: each file is checked by its own schema or tool, and each command in it is run."""

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
    return next(copy.deepcopy(each) for each in manifests() if each["kind"] == kind)


def closed(schema):
    """The same schema, which lets no unknown field in."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: closed(value) for key, value in schema.items()}
    return {"additionalProperties": False} | schema if isinstance(schema.get("properties"), dict) else schema


def check(each: dict):
    if each["kind"] == "SpinApp":
        schema = json.loads((ROOT / "tests/vectors/spinapp.json").read_text())
        # What every object has.
        schema["properties"]["metadata"] = {"properties": {"name": {"type": "string"}}}
        jsonschema.validate(each, closed(schema))
    else:
        kubernetes_validate.validate(each, KUBERNETES, strict=True)


def test_manifests_are_as_their_schemas_say():
    kinds = [each["kind"] for each in manifests()]
    assert sorted(kinds) == ["CronJob", "Secret", "Service", "SpinApp", "StatefulSet"]
    for each in manifests():
        check(each)


@pytest.mark.parametrize("kind", ["CronJob", "Secret", "Service", "SpinApp", "StatefulSet"])
def test_a_field_that_no_schema_has_is_noticed(kind):
    """Or the test before would prove nothing."""
    broken = manifest(kind)
    part = broken["stringData"] if kind == "Secret" else broken["spec"]
    part["replicaz"] = 1
    with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError)):
        check(broken)


def references(part, key: str):
    """Each value of this key, however deep."""
    if isinstance(part, dict):
        if key in part:
            yield part[key]
        part = list(part.values())
    if isinstance(part, list):
        for each in part:
            yield from references(each, key)


def test_manifests_agree_with_each_other_and_with_spin_toml():
    secret, app = manifest("Secret"), manifest("SpinApp")
    named = list(references(manifests(), "secretKeyRef"))
    assert {reference["name"] for reference in named} == {secret["metadata"]["name"]}
    assert {reference["key"] for reference in named} == set(secret["stringData"])
    assert {variable["name"] for variable in app["spec"]["variables"]} <= set(VARIABLES)
    for variable in app["spec"]["variables"]:
        assert not VARIABLES[variable["name"]].get("secret") or "valueFrom" in variable, variable
    (store,) = app["spec"]["runtimeConfig"]["keyValueStores"]
    assert (store["name"], store["type"], [option["name"] for option in store["options"]]) == ("default", "redis", ["url"])
    service = manifest("Service")
    assert f"@{service['metadata']['name']}:{service['spec']['ports'][0]['port']}/" in secret["stringData"]["redis-url"]


def pending(sluice, path="/api/v2/event"):
    """Leaves a delivery in the store."""
    order = {"next": [{"do": "status", "code": 503, "on": "submit"}]}
    requests.post(f"{sluice.engine}/stand-in/script", json=order, timeout=10).raise_for_status()
    answer = requests.post(f"{sluice.url}{path}", json=EVENT, timeout=30)
    assert (answer.status_code, answer.headers["sluice-outcome"]) == (202, "pending"), answer.text


def drained(sluice, command: list, **environment) -> dict:
    """A command that drains is run until what is pending was due."""
    for _ in range(60):
        done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done
        counts = json.loads(done.stdout)
        if counts["delivered"]:
            return counts
        time.sleep(0.5)
    pytest.fail(f"nothing was delivered: {counts}")


def drain_of_kubernetes() -> tuple:
    (container,) = manifest("CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    return container["command"], "OPERATOR_TOKEN"


def drain_of_systemd() -> tuple:
    line = re.search("^ExecStart=(.*)$", (DEPLOY / "systemd/sluice-drain.service").read_text(), re.M)[1]
    return shlex.split(line.replace("$$", "$").replace("%%", "%")), "SPIN_VARIABLE_OPERATOR_TOKEN"


@pytest.mark.parametrize("drain", [drain_of_kubernetes, drain_of_systemd])
def test_a_drain_drains_and_a_wrong_token_is_told(sluice, drain):
    command, token = drain()
    pending(sluice, f"/api/v2/event?ref={drain.__name__}")
    wrong = subprocess.run(
        command, env=os.environ | {"SLUICE_URL": sluice.url, token: "wrong"}, capture_output=True, text=True, timeout=60
    )
    assert wrong.returncode == 22 and "unauthorized" in wrong.stdout, wrong
    assert drained(sluice, command, SLUICE_URL=sluice.url, **{token: "op3rator"})["delivered"] == 1


def test_a_separate_file_has_the_store(data, tmp_path):
    config = tmp_path / "separate-file.toml"
    config.write_text((DEPLOY / "runtime-config/separate-file.toml").read_text())
    with data() as state, host(state, {}, runtime_config=config) as sluice:
        pending(sluice)
        assert (tmp_path / "data/sluice.db").exists() and not os.listdir(state)


def test_redis_of_the_manifest_keeps_what_is_promised_by_the_runtime_config(data, tmp_path):
    """Both are as they are in deploy/, save the port and the password."""
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
                assert server.poll() is None
                time.sleep(0.05)
            pytest.fail("redis-server is not ready")

        server = start()
        try:
            with host(state, {}, runtime_config=config) as sluice:
                pending(sluice)
            assert "NOAUTH" in subprocess.run(["redis-cli", "-p", port, "PING"], capture_output=True, text=True).stdout
            server.kill()
            server.wait()
            server = start()
            command, token = drain_of_systemd()
            with host(state, {}, runtime_config=config) as sluice:
                drained(sluice, command, SLUICE_URL=sluice.url, **{token: "op3rator"})
        finally:
            server.kill()
            server.wait()


@pytest.fixture
def units(tmp_path) -> list:
    """The units, where no Spin is installed."""
    for file in (DEPLOY / "systemd").glob("sluice*.[st][ei][rm]*"):
        (tmp_path / file.name).write_text(file.read_text().replace("/usr/local/bin/spin ", "/bin/true "))
    return sorted(map(str, tmp_path.iterdir()))


def test_units_are_as_systemd_reads_them(units):
    assert [pathlib.Path(unit).name for unit in units] == ["sluice-drain.service", "sluice-drain.timer", "sluice.service"]
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    for unit in units:
        if unit.endswith(".service"):
            # 0 is no exposure, 10 all.
            rate = ["systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", unit]
            done = subprocess.run(rate, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout[-200:]


def test_systemds_environment_is_of_spin_toml():
    text = (DEPLOY / "systemd/sluice.env").read_text()
    names = re.findall("^SPIN_VARIABLE_([A-Z_]+)=", text, re.M)
    assert names and {name.lower() for name in names} <= set(VARIABLES)


def test_systemds_runtime_config_is_read(data):
    with data() as state, host(state, {}, runtime_config=DEPLOY / "systemd/runtime-config.toml") as sluice:
        pending(sluice)
        assert os.listdir(state) == ["sqlite_key_value.db"]
