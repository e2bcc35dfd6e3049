"""docs/openapi.yaml is true of the running component: its examples are sent, and Schemathesis looks for what isn't."""

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

import schemathesis_hooks  # noqa: F401  (they are in force from here on)
from conftest import host
from openapi_examples import DOCUMENT, Shown, assert_like, shown, with_examples

HERE = pathlib.Path(__file__).parent
OPERATOR = {"authorization": "Bearer op3rator"}


@pytest.fixture(scope="module")
def whole(data):
    """A host where each operation is switched on, and each event and webhook has a workflow."""
    routes = '[{"workflow":"any","from":"event"},{"workflow":"any","from":"webhook"}]'
    more = {"link_secret": os.urandom(16).hex(), "retention_hours": "8784", "allowed_origins": "*", "routes": routes}
    with data() as state, host(state, {}, **more) as running:
        yield running


def test_the_document_is_valid_and_served(whole):
    validate(DOCUMENT)
    served = requests.get(f"{whole.url}/openapi.json", timeout=30).json()
    assert served == DOCUMENT
    assert list(served["paths"]) == list(DOCUMENT["paths"])


def test_each_example_is_as_its_schema_says():
    count = 0
    for pointer, examples in with_examples():
        # By reference into the whole document, so that its own references are found.
        validator = jsonschema.Draft202012Validator({**DOCUMENT, "$ref": f"#{pointer}"})
        for example in examples:
            validator.validate(example)
            count += 1
    assert count > 60, count


@pytest.mark.parametrize("request_shown", list(shown()), ids=str)
def test_each_request_that_is_shown_is_answered_as_it_is_shown(whole, request_shown: Shown):
    operation, values = request_shown.operation, request_shown.values
    prepare(whole, operation, values)
    case = operation.Case(
        path_parameters=values["path"], query=values["query"], headers=values["header"], **request_shown.body
    )
    token = OPERATOR if "operator" in operation.tags else {}
    # That check asks once more without the token, when it's all done; the run below has it too.
    answer = case.call_and_validate(base_url=whole.url, headers=token, excluded_checks=[ignored_auth])
    assert answer.status_code in request_shown.answers, answer.text
    if (example := request_shown.answers[answer.status_code]) is not None:
        assert_like(example, answer.json())


def prepare(sluice, operation, values):
    """What is stored, and what waits, has another name each time."""
    if operation.path.endswith("/callback/link"):
        wish = {"ref": waiting(sluice), "topic": "approval"}
        links = requests.post(f"{sluice.url}/api/v2/callback-links", headers=OPERATOR, json=wish, timeout=30).json()
        values["query"] = dict(parse_qsl(urlsplit(links["succeeded"]).query))
    elif operation.path.endswith("/callback"):
        values["query"]["ref"] = waiting(sluice)
    elif "run" in values["path"]:
        values["path"]["run"] = waiting(sluice)
        query = {"ref": values["path"]["run"], "topic": "approval"}
        requests.post(f"{sluice.url}/api/v2/callback", params=query, json={"approved": True}, timeout=30).raise_for_status()
    elif "id" in values["path"]:
        values["path"]["id"] = stored(sluice)


def waiting(sluice) -> str:
    """A run that waits for `approval`."""
    wish = {"workflow": "ship", "topic": "approval"}
    return requests.post(f"{sluice.engine}/stand-in/waits", json=wish, timeout=30).json()["run"]


def stored(sluice) -> str:
    """A delivery that the engine put off."""
    script = {"next": [{"on": "submit", "do": "status", "code": 503}]}
    requests.post(f"{sluice.engine}/stand-in/script", json=script, timeout=30).raise_for_status()
    answer = requests.post(f"{sluice.url}/api/v2/webhook?ref=build", json={}, timeout=30)
    assert answer.status_code == 202, answer.text
    return answer.headers["sluice-delivery"]


def test_schemathesis_finds_nothing(whole):
    program = pathlib.Path(sys.executable).with_name("schemathesis")
    run = subprocess.run(
        [program, "--config-file", "schemathesis.toml", "run", f"{whole.url}/openapi.json"],
        cwd=HERE, env=os.environ | {"PYTHONPATH": str(HERE)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )
    assert run.returncode == 0, run.stdout
