"""An S3 server on loopback, and a proxy before it that fails as servers and networks do."""

from __future__ import annotations

import http.client
import logging
import socket
import threading
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

KEY, SECRET = "AKIAMGSFLOWTEST", "a-secret-of-the-tests"


@contextmanager
def server() -> Iterator[str]:
    """Run a server, and yield its address."""
    moto = pytest.importorskip("moto.server", reason="needs moto[server]")
    pytest.importorskip("obstore", reason="needs obstore")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        running.stop()


def make_bucket(address: str, name: str) -> None:
    urllib.request.urlopen(urllib.request.Request(f"{address}/{name}", method="PUT")).read()


def environment(address: str) -> dict[str, str]:
    """Return what a user sets for a server."""
    return {
        "AWS_ENDPOINT_URL": address,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
    }


class Proxy:
    """Hands requests on, and counts them; fails one in `every`, in turn by an answer and by a broken connection."""

    def __init__(self, behind: str) -> None:
        self.behind = behind.removeprefix("http://")
        self.every = 0
        self.away = threading.Event()
        self.methods: Counter[str] = Counter()
        self.failed = 0
        self._lock = threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                how = proxy.fate(self.command)
                if how == "drop":
                    self.close_connection = True
                    return
                if how == "fail":
                    self.send_response(503)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                link = http.client.HTTPConnection(proxy.behind)
                link.request(self.command, self.path, body, dict(self.headers))
                answer = link.getresponse()
                content = answer.read()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("transfer-encoding", "connection", "content-length", "server", "date"):
                        self.send_header(name, value)
                length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
                self.send_header("Content-Length", length or "0")
                self.end_headers()
                self.wfile.write(content)
                link.close()

            do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = handle_any  # noqa: N815

            def log_message(self, *_: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def fate(self, method: str) -> str:
        with self._lock:
            self.methods[method] += 1
            count = self.methods.total()
            if self.away.is_set():
                self.failed += 1
                return "drop"
            if self.every and count % self.every == 0:
                self.failed += 1
                return "fail" if self.failed % 2 else "drop"
        return "pass"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
