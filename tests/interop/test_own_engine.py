"""The profile of docs/engines/your-own.md, against a service with the API that the page describes, faults included."""

import concurrent.futures
import contextlib
import http.server
import json
import re
import threading
import time

import pytest
import requests

from conftest import ROOT, host
from engine_profiles import VALIDATOR, changed, errors_at_readyz

PAGE = (ROOT / "docs/engines/your-own.md").read_text()
BLOCKS = [json.loads(block) for block in re.findall(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)]
PROFILE = next(block for block in BLOCKS if {"name", "start", "answers"} <= block.keys())
OPERATOR = {"authorization": "Bearer op3rator"}
KEY = "K3y"
# Longer than `engine_timeout_ms` of the tests.
LATE_SECONDS = 3


class Conveyor(http.server.ThreadingHTTPServer):
    """The service. A fault hits the next request of its operation: `lose` acts and closes the connection without an
    answer, `late` acts and answers after Sluice has given up, `refuse` answers 503 without acting."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock, self.orders, self.signals, self.requests = threading.Lock(), {}, {}, []
        self.faults, self.paused, self.closed = [], False, set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def start(self, flow: str, order: dict) -> tuple:
        if flow != "fulfil":
            return 404, {"error": "unknown-flow"}
        if self.paused:
            return 409, {"error": "flow-paused"}
        if "sku" not in order["input"].get("data", {}):
            return 400, {"error": "invalid-input"}
        assert re.fullmatch(r"[a-z0-9-]{1,64}", order["id"]), order
        if order["id"] in self.orders:
            return 409, {"error": "order-exists"}
        self.orders[order["id"]] = order["input"]
        return 201, {"id": order["id"], "state": "running"}

    def signal(self, order: str, name: str, key: str, signal: dict) -> tuple:
        if order not in self.orders:
            return 404, {"error": "unknown-order"}
        known = self.signals.setdefault(order, {})
        if key not in known:
            if order in self.closed:
                return 409, {"error": "order-closed"}
            known[key] = {"name": name} | signal
        return 202, {"signal": key}

    def show(self, order: str) -> tuple:
        return (200, {"id": order, "state": "running"}) if order in self.orders else (404, {"error": "unknown-order"})


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        service, text = self.server, self.rfile.read(int(self.headers.get("content-length", 0)))
        parts, body = self.path.split("/")[1:], json.loads(text) if text else None
        with service.lock:
            operation = {"flows": "start", "orders": "find" if self.command == "GET" else "signal"}[parts[1]]
            service.requests.append((operation, self.path, body))
            fault = next((fault for fault in service.faults if fault[0] == operation), None)
            if fault:
                service.faults.remove(fault)
            kind = fault and fault[1]
            if self.headers["x-api-key"] != KEY:
                status, answer = 401, {"error": "unauthorized"}
            elif kind == "refuse":
                status, answer = 503, {"error": "not-now"}
            elif operation == "start":
                status, answer = service.start(parts[2], body)
            elif operation == "find":
                status, answer = service.show(parts[2])
            else:
                status, answer = service.signal(parts[2], parts[4], self.headers["idempotency-key"], body)
        if kind == "lose":
            self.close_connection = True
            return
        if kind == "late":
            time.sleep(LATE_SECONDS)
        text = json.dumps(answer).encode()
        with contextlib.suppress(ConnectionError):
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def service():
    with Conveyor() as service:
        threading.Thread(target=service.serve_forever, daemon=True).start()
        yield service
        service.shutdown()


@contextlib.contextmanager
def gateway(service, data, profile):
    """A host whose engine is the service, by this profile."""
    settings = {"engine_timeout_ms": 2000, "engine_wait_ms": 1000, "open": True}
    variables = {"engine": profile, "engine_url": service.url, "engine_token": KEY, "settings": settings}
    with data() as state, host(state, {}, **variables) as running:
        yield running


@pytest.fixture(scope="module")
def running(service, data):
    with gateway(service, data, PROFILE) as running:
        yield running


@pytest.fixture
def fresh(service):
    """The service, without orders, faults and recorded requests."""
    for kept in (service.orders, service.signals, service.closed, service.requests, service.faults):
        kept.clear()
    service.paused = False
    return service


@pytest.fixture
def sluice(running, fresh):
    yield running
    for delivery in requests.get(f"{running.url}/api/v2/deliveries", headers=OPERATOR, timeout=30).json()["deliveries"]:
        requests.delete(f"{running.url}/api/v2/deliveries/{delivery['id']}", headers=OPERATOR, timeout=30)


def start(sluice, key: str, payload=None, flow="fulfil") -> requests.Response:
    payload = {"sku": "A-7"} if payload is None else payload
    url, headers = f"{sluice.url}/api/v2/webhook?ref={flow}", {"idempotency-key": key}
    return requests.post(url, json=payload, headers=headers, timeout=30)


def call_back(sluice, run: str, status="Succeeded", **arguments) -> requests.Response:
    query = {"ref": run, "topic": "payment", "status": status}
    return requests.post(f"{sluice.url}/api/v2/callback", params=query, timeout=30, **arguments)


def stored(sluice, state: str) -> list:
    """The stored deliveries in this state."""
    url = f"{sluice.url}/api/v2/deliveries?state={state}"
    return requests.get(url, headers=OPERATOR, timeout=30).json()["deliveries"]


def pending(sluice) -> list:
    return stored(sluice, "pending")


def drain_all(sluice):
    """Calls the drain until nothing is pending."""
    for _ in range(120):
        requests.post(f"{sluice.url}/api/v2/deliveries/drain", headers=OPERATOR, timeout=60).raise_for_status()
        if not pending(sluice):
            return
        time.sleep(0.5)
    pytest.fail(f"still pending: {pending(sluice)}")


def accepted(answer: requests.Response) -> str:
    """The run's reference in the answer to a delivered start."""
    assert (answer.status_code, answer.headers["sluice-outcome"]) == (200, "delivered"), answer.text
    return answer.json()["id"]


def accepted_before(answer: requests.Response) -> str:
    """The run's reference in the answer to a repeated start."""
    assert (answer.status_code, answer.headers["sluice-outcome"]) == (200, "duplicate"), answer.text
    return answer.json()["id"]


def sent(service, operation: str) -> int:
    return sum(request[0] == operation for request in service.requests)


def test_steps_of_the_page_make_up_the_profile():
    fragments = [block for block in BLOCKS if block is not PROFILE and block.keys() <= PROFILE.keys()]
    joined = {name: value for fragment in fragments for name, value in fragment.items()}
    assert joined == PROFILE


def test_profile_of_the_page_is_valid():
    assert [error.message for error in VALIDATOR.iter_errors(PROFILE)] == []
    assert errors_at_readyz(PROFILE) == []


def test_error_is_reported_as_the_page_shows():
    (example,) = [block for block in BLOCKS if "errors" in block]
    assert errors_at_readyz(changed(PROFILE, {"/find/proof/at": "id"})) == example["errors"]


def test_readyz_is_content(sluice):
    ready = requests.get(f"{sluice.url}/readyz", timeout=30).json()
    assert ready["status"] == "ready" and "warnings" not in ready, ready


def test_order_is_started_once(sluice, service):
    first, second = start(sluice, "once"), start(sluice, "once")
    order = accepted(first)
    (example,) = [block for block in BLOCKS if block.get("engine") == "conveyor"]
    assert first.json() == example | {"id": order} and len(order) == len(example["id"])
    assert second.headers["sluice-outcome"] == "duplicate" and second.json() == first.json()
    assert service.orders == {order: {"data": {"sku": "A-7"}}}
    assert sent(service, "start") == 1


@pytest.mark.parametrize("fault", ["lose", "late"])
def test_lost_answer_leaves_one_order(sluice, service, fault):
    service.faults.append(("start", fault))
    assert start(sluice, f"fault-{fault}").status_code == 202
    drain_all(sluice)
    assert len(service.orders) == 1 and sent(service, "start") == 2
    # The conflict alone was not believed.
    assert sent(service, "find") == 1
    assert [accepted_before(start(sluice, f"fault-{fault}"))] == list(service.orders)


def test_conflict_of_another_kind_is_no_success(sluice, service):
    service.paused = True
    assert start(sluice, "paused").status_code == 202
    assert service.orders == {} and sent(service, "find") == 0
    service.paused = False
    drain_all(sluice)
    assert len(service.orders) == 1


def test_refused_start_is_sent_again(sluice, service):
    service.faults.append(("start", "refuse"))
    assert start(sluice, "refused").status_code == 202
    drain_all(sluice)
    assert len(service.orders) == 1


@pytest.mark.parametrize(("flow", "payload", "status"), [("fulfil", {"colour": "red"}, 400), ("fulfill", {"sku": "A-7"}, 404)])
def test_what_the_service_refuses_is_rejected(sluice, service, flow, payload, status):
    answer = start(sluice, f"wrong-{flow}", payload, flow)
    assert (answer.status_code, answer.headers["sluice-outcome"]) == (status, "rejected"), answer.text
    assert answer.json()["type"].endswith("/rejected") and service.orders == {} and pending(sluice) == []


def test_callback_resumes_the_order_once(sluice, service):
    order = accepted(start(sluice, "callback"))
    for outcome in ("delivered", "duplicate"):
        answer = call_back(sluice, order, json={"amount": 12})
        assert (answer.status_code, answer.headers["sluice-outcome"]) == (200, outcome), answer.text
    (signal,) = service.signals[order].values()
    assert signal == {"name": "payment", "outcome": "approved", "details": {"amount": 12}}
    assert sent(service, "signal") == 1
    assert call_back(sluice, order, "Failed").status_code == 409


def test_failed_callback_without_a_payload_declines(sluice, service):
    order = accepted(start(sluice, "declined"))
    assert call_back(sluice, order, "Failed").status_code == 200
    assert list(service.signals[order].values()) == [{"name": "payment", "outcome": "declined"}]


def test_callback_whose_answer_is_lost_has_one_effect(sluice, service):
    order = accepted(start(sluice, "lost-callback"))
    service.faults.append(("signal", "lose"))
    assert call_back(sluice, order, json={"amount": 12}).status_code == 202
    drain_all(sluice)
    assert len(service.signals[order]) == 1 and sent(service, "signal") == 2


def test_callback_after_the_end_is_refused(sluice, service):
    order = accepted(start(sluice, "closed"))
    service.closed.add(order)
    answer = call_back(sluice, order)
    assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (409, "callback-resolved"), answer.text


def test_callback_of_an_unknown_order_is_kept(sluice, service):
    assert call_back(sluice, "sluice-unknown").status_code == 202
    assert len(pending(sluice)) == 1 and service.signals == {}


def redeliver(sluice, delivery: str):
    """Redelivers a dead letter until it is delivered. One that was accepted less than 5 s ago may be held once more, because
    another holder of its key could still send it."""
    for _ in range(30):
        answer = requests.post(f"{sluice.url}/api/v2/deliveries/{delivery}/redeliver", headers=OPERATOR, timeout=30)
        if answer.json().get("state") == "delivered":
            return
        time.sleep(1)
    pytest.fail(f"not delivered: {answer.text}")


def test_doubt_hold_leaves_it_to_the_operator(fresh, data):
    with gateway(fresh, data, changed(PROFILE, {"/doubt": "hold"})) as sluice:
        fresh.faults.append(("start", "lose"))
        assert start(sluice, "held").status_code == 202
        drain_all(sluice)
        (dead,) = stored(sluice, "dead")
        assert "may have started a run" in dead["last_failure"] and sent(fresh, "start") == 1, dead
        redeliver(sluice, dead["id"])
        assert len(fresh.orders) == 1 and sent(fresh, "start") == 2


def test_doubt_find_asks_before_it_sends_again(fresh, data):
    with gateway(fresh, data, changed(PROFILE, {"/doubt": "find"})) as sluice:
        fresh.faults.append(("start", "lose"))
        assert start(sluice, "found").status_code == 202
        drain_all(sluice)
        assert len(fresh.orders) == 1 and sent(fresh, "start") == 1 and sent(fresh, "find") >= 1


def test_doubt_resend_anyway_is_a_warning(fresh, data):
    with gateway(fresh, data, changed(PROFILE, {"/doubt": "resend-anyway"})) as sluice:
        ready = requests.get(f"{sluice.url}/readyz", timeout=30).json()
        assert any("twice" in warning for warning in ready["warnings"]), ready
        fresh.faults.append(("start", "lose"))
        assert start(sluice, "anyway").status_code == 202
        drain_all(sluice)
        assert sent(fresh, "start") == 2


def test_short_memory_of_the_engine_is_a_warning(fresh, data):
    with gateway(fresh, data, changed(PROFILE, {"/limits/retention_hours": 2})) as sluice:
        ready = requests.get(f"{sluice.url}/readyz", timeout=30).json()
        assert any("retry_max_hours" in warning for warning in ready["warnings"]), ready


def test_callback_is_refused_if_the_engine_takes_none(fresh, data):
    with gateway(fresh, data, changed(PROFILE, {"/resume": ...})) as sluice:
        answer = call_back(sluice, accepted(start(sluice, "no-callbacks")))
        assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (501, "unsupported-by-engine"), answer.text
        assert pending(sluice) == [] and sent(fresh, "signal") == 0


def test_status_is_refused_if_the_engine_has_none_such(fresh, data):
    profile = changed(PROFILE, {"/resume/statuses": ["succeeded"], "/resume/failed": ...})
    with gateway(fresh, data, profile) as sluice:
        order = accepted(start(sluice, "no-failures"))
        answer = call_back(sluice, order, "Failed")
        problem = answer.json()
        assert (answer.status_code, problem["field"]) == (501, "status"), problem
        assert problem["type"].endswith("/unsupported-by-engine")
        assert call_back(sluice, order).status_code == 200


def test_two_gateways_without_a_common_store_start_one_order(fresh, data):
    with gateway(fresh, data, PROFILE) as one, gateway(fresh, data, PROFILE) as other:
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(lambda sluice: start(sluice, "both"), (one, other)))
    assert [accepted(answer) for answer in answers] == list(fresh.orders) * 2
    assert sent(fresh, "start") == 2
