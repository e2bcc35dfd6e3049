"""A real Prometheus scrapes Sluice under load, and evaluates the shipped rules and the dashboard's queries.

`cargo xtask test` unpacks Debian's Prometheus; SLUICE_PROMETHEUS is the directory of its programs.
"""

import contextlib
import hashlib
import hmac
import json
import os
import pathlib
import re
import shutil
import subprocess
import time

import jsonschema
import pytest
import requests
import yaml
from conftest import ROOT, free_port, host

DEPLOY = ROOT / "deploy/prometheus"
PATH = os.pathsep.join([os.environ.get("SLUICE_PROMETHEUS", str(ROOT / "target/prometheus/usr/bin")), os.environ["PATH"]])
SECRET = "s3cret"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def program(name: str) -> str:
    found = shutil.which(name, path=PATH)
    assert found, f"{name} is missing; on Debian, `apt-get install prometheus`"
    return found


def promtool(*arguments: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run([program("promtool"), *arguments], capture_output=True, text=True, timeout=60, **options)


def eventually(check, what: str, seconds: float = 60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := check():
            return found
        time.sleep(0.2)
    pytest.fail(f"{what}: not within {seconds} s")


class Watched:
    """A Sluice under load, and the Prometheus that scrapes it."""

    def __init__(self, sluice, prometheus: str, log: pathlib.Path):
        self.sluice, self.prometheus, self.log = sluice, prometheus, log

    def query(self, expression: str) -> list:
        reply = requests.get(f"{self.prometheus}/api/v1/query", params={"query": expression}, timeout=10).json()
        assert reply["status"] == "success", f"{expression}: {reply}"
        return reply["data"]["result"]

    def value(self, expression: str):
        """The value of the only series; None without one."""
        series = self.query(expression)
        assert len(series) <= 1, f"{expression}: {series}"
        return float(series[0]["value"][1]) if series else None

    def scrape(self, token="m3trics", **headers) -> requests.Response:
        headers = {"authorization": f"Bearer {token}"} | headers
        return requests.get(f"{self.sluice.url}/metrics", headers=headers, timeout=10)

    def firing(self) -> dict:
        """The firing alerts: name and annotations."""
        alerts = requests.get(f"{self.prometheus}/api/v1/alerts", timeout=10).json()["data"]["alerts"]
        return {a["labels"]["alertname"]: a["annotations"] for a in alerts if a["state"] == "firing"}


def without_waiting(rules: str) -> str:
    """The rules, with shorter times before an alert fires, so that the test does not have to wait for it."""
    return re.sub(r"(?m)^        for: .*$", "        for: 1s", rules)


@contextlib.contextmanager
def prometheus(directory: pathlib.Path, target: str):
    """Runs Prometheus with the shipped configuration, which scrapes `target` each second instead."""
    configuration = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    configuration["global"] = {"evaluation_interval": "1s"}
    [job] = configuration["scrape_configs"]
    job |= {"scrape_interval": "1s", "scrape_timeout": "1s", "static_configs": [{"targets": [target]}]}
    job["authorization"]["credentials_file"] = str(directory / "token")
    (directory / "token").write_text("m3trics")
    (directory / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    (directory / "sluice.rules.yml").write_text(without_waiting((DEPLOY / "sluice.rules.yml").read_text()))
    checked = promtool("check", "config", str(directory / "prometheus.yml"))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    port = free_port()
    with open(directory / "prometheus.log", "wb") as log:
        process = subprocess.Popen(
            [
                program("prometheus"),
                f"--config.file={directory / 'prometheus.yml'}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        url = f"http://127.0.0.1:{port}"

        def is_ready():
            assert process.poll() is None, (directory / "prometheus.log").read_text()
            with contextlib.suppress(requests.ConnectionError):
                return requests.get(f"{url}/-/ready", timeout=10).ok
            return False

        eventually(is_ready, "Prometheus is ready")
        yield url
    finally:
        process.terminate()
        process.wait(timeout=30)


def deliver(sluice, number: int, secret=SECRET, **headers) -> requests.Response:
    body = json.dumps({"n": number}).encode()
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    headers = {
        "content-type": "application/json",
        "x-github-event": "push",
        "x-github-delivery": f"delivery-{number}",
        "x-hub-signature-256": f"sha256={signature}",
    } | headers
    return requests.post(f"{sluice.url}/api/v2/webhook?ref=build", data=body, headers=headers, timeout=30)


def script(sluice, *steps: dict):
    requests.post(f"{sluice.engine}/stand-in/script", json={"always": list(steps)}, timeout=10).raise_for_status()


def drain(sluice) -> dict:
    reply = requests.post(
        f"{sluice.url}/api/v2/deliveries/drain", headers={"authorization": "Bearer op3rator"}, timeout=60
    )
    return reply.json()


@pytest.fixture(scope="module")
def watched(data, tmp_path_factory):
    """20 deliveries that were delivered, 5 that are pending, 3 that are dead, and 2 that were refused."""
    directory = tmp_path_factory.mktemp("prometheus")
    output = directory / "sluice.log"
    with data() as state, open(output, "wb") as log, host(
        state, {"github": [SECRET]}, log=log, settings={"metrics_token": "m3trics"}
    ) as sluice, prometheus(directory, sluice.url.removeprefix("http://")) as url:
        watched = Watched(sluice, url, output)
        eventually(lambda: watched.value('up{job="sluice"}') == 1, "Prometheus scrapes Sluice")
        # First, so that the first pass finds the notes about them.
        assert deliver(sluice, 100, secret="another").status_code == 401
        assert requests.post(f"{sluice.url}/api/v2/webhook?ref=build", json={}, timeout=30).status_code == 401
        for number in range(20):
            traceparent = f"00-{TRACE}-00f067aa0ba902b7-01"
            assert deliver(sluice, number, traceparent=traceparent).status_code == 200
        script(sluice, {"do": "status", "code": 503})
        for number in range(200, 203):
            assert deliver(sluice, number).status_code == 202
        script(sluice, {"do": "status", "code": 400})
        eventually(lambda: drain(sluice)["pending"] == 0, "three become dead letters")
        script(sluice, {"do": "status", "code": 503})
        for number in range(300, 305):
            assert deliver(sluice, number).status_code == 202
        drain(sluice)
        yield watched


def test_prometheus_reads_the_values(watched):
    eventually(lambda: watched.value("sluice_pending_deliveries") == 5, "five are pending")
    assert watched.value("sluice_dead_deliveries") == 3
    now = time.time()
    assert now - 300 < watched.value("sluice_drain_timestamp_seconds") <= now + 1
    assert now - 300 < watched.value("sluice_oldest_pending_timestamp_seconds") <= now
    assert watched.value("sluice_store_max_keys") == 250_000
    # A key for each of the 20 that were delivered, one or more for each of the others.
    assert watched.value("sluice_store_keys") > 28
    for name in ("configuration_errors", "engine_fault", "run_twice", "held_queues", "store_full"):
        assert watched.value(f"sluice_{name}") == 0, name
    refused = {
        # To Prometheus, an empty label is none.
        (series["metric"].get("source", ""), series["metric"]["reason"])
        for series in watched.query("sluice_last_refused_timestamp_seconds")
    }
    assert refused == {("github", "invalid-signature"), ("", "unauthorized")}
    metadata = requests.get(f"{watched.prometheus}/api/v1/metadata", timeout=10).json()["data"]
    [described] = metadata["sluice_drain_timestamp_seconds"]
    assert described == {"type": "gauge", "help": "When the last pass of the drain ended", "unit": "seconds"}


def test_shipped_rules_fire(watched):
    # Each rule was loaded, and none fails.
    groups = requests.get(f"{watched.prometheus}/api/v1/rules", timeout=10).json()["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    shipped = yaml.safe_load((DEPLOY / "sluice.rules.yml").read_text())["groups"][0]["rules"]
    assert [rule["name"] for rule in rules] == [rule["alert"] for rule in shipped]
    summary = "3 deliveries were given up: redeliver or delete them"
    eventually(lambda: watched.firing().get("SluiceDeadLetters", {}).get("summary") == summary, "the alert fires")
    firing = watched.firing()
    assert firing["SluiceDeadLetters"]["runbook"] == "docs/runbook.md#dead-letters"
    # A request of the source was refused less than 5 minutes ago. (The rule waits for 15 minutes.)
    assert "github" in firing["SluiceRefuses"]["summary"]
    assert not {"SluiceDown", "SluiceNotDrained", "SluiceStoreFull", "SluiceRunTwice"} & firing.keys(), firing
    errors = [rule for rule in rules if rule["health"] == "err"]
    assert not errors, errors


def test_engine_that_refuses_fires(watched):
    script(watched.sluice, {"do": "status", "code": 401})
    deliver(watched.sluice, 400)
    eventually(lambda: "SluiceEngineRefuses" in watched.firing(), "the alert fires")
    script(watched.sluice, {"do": "status", "code": 503})


def test_promtool_accepts_what_sluice_says(watched):
    text = watched.scrape(accept="text/plain").text
    checked = promtool("check", "metrics", input=text)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", ""), checked
    reply = watched.scrape()
    assert reply.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert reply.text.endswith("# EOF\n")


@pytest.mark.parametrize("arguments", [("check", "rules", "sluice.rules.yml"), ("test", "rules", "sluice.test.yml")])
def test_promtool_accepts_the_rules(arguments):
    checked = promtool(*arguments, cwd=DEPLOY)
    assert checked.returncode == 0 and "SUCCESS" in checked.stdout, checked


def expressions(node):
    """The queries of a dashboard."""
    if isinstance(node, dict):
        yield from (node["expr"],) if isinstance(node.get("expr"), str) else ()
        for child in node.values():
            yield from expressions(child)
    elif isinstance(node, list):
        for child in node:
            yield from expressions(child)


def test_queries_of_the_dashboard_have_results(watched):
    dashboard = json.loads((ROOT / "deploy/grafana/sluice.json").read_text())
    queries = [query.replace("$job", "sluice") for query in expressions(dashboard)]
    assert len(queries) > 20
    names = set(re.findall(r"^# HELP (\S+)", watched.scrape().text, re.MULTILINE))
    # No keys were fetched, nothing was dropped, and how long the backlog takes may not be known.
    without = ("sluice_key_", "sluice_store_known_since", "sluice_backlog")
    for query in queries:
        assert set(re.findall(r"sluice_\w+", query)) <= names, query
        result = watched.query(query)
        assert result or any(name in query for name in without), f"{query} has no result"
    selector = requests.get(
        f"{watched.prometheus}/api/v1/label/job/values", params={"match[]": "sluice_build_info"}, timeout=10
    ).json()
    assert selector["data"] == ["sluice"]


def test_lines_of_the_log_fit_the_schema(watched):
    schema = json.loads((ROOT / "docs/log.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    lines = [json.loads(line) for line in watched.log.read_text().splitlines() if line.startswith("{")]
    assert len(lines) > 30
    for line in lines:
        validator.validate(line)
    assert sum(line.get("trace") == TRACE for line in lines) == 20
    assert any("refused" in line for line in lines)
