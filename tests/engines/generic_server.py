"""An HTTP endpoint for the profile `generic`: it keeps each request in a file, and starts nothing. It deduplicates nothing
either, so its list shows how often a delivery has come. `GET /` lists the requests; paths other than `/hooks/record` are 404."""

import http.server
import json
import pathlib
import sys
import uuid


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path != "/hooks/record":
            return self.answer(404, b"no such hook")
        headers = {name.lower(): value for name, value in self.headers.items()}
        kept = self.server.directory / uuid.uuid4().hex
        kept.with_suffix(".part").write_text(json.dumps({"headers": headers, "body": body.hex()}))
        kept.with_suffix(".part").rename(kept)
        self.answer(202, b"")

    def do_GET(self):
        kept = [path.read_text() for path in self.server.directory.iterdir() if not path.suffix]
        self.answer(200, f"[{','.join(kept)}]".encode())

    def answer(self, status: int, body: bytes):
        self.send_response_only(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads, request_queue_size = True, 64

    def __init__(self, port: int, directory: pathlib.Path):
        super().__init__(("127.0.0.1", port), Handler)
        self.directory = directory
        directory.mkdir(exist_ok=True)


if __name__ == "__main__":
    Server(int(sys.argv[1]), pathlib.Path(sys.argv[2])).serve_forever()
