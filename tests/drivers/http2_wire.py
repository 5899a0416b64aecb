"""HTTP/2 frame by frame: what a client must not do, and what a server does about it.

Frames and header compression are those of the packages that httpx uses; what is put into them is ours.
"""

import json
import os
import signal
import socket
import ssl
import time
import urllib.request

import hpack
from hyperframe import frame

PORT = int(os.environ["API_PORT"])
TLS = os.environ.get("API_CA")
PREFIX = os.environ["API_PREFIX"]
KEY = os.environ["API_KEY"]
OTHER_KEY = os.environ["API_OTHER_KEY"]
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PROTOCOL_ERROR, ENHANCE_YOUR_CALM, CANCEL, INTERNAL_ERROR = 1, 11, 8, 2


class Stream:
    def __init__(self):
        self.headers, self.content, self.reset, self.ended, self.interim = None, b"", None, False, 0

    @property
    def status(self):
        return self.headers and int(dict(self.headers)[":status"])

    @property
    def code(self):
        return json.loads(self.content)["error"]["code"]


class Wire:
    """A connection whose every frame is ours."""

    def __init__(self, settings=None, windows=True):
        self.socket = socket.create_connection(("localhost" if TLS else "127.0.0.1", PORT), timeout=20)
        if TLS:
            context = ssl.create_default_context(cafile=TLS)
            context.set_alpn_protocols(["h2"])
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
            assert self.socket.selected_alpn_protocol() == "h2"
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.input, self.streams, self.next, self.away = b"", {}, 1, None
        self.settings, self.windows, self.closed = {}, windows, False
        self.socket.sendall(PREFACE + frame.SettingsFrame(0, settings=settings or {}).serialize())

    def send(self, *frames):
        try:
            self.socket.sendall(b"".join(each.serialize() for each in frames))
        except OSError:
            self.closed = True

    def request(self, path, *fields, method="POST", ends=True, authority="gateway", key=KEY, pseudo=None, content=None):
        """Opens a stream."""
        number, self.next = self.next, self.next + 2
        self.streams[number] = Stream()
        own = pseudo
        if own is None:
            own = [(":method", method), (":scheme", "http"), (":path", PREFIX + path)]
            own += [(":authority", authority)] if authority else []
        own = own + ([("authorization", "Bearer " + key)] if key else []) + list(fields)
        # Not packed: that takes Python seconds for what is long, in which the gateway may give the connection up.
        block = self.encoder.encode(own, huffman=False)
        head = frame.HeadersFrame(number, block[:16000], flags=["END_HEADERS"] if len(block) <= 16000 else [])
        if ends and content is None:
            head.flags.add("END_STREAM")
        self.send(head)
        for at in range(16000, len(block), 16000):
            last = at + 16000 >= len(block)
            self.send(frame.ContinuationFrame(number, block[at : at + 16000], flags=["END_HEADERS"] if last else []))
        if content is not None:
            self.send(frame.DataFrame(number, content, flags=["END_STREAM"] if ends else []))
        return number

    def read(self):
        """Takes the next frame. False at the end."""
        while True:
            if len(self.input) >= 9:
                head, length = frame.Frame.parse_frame_header(memoryview(self.input[:9]))
                if len(self.input) >= 9 + length:
                    head.parse_body(memoryview(self.input[9 : 9 + length]))
                    self.input = self.input[9 + length :]
                    self.take(head)
                    return True
            try:
                piece = self.socket.recv(65536)
            except OSError as error:
                assert not isinstance(error, TimeoutError), "nothing comes"
                piece = b""
            if not piece:
                self.closed = True
                return False
            self.input += piece

    def take(self, one):
        stream = self.streams.get(one.stream_id)
        match one:
            case frame.SettingsFrame() if "ACK" not in one.flags:
                self.settings |= one.settings
                self.send(frame.SettingsFrame(0, flags=["ACK"]))
            case frame.PingFrame() if "ACK" not in one.flags:
                self.send(frame.PingFrame(0, one.opaque_data, flags=["ACK"]))
            case frame.GoAwayFrame():
                self.away = one.error_code
            case frame.RstStreamFrame():
                stream.reset, stream.ended = one.error_code, True
            case frame.HeadersFrame():
                assert "END_HEADERS" in one.flags
                headers = self.decoder.decode(one.data)
                if dict(headers)[":status"].startswith("1"):
                    stream.interim += 1
                else:
                    stream.headers = headers
                stream.ended |= "END_STREAM" in one.flags
            case frame.DataFrame():
                stream.content += one.data
                stream.ended |= "END_STREAM" in one.flags
                if self.windows and one.flow_controlled_length:
                    grown = [frame.WindowUpdateFrame(n, window_increment=one.flow_controlled_length) for n in (0, one.stream_id)]
                    self.send(*grown[: 1 if stream.ended else 2])

    def until(self, done):
        while not done() and self.read():
            pass
        assert done(), f"closed: {self.closed}, away: {self.away}"

    def answer(self, number):
        stream = self.streams[number]
        self.until(lambda: stream.ended)
        return stream

    def ask(self, *args, **kwargs):
        return self.answer(self.request(*args, **kwargs))


def requests():
    wire = Wire()
    answer = wire.ask("/v1/echo?q=1", ("content-type", "text/plain"), ("x-kept", "a"), ("te", "trailers"), content=b"said")
    assert answer.status == 200 and json.loads(answer.content)["content"] == "said", answer.__dict__
    seen = json.loads(answer.content)
    assert seen["line"] == "POST /v1/echo?q=1 HTTP/1.1" and ["x-kept", "a"] in seen["headers"]
    assert not {"te", "transfer-encoding "} & {name for name, _ in seen["headers"]}
    names = {name for name, _ in answer.headers}
    assert "x-shown" in names and not names & {"connection", "transfer-encoding", "keep-alive", "set-cookie"}, names
    assert wire.settings[frame.SettingsFrame.MAX_CONCURRENT_STREAMS] == 128
    # With a length, and without; in many pieces; nothing at all.
    number = wire.request("/v1/echo", ("content-length", "6"), ends=False)
    wire.send(frame.DataFrame(number, b"abc"), frame.DataFrame(number, b""), frame.DataFrame(number, b"def", flags=["END_STREAM"]))
    assert json.loads(wire.answer(number).content)["content"] == "abcdef"
    number = wire.request("/v1/echo", ends=False)
    wire.send(frame.DataFrame(number, b"abc"), frame.DataFrame(number, b"def"))
    trailers = wire.encoder.encode([("x-trailer", "hidden")])
    wire.send(frame.HeadersFrame(number, trailers, flags=["END_HEADERS", "END_STREAM"]))
    answer = json.loads(wire.answer(number).content)
    assert answer["content"] == "abcdef" and "x-trailer" not in str(answer), "trailers are dropped"
    assert wire.ask("/v1/echo", content=b"").status == 200
    assert wire.ask("/v1/status/204", method="GET").status == 204
    head = wire.ask("/v1/large", method="HEAD")
    assert (head.status, head.content, dict(head.headers)["content-length"]) == (200, b"", str(1 << 22))
    assert wire.ask("/v1/large", method="GET").content == b"0123456789abcdef" * (1 << 18)
    number = wire.request("/v1/echo", ("expect", "100-continue"), ends=False)
    wire.until(lambda: wire.streams[number].interim)
    wire.send(frame.DataFrame(number, b"wanted", flags=["END_STREAM"]))
    assert json.loads(wire.answer(number).content)["content"] == "wanted"
    # What is refused is said, and the connection goes on.
    assert (answer := wire.ask("/v1/forbidden", content=b"x")).status == 403 and answer.code == "not_permitted"
    assert (answer := wire.ask("/v1/echo", key=None)).status == 401 and answer.code == "unauthenticated"
    assert wire.ask("/v1/early", content=b"x" * 1000).status == 413
    assert wire.ask("/v1/status/404", method="DELETE", key=OTHER_KEY).status == 403, "bob only looks"
    assert wire.ask("/v1/status/404", method="GET", key=OTHER_KEY).status == 404
    answer = wire.ask("/v1/broken", method="GET")
    assert (answer.content, answer.reset) == (b"not all of it", INTERNAL_ERROR), "cut, and not made up"
    assert wire.ask("/v1/closing", method="GET").content == b"until the end"


def many():
    """A hundred streams at once, of whoever comes."""
    wire = Wire()
    numbers = [wire.request("/v1/echo", method="GET", key=[KEY, OTHER_KEY][n % 2]) for n in range(100)]
    assert [wire.answer(number).status for number in numbers] == [200] * 100
    numbers = [wire.request("/v1/echo", content=b"x", key=[KEY, OTHER_KEY][n % 2]) for n in range(100)]
    assert [wire.answer(number).status for number in numbers] == [200, 403] * 50, "each is who it says"


def in_two_ways():
    """What can be read in two ways reaches nobody."""
    own = [(":method", "GET"), (":scheme", "http"), (":path", PREFIX + "/t"), (":authority", "gateway")]
    with_path = lambda path: [own[0], own[1], (":path", path), own[3]]
    said = [
        ("another host", own, [("host", "other")], 400),
        ("two hosts", own[:3], [("host", "gateway"), ("host", "other")], 400),
        ("no host", own[:3], [], 400),
        ("two lengths", own, [("content-length", "0"), ("content-length", "0")], 400),
        ("two tokens", own, [("x-api-key", "another")], 400),
        ("another method inside", own, [("x-http-method-override", "DELETE")], 400),
        ("an authority that is none", own[:3] + [(":authority", "a@gateway")], [], 400),
        ("dots", with_path(PREFIX + "/a/../t"), [], 400),
        ("an escaped slash", with_path(PREFIX + "/a%2ft"), [], 400),
        ("an asterisk", [(":method", "OPTIONS")] + with_path("*")[1:], [], 400),
        ("a tunnel", [(":method", "CONNECT"), (":authority", "gateway:443")], [], 405),
        ("a trace", [(":method", "TRACE")] + own[1:], [], 405),
        ("a method in lower case", [(":method", "get")] + own[1:], [], 405),
        ("another expectation", own, [("expect", "200-ok")], 417),
    ]
    malformed = [
        ("a connection's field", own, [("connection", "close")]),
        ("chunks", own, [("transfer-encoding", "chunked")]),
        ("an upgrade", own, [("upgrade", "websocket")]),
        ("keep-alive", own, [("keep-alive", "1")]),
        ("te", own, [("te", "gzip")]),
        ("a length that is not one", own, [("content-length", "+1")]),
        ("lengths that differ", own, [("content-length", "0"), ("content-length", "1")]),
        ("content that is not there", own, [("content-length", "5")]),
        ("a target elsewhere", with_path("http://other/t"), []),
        ("no path", own[:2] + own[3:], []),
        ("no method", own[1:], []),
        ("no scheme", own[:1] + own[2:], []),
        ("two methods", [own[0], own[0]] + own[1:], []),
        ("a status", own + [(":status", "200")], []),
        ("what is not known", own + [(":other", "x")], []),
        ("a protocol inside", own + [(":protocol", "websocket")], []),
        ("a tunnel for a protocol", [(":method", "CONNECT"), (":protocol", "websocket")] + own[1:], []),
        ("capital letters", own, [("X-Capital", "x")]),
        ("a line inside", own, [("x-a", "b\r\nx-b: c")]),
        ("a line feed", own, [("x-a", "b\nc")]),
        ("a zero", own, [("x-a", "b\0c")]),
        ("a name with a space", own, [("x a", "b")]),
        ("a name with a colon", own, [("x:a", "b")]),
    ]
    for what, pseudo, fields, status in said:
        wire = Wire()
        answer = wire.ask("", *fields, pseudo=pseudo)
        assert answer.status == status, (what, answer.__dict__)
        assert wire.ask("/v1/echo").status == 200, f"{what}: the others go on"
    for what, pseudo, fields in malformed:
        wire = Wire()
        number = wire.request("", *fields, pseudo=pseudo)
        wire.until(lambda: wire.streams[number].ended or wire.away is not None or wire.closed)
        assert wire.streams[number].headers is None, (what, wire.streams[number].__dict__)
        assert wire.streams[number].reset == PROTOCOL_ERROR or wire.away == PROTOCOL_ERROR, what
    # A field before those of the request itself.
    wire = Wire()
    number = wire.request("", pseudo=[("x-a", "b")] + own)
    wire.until(lambda: wire.streams[number].ended or wire.away is not None)
    assert wire.streams[number].headers is None
    # More or less content than was declared: what has left is cut.
    for content in (b"abcdef", b"ab"):
        wire = Wire()
        number = wire.request("/v1/lengths", ("content-length", "4"), content=content)
        wire.until(lambda: wire.streams[number].ended or wire.away is not None)
        assert wire.streams[number].headers is None and wire.streams[number].reset == PROTOCOL_ERROR


def too_much():
    wire = Wire()
    assert wire.ask("/v1/echo", ("x-long", "y" * 140_000)).status == 431
    assert wire.ask("/v1/echo", *((f"x-{n}", "y") for n in range(130))).status == 431
    assert wire.ask("/" + "t" * 20_000).status == 414
    assert wire.ask("/v1/echo").status == 200
    # What is packed to be small and unpacked to be large: one field, named over and over.
    wire = Wire()
    wire.ask("/v1/echo", ("x-bomb", "y" * 4000))
    number = wire.request("/v1/echo", *([("x-bomb", "y" * 4000)] * 16000))
    wire.until(lambda: wire.streams[number].ended or wire.away is not None or wire.closed)
    assert wire.away is not None or wire.closed or wire.streams[number].status == 431
    # Heads without an end.
    wire = Wire()
    wire.send(frame.HeadersFrame(1, wire.encoder.encode([(":method", "GET")])))
    for _ in range(100_000):
        wire.send(frame.ContinuationFrame(1, b""))
        if wire.closed:
            break
    wire.until(lambda: wire.away is not None or wire.closed)
    # More streams than were offered.
    wire = Wire()
    wire.read()
    numbers = [wire.request("/v1/endless", method="GET") for _ in range(140)]
    refused = lambda: [number for number in numbers if wire.streams[number].reset is not None]
    wire.until(lambda: len(refused()) >= 12)
    assert all(wire.streams[number].reset == 7 for number in refused()), "refused, to be tried again"


def resets():
    """Streams that are reset as soon as they are asked for."""
    bystander = Wire()
    assert bystander.ask("/v1/echo").status == 200
    # In one piece, so that none of them can be begun.
    wire = Wire()
    pieces = b""
    for number in range(1, 401, 2):
        head = [(":method", "GET"), (":scheme", "http"), (":path", PREFIX + "/v1/reset"), (":authority", "gateway")]
        block = wire.encoder.encode(head + [("authorization", "Bearer " + KEY)])
        pieces += frame.HeadersFrame(number, block, flags=["END_HEADERS", "END_STREAM"]).serialize()
        pieces += frame.RstStreamFrame(number, error_code=CANCEL).serialize()
        wire.streams[number] = Stream()
    wire.socket.sendall(pieces)
    wire.until(lambda: wire.away is not None or wire.closed)
    assert wire.away == ENHANCE_YOUR_CALM, wire.away
    assert bystander.ask("/v1/echo").status == 200
    # One by one, when each has begun.
    wire = Wire()
    for _ in range(600):
        number = wire.request("/v1/endless", method="GET")
        wire.until(lambda: wire.streams[number].content or wire.away is not None or wire.closed)
        if wire.away is not None or wire.closed:
            break
        wire.send(frame.RstStreamFrame(number, error_code=CANCEL))
    assert wire.away == ENHANCE_YOUR_CALM, wire.away
    assert bystander.ask("/v1/echo").status == 200


def slow():
    """A client that does not read holds up nobody but itself."""
    wire = Wire(settings={frame.SettingsFrame.INITIAL_WINDOW_SIZE: 1000}, windows=False)
    number = wire.request("/v1/large", method="GET")
    wire.until(lambda: len(wire.streams[number].content) == 1000)
    other = wire.request("/v1/status/404", method="GET")
    assert wire.answer(other).status == 404
    assert len(wire.streams[number].content) == 1000
    wire.windows = True
    wire.send(frame.WindowUpdateFrame(0, window_increment=1 << 23), frame.WindowUpdateFrame(number, window_increment=1 << 23))
    assert wire.answer(number).content == b"0123456789abcdef" * (1 << 18)


def gone():
    """A stream that is not wanted any more, and a connection that is closed in the middle."""
    wire = Wire()
    number = wire.request("/v1/endless", method="GET")
    wire.until(lambda: wire.streams[number].content)
    wire.send(frame.RstStreamFrame(number, error_code=CANCEL))
    assert wire.ask("/v1/echo").status == 200
    number = wire.request("/v1/upload", ends=False)
    wire.send(frame.DataFrame(number, b"half"), frame.RstStreamFrame(number, error_code=CANCEL))
    assert wire.ask("/v1/echo").status == 200
    number = wire.request("/v1/endless", method="GET")
    wire.until(lambda: wire.streams[number].content)
    wire.socket.close()


def silent():
    """Connections in which nothing goes on."""
    wires = [Wire(), Wire()]
    assert wires[1].ask("/v1/echo", key="no token").status == 401
    for wire in wires:
        wire.until(lambda: wire.closed)
        assert wire.away == 0, wire.away
    # Nothing but half a beginning.
    wire = socket.create_connection(("127.0.0.1", PORT), timeout=20)
    wire.sendall(PREFACE[:16])
    while wire.recv(1000):
        pass


def drained():
    """A gateway that is told to stop finishes what has begun, and says that it takes no more."""
    wire = Wire()
    number = wire.request("/v1/stream", method="GET")
    assert wire.ask("/v1/echo").status == 200
    wire.until(lambda: wire.streams[number].content)
    os.kill(int(os.environ["API_GATEWAY"]), signal.SIGTERM)
    wire.until(lambda: wire.away is not None)
    assert wire.away == 0 and not wire.streams[number].ended
    urllib.request.urlopen(os.environ["API_RELEASE"]).read()
    assert wire.answer(number).content.endswith(b"data: [DONE]\n\n")
    wire.until(lambda: wire.closed)


for part in os.environ["API_PARTS"].split():
    began = time.monotonic()
    globals()[part]()
    print(f"{part}: {time.monotonic() - began:.1f} s")
print("ok http2")
