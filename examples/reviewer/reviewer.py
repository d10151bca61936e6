"""A reviewer as a webhook: it denies to delete folders, and leaves the rest to people.

    pip install standardwebhooks
    SECRET=whsec_... PORT=8099 python reviewer.py

For a model, send it `request["prompt"]` and return its answer as it is.
"""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError


def verdict(request: dict) -> str:
    arguments = json.dumps(request["request"]["arguments"])
    return "DENY\nIt deletes folders." if "rm -r" in arguments else "ASK\nNothing to say against it."


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            answer, status = verdict(Webhook(os.environ["SECRET"]).verify(body, dict(self.headers))).encode(), 200
        except WebhookVerificationError:
            answer, status = b"", 401
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
