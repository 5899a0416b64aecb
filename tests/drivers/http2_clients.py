"""What httpx does over HTTP/2, sync and async: many requests at once on one socket, streams, uploads."""

import asyncio
import hashlib
import json
import os
import threading

import httpx

BASE = os.environ["API_BASE"]
VERIFY = os.environ.get("API_CA", True)
BEARER, OTHER = ({"Authorization": f"Bearer {os.environ[name]}"} for name in ("API_KEY", "API_OTHER_KEY"))
# Without TLS it must be told that the server speaks nothing else.
WAY = {"verify": VERIFY, "http1": "API_CA" in os.environ, "http2": True, "timeout": 60, "trust_env": False}


def with_one():
    with httpx.Client(headers=BEARER, **WAY) as client:
        for n in range(5):
            answer = client.post(f"{BASE}/v1/echo", params={"n": n}, json={"n": n})
            assert answer.status_code == 200 and answer.http_version == "HTTP/2", answer.text
            assert json.loads(answer.json()["content"]) == {"n": n} and answer.headers["x-shown"] == "yes"
        for headers, status in [(OTHER, 403), (BEARER, 404), (OTHER, 403)]:
            assert client.delete(f"{BASE}/v1/status/404", headers=headers).status_code == status
        content = os.urandom(3_000_000)
        pieces = (content[at : at + 70_000] for at in range(0, len(content), 70_000))
        assert client.put(f"{BASE}/v1/upload", content=pieces).json()["sha256"] == hashlib.sha256(content).hexdigest()
        assert client.put(f"{BASE}/v1/upload", content=content).json()["length"] == len(content)
        assert client.get(f"{BASE}/v1/large").content == b"0123456789abcdef" * (1 << 18)
        assert client.head(f"{BASE}/v1/large").headers["content-length"] == str(1 << 22)
        assert client.get(f"{BASE}/v1/status/204").status_code == 204
        assert client.get(f"{BASE}/v1/closing").text == "until the end"
        assert client.get(f"{BASE}/v1/interim").text == "after hints"
        refused = client.post(f"{BASE}/v1/forbidden", json={"secret": "plan"})
        assert refused.status_code == 403 and refused.json()["error"]["type"] == "permission_error", refused.text
        bare = client.get(f"{BASE}/v1/echo", headers={"Authorization": ""})
        assert bare.status_code == 401 and bare.json()["error"]["code"] == "unauthenticated", bare.text
        assert client.get(f"{BASE}/v1/echo").status_code == 200
        with client.stream("GET", f"{BASE}/v1/stream") as answer:
            lines = (line for line in answer.iter_lines() if line)
            # The others are not sent before this one has been seen; and it is another stream of the same socket that has them sent.
            assert next(lines) == 'data: {"n": 0}'
            asking = threading.Thread(target=lambda: client.get(f"{BASE}/v1/release"))
            asking.start()
            assert list(lines) == ['data: {"n": 1}', 'data: {"n": 2}', "data: [DONE]"]
            asking.join()


async def with_many():
    async with httpx.AsyncClient(**WAY) as client:
        asked = [client.post(f"{BASE}/v1/echo", json={"n": n}, headers=[BEARER, OTHER][n % 2]) for n in range(80)]
        for n, answer in enumerate(await asyncio.gather(*asked)):
            if n % 2:
                assert answer.status_code == 403, answer.text
            else:
                assert answer.status_code == 200 and json.loads(answer.json()["content"]) == {"n": n}, answer.text


with_one()
asyncio.run(with_many())
print("ok http2")
