"""docs/openapi.yaml describes the running component: its examples are sent, and Schemathesis looks for deviations."""

import os
import pathlib
import subprocess
import sys
from urllib.parse import parse_qsl, urlsplit

import jsonschema
import pytest
import requests
from openapi_spec_validator import validate
from schemathesis.specs.openapi.checks import ignored_auth

import schemathesis_hooks  # noqa: F401  (the import registers the hooks)
from conftest import host
from openapi_examples import DOCUMENT, Example, assert_same_shape, request_examples, schemas_with_examples

HERE = pathlib.Path(__file__).parent
OPERATOR = {"authorization": "Bearer op3rator"}


@pytest.fixture(scope="module")
def complete(data):
    """A host with every operation enabled and with a route for each event and webhook."""
    routes = '[{"workflow":"any","from":"event"},{"workflow":"any","from":"webhook"}]'
    settings = {
        "link_secrets": [os.urandom(16).hex()], "retention_hours": 8784, "allowed_origins": ["*"], "webhook_any_json": True,
        "cors_origins": ["*"],
    }
    with data() as state, host(state, {}, routes=routes, settings=settings) as running:
        yield running


def test_document_is_valid_and_served(complete):
    validate(DOCUMENT)
    served = requests.get(f"{complete.url}/openapi.json", timeout=30).json()
    assert served == DOCUMENT
    assert list(served["paths"]) == list(DOCUMENT["paths"])


def test_examples_match_their_schemas():
    count = 0
    for pointer, examples in schemas_with_examples():
        # The schema is referenced within the whole document, because its own references must resolve.
        validator = jsonschema.Draft202012Validator({**DOCUMENT, "$ref": f"#{pointer}"})
        for example in examples:
            errors = [error.message for error in validator.iter_errors(example)]
            assert errors == [], f"{pointer}: {example}"
            count += 1
    assert count > 60, count


# The switch after a fail-over makes each delivery wait that is stored within a minute, so it comes last.
@pytest.mark.parametrize("example", sorted(request_examples(), key=lambda example: str(example) == "doubt"), ids=str)
def test_example_requests_get_their_example_responses(complete, example: Example):
    operation, values = example.operation, example.values
    if str(example) == "moveStore":
        pytest.skip("needs a second store; tests/it/moves.rs compares its responses")
    if str(example) == "replay":
        pytest.skip("needs PostgreSQL; tests/it/replays.rs compares its responses")
    if operation.label == "GET /api/v2/webhook":
        pytest.skip("needs a sender that asks; src/sender/preset_tests.rs compares the answers")
    prepare(complete, operation, values)
    case = operation.Case(
        path_parameters=values["path"], query=values["query"], headers=values["header"], **example.body
    )
    token = OPERATOR if "operator" in operation.tags else {}
    # `ignored_auth` is excluded, because it would repeat the request without the token, after its effect. The run of
    # Schemathesis below includes it.
    response = case.call_and_validate(base_url=complete.url, headers=token, excluded_checks=[ignored_auth])
    assert response.status_code in example.responses, response.text
    if (expected := example.responses[response.status_code]) is not None:
        assert_same_shape(expected, response.json())


def prepare(sluice, operation, values):
    """Creates the run, callback, link or delivery that the request needs, and puts its id into the values."""
    if operation.path.endswith("/callback/link"):
        body = {"ref": waiting_run(sluice), "topic": "approval"}
        links = requests.post(f"{sluice.url}/api/v2/callback-links", headers=OPERATOR, json=body, timeout=30).json()
        values["query"] = dict(parse_qsl(urlsplit(links["succeeded"]).query))
    elif operation.path.endswith("/callback"):
        values["query"]["ref"] = waiting_run(sluice)
    elif "run" in values["path"]:
        values["path"]["run"] = waiting_run(sluice)
        query = {"ref": values["path"]["run"], "topic": "approval"}
        requests.post(f"{sluice.url}/api/v2/callback", params=query, json={"approved": True}, timeout=30).raise_for_status()
    elif "id" in values["path"]:
        values["path"]["id"] = stored_delivery(sluice)


def waiting_run(sluice) -> str:
    """Starts a run that waits for `approval`, and returns its id."""
    body = {"workflow": "ship", "topic": "approval"}
    return requests.post(f"{sluice.engine}/stand-in/waits", json=body, timeout=30).json()["run"]


def stored_delivery(sluice) -> str:
    """Sends a webhook to which the engine responds with 503, and returns the id of the stored delivery."""
    script = {"next": [{"on": "submit", "do": "status", "code": 503}]}
    requests.post(f"{sluice.engine}/stand-in/script", json=script, timeout=30).raise_for_status()
    response = requests.post(f"{sluice.url}/api/v2/webhook?ref=build", json={}, timeout=30)
    assert response.status_code == 202, response.text
    return response.headers["sluice-delivery"]


def test_schemathesis_finds_no_deviation(complete):
    program = pathlib.Path(sys.executable).with_name("schemathesis")
    run = subprocess.run(
        [program, "--config-file", "schemathesis.toml", "run", f"{complete.url}/openapi.json"],
        cwd=HERE, env=os.environ | {"PYTHONPATH": str(HERE)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )
    assert run.returncode == 0, run.stdout
