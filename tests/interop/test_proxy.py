"""nginx with deploy/nginx/sluice.conf and a test certificate, in front of the running component."""

import contextlib
import hashlib
import hmac
import socket
import subprocess
import threading

import httpx
import pytest
import requests
from conftest import free_port, issue_certificate, nginx

NAME = "hooks.example.com"


class Proxy:
    """An nginx whose configuration differs from deploy/nginx/sluice.conf in paths and ports only."""

    def __init__(self, directory):
        self.directory = directory
        self.port, self.plain = free_port(), free_port()
        self.tls = issue_certificate(directory, NAME)

    def client(self, http2=True, address=None) -> httpx.Client:
        transport = httpx.HTTPTransport(verify=self.tls, http2=http2, local_address=address, trust_env=False)
        return httpx.Client(transport=transport, timeout=30)

    def send(self, client, method: str, path: str, headers=(), body=b"", name=NAME) -> httpx.Response:
        url, headers = f"https://127.0.0.1:{self.port}{path}", {"host": name} | dict(headers)
        return client.request(method, url, headers=headers, content=body, extensions={"sni_hostname": name})

    def logs(self) -> str:
        return "".join(file.read_text() for file in self.directory.glob("*.log"))


@contextlib.contextmanager
def sluice_proxy(directory, upstream: str):
    proxy = Proxy(directory)
    replacements = [
        ("/etc/letsencrypt/live/hooks.example.com", str(directory)),
        ("/var/log/nginx", str(directory)),
        ("listen 443", f"listen 127.0.0.1:{proxy.port}"),
        ("listen 80", f"listen 127.0.0.1:{proxy.plain}"),
        ("127.0.0.1:3000", upstream),
    ]
    with nginx(directory, "nginx/sluice.conf", replacements, proxy.port):
        yield proxy


@pytest.fixture(scope="module")
def proxy(running_with_secrets, tmp_path_factory):
    upstream = running_with_secrets.url.removeprefix("http://")
    with sluice_proxy(tmp_path_factory.mktemp("nginx"), upstream) as proxy:
        yield proxy


def signed_headers(guarded, body: bytes) -> dict:
    """The headers of a webhook of GitHub, signed with a secret of the host."""
    digest = hmac.new(guarded.secrets["github"][0].encode(), body, hashlib.sha256).hexdigest()
    return {
        "content-type": "application/json",
        "user-agent": "GitHub-Hookshot/044aadd",
        "x-github-event": "push",
        "x-github-delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
        "x-hub-signature-256": f"sha256={digest}",
    }


@pytest.mark.parametrize("http2", [False, True])
def test_signed_webhook_passes_byte_for_byte(proxy, guarded, http2):
    body = ('{ "b" : 1.00e2,\r\n"a":"\\u20ac €"  ,"http2":%s}' % str(http2).lower()).encode()
    with proxy.client(http2) as client:
        response = proxy.send(client, "POST", "/api/v2/webhook?ref=a%2Db%20c", signed_headers(guarded, body), body)
        assert response.status_code == 200, response.text
        assert response.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
        assert (response.headers["sluice-outcome"], "max-age" in response.headers["strict-transport-security"]) == ("delivered", True)
        sent = guarded.engine_request()
        assert sent["path"] == "/api/v1/workflow/a-b%20c/submit"
        assert sent["body"].startswith('{"trigger":"webhook","params":[{"name":"data","value":' + body.decode() + "}]")

        forged = proxy.send(client, "POST", "/api/v2/webhook?ref=w", signed_headers(guarded, body), body.replace(b"1.00", b"1.01"))
        assert (forged.status_code, forged.json()["type"].rpartition("/")[2]) == (401, "invalid-signature")


@pytest.mark.parametrize("version", ["1.1", "2"])
@pytest.mark.parametrize(("size", "content_type"), [(600_000, "application/problem+json"), (1_500_000, "text/html")])
def test_large_bodies_are_413_from_sluice_or_nginx(proxy, guarded, version, size, content_type):
    body = b'{"a":"' + b"a" * size + b'"}'
    # The client is curl, because over HTTP/2 httpx doesn't read a response that arrives while it sends.
    curl = ["curl", "-sS", f"--http{version}", "--cacert", proxy.directory / "ca.pem"]
    curl += ["--resolve", f"{NAME}:{proxy.port}:127.0.0.1", "--data-binary", "@-"]
    curl += ["-o", "/dev/null", "-w", "%{http_code} %{http_version} %{content_type}"]
    for header, value in signed_headers(guarded, body).items():
        curl += ["-H", f"{header}: {value}"]
    url = f"https://{NAME}:{proxy.port}/api/v2/webhook?ref=w"
    done = subprocess.run([*curl, url], input=body, capture_output=True, timeout=60)
    assert done.stdout.decode() == f"413 {version} {content_type}", done
    assert guarded.engine_requests() == []


def test_slow_engine_does_not_time_out_the_proxy(proxy, guarded):
    requests.post(f"{guarded.engine}/stand-in/script", json={"next": [{"do": "delay", "ms": 4_000}]}, timeout=10)
    body = b'{"slow":true}'
    with proxy.client() as client:
        response = proxy.send(client, "POST", "/api/v2/webhook?ref=w", signed_headers(guarded, body), body)
    assert (response.status_code, response.headers["sluice-outcome"]) == (202, "pending"), response.text
    assert response.headers["location"].startswith("/api/v2/deliveries/")
    assert len(guarded.engine_requests()) == 1


def test_operator_routes_are_restricted_to_this_machine(proxy, guarded):
    headers = {"authorization": "Bearer op3rator"}
    for path in ["/api/v2/deliveries", "/api/v2//deliveries", "/api/v2/%64eliveries", "/metrics"]:
        with proxy.client(address="127.0.0.2") as client:
            assert proxy.send(client, "GET", path, headers).status_code == 403, path
    with proxy.client(address="127.0.0.1") as client:
        response = proxy.send(client, "GET", "/api/v2/deliveries?state=dead", headers)
        assert response.json() == {"deliveries": [], "next": None}
        assert proxy.send(client, "GET", "/metrics", headers).text.endswith("# EOF\n")
    with proxy.client(address="127.0.0.2") as client:
        assert proxy.send(client, "GET", "/readyz").json()["status"] == "ready"


def test_requests_without_tls_or_for_other_hosts_are_rejected(proxy, guarded):
    plain = f"http://127.0.0.1:{proxy.plain}/api/v2/callback/link?a=1"
    moved = requests.get(plain, headers={"host": NAME}, allow_redirects=False, timeout=10)
    assert (moved.status_code, moved.headers["location"]) == (301, f"https://{NAME}/api/v2/callback/link?a=1")
    assert requests.post(plain, headers={"host": NAME}, data="{}", allow_redirects=False, timeout=10).status_code == 403
    with proxy.client() as client, pytest.raises(httpx.ConnectError):
        proxy.send(client, "GET", "/readyz", name="other.example.com")
    assert guarded.engine_requests() == []


def test_logs_contain_no_query(proxy, guarded):
    with proxy.client() as client:
        proxy.send(client, "POST", "/api/v2/webhook?ref=w&access_token=s3cret", {"content-type": "application/json"}, b"{}")
    logs = proxy.logs()
    assert '"POST /api/v2/webhook HTTP/2.0" ' in logs and "s3cret" not in logs and "ref=" not in logs


def test_unanswered_request_is_not_repeated(tmp_path):
    """If Sluice closes the connection without a response, nginx answers 502 and leaves the retry to the sender."""
    received = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def accept():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    received.append(connection.recv(65_536))
                    connection.close()

        threading.Thread(target=accept, daemon=True).start()
        with sluice_proxy(tmp_path, f"127.0.0.1:{listener.getsockname()[1]}") as proxy, proxy.client() as client:
            response = proxy.send(client, "POST", "/api/v2/webhook?ref=w&access_token=s3cret", body=b"{}")
            assert response.status_code == 502
            assert len(received) == 1 and received[0].startswith(b"POST /api/v2/webhook?ref=w"), received
            assert "s3cret" not in proxy.logs()
