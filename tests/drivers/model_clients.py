"""What a program does with a model that it reaches by an address and a key, by way of OpenAI's own library, Anthropic's and LangChain's."""

import asyncio
import json
import os

import anthropic
import openai
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

ROOT, KEY = os.environ["API_BASE"], os.environ["API_KEY"]
BASE = f"{ROOT}/v1"
# What is looked into may come in fewer.
PIECES = 1 if os.environ.get("API_GUARDED") else 6
ASKED = {
    "model": "smollm2",
    "messages": [{"role": "user", "content": "Name three colours."}],
    "max_tokens": 24,
    "temperature": 0,
    "seed": 7,
    "extra_body": {"cache_prompt": False},
}


FORM = {"type": "object", "properties": {"branch": {"enum": ["ATL", "BOS"]}}, "required": ["branch"]}
TOOL = {"name": "query_bank", "description": "Counts the customers of a branch", "parameters": FORM}
CALL = "Call query_bank."


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
    assert len(pieces) >= PIECES, pieces
    return "".join(pieces)


def flowing(client):
    """A long answer comes as it is made, though what might yet become a value waits."""
    asked = {**ASKED, "messages": [{"role": "user", "content": "Tell a story about a bank."}], "max_tokens": 120}
    with client.chat.completions.create(**asked, stream=True) as events:
        pieces = [event.choices[0].delta.content for event in events if event.choices and event.choices[0].delta.content]
    assert len(pieces) > 20, pieces
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
    assert len(pieces) >= PIECES, pieces
    return [answer.content[0].text, "".join(pieces)]


def responses(client):
    asked = {"model": "smollm2", "input": "Name three colours.", "max_output_tokens": 24, "temperature": 0}
    asked["extra_body"] = {"seed": 7, "cache_prompt": False}
    answer = client.responses.create(**asked)
    pieces, last = [], None
    with client.responses.create(**asked, stream=True) as events:
        for event in events:
            last = event.type
            if event.type == "response.output_text.delta":
                pieces.append(event.delta)
    assert len(pieces) >= PIECES and last == "response.completed", (pieces, last)
    return [answer.output_text, "".join(pieces)]


def calls(client):
    """The model calls a tool: in one piece, and in many."""
    asked = {**ASKED, "max_tokens": 100, "messages": [{"role": "user", "content": CALL}], "tool_choice": "required"}
    asked["tools"] = [{"type": "function", "function": TOOL}]
    answer = client.chat.completions.create(**asked).choices[0]
    assert answer.finish_reason == "tool_calls", answer
    [call] = answer.message.tool_calls
    made = [[call.function.name, json.loads(call.function.arguments)]]
    name, arguments = "", []
    for event in client.chat.completions.create(**asked, stream=True):
        for delta in (event.choices[0].delta.tool_calls or []) if event.choices else []:
            name += delta.function.name or ""
            arguments.append(delta.function.arguments or "")
    made.append([name, json.loads("".join(arguments))])
    asked = {"model": "smollm2", "input": CALL, "max_output_tokens": 100, "temperature": 0, "tool_choice": "required"}
    asked |= {"tools": [{"type": "function", **TOOL}], "extra_body": ASKED["extra_body"]}
    for event in client.responses.create(**asked, stream=True):
        if event.type == "response.completed":
            made += [[item.name, json.loads(item.arguments)] for item in event.response.output if item.type == "function_call"]
    tools = [{"name": "query_bank", "description": TOOL["description"], "input_schema": FORM}]
    asked = {"model": "smollm2", "max_tokens": 100, "messages": [{"role": "user", "content": CALL}], "tools": tools}
    asked |= {"tool_choice": {"type": "any"}, "extra_body": {"temperature": 0, "cache_prompt": False}}
    with anthropic.Anthropic(base_url=ROOT, api_key=KEY, max_retries=0, timeout=120) as other:
        with other.messages.stream(**asked) as events:
            answer = events.get_final_message()
    assert answer.stop_reason == "tool_use", answer
    made += [[block.name, block.input] for block in answer.content if block.type == "tool_use"]
    assert len(made) == 4 and {name for name, _ in made} == {"query_bank"}, made
    return made


@tool
def query_bank(branch: str) -> str:
    """Counts the customers of a branch"""
    return f"{branch}: 4000"


def langchain():
    model = ChatOpenAI(model="smollm2", base_url=BASE, api_key=KEY, temperature=0, max_retries=0, timeout=120, seed=7,
                       max_tokens=100, extra_body={"cache_prompt": False})
    said = [model.invoke("Name three colours.", max_tokens=24).content]
    said.append("".join(piece.content for piece in model.stream("Name three colours.", max_tokens=24)))
    able = model.bind_tools([query_bank], tool_choice="required")
    whole = able.invoke(CALL).tool_calls
    joined = None
    for piece in able.stream(CALL):
        joined = piece if joined is None else joined + piece
    for calls in (whole, joined.tool_calls):
        assert [call["name"] for call in calls] == ["query_bank"], calls
        said += [call["args"] for call in calls]
    return said


def abandoned(client):
    """Goes after the first words."""
    events = client.chat.completions.create(**{**ASKED, "max_tokens": 400}, stream=True)
    next(iter(events))
    events.close()


client = openai.OpenAI(base_url=BASE, api_key=KEY, max_retries=0, timeout=120)
said = {"whole": whole(client), "streamed": streamed(client), "models": len(client.models.list().data)}
said["messages"] = messages()
said["responses"] = responses(client)
said["calls"] = calls(client)
said["langchain"] = langchain()
abandoned(client)
said["flowing"] = flowing(client)
said["asynchronous"] = asyncio.run(asynchronous())
print("ok", json.dumps(said))
