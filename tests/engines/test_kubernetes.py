"""Answers of clusters in trouble, to Argo Workflows, Jobs and PipelineRuns."""

import json

import pytest
import requests
from engine import TOPIC
from kubernetes_server import POWERLESS
from sluice import has, new_event, running, wait_for_runs

# As quoted in kubernetes/kubernetes#67761 and #106842.
MODIFIED = (
    'Operation cannot be fulfilled on resourcequotas "q": the object has been modified; please apply your changes to the '
    "latest version and try again"
)
EXHAUSTED = (
    'pods "x" is forbidden: exceeded quota: q, requested: count/jobs.batch=1, used: count/jobs.batch=1, limited: '
    "count/jobs.batch=1"
)


pytestmark = pytest.mark.only("argo-workflows", "kubernetes-job", "tekton")


def delivered(engine, sluice) -> requests.Response:
    """Delivers an event. At the end there is one run, and nothing was given up. Returns the response."""
    event = new_event()
    response = has(sluice.event(engine.workflow, {"event": event}, event), 200, 202)
    sluice.settle()
    assert sluice.dead() == []
    wait_for_runs(engine, event)
    return response


@pytest.mark.parametrize(
    ("status", "reason", "message"),
    [
        (409, "Conflict", MODIFIED),
        (403, "Forbidden", EXHAUSTED),
        (429, "TooManyRequests", "too many requests, please try again later"),
        (500, "InternalError", "Internal error occurred: failed calling webhook"),
        (500, "ServerTimeout", "The POST operation against jobs.batch could not be completed at this time, please try again."),
        (503, "ServiceUnavailable", "apiserver is shutting down"),
        (504, "Timeout", "Timeout: request did not complete within requested timeout"),
    ],
)
@pytest.mark.parametrize("acts", [False, True])
def test_a_start_that_fails_for_now(engine, sluice, status, reason, message, acts):
    """Whether it was done or not: an answer says only that it may not have been."""
    engine.fail(engine.starts, status, reason, message, acts)
    delivered(engine, sluice)


def test_a_conflict_whose_object_does_not_exist(engine, sluice):
    """A 409 alone proves nothing: the object is looked up, isn't there, and is created."""
    engine.fail(engine.starts, 409, "AlreadyExists", f'{engine.plural}.argoproj.io "x" already exists')
    delivered(engine, sluice)


# What Argo, Tekton or the kubelet replaces in the values of params and variables, and what Argo can't write again as JSON.
TEMPLATES = [
    "{{workflow.name}}", "{{ workflow.serviceAccountName }}", "{{workflow.parameters.data}}", "{{=1+2}}", "{{", "}}",
    "$(context.pipelineRun.name)", "$(params.data)", "$(tasks.clone.results.secret)", "$(SLUICE_WORKFLOW)", "$$(X)",
    "\x7f", "\u200b", "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "\ud83d\udc69\u200d\ud83d\ude80",
]


@pytest.mark.parametrize("kind", ["event", "webhook"])
def test_a_payload_is_no_template(engine, sluice, kind):
    event = new_event()
    payload = {"event": event, "list": TEMPLATES} | {text: "as a name" for text in TEMPLATES}
    sent = json.dumps(payload, ensure_ascii=False).encode("utf-16", "surrogatepass").decode("utf-16").encode()
    has(getattr(sluice, kind)(engine.workflow, sent), 200)
    [run] = wait_for_runs(engine, event)
    assert json.loads(engine.payload(run)) == json.loads(sent)


@pytest.mark.parametrize("kind", ["event", "webhook"])
def test_what_an_object_has_besides_the_payload(engine, sluice, kind):
    event = new_event()
    run = has(getattr(sluice, kind)(engine.workflow, {"event": event}), 200).json()["id"]
    [thing] = [thing for thing in engine.get(engine.path).json()["items"] if thing["metadata"]["name"] == run]
    mark = thing["metadata"]["labels"]["sluice.dev/delivery"]
    assert run == f"sluice-{mark.lower()}"
    text = engine.attributes(thing)
    attributes = json.loads(text) if text else {}
    expected = {"source": "/tests", "type": "com.example.test"} if kind == "event" else {}
    assert {name: attributes[name] for name in expected} == expected and "data" not in attributes
    assert bool(attributes) == (kind == "event")
    wait_for_runs(engine, event)


def test_a_missing_right_and_a_wrong_token(engine, session_proxy):
    """The delivery is kept until the token is right."""
    for token in (POWERLESS, "wr0ng"):
        event = new_event()
        with running(engine, session_proxy.url, engine_token=token) as sluice:
            has(sluice.event(engine.workflow, {"event": event}, event), 202)
            sluice.drain()
            assert sluice.deliveries("pending") != []
            assert engine.runs(event) == []


def test_objects_that_are_too_large_for_the_cluster(engine, sluice):
    engine.fail(engine.starts, 500, "", "etcdserver: request is too large")
    event = new_event()
    response = sluice.event(engine.workflow, {"event": event}, event)
    assert 400 <= response.status_code < 500, response.text
    assert engine.runs(event) == [] and sluice.deliveries("pending") == []


def test_a_cluster_that_finds_the_request_invalid(engine, sluice):
    engine.fail(engine.starts, 422, "Invalid", "Job.batch is invalid")
    event = new_event()
    response = sluice.event(engine.workflow, {"event": event}, event)
    assert response.headers["sluice-outcome"] == "rejected"
    assert engine.runs(event) == []


def test_an_unknown_namespace(engine, session_proxy):
    constants = engine.variables()["settings"]["engine"] | {"namespace": "nowhere"}
    event = new_event()
    with running(engine, session_proxy.url, settings={"engine": constants}) as sluice:
        response = sluice.event(engine.workflow, {"event": event}, event)
        assert response.status_code in (202, 422, 404, 400), response.text
        assert engine.runs(event) == []


@pytest.mark.only("argo-workflows")
def test_a_page_of_the_ui_starts_nothing(engine, session_proxy):
    """A path outside of `/api/` is the UI of Argo: 200 with HTML."""
    constants = engine.variables()["settings"]["engine"] | {"base_path": "/argo"}
    event = new_event()
    with running(engine, session_proxy.url, settings={"engine": constants}) as sluice:
        has(sluice.event(engine.workflow, {"event": event}, event), 202)
        sluice.drain()
        assert sluice.deliveries("pending") != []
        assert engine.runs(event) == []


@pytest.mark.only("argo-workflows")
@pytest.mark.parametrize(
    "message",
    [
        "node is not expecting output parameter 'data'",
        "cannot set output parameters because node is not expecting any raw parameters",
    ],
)
def test_a_suspended_node_without_the_output(engine, sluice, waiting, message):
    """The sender of the callback is told, and another callback may be right."""
    event, run = waiting
    engine.fail(engine.resumes, 500, "", message)
    response = sluice.callback(run.id, TOPIC, data={"n": 1})
    assert 400 <= response.status_code < 500, response.text
    has(sluice.callback(run.id, TOPIC), 200)
    sluice.settle()
    wait_for_runs(engine, event)


@pytest.mark.only("argo-workflows")
def test_a_node_that_somebody_else_has_resumed(engine, sluice, proxy, waiting):
    event, run = waiting
    headers = {"authorization": f"Bearer {engine.variables()['engine_token']}"}
    body = {"nodeFieldSelector": f"displayName={TOPIC}", "phase": "Succeeded"}
    has(requests.put(f"{engine.url}{engine.path}/{run.id}/set", json=body, headers=headers, timeout=30), 200)
    has(sluice.callback(run.id, TOPIC, data={"n": 1}), 409)
    assert proxy.seen(engine.resumes) == []
    [run] = wait_for_runs(engine, event)
    assert run.outcome == [{"status": "succeeded"}]


@pytest.mark.only("argo-workflows")
@pytest.mark.parametrize("acts", [False, True])
def test_an_engine_that_says_that_no_node_waits(engine, sluice, waiting, acts):
    """Whether it is true, because the callback has just had its effect, or not: only a look counts."""
    event, run = waiting
    message = f"currently, set only targets suspend nodes: no suspend nodes matching nodeFieldSelector: displayName={TOPIC}"
    engine.fail(engine.resumes, 500, "", message, acts)
    has(sluice.callback(run.id, TOPIC, data={"n": 1}), 200, 202)
    sluice.settle()
    [run] = wait_for_runs(engine, event)
    assert run.outcome == [{"status": "succeeded", "data": {"n": 1}}]
    sluice.dead()
