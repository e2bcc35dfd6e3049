"""Sluice's routes on Flow's host: deploy/nginx/flow-root.conf, and deploy/spinkube/flow-ingress.yaml.

Two backends, in place of Sluice and Flow, record what they get. There is no cluster: of the Ingress, an nginx gets the
locations that ingress-nginx documents (longer paths first, matched without case, then rewritten)."""

import contextlib
import http.client

import pytest
import yaml
from conftest import ROOT, free_port, nginx, run_backend

# The path of the chart's Ingress of Flow's API (bmrg-flow 5.5.3, templates/ingress-api.yaml), and its rewrite-target.
CHART = ("/flow/api/v2(/|$)(.*)", "/api/v2/$2")


@pytest.fixture(scope="module")
def backends():
    with run_backend() as sluice, run_backend() as flow:
        yield {"sluice": sluice, "flow": flow}


@contextlib.contextmanager
def nginx_snippet(directory, backends):
    port = free_port()
    server = f"server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://{backends['flow'].address}; }}"
    replacements = [
        ("# Sluice in place of Flow's", f"{server}\n# Sluice in place of Flow's"),
        ("127.0.0.1:3000", backends["sluice"].address),
        ("    client_max_body_size 1m;\n}", "    client_max_body_size 1m;\n}\n}"),
    ]
    with nginx(directory, "nginx/flow-root.conf", replacements, port):
        yield port


@contextlib.contextmanager
def ingress(directory, backends):
    """The locations of this Ingress and of the chart's."""
    text = (ROOT / "deploy/spinkube/flow-ingress.yaml").read_text()
    manifest = yaml.safe_load(text)
    annotations = {key.partition("/")[2]: value for key, value in manifest["metadata"]["annotations"].items()}
    assert annotations["use-regex"] == "true"
    (rule,) = manifest["spec"]["rules"]
    routes = [(path["path"], annotations["rewrite-target"], "sluice") for path in rule["http"]["paths"]]
    port = free_port()
    server = f"server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://{backends['flow'].address}; }}\n"
    for path, target, name in sorted([*routes, (*CHART, "flow")], key=lambda route: -len(route[0])):
        server += f'location ~* "^{path}" {{ rewrite "(?i){path}" {target} break; '
        server += f"proxy_pass http://{backends[name].address}; }}\n"
    with nginx(directory, "spinkube/flow-ingress.yaml", [(text, server + "}\n")], port):
        yield port


@pytest.fixture(scope="module", params=[nginx_snippet, ingress])
def port(request, tmp_path_factory, backends):
    with request.param(tmp_path_factory.mktemp("flow-root"), backends) as port:
        yield port


def send(port: int, backends: dict, method: str, target: str, body=None) -> tuple:
    """Sends a request, and returns which backend has got it, and what."""
    for backend in backends.values():
        backend.received.clear()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, target, body, {"Host": "flow.example.com"})
    assert connection.getresponse().status == 200, target
    connection.close()
    (received,) = [(name, line, body) for name, backend in backends.items() for line, _, body in backend.received]
    name, line, body = received
    return name, line.decode().split(" ")[1], body


@pytest.mark.parametrize("root", ["/flow", ""])
@pytest.mark.parametrize(("method", "path"), [
    ("POST", "/api/v2/webhook?ref=a%2Db%20c&access_token=bft_x"),
    ("POST", "/api/v2/webhook"),
    ("POST", "/api/v2/event?ref=w"),
    ("POST", "/api/v2/callback?ref=r&topic=a%2Fb&status=Succeeded"),
    ("GET", "/api/v2/callback?ref=r&topic=%E2%82%AC+x"),
    ("GET", "/api/v2/callback/link?sig=a%3D%3D"),
])
def test_routes_of_sluice_reach_sluice_with_query_and_body_unchanged(port, backends, root, method, path):
    body = b'{"a":1.00,\r\n "b":"\xe2\x82\xac\\u20ac"}' if method == "POST" else b""
    assert send(port, backends, method, f"{root}{path}", body) == ("sluice", path, body)


@pytest.mark.parametrize("path", [
    "/",
    "/flow",
    "/flow/",
    "/flow/apps/flow/acme",
    "/flow/api/v2/team/acme/workflow/w/submit?start=true",
    "/flow/api/v2/workflow?x=/flow/api/v2/webhook",
    "/flow/api/v2/webhooks",
    "/flow/api/v2/webhook/x",
    "/flow/api/v2/xwebhook",
    "/flow/flow/api/v2/webhook",
    "/x/api/v2/webhook",
    "/flow/api/v1/webhook",
    "/flow/internal/workflow/x/submit",
    # The operator's routes and the console of Sluice aren't public.
    "/flow/api/v2/deliveries",
    "/flow/api/v2/deliveries/drain",
    "/flow/api/v2/callback-links",
    "/flow/api/v2/callbacks/r",
    "/api/v2/deliveries",
    "/console",
    "/readyz",
])
def test_other_paths_reach_flow(port, backends, path):
    assert send(port, backends, "POST", path, b"{}")[0] == "flow"
