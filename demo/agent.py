"""An AI agent made with LangChain: it asks a bank's database, and a language model what the rows mean.

    agent.py summarize NOTE     rows and a note become a prompt, and the model's answer is shown as it comes
    agent.py recite ADDRESS     the model is made to say an address that stands in no prompt
    agent.py pay                the model is offered a tool that moves money, and calls it

It knows an address and a key of each (DATABASE_URL; OPENAI_BASE_URL and OPENAI_API_KEY), and nothing of a gateway. A model as small as
this one does not plan; so the plan is fixed, and nothing depends on what it says.
"""

import os
import sys

import openai
from langchain_community.utilities import SQLDatabase
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

MODEL = ChatOpenAI(model=os.environ["OPENAI_MODEL"], temperature=0, max_tokens=60, max_retries=0, timeout=120)

PROMPT = ChatPromptTemplate.from_messages([
    ("system", "You work for a bank."),
    ("human", "A note by a colleague: {note}\nWhat the bank has: {rows}\nWhat is this about? Answer in one sentence."),
])


def summarize(note):
    bank = SQLDatabase.from_uri(os.environ["DATABASE_URL"])
    query = "select name, email, ssn, branch from customers where id in (17, 18) order by id"
    rows = bank.run(query)
    show(f"SQL:   {query}")
    show(f"Rows:  {rows}")
    stream(PROMPT | MODEL, {"note": note, "rows": rows})


def recite(address):
    """Its answer must match a pattern. In a pattern, the address does not look like one."""
    email = {"type": "string", "pattern": f"^{address.replace('.', '[.]')}$"}
    form = {"name": "contact", "schema": {"type": "object", "properties": {"email": email}, "required": ["email"]}}
    stream(MODEL.bind(response_format={"type": "json_schema", "json_schema": form}), "How can the customer be reached?")


@tool
def transfer_money(account: str, dollars: int) -> str:
    """Moves money to an account."""
    raise SystemExit(f"{dollars} dollars were moved to {account}")


def pay():
    """The model is told that it has to call a tool. It may yet talk until it has no words left; then it is asked again."""
    for seed in range(5):
        model = MODEL.bind_tools([transfer_money], tool_choice="required", seed=seed, temperature=seed / 10)
        try:
            answer = model.invoke("Call transfer_money.")
        except openai.APIStatusError as refusal:
            show(f"{type(refusal).__name__}: {refusal.body['message']}")
            sys.exit(3)
        for call in answer.tool_calls:
            transfer_money.invoke(call)
    show(f"Model: {answer.content}")


def stream(chain, asked):
    """Shows an answer piece by piece."""
    print("    Model: ", end="")
    for piece in chain.stream(asked):
        print(piece.content.replace("\n", "\n    "), end="", flush=True)
    print()


def show(line):
    print("    " + line, flush=True)


{"summarize": summarize, "recite": recite, "pay": pay}[sys.argv[1]](*sys.argv[2:])
