"""The handler of requests that the servers of these tests share."""

import http.server


class AnyMethod(http.server.BaseHTTPRequestHandler):
    """Passes requests of any method to `handle_any`. Writes no log."""

    protocol_version = "HTTP/1.1"

    def handle_any(self):
        raise NotImplementedError

    def respond(self, status: int, headers: list, body: bytes):
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def __getattr__(self, name):
        if name.startswith("do_"):
            return self.handle_any
        raise AttributeError(name)

    def log_message(self, *_):
        pass
