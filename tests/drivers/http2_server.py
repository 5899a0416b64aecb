"""An HTTP/2 server without TLS, of the package that httpx uses: http2_server.py PORT

It bears two streams at a time on one socket, which it says as late as a server far away would, and ends a socket that has more. It says by which
socket and in which order it was asked. What is asked at `/goaway` is the last on its socket.
"""

import json
import socket
import sys
import threading
import time

import h2.config
import h2.connection
import h2.events
import h2.settings


def serve(client):
    config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
    wire = h2.connection.H2Connection(config)
    wire.local_settings = h2.settings.Settings(
        client=False, initial_values={h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 2}
    )
    wire.initiate_connection()
    time.sleep(0.2)
    client.sendall(wire.data_to_send())
    asked, count, leaves = {}, 0, False
    while piece := client.recv(65536):
        for event in wire.receive_data(piece):
            match event:
                case h2.events.RequestReceived():
                    count += 1
                    asked[event.stream_id] = [dict(event.headers), b"", count]
                case h2.events.DataReceived():
                    asked[event.stream_id][1] += event.data
                    wire.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                case h2.events.StreamEnded():
                    headers, content, number = asked.pop(event.stream_id)
                    said = {"peer": client.getpeername()[1], "number": number, "headers": headers, "content": content.decode()}
                    wire.send_headers(event.stream_id, [(":status", "200"), ("content-type", "application/json")])
                    wire.send_data(event.stream_id, json.dumps(said).encode(), end_stream=True)
                    leaves |= headers[":path"] == "/goaway"
                case h2.events.StreamReset():
                    asked.pop(event.stream_id, None)
        if leaves and not asked:
            wire.close_connection()
        client.sendall(wire.data_to_send())
        if leaves and not asked:
            break
    client.close()


listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=128)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
