"""An HTTP/1.1 server of Python's standard library, which writes down what reaches it.

    http_server.py PORT FILE [CERTIFICATE KEY]

Each request becomes a line of JSON in FILE, before it is answered. What is answered is told from the path.
"""

import gzip
import hashlib
import http.server
import json
import ssl
import sys
import threading
import zlib

import brotli
import zstandard

released = threading.Event()

PACKERS = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstandard.compress,
    "gzip, br": lambda content: brotli.compress(gzip.compress(content)),
    "compress": lambda content: content,
}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def content(self):
        if self.headers.get("transfer-encoding") == "chunked":
            content = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                content += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return content
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def note(self, content):
        seen = {
            "peer": self.client_address[1],
            "line": self.requestline,
            "headers": [[name.lower(), value] for name, value in self.headers.items()],
            "length": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "content": content[:4096].decode("utf-8", "replace"),
        }
        with lock:
            print(json.dumps(seen), file=log, flush=True)
        return seen

    def answer(self, status, content, headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def chunk(self, content):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))
        self.wfile.flush()

    def stream(self, events):
        """Server-sent events: all but the first wait until somebody asks for `/release`."""
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for number in range(events):
            if number == 1:
                released.wait(60)
            self.chunk(b'data: {"n": %d}\n\n' % number)
        self.chunk(b"data: [DONE]\n\n")
        self.wfile.write(b"0\r\nx-checksum: none\r\n\r\n")

    def packed(self, coding, what):
        """Content that is packed though nobody wants it: `text`, which quotes the key, `bomb`, `cut`, or `more` than it should be."""
        coding = coding.replace("+", ", ")
        text = b"the key is " + str(self.headers.get("authorization")).encode() + b", and that is all. " * 1000
        content = PACKERS[coding](bytes(64 << 20) if what == "bomb" else text)
        content = {"cut": content[:-3], "more": content + b"more"}.get(what, content)
        headers = [("content-encoding", coding), ("etag", '"packed"'), ("content-digest", "sha-256=:AA==:"), ("x-shown", "yes")]
        self.answer(200, content, headers)

    def completion(self, request):
        """What a model would say: a call of the first tool that is offered, else the last message."""
        said = {"role": "assistant", "content": request["messages"][-1]["content"]}
        tools = [tool["function"]["name"] for tool in request.get("tools", [])]
        if tools:
            call = {"name": tools[0], "arguments": json.dumps({"query": "select 1"})}
            said = {"role": "assistant", "content": None, "tool_calls": [{"id": "call_1", "type": "function", "function": call}]}
        usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
        ids = {"id": "chatcmpl-1", "created": 1, "model": request["model"]}
        if not request.get("stream"):
            choice = {"index": 0, "message": said, "finish_reason": "tool_calls" if tools else "stop"}
            document = {**ids, "object": "chat.completion", "choices": [choice], "usage": usage}
            return self.answer(200, json.dumps(document).encode(), [("content-type", "application/json")])
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()

        def event(delta, reason=None, **more):
            choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": reason}]
            document = {**ids, "object": "chat.completion.chunk", "choices": choices, **more}
            self.chunk(b"data: " + json.dumps(document).encode() + b"\n\n")

        event({"role": "assistant", "content": ""})
        for number, call in enumerate(said.get("tool_calls", [])):
            event({"tool_calls": [{"index": number, **call, "function": {**call["function"], "arguments": ""}}]})
            for letter in call["function"]["arguments"]:
                event({"tool_calls": [{"index": number, "function": {"arguments": letter}}]})
        for number, letter in enumerate(said["content"] or ""):
            if number == 20 and said["content"].startswith("wait"):
                released.wait(60)
            event({"content": letter})
        event({}, "tool_calls" if tools else "stop")
        event(None, usage=usage)
        self.chunk(b"data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def handle_any(self):
        path = self.path.split("?")[0]
        if path.endswith("/early"):
            # Without a look at the content.
            self.note(b"")
            self.close_connection = True
            return self.answer(413, b"too long", [("connection", "close")])
        seen = self.note(self.content())
        if path.endswith("/chat/completions"):
            self.completion(json.loads(seen["content"]))
        elif path.endswith("/release"):
            released.set()
            self.answer(200, b"released")
        elif path.endswith("/stream"):
            self.stream(3)
        elif path.endswith("/endless"):
            self.stream(1 << 30)
        elif path.endswith("/brief"):
            # As many servers do with sockets on which nothing is asked for a while.
            self.connection.settimeout(0.3)
            self.answer(200, b"and then it closes")
        elif path.endswith("/never"):
            released.wait(60)
        elif path.endswith("/huge"):
            self.answer(200, b"0123456789abcdef" * (1 << 22))
        elif path.endswith("/large"):
            self.answer(200, b"0123456789abcdef" * (1 << 18))
        elif path.endswith("/closing"):
            self.close_connection = True
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"until the end")
        elif path.endswith("/broken"):
            self.close_connection = True
            self.send_response(200)
            self.send_header("content-length", "1000")
            self.end_headers()
            self.wfile.write(b"not all of it")
        elif "/packed/" in path:
            self.packed(*path.split("/packed/")[1].split("/"))
        elif path.endswith("/quoting"):
            self.answer(401, b"wrong key: " + str(self.headers.get("authorization")).encode())
        elif path.endswith("/interim"):
            self.wfile.write(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n")
            self.answer(200, b"after hints")
        elif "/status/" in path:
            self.answer(int(path.rsplit("/", 1)[1]), b"" if path.endswith("204") else b"as asked")
        else:
            headers = [
                ("content-type", "application/json"),
                ("set-cookie", "session=1"),
                ("connection", "x-internal"),
                ("x-internal", "hidden"),
                ("x-shown", "yes"),
            ]
            self.answer(200, json.dumps(seen).encode(), headers)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = handle_any
    do_TRACE = do_CONNECT = handle_any

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_):
        pass


lock = threading.Lock()
log = open(sys.argv[2], "a")
server = Server(("127.0.0.1", int(sys.argv[1])), Handler)
if sys.argv[3:]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*sys.argv[3:])
    server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
