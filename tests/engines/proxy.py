"""An HTTP proxy between Sluice and an engine, which injects faults."""

import contextlib
import dataclasses
import http.client
import http.server
import re
import select
import socket
import struct
import threading
import urllib.parse

from http_handler import AnyMethod

# Headers of a connection rather than of a message.
HOP = {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "content-length", "host"}

# How long a held request or answer waits for the client to give up, in seconds.
PATIENCE = 60

KINDS = ("lose-answer", "late", "cut", "unavailable", "slow-act")


@dataclasses.dataclass
class Fault:
    kind: str
    operation: re.Pattern
    times: int


@dataclasses.dataclass(frozen=True)
class Request:
    """A request that has arrived at the proxy."""

    # `METHOD path`, where the path includes the query.
    operation: str
    body: bytes
    # The fault that it met, if any.
    fault: str | None
    # The status of the engine's answer; `None` if the request wasn't forwarded, or got no answer.
    status: int | None


class Proxy:
    """Forwards to the URL `target`. While the target can't be reached, connections are closed without an answer."""

    def __init__(self, target: str):
        self.target = urllib.parse.urlsplit(target)
        self.lock, self.faults, self.requests, self.held = threading.Lock(), [], [], 0
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads, self.server.proxy = True, self
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def fail(self, kind: str, operation=".", times=1):
        """Injects a fault into the next `times` requests whose `METHOD path` contains the regular expression.

        | Kind | Fault |
        |---|---|
        | `lose-answer` | forwarded; the answer is dropped, and the connection closed |
        | `late` | forwarded; the answer is held until the client has given up |
        | `cut` | not forwarded: the connection is reset while the client sends |
        | `unavailable` | not forwarded: the answer is a 503 |
        | `slow-act` | held until the client has given up, and then forwarded |
        """
        assert kind in KINDS, kind
        with self.lock:
            self.faults.append(Fault(kind, re.compile(operation), times))

    def clear(self):
        """Forgets faults that were not met, and all requests."""
        with self.lock:
            self.faults.clear()
            self.requests.clear()

    def met(self) -> bool:
        """Whether all faults have been met, and no request is held any more."""
        with self.lock:
            return not self.faults and not self.held

    def seen(self, operation=".") -> list[Request]:
        """The requests whose `METHOD path` contains the regular expression, in order of their end."""
        with self.lock:
            return [request for request in self.requests if re.search(operation, request.operation)]

    def next_fault(self, operation: str) -> str | None:
        with self.lock:
            for fault in self.faults:
                if fault.operation.search(operation):
                    fault.times -= 1
                    if fault.times == 0:
                        self.faults.remove(fault)
                    self.held += fault.kind in ("late", "slow-act")
                    return fault.kind
        return None

    def record(self, request: Request):
        with self.lock:
            self.requests.append(request)
            self.held -= request.fault in ("late", "slow-act")

    def forward(self, method: str, path: str, headers: list, body: bytes):
        """The engine's answer: status, headers and body. `None` if there is none."""
        connection = http.client.HTTPConnection(self.target.hostname, self.target.port, timeout=PATIENCE)
        try:
            connection.putrequest(method, self.target.path.rstrip("/") + path, skip_accept_encoding=True)
            for name, value in headers:
                if name.lower() not in HOP:
                    connection.putheader(name, value)
            if body or method not in ("GET", "DELETE"):
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()


class Handler(AnyMethod):
    def handle_any(self):
        proxy, operation = self.server.proxy, f"{self.command} {self.path}"
        fault = proxy.next_fault(operation)
        if fault == "cut":
            proxy.record(Request(operation, b"", fault, None))
            return self.reset()
        body = self.body()
        if fault == "slow-act":
            self.wait_for_client()
        answer = None
        if fault != "unavailable":
            answer = proxy.forward(self.command, self.path, self.headers.items(), body)
        if fault == "late":
            self.wait_for_client()
        proxy.record(Request(operation, body, fault, answer[0] if answer else None))
        if fault == "unavailable":
            answer = (503, [("Content-Type", "text/plain")], b"unavailable\n")
        if answer is None or fault in ("lose-answer", "late", "slow-act"):
            return self.reset()
        with contextlib.suppress(OSError):
            status, headers, body = answer
            self.respond(status, [header for header in headers if header[0].lower() not in HOP], body)

    def body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(chunks)

    def wait_for_client(self):
        """Waits until the client has closed the connection."""
        select.select([self.connection], [], [], PATIENCE)

    def reset(self):
        self.close_connection = True
        # A linger time of zero turns the close into a reset. `rfile` and `wfile` hold the socket open otherwise.
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.shutdown(socket.SHUT_RD)
