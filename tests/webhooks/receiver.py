"""A receiver of webhooks: verifies each message by Standard Webhooks' own library, and keeps it.

    receiver.py PORT DIR SECRET [CERTIFICATE KEY]

DIR/answers says what is answered, one line for each message: a status and, after a space, a body or where a redirect leads; the last line
stays. DIR/messages gets a line of JSON for each message as it came.
"""

import json
import os
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook

port, folder, secret, *tls = sys.argv[1:]


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        path = os.path.join(folder, "answers")
        with open(path) as file:
            lines = file.read().splitlines()
        if len(lines) > 1:
            with open(path + ".new", "w") as file:
                file.write("\n".join(lines[1:]))
            os.rename(path + ".new", path)
        status, _, body = lines[0].partition(" ")
        return int(status), body

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        try:
            Webhook(secret).verify(body, dict(self.headers))
            wrong = None
        except Exception as error:
            wrong = repr(error)
        status, answer = self.answer()
        headers = {name.lower(): value for name, value in self.headers.items()}
        with open(os.path.join(folder, "messages"), "a") as file:
            kept = {"path": self.path, "headers": headers, "body": body, "wrong": wrong, "status": status}
            file.write(json.dumps(kept) + "\n")
        self.send_response(status)
        if status // 100 == 3:
            self.send_header("location", answer)
            answer = ""
        endless = answer == "endless"
        if not endless:
            self.send_header("content-length", str(len(answer)))
        self.end_headers()
        try:
            while endless:
                self.wfile.write(b"x" * 65536)
            self.wfile.write(answer.encode())
        except OSError:
            self.close_connection = True

    def do_GET(self):
        with open(os.path.join(folder, "messages"), "a") as file:
            file.write(json.dumps({"path": "GET " + self.path, "headers": {}, "body": "{}", "wrong": None, "status": 0}) + "\n")
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass


server = Server(("127.0.0.1", int(port)), Receiver)
if tls:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*tls)
    server.socket = context.wrap_socket(server.socket, server_side=True)
print("listening", flush=True)
server.serve_forever()
