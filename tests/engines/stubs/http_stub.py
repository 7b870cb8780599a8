"""A few faces of a server: python http_stub.py PORT MODE [SECONDS]."""

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT, MODE = int(sys.argv[1]), sys.argv[2]
READY_AT = time.monotonic() + float(sys.argv[3] if len(sys.argv) > 3 else 0)


class Handler(BaseHTTPRequestHandler):
    def answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        ready = time.monotonic() >= READY_AT and MODE != "never"
        if MODE == "silent":
            time.sleep(60)
        if self.path == "/v1/models" and MODE == "locked":
            self.answer(401, {"error": "no such key"})
        else:
            self.answer(200 if ready else 503, {"data": [{"id": "stub"}]})

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        if MODE == "dies-on-request":
            print("std::bad_alloc while answering", flush=True)
            os._exit(3)
        self.answer(200, {"choices": [{"text": "x"}]})

    def log_message(self, *words):
        pass


if MODE == "dead":
    print("gguf_init_from_file: invalid magic characters: 'XXXX', expected 'GGUF'", flush=True)
    sys.exit(1)
print(f"listening on {PORT}", flush=True)
ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
