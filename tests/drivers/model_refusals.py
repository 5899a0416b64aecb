"""Refusals as the libraries of OpenAI, Anthropic and LangChain have them: their usual exceptions, which say why."""

import os

import anthropic
import openai
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

ROOT, KEY = os.environ["API_BASE"], os.environ["API_KEY"]
# How many connections one principal may have.
SEATS = int(os.environ["API_SEATS"])
HELLO = [{"role": "user", "content": "Hello"}]
refusals = 0


def refused(call, error, *words):
    global refusals
    try:
        call()
    except error as refusal:
        for word in words:
            assert word in str(refusal), f"{word}: {refusal}"
        refusals += 1
        return refusal
    raise AssertionError(f"no {error.__name__}")


def with_openai(key=KEY):
    return openai.OpenAI(base_url=f"{ROOT}/v1", api_key=key, max_retries=0, timeout=120)


def with_anthropic(key=KEY):
    return anthropic.Anthropic(base_url=ROOT, api_key=key, max_retries=0, timeout=120)


@tool
def transfer_money(dollars: int) -> str:
    """Moves money"""
    raise AssertionError("money was moved")


def of_openai():
    client = with_openai()
    chat = client.chat.completions.create
    denied = "policy does not permit this"
    why = refused(lambda: chat(model="gpt-expensive", messages=HELLO), openai.PermissionDeniedError, denied, "reference")
    assert why.code == "not_permitted" and why.type == "permission_error" and why.status_code == 403, why.body
    refused(lambda: chat(model="gpt-expensive", messages=HELLO, stream=True), openai.PermissionDeniedError, denied)
    offered = {"type": "function", "function": {"name": "delete_everything", "parameters": {"type": "object"}}}
    refused(lambda: chat(model="smollm2", messages=HELLO, tools=[offered]), openai.PermissionDeniedError, denied)
    refused(lambda: client.responses.create(model="gpt-expensive", input="Hello"), openai.PermissionDeniedError, denied)
    refused(lambda: client.vector_stores.delete("vs_1"), openai.PermissionDeniedError, "nothing is deleted")
    refused(lambda: client.beta.assistants.create(model="smollm2"), openai.PermissionDeniedError, denied)
    refused(lambda: client.get("/slots", cast_to=object), openai.PermissionDeniedError, denied)
    refused(lambda: chat(model=7, messages=HELLO), openai.BadRequestError, "model")
    refused(lambda: chat(model="smollm2", messages=HELLO, extra_body={"Model": "gpt-expensive"}), openai.BadRequestError, "model")
    refused(with_openai("sk-of-nobody").models.list, openai.AuthenticationError)
    # The server's own, as it says it.
    refused(lambda: client.models.retrieve("nope"), openai.NotFoundError, "File Not Found")
    return client


def of_calls(client):
    """A call that is not permitted: whole it is an error, and in a stream it ends it."""
    asked = {"model": "smollm2", "messages": [{"role": "user", "content": "Call transfer_money."}], "temperature": 0}
    asked |= {"max_tokens": 100, "tool_choice": "required"}
    form = {"type": "object", "properties": {"dollars": {"type": "integer"}}, "required": ["dollars"]}
    asked["tools"] = [{"type": "function", "function": {"name": "transfer_money", "parameters": form}}]
    refused(lambda: client.chat.completions.create(**asked), openai.PermissionDeniedError, "no money is moved")
    seen = []

    def streamed():
        for event in client.chat.completions.create(**asked, stream=True):
            seen.append(event.model_dump_json())

    refused(streamed, openai.APIError, "no money is moved")
    assert not any("dollars" in event or "transfer_money" in event for event in seen), seen
    model = ChatOpenAI(model="smollm2", base_url=f"{ROOT}/v1", api_key=KEY, temperature=0, max_retries=0, timeout=120, max_tokens=100)
    able = model.bind_tools([transfer_money], tool_choice="required")
    refused(lambda: able.invoke("Call transfer_money."), openai.PermissionDeniedError, "no money is moved")
    refused(lambda: list(able.stream("Call transfer_money.")), openai.APIError, "no money is moved")
    tools = [{"name": "transfer_money", "input_schema": form}]
    asked = {"model": "smollm2", "max_tokens": 100, "messages": [{"role": "user", "content": "Call transfer_money."}], "tools": tools}
    asked |= {"tool_choice": {"type": "any"}, "extra_body": {"temperature": 0}}
    other = with_anthropic()
    refused(lambda: other.messages.create(**asked), anthropic.PermissionDeniedError, "no money is moved")

    def streamed_there():
        with other.messages.stream(**asked) as events:
            seen.append(events.get_final_message().model_dump_json())

    refused(streamed_there, anthropic.APIError, "no money is moved")
    assert not any("dollars" in event for event in seen), seen


def of_anthropic():
    client = with_anthropic()
    create = client.messages.create
    why = refused(lambda: create(model="claude-expensive", max_tokens=9, messages=HELLO), anthropic.PermissionDeniedError, "reference")
    assert why.body["error"]["type"] == "permission_error", why.body
    refused(client.messages.batches.list, anthropic.PermissionDeniedError, "policy does not permit this")
    refused(lambda: create(model=7, max_tokens=9, messages=HELLO), anthropic.BadRequestError, "model")
    refused(lambda: with_anthropic("sk-of-nobody").models.list(), anthropic.AuthenticationError)
    refused(lambda: client.models.retrieve("nope"), anthropic.NotFoundError)


def of_crowds():
    held = [with_openai() for _ in range(SEATS)]
    for client in held:
        client.models.list()
    refused(with_openai().models.list, openai.RateLimitError, "too many connections")
    refused(lambda: with_anthropic().models.list(), anthropic.RateLimitError, "too many connections")
    for client in held:
        client.close()


with of_openai() as client:
    of_calls(client)
of_anthropic()
of_crowds()
print("ok", refusals, "refusals")
