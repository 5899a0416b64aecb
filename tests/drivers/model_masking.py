"""What a model says that has no choice but to say an address: each way of asking it, whole and in pieces, and whether the address came.

The address stands in no request as it is: in a pattern, it does not look like one. By way of API_TOLD_BASE the model is told it.
"""

import json
import os

import httpx

BASE, TOLD, KEY = os.environ["API_BASE"], os.environ["API_TOLD_BASE"], os.environ["API_KEY"]
ADDRESS = os.environ["API_ADDRESS"]
FORM = {"type": "object", "properties": {"to": {"type": "string", "pattern": f"^{ADDRESS.replace('.', '[.]')}$"}}, "required": ["to"]}
NAMED = {"name": "send_mail", "description": "Sends mail", "parameters": FORM}
CALL = [{"role": "user", "content": "Call send_mail."}]
TURNS = ["Ann?", "ann.miller@example.com", "Bob?", ADDRESS, "Ann?", "ann.miller@example.com", "Bob?"]
REPEAT = [{"role": ("user", "assistant")[n % 2], "content": words} for n, words in enumerate(TURNS)]
# Where what a model has said is of a form of its own.
ITEMS = [{**said, "type": "message", "content": [{"type": "output_text", "text": said["content"]}]} if said["role"] == "assistant" else said
         for said in REPEAT]
COMMON = {"model": "smollm2", "temperature": 0, "cache_prompt": False}
CHAT = {**COMMON, "max_tokens": 100}
RESPONSES = {**COMMON, "max_output_tokens": 100}
WAYS = {
    "chat text": (BASE, "chat/completions", {**CHAT, "messages": CALL, "response_format": {
        "type": "json_schema", "json_schema": {"name": "mail", "schema": FORM}}}),
    "chat call": (BASE, "chat/completions", {**CHAT, "messages": CALL, "tool_choice": "required", "tools": [
        {"type": "function", "function": NAMED}]}),
    "completions text": (BASE, "completions", {**CHAT, "prompt": "Mail", "json_schema": FORM}),
    "responses call": (BASE, "responses", {**RESPONSES, "input": CALL, "tool_choice": "required", "tools": [
        {"type": "function", **NAMED}]}),
    "messages call": (BASE, "messages", {**CHAT, "messages": CALL, "tool_choice": {"type": "any"}, "tools": [
        {"name": "send_mail", "description": "Sends mail", "input_schema": FORM}]}),
    "chat repeated": (TOLD, "chat/completions", {**CHAT, "messages": REPEAT}),
    "responses repeated": (TOLD, "responses", {**RESPONSES, "input": ITEMS}),
    "messages repeated": (TOLD, "messages", {**CHAT, "messages": REPEAT}),
}


def said(value):
    """All that the model says in an event or an answer, in its order."""
    if isinstance(value, list):
        return "".join(map(said, value))
    if not isinstance(value, dict):
        return ""
    words = ""
    for name, member in value.items():
        is_said = name in ("content", "text", "delta", "arguments", "partial_json") and isinstance(member, str)
        # Its arguments come as an object in Anthropic's answers.
        words += member if is_said else json.dumps(member) if name == "input" and isinstance(member, dict) else said(member)
    return words


def ask(base, path, asked):
    # A socket for each: this server closes those that have been used a while, and a client learns of it too late.
    with httpx.Client(timeout=120, headers={"Authorization": f"Bearer {KEY}"}) as client:
        answer = client.post(f"{base}/v1/{path}", json=asked)
    assert answer.status_code == 200, answer.text
    return answer.text


NAME, _, DOMAIN = ADDRESS.partition("@")
came = {}
for way, (base, path, asked) in WAYS.items():
    for stream in (False, True):
        raw = ask(base, path, {**asked, "stream": stream})
        if stream:
            events = [json.loads(line[6:]) for line in raw.splitlines() if line.startswith("data: {")]
            assert len(events) > 2, raw
            words = said(events)
        else:
            words = said(json.loads(raw))
        came[f"{way}, {'streamed' if stream else 'whole'}"] = [
            part for part in (ADDRESS, NAME, f"@{DOMAIN}") if part in words or part in raw
        ]
print("ok", json.dumps(came))
