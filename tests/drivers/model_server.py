"""A real language model behind OpenAI's API, small enough for a test: model_server.py MODEL PORT KEY"""

import sys
import time

import xllamacpp

params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.port = int(sys.argv[2])
params.api_keys = [sys.argv[3]]
params.n_ctx = 1024
params.n_parallel = 1
params.cpuparams.n_threads = 1
server = xllamacpp.Server(params)
print("serving", server.listening_address, flush=True)
while True:
    time.sleep(3600)
