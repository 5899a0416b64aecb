"""Runs the measurements of bench/llm: llm.py LOAD GATEWAY_PID NAME:PORT..., with the token on standard input.

Rounds visit every target in random order, and targets are compared within a round only. What is printed is the median of the rounds, and
their extremes.
"""

import json
import os
import random
import re
import statistics
import subprocess
import sys

ROUNDS, SECS = int(os.environ.get("ROUNDS", 5)), int(os.environ.get("SECS", 3))
STREAMS, LASTING = int(os.environ.get("STREAMS", 1000)), int(os.environ.get("LASTING", 30))


def main(load, gateway, *targets):
    token = sys.stdin.read().strip()
    ports = dict(target.split(":") for target in targets)

    def run(what, target, count, seconds):
        command = [load, what, ports[target], token, str(count), str(seconds)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 120)
        if done.returncode:
            sys.exit(f"llm: {what} on {target}: {done.stderr.strip()[-500:]}")
        print(f"{what} {count} {target}: {done.stdout.strip()}", file=sys.stderr, flush=True)
        return json.loads(done.stdout)

    # Memory first: what a load has left behind would hide what streams cost.
    print(f"gateway without load: {memory(gateway, 'VmRSS'):.0f} MB")
    if STREAMS:
        for target in ("nginx", "claviger"):
            seen = run("streams", target, STREAMS, LASTING)
            events = seen.pop("events")
            times = [f"{name} {p50 / 1000:.1f}/{p99 / 1000:.1f} ms" for name, (p50, p99) in seen.items()]
            print(f"{STREAMS} streams, {target}: {events} events; p50/p99: {', '.join(times)}")
        print(f"gateway with {STREAMS} streams: at most {memory(gateway, 'VmHWM'):.0f} MB")
    for count in (1, 64):
        rounds = []
        for _ in range(ROUNDS):
            rounds.append({target: run("requests", target, count, SECS) for target in random.sample(list(ports), len(ports))})
        for target in ports:
            each = [one[target]["per_second"] for one in rounds]
            said = f"{count} connections, {target}: {middle(each, '.0f')}/s"
            if target == "claviger":
                said += f", {middle([one[target]['per_second'] / one['nginx']['per_second'] for one in rounds], '.2f')} of nginx"
            added = [one[target]["p50"] - one["direct"]["p50"] for one in rounds]
            print(said + ("" if target == "direct" else f", p50 +{middle(added, '.0f')} us"))
    print(f"gateway at the end: {memory(gateway, 'VmRSS'):.0f} MB")


def middle(values, form):
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def memory(pid, name):
    """Megabytes, of a line of the process's status."""
    return int(re.search(rf"{name}:\s+(\d+)", open(f"/proc/{pid}/status").read())[1]) / 1024


main(*sys.argv[1:])
