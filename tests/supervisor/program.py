"""A small real program for the supervisor: serves /health, and misbehaves when told to."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

status = [200]


class Handler(BaseHTTPRequestHandler):
    """Answers every GET, with 503 from ``/sick`` on."""

    def do_GET(self) -> None:
        if self.path == "/sick":
            status[0] = 503
        self.send_response(status[0])
        self.end_headers()
        self.wfile.write(f"{os.getpid()} {sys.argv[1:]}".encode())

    def log_message(self, *_: object) -> None:
        pass


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(kind: str) -> None:
    if kind == "dies":
        sys.exit("assay: nothing to \x1b[31mload")
    if kind == "silent":
        time.sleep(600)
    if kind == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ["TOY_PORT"])), Handler)
    if kind == "slow":
        time.sleep(1.0)
    if kind == "chatty":
        say("not the ready line")
    url = f"http://127.0.0.1:{server.server_address[1]}"
    say(json.dumps({"url": url, "kind": kind}))
    if kind == "chatty":
        for _ in range(20_000):
            say("x" * 100)
    server.serve_forever(0.05)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "good")
