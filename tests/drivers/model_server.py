"""A real language model behind OpenAI's API and Anthropic's, small enough for a test and a demo.

    MODEL_KEY=... model_server.py FILE PORT [--log-prompts]

Clients call it `smollm2`. What it was asked last stands at `/slots`; all that it is asked stands in its log, if that is wanted.
"""

import os
import pathlib
import sys
import time

# Read when the library is loaded.
os.environ["LLAMA_SERVER_SLOTS_DEBUG"] = "1"

import xllamacpp

PROMPTS = 5

params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.model_alias = {"smollm2"}
params.port = int(sys.argv[2])
params.api_keys = [os.environ.pop("MODEL_KEY")]
# It was trained without tools.
params.chat_template = pathlib.Path(__file__).with_name("model_template.jinja").read_text()
params.n_ctx = 2048
params.n_parallel = 1
params.cpuparams.n_threads = 1
if "--log-prompts" in sys.argv:
    params.verbosity = PROMPTS
server = xllamacpp.Server(params)
print("serving", server.listening_address, flush=True)
while True:
    time.sleep(3600)
