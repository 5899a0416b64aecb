"""What programs do with an API of which they know an address and a key: requests, httpx, sync and async, with pools and streams."""

import asyncio
import hashlib
import json
import os

import httpx
import requests

BASE = os.environ["API_BASE"]
KEY = os.environ["API_KEY"]
OTHER_KEY = os.environ["API_OTHER_KEY"]
VERIFY = os.environ.get("API_CA", True)
BEARER = {"Authorization": f"Bearer {KEY}"}


def with_requests():
    session = requests.Session()
    session.verify, session.trust_env = VERIFY, False
    session.headers.update(BEARER)
    for n in range(5):
        answer = session.post(f"{BASE}/v1/echo", params={"q": "a b", "n": n}, json={"n": n}, timeout=30)
        assert answer.status_code == 200 and answer.headers["x-shown"] == "yes", answer.text
        assert json.loads(answer.json()["content"]) == {"n": n}
        assert answer.json()["line"] == f"POST /v1/echo?q=a+b&n={n} HTTP/1.1", answer.text
    # The same socket carries whoever comes next.
    for key in (OTHER_KEY, KEY, OTHER_KEY):
        answer = session.get(f"{BASE}/v1/echo", headers={"Authorization": f"Bearer {key}"}, timeout=30)
        assert answer.status_code == 200, answer.text
    content = os.urandom(3_000_000)
    pieces = (content[at : at + 70_000] for at in range(0, len(content), 70_000))
    answer = session.put(f"{BASE}/v1/upload", data=pieces, timeout=30)
    assert answer.json()["sha256"] == hashlib.sha256(content).hexdigest()
    assert session.put(f"{BASE}/v1/upload", data=content, timeout=30).json()["length"] == len(content)
    assert session.get(f"{BASE}/v1/large", timeout=30).content == b"0123456789abcdef" * (1 << 18)
    assert session.head(f"{BASE}/v1/large", timeout=30).headers["content-length"] == str(1 << 22)
    assert session.get(f"{BASE}/v1/status/204", timeout=30).status_code == 204
    assert session.delete(f"{BASE}/v1/status/404", timeout=30).status_code == 404
    assert session.get(f"{BASE}/v1/closing", timeout=30).text == "until the end"
    assert session.get(f"{BASE}/v1/interim", timeout=30).text == "after hints"
    answer = session.get(f"{BASE}/v1/echo", auth=("whoever", KEY), timeout=30)
    assert answer.status_code == 200, answer.text
    bare = requests.get(f"{BASE}/v1/echo", verify=VERIFY, timeout=30)
    assert bare.status_code == 401 and bare.json()["error"]["code"] == "unauthenticated"
    answer = requests.get(f"{BASE}/v1/echo", headers={"x-api-key": KEY}, verify=VERIFY, timeout=30)
    assert answer.status_code == 200
    refused = session.post(f"{BASE}/v1/forbidden", json={"secret": "plan"}, timeout=30)
    assert refused.status_code == 403 and refused.json()["error"]["type"] == "permission_error", refused.text
    assert session.get(f"{BASE}/v1/echo", timeout=30).status_code == 200


def with_streams():
    with httpx.Client(verify=VERIFY, headers=BEARER, timeout=30) as client:
        with client.stream("GET", f"{BASE}/v1/stream") as answer:
            lines = (line for line in answer.iter_lines() if line)
            # The others are not sent before this one has been seen.
            assert next(lines) == 'data: {"n": 0}'
            assert requests.get(f"{BASE}/v1/release", headers=BEARER, verify=VERIFY, timeout=30).text == "released"
            assert list(lines) == ['data: {"n": 1}', 'data: {"n": 2}', "data: [DONE]"]


async def with_many():
    async with httpx.AsyncClient(verify=VERIFY, headers=BEARER, timeout=60) as client:
        asked = [client.post(f"{BASE}/v1/echo", json={"n": n}) for n in range(40)]
        for n, answer in enumerate(await asyncio.gather(*asked)):
            assert answer.status_code == 200 and json.loads(answer.json()["content"]) == {"n": n}


with_requests()
with_streams()
asyncio.run(with_many())
print("ok http")
