"""What a program does with a model that it reaches by an address and a key, by way of OpenAI's own library and of Anthropic's."""

import asyncio
import json
import os

import anthropic
import openai

ROOT, KEY = os.environ["API_BASE"], os.environ["API_KEY"]
BASE = f"{ROOT}/v1"
ASKED = {
    "model": "smollm2",
    "messages": [{"role": "user", "content": "Name three colours."}],
    "max_tokens": 24,
    "temperature": 0,
    "seed": 7,
    "extra_body": {"cache_prompt": False},
}


def whole(client):
    answer = client.chat.completions.create(**ASKED)
    assert answer.usage.completion_tokens > 0
    return answer.choices[0].message.content


def streamed(client):
    pieces = []
    with client.chat.completions.create(**ASKED, stream=True) as events:
        for event in events:
            if event.choices and event.choices[0].delta.content:
                pieces.append(event.choices[0].delta.content)
    assert len(pieces) > 5, pieces
    return "".join(pieces)


async def asynchronous():
    async with openai.AsyncOpenAI(base_url=BASE, api_key=KEY, max_retries=0, timeout=120) as client:
        answers = await asyncio.gather(*(client.chat.completions.create(**ASKED) for _ in range(3)))
        return [answer.choices[0].message.content for answer in answers]


def messages():
    """The key is in a header of its own here."""
    asked = {key: ASKED[key] for key in ("model", "messages", "max_tokens")}
    asked["extra_body"] = {"temperature": 0, "seed": 7, "cache_prompt": False}
    with anthropic.Anthropic(base_url=ROOT, api_key=KEY, max_retries=0, timeout=120) as client:
        answer = client.messages.create(**asked)
        with client.messages.stream(**asked) as events:
            pieces = list(events.text_stream)
    assert len(pieces) > 5, pieces
    return [answer.content[0].text, "".join(pieces)]


def abandoned(client):
    """Goes after the first words."""
    events = client.chat.completions.create(**{**ASKED, "max_tokens": 400}, stream=True)
    next(iter(events))
    events.close()


def refused(call, error):
    try:
        call()
    except error as refusal:
        return str(refusal)
    raise AssertionError(f"no {error.__name__}")


client = openai.OpenAI(base_url=BASE, api_key=KEY, max_retries=0, timeout=120)
said = {"whole": whole(client), "streamed": streamed(client), "models": len(client.models.list().data)}
said["messages"] = messages()
abandoned(client)
said["asynchronous"] = asyncio.run(asynchronous())
if os.environ.get("API_GUARDED"):
    stranger = openai.OpenAI(base_url=BASE, api_key="sk-of-nobody", max_retries=0, timeout=120)
    refused(stranger.models.list, openai.AuthenticationError)
    why = refused(lambda: client.completions.create(model="smollm2", prompt="x"), openai.PermissionDeniedError)
    assert "policy does not permit this" in why and "reference" in why, why
    other = anthropic.Anthropic(base_url=ROOT, api_key=KEY, max_retries=0, timeout=120)
    refused(other.messages.batches.list, anthropic.PermissionDeniedError)
print("ok", json.dumps(said))
