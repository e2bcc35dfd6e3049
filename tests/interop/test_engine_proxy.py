"""nginx with deploy/engine-proxy/ and a test certificate, in front of a backend that records what it gets."""

import contextlib
import http.client
import itertools
import json
import re
import socket
import ssl
import string
import time

import pytest
import requests
from conftest import ROOT, free_port, host, issue_certificate, nginx, run_backend

NAME = "engine.example.com"
TOKEN = "3f9c0b6e5d8a47219e1c4b7f60d2a835c1e94f7b2a6d8053e7c19f4ab06d258e"
NEXT_TOKEN = "Sluice-next_token"
AUTHORIZED = f"Authorization: Bearer {TOKEN}"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ID, RUN = "6b08ce3a2bb126dc8dc5a8a8", "6b08d0a57a45f52ffbc67957"
LABEL = "sluice%2Edev%2Fdelivery%3D01M88S9QRK4VG9PYJF33B0NHSW"


class Proxy:
    """An nginx whose configuration differs from deploy/engine-proxy/ in paths, ports and tokens only."""

    def __init__(self, directory, plain):
        self.directory = directory
        self.port, self.plain = free_port(), plain or free_port()
        self.tls = issue_certificate(directory, NAME)

    def send(self, request: bytes, name=NAME) -> http.client.HTTPResponse:
        """Sends the bytes over TLS, and reads one response."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as plain:
            with self.tls.wrap_socket(plain, server_hostname=name) as connection:
                connection.sendall(request)
                response = http.client.HTTPResponse(connection, method=request.split(b" ")[0].decode())
                response.begin()
                response.content = response.read()
                return response

    def status(self, method: str, target: str, *headers: str, body=b"", authorization=AUTHORIZED, host=NAME) -> int:
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *([authorization] if authorization else []), *headers]
        lines += [f"Content-Length: {len(body)}"] if body else []
        return self.send("\r\n".join([*lines, "", ""]).encode() + body).status


@contextlib.contextmanager
def engine_proxy(directory, upstream: str, tokens=(TOKEN, NEXT_TOKEN), plain=None):
    proxy = Proxy(directory, plain)
    text = (ROOT / "deploy/engine-proxy/token.conf").read_text()
    (line,) = re.findall(r'^    # (".*TOKEN.*" 1;)$', text, re.MULTILINE)
    lines = "\n".join(line.replace("TOKEN", token) for token in tokens)
    (directory / "token.conf").write_text(text.replace(f"# {line}", lines))
    replacements = [
        ("/etc/letsencrypt/live/engine.example.com", str(directory)),
        ("/etc/nginx/engine-proxy-token.conf", str(directory / "token.conf")),
        ("/var/log/nginx", str(directory)),
        ("listen 443 ssl default_server;", f"listen 127.0.0.1:{proxy.port} ssl default_server;"),
        # The second port is for Sluice, whose host trusts no test certificate.
        ("listen 443 ssl;", f"listen 127.0.0.1:{proxy.port} ssl; listen 127.0.0.1:{proxy.plain};"),
        ("127.0.0.1:7701", upstream),
    ]
    with nginx(directory, "engine-proxy/nginx.conf", replacements, proxy.port):
        yield proxy


@pytest.fixture(scope="module")
def recording():
    with run_backend() as backend:
        yield backend


@pytest.fixture
def backend(recording):
    recording.received.clear()
    recording.failing = False
    return recording


@pytest.fixture(scope="module")
def running_proxy(recording, tmp_path_factory):
    with engine_proxy(tmp_path_factory.mktemp("engine-proxy"), recording.address) as proxy:
        yield proxy


@pytest.fixture
def proxy(running_proxy, backend):
    return running_proxy


# A reference with each character that Sluice lets through and encodes, and one with 256 bytes, as Sluice writes them.
SPECIAL = "%20%21%22%24%26%27%28%29%2A%2B%2C%3A%3C%3D%3E%40%5B%5D%5E%60%7B%7C%7D-._~%C3%A9%E2%82%AC%F0%9F%98%80"
LONG = "%F0%9F%98%80" * 64

ALLOWED = [
    ("POST", f"/api/v1/workflow/{ID}/submit?start=false"),
    ("POST", f"/api/v1/workflow/{ID}/submit?start=true"),
    ("POST", f"/api/v1/workflow/{SPECIAL}/submit?start=true"),
    ("POST", f"/api/v1/workflow/{LONG}/submit?start=true"),
    ("POST", "/api/v1/workflow/a..b/submit?start=true"),
    ("POST", "/api/v1/workflow/.../submit?start=true"),
    ("POST", "/api/v1/workflow/query/submit?start=true"),
    ("GET", f"/api/v1/workflowrun/query?labels={LABEL}&limit=1"),
    ("GET", f"/api/v1/workflowrun/query?labels={LABEL}&limit=20"),
    ("GET", f"/api/v1/workflowrun/query?labels={LABEL.replace('%', '%25')}&limit=5"),
    ("GET", f"/api/v1/workflowrun/query?labels=sluice.dev/delivery={'0123456789ABCDEFGHIJKLMNOPQRSTUV' + 'A' * 20}&limit=1"),
    ("GET", f"/api/v1/workflowrun/{RUN}"),
    ("GET", f"/api/v1/workflowrun/{RUN}?withTasks=true"),
    ("GET", f"/api/v1/workflowrun/{SPECIAL}?withTasks=true"),
    ("GET", "/api/v1/workflowrun/counts?withTasks=true"),
    ("PUT", f"/api/v1/workflowrun/{RUN}/event"),
    ("PUT", f"/api/v1/workflowrun/{LONG}/event"),
    ("DELETE", f"/api/v1/workflowrun/{RUN}/cancel"),
    ("GET", f"/api/v1/workflow/{ID}"),
    ("GET", "/api/v1/task/execute-shell"),
]


@pytest.mark.parametrize(("method", "target"), ALLOWED)
def test_allowed_request_passes_unchanged(proxy, backend, method, target):
    body = b'{"a":1.00,\r\n "b":"\xe2\x82\xac\\u20ac"}' if method in ("POST", "PUT") else b""
    headers = ["Content-Type: application/json", f"traceparent: {TRACE}", "tracestate: a=b"]
    assert proxy.status(method, target, *headers, body=body) == 200
    ((line, received, content),) = backend.received
    assert (line, content) == (f"{method} {target} HTTP/1.1\r\n".encode(), body)
    trace = {"traceparent": TRACE, "tracestate": "a=b"}
    expected = {"Host": "boomerang_engine", "Content-Type": "application/json"} | trace
    assert received == expected | ({"Content-Length": str(len(body))} if body else {})


@pytest.mark.parametrize(("method", "target"), ALLOWED)
def test_allowed_target_is_refused_for_other_methods(proxy, backend, method, target):
    for other in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "FOO"} - {method}:
        # GET of a workflow's or run's target without `/submit` and so on is an operation of its own.
        assert proxy.status(other, target) in (403, 404), other
    # nginx itself rejects these.
    assert proxy.status("TRACE", target) == 405
    assert proxy.status(method.lower(), target) == 400
    assert backend.received == []


REFUSED = [
    # Operations of the engine that Sluice doesn't use.
    ("POST", "/api/v1/workflow"),
    ("PUT", "/api/v1/workflow"),
    ("DELETE", f"/api/v1/workflow/{ID}"),
    ("GET", f"/api/v1/workflow/{ID}/changelog"),
    ("GET", f"/api/v1/workflow/{ID}?version=1"),
    ("POST", f"/api/v1/workflow/{ID}/submit"),
    ("POST", f"/api/v1/workflow/{ID}/submit?start=true&start=false"),
    ("POST", "/api/v1/workflowrun/submit"),
    ("PUT", f"/api/v1/workflowrun/{RUN}/start"),
    ("PUT", f"/api/v1/workflowrun/{RUN}/finalize"),
    ("PUT", f"/api/v1/workflowrun/{RUN}/retry"),
    ("PUT", f"/api/v1/workflowrun/{RUN}/retry?start=true"),
    ("PUT", f"/api/v1/workflowrun/{RUN}/event?a=b"),
    ("DELETE", f"/api/v1/workflowrun/{RUN}"),
    ("DELETE", f"/api/v1/workflowrun/{RUN}/cancel?a=b"),
    ("POST", "/api/v1/task"),
    ("PUT", "/api/v1/task"),
    ("DELETE", "/api/v1/task/execute-shell"),
    ("GET", "/api/v1/task/execute-shell/changelog"),
    ("GET", "/api/v1/taskrun/6b08d0a57a45f52ffbc67957"),
    ("PUT", "/api/v1/taskrun/6b08d0a57a45f52ffbc67957/end"),
    ("POST", "/api/v1/agent/register"),
    ("GET", "/api/v1/workflowtemplate/query"),
    ("GET", "/actuator/env"),
    ("GET", "/"),
    ("OPTIONS", "*"),
    # Look-ups that could find runs that aren't Sluice's.
    ("GET", "/api/v1/workflowrun/query"),
    ("GET", "/api/v1/workflowrun/query?limit=1"),
    ("GET", "/api/v1/workflowrun/query?labels=team%3Dacme&limit=1"),
    ("GET", "/api/v1/workflowrun/query?labels=sluice%2Edev%2Fdelivery%3D&limit=1"),
    ("GET", f"/api/v1/workflowrun/query?labels=x&labels={LABEL}&limit=1"),
    ("GET", f"/api/v1/workflowrun/query?labels={LABEL}%2Cx&limit=1"),
    ("GET", f"/api/v1/workflowrun/query?labels={LABEL}&limit=1&labels=x"),
    ("GET", f"/api/v1/workflowrun/query?labels={LABEL}&limit=1&workflows=x"),
    ("GET", f"/api/v1/workflowrun/{RUN}?withTasks=true&a=b"),
    # The engine's own routes in the place of an id, plain and encoded.
    *(("GET", f"/api/v1/workflowrun/{name}") for name in ("query", "count", "insight", "count?withTasks=true")),
    *(("GET", f"/api/v1/workflow/{name}") for name in ("query", "count", "query?limit=1")),
    ("GET", "/api/v1/task/query"),
    ("GET", "/api/v1/workflowrun/%71uery"),
    ("GET", "/api/v1/workflowrun/coun%74?withTasks=true"),
    ("GET", "/api/v1/workflow/quer%79"),
    # More than one segment, or none.
    ("POST", "/api/v1/workflow//submit?start=true"),
    ("POST", "/api/v1/workflow/submit?start=true"),
    ("POST", f"/api/v1/workflow/{ID}/x/submit?start=true"),
    ("POST", f"/api/v1/workflow/{ID}/submit/?start=true"),
    ("GET", f"/api/v1/workflow/{ID}/"),
    ("GET", "/api/v1/workflow/"),
    ("POST", f"//api/v1/workflow/{ID}/submit?start=true"),
    ("POST", f"/api//v1/workflow/{ID}/submit?start=true"),
    ("POST", f"/api/v1/workflow/{ID}//submit?start=true"),
    ("PUT", f"/api/v1/workflowrun//{RUN}/event"),
    *(("POST", f"/api/v1/workflow/{part}/submit?start=true") for part in (
        f"a%2F{ID}", "a%2f..", "%2F", "%252F", "a%5Cb", "a\\b", "a%3Fb", "a%23b", "a%25b", "a%3Bb", "a;b", "a;v=1",
        "%00", "a%0Ab", "%7F", "%C0%AF", "%61", "%2E%2E", "%2e%2e", ".%2E", "%2e", "a%2Db", "%e2%82%ac", "a b", "a+b",
        "a:b",
    )),
    # Dot segments.
    ("POST", "/api/v1/workflow/./submit?start=true"),
    ("POST", "/api/v1/workflow/../submit?start=true"),
    ("POST", f"/api/v1/workflow/{ID}/../submit?start=true"),
    ("POST", f"/api/v1/x/../workflow/{ID}/submit?start=true"),
    ("POST", f"/./api/v1/workflow/{ID}/submit?start=true"),
    ("GET", "/api/v1/workflow/.."),
    ("GET", "/api/v1/workflow/."),
    ("GET", f"/api/v1/workflowrun/{RUN}/..?withTasks=true"),
    ("GET", "/api/v1/workflowrun/..?withTasks=true"),
    ("PUT", f"/api/v1/workflowrun/{RUN}/event/../start"),
    ("PUT", f"/api/v1/workflowrun/{RUN}/event/..%2Fstart"),
    ("DELETE", f"/api/v1/workflowrun/{RUN}/cancel/.."),
    ("DELETE", f"/api/v1/workflowrun/{RUN}/cancel/%2e%2e"),
    ("DELETE", f"/api/v1/workflowrun/{RUN}/./"),
    ("GET", f"/api/v1/workflow/{ID}/../../workflowrun/count"),
    ("GET", "/../../api/v1/workflow/x"),
    # Other spellings of an allowed target.
    ("POST", f"/API/v1/workflow/{ID}/submit?start=true"),
    ("POST", f"/%61pi/v1/workflow/{ID}/submit?start=true"),
    ("POST", f"/api/v1/workflow/{ID}/%73ubmit?start=true"),
    ("POST", f"/api/v1/workflow/{ID}/submit?START=true"),
    ("POST", f"/api/v1/workflow/{ID}/submit?start=true#x"),
    ("POST", f"/api/v1/workflow/{ID}/submit;a=b?start=true"),
    ("POST", f"/api/v1/workflow/{ID}/submit?start=tru%65"),
    ("POST", f"/flow/api/v1/workflow/{ID}/submit?start=true"),
    # What the configuration makes of a target inside nginx.
    ("POST", "workflow/*/submit?start=true"),
    ("POST", "/workflow/*/submit?start=true"),
    ("POST", "/api/v1/workflow/*/submit?start=true"),
    ("GET", "/find"),
]


@pytest.mark.parametrize(("method", "target"), REFUSED)
def test_other_request_does_not_reach_the_engine(proxy, backend, method, target):
    body = b'{"trigger":"webhook"}' if method in ("POST", "PUT") else b""
    # nginx itself rejects malformed requests with a 400.
    assert proxy.status(method, target, "Content-Type: application/json", body=body) in (400, 403, 404)
    assert backend.received == []


def test_engine_routes_in_the_place_of_an_id_are_unknown_ids(proxy, backend):
    """Sluice reads a 404 with an empty object as an unknown run or workflow, and a 403 as a misconfiguration."""
    request = f"GET /api/v1/workflowrun/count?withTasks=true HTTP/1.1\r\nHost: {NAME}\r\n{AUTHORIZED}\r\n\r\n"
    response = proxy.send(request.encode())
    assert (response.status, response.content, backend.received) == (404, b"{}", [])


@pytest.mark.parametrize("authorization", [
    None,
    "Authorization:",
    "Authorization: Bearer",
    "Authorization: Bearer TOKEN",
    f"Authorization: {TOKEN}",
    f"Authorization: Basic {TOKEN}",
    f"Authorization: bearer {TOKEN}",
    f"Authorization: Bearer  {TOKEN}",
    f"Authorization: Bearer {TOKEN}x",
    f"Authorization: Bearer {TOKEN[:-1]}",
    f"Authorization: Bearer {TOKEN.upper()}",
    f"Authorization: Bearer {NEXT_TOKEN.lower()}",
    f"Authorization: Bearer x, Bearer {TOKEN}",
    f"Authorization: Bearer wrong\r\nAuthorization: Bearer {TOKEN}",
    f"X-Authorization: Bearer {TOKEN}",
    f"Cookie: Authorization=Bearer {TOKEN}",
])
def test_request_without_the_token_does_not_reach_the_engine(proxy, backend, authorization):
    lines = [f"POST /api/v1/workflow/{ID}/submit?start=true HTTP/1.1", f"Host: {NAME}", "Content-Length: 2"]
    lines += [authorization] if authorization else []
    response = proxy.send("\r\n".join([*lines, "", "{}"]).encode())
    # Newer versions of nginx reject a second `Authorization` with a 400.
    assert response.status == 401 or (response.status == 400 and "\r\n" in (authorization or ""))
    assert response.status != 401 or response.headers["www-authenticate"] == "Bearer"
    assert backend.received == []


def test_refusal_without_the_token_does_not_tell_which_requests_exist(proxy, backend):
    for method, target in [ALLOWED[0], ("DELETE", f"/api/v1/workflow/{ID}"), ("GET", "/api/v1/workflow/query")]:
        assert proxy.status(method, target, authorization=None) == 401
    assert backend.received == []


def test_second_token_counts_while_tokens_change(proxy, backend):
    assert proxy.status("GET", f"/api/v1/workflow/{ID}", authorization=f"Authorization: Bearer {NEXT_TOKEN}") == 200
    assert len(backend.received) == 1


def test_shipped_token_file_accepts_no_token(backend, tmp_path):
    with engine_proxy(tmp_path, backend.address, tokens=()) as proxy:
        for authorization in (None, AUTHORIZED, "Authorization: Bearer TOKEN", "Authorization: Bearer "):
            assert proxy.status("GET", f"/api/v1/workflow/{ID}", authorization=authorization) == 401
    assert backend.received == []


def test_host_of_the_request_changes_nothing(proxy, backend):
    # The name in TLS and the one in the request select the server; the engine sees neither.
    for name in ("other.example.com", "localhost", "127.0.0.1", "boomerang_engine"):
        with pytest.raises((http.client.HTTPException, OSError)):
            proxy.status(*ALLOWED[0], host=name)
        with pytest.raises(ssl.SSLError):
            proxy.send(b"GET / HTTP/1.1\r\n\r\n", name=name if name != "127.0.0.1" else "x.example.com")
    target = f"https://other.example.com/api/v1/workflow/{ID}"
    with pytest.raises((http.client.HTTPException, OSError)):
        proxy.status("GET", target)
    assert backend.received == []
    forwarded = ["X-Forwarded-Host: other", "X-Original-URL: /api/v1/workflow", "X-HTTP-Method-Override: DELETE"]
    assert proxy.status("GET", f"https://{NAME}/api/v1/workflow/{ID}", *forwarded) == 200
    ((line, headers, _),) = backend.received
    assert (line, headers) == (f"GET /api/v1/workflow/{ID} HTTP/1.1\r\n".encode(), {"Host": "boomerang_engine"})


def test_second_request_in_a_body_is_not_read_as_a_request(proxy, backend):
    hidden = f"DELETE /api/v1/workflow/{ID} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    both = "Transfer-Encoding: chunked\r\nContent-Length: 4"
    head = f"PUT /api/v1/workflowrun/{RUN}/event HTTP/1.1\r\nHost: {NAME}\r\n{AUTHORIZED}\r\n"
    assert proxy.send(f"{head}{both}\r\n\r\n0\r\n\r\n".encode() + hidden).status == 400
    assert backend.received == []
    assert proxy.status("PUT", f"/api/v1/workflowrun/{RUN}/event", body=hidden) == 200
    chunked = f"{head}Transfer-Encoding: chunked\r\n\r\n{len(hidden):x}\r\n".encode() + hidden + b"\r\n0\r\n\r\n"
    assert proxy.send(chunked).status == 200
    assert [body for _, _, body in backend.received] == [hidden, hidden]


def test_body_of_four_megabytes_passes_and_a_larger_one_does_not(proxy, backend):
    path = f"/api/v1/workflow/{ID}/submit?start=true"
    largest = b" " * (4 * 1024 * 1024)
    assert proxy.status("POST", path, body=largest) == 200
    assert [body for _, _, body in backend.received] == [largest]
    head = f"POST {path} HTTP/1.1\r\nHost: {NAME}\r\n{AUTHORIZED}\r\nContent-Length: {len(largest) + 1}\r\n\r\n"
    assert proxy.send(head.encode()).status == 413
    assert len(backend.received) == 1


@pytest.mark.parametrize(("method", "target"), [
    ("POST", f"/api/v1/workflow/{ID}/submit?start=true"),
    ("GET", f"/api/v1/workflowrun/{RUN}?withTasks=true"),
    ("PUT", f"/api/v1/workflowrun/{RUN}/event"),
    ("DELETE", f"/api/v1/workflowrun/{RUN}/cancel"),
])
def test_unanswered_request_is_not_repeated(proxy, backend, method, target):
    """On a connection that it has used before, nginx would send a GET, PUT or DELETE again by default."""
    assert proxy.status("GET", f"/api/v1/workflow/{ID}") == 200
    backend.failing = True
    assert proxy.status(method, target) == 502
    assert len(backend.received) == 2


def test_logs_contain_neither_query_nor_token(proxy, backend):
    target = f"/api/v1/workflowrun/query?labels={LABEL}&limit=1"
    proxy.status("GET", target)
    proxy.status("GET", target, authorization="Authorization: Bearer wr0ng")
    backend.failing = True
    proxy.status("GET", target)
    # nginx writes the line after the response.
    for _ in range(200):
        logs = "".join(file.read_text() for file in proxy.directory.glob("*.log"))
        if '"GET /api/v1/workflowrun/query" 502 ' in logs:
            break
        time.sleep(0.05)
    for status in (200, 401, 502):
        assert f'"GET /api/v1/workflowrun/query" {status} ' in logs
    for secret in (TOKEN, "wr0ng", "delivery%3D", "limit="):
        assert secret not in logs


def test_sluice_reaches_its_engine_through_the_proxy(data, tmp_path):
    """Sluice submits, looks at a run, sends a callback, looks a run up after an unclear outcome, and sends the largest event."""
    port = free_port()
    variables = {"engine_url": f"http://127.0.0.1:{port}", "engine_token": TOKEN, "settings": {"engine_start": True}}
    with data() as state, host(state, {}, **variables) as sluice:
        with engine_proxy(tmp_path, sluice.engine.removeprefix("http://"), plain=port):
            def post(path: str, body, expected: tuple, **headers) -> requests.Response:
                response = requests.post(f"{sluice.url}{path}", json=body, headers=headers, timeout=60)
                assert (response.status_code, response.headers.get("sluice-outcome")) == expected, response.text
                return response

            post("/api/v2/webhook?ref=a%20b:c%C3%A9", {"a": 1}, (200, "delivered"), traceparent=TRACE)
            (sent,) = sluice.engine_requests()
            assert sent["path"] == "/api/v1/workflow/a%20b%3Ac%C3%A9/submit"
            assert sent["headers"]["traceparent"] == [TRACE] and "authorization" not in sent["headers"]

            sluice.clear()
            wait = {"workflow": "release", "topic": "t"}
            waits = requests.post(f"{sluice.engine}/stand-in/waits", json=wait, timeout=10).json()["run"]
            post(f"/api/v2/callback?ref={waits}&topic=t&status=Failed", {"b": 2}, (200, "delivered"))
            look = ("GET", f"/api/v1/workflowrun/{waits}", "withTasks=true")
            sent = [(request["method"], request["path"], request["query"]) for request in sluice.engine_requests()]
            # It looks until the task has ended.
            assert sent[:2] == [look, ("PUT", f"{look[1]}/event", None)] and set(sent[2:]) == {look}

            # The engine starts the run, but the connection breaks: nginx answers 502, and Sluice looks the run up.
            sluice.clear()
            script = {"next": [{"do": "cut_after_acting", "on": "submit"}]}
            requests.post(f"{sluice.engine}/stand-in/script", json=script, timeout=10).raise_for_status()
            event = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": {"c": 3}}
            post("/api/v2/event?ref=w", event, (202, "pending"))
            operator = {"authorization": "Bearer op3rator"}
            for _ in range(60):
                drained = requests.post(f"{sluice.url}/api/v2/deliveries/drain", headers=operator, timeout=60).json()
                if drained["delivered"]:
                    break
                time.sleep(0.5)
            else:
                pytest.fail(f"nothing was delivered: {drained}")
            paths = [request["path"] for request in sluice.engine_requests()]
            assert paths == ["/api/v1/workflow/w/submit", "/api/v1/workflowrun/query"]

            # As many members as fit into `max_body_bytes`.
            sluice.clear()
            names = ("".join(name) for name in itertools.product(string.ascii_letters + string.digits, repeat=3))
            event |= {"id": "2", "data": dict.fromkeys(itertools.islice(names, 65_000), 0)}
            body = json.dumps(event, separators=(",", ":"))
            assert 500_000 < len(body) <= 524_288
            headers = {"content-type": "application/cloudevents+json"}
            response = requests.post(f"{sluice.url}/api/v2/event?ref=w", data=body, headers=headers, timeout=60)
            assert (response.status_code, response.headers["sluice-outcome"]) == (200, "delivered"), response.text
            sizes = [len(request["body"]) for request in sluice.engine_requests()]
            assert len(sizes) == 1 and sizes[0] > 4.8 * len(body), sizes
