"""Runs the measurements of bench/run in the world that it has started.

    measure.py rounds DIR GATEWAY_PID            every test on every target, round by round, then a Markdown table
    measure.py idle DIR PID TARGET SESSIONS      memory of the process PID per idle session

A machine's speed drifts by more than what is to be measured. So every round visits every target, in random order, and
targets are compared within a round only; the table shows the median of these ratios, and their extremes.
"""

import glob
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time

ROUNDS = int(os.environ.get("ROUNDS", 5))
SECS = int(os.environ.get("SECS", 2))
TESTS = os.environ.get("TESTS", "")
PSQL, PGBENCH = os.environ["PSQL"], os.environ["PGBENCH"]
# CPU time stands in /proc in ticks.
TICK = os.sysconf("SC_CLK_TCK")


def rounds(directory, gateway):
    targets = read_targets(directory)
    chosen = {name: test for name, test in tests().items() if re.search(TESTS, name)}
    results = {name: {target: [] for target in targets if target in on} for name, (_, on) in chosen.items()}
    for number in range(ROUNDS):
        for test, by_target in results.items():
            for target in random.sample(list(by_target), len(by_target)):
                by_target[target].append(one(chosen[test][0], targets[target], gateway))
            seen = " ".join(f"{target}={values[-1].get('value', float('nan')):.0f}" for target, values in by_target.items())
            print(f"round {number + 1}/{ROUNDS} {test}: {seen}", file=sys.stderr, flush=True)
    idles = read_idles(directory)
    with open(f"{directory}/results.json", "w") as out:
        json.dump({"rounds": ROUNDS, "secs": SECS, "results": results, "idle": idles}, out)
    table(results, idles, list(targets))


def one(test, environment, gateway):
    before = cpu(gateway)
    try:
        result = test(environment)
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        return {"error": str(error)[-300:]}
    if "operations" in result:
        result["cpu"] = (cpu(gateway) - before) / result["operations"]
    return result


# --- The tests -------------------------------------------------------------------------------------------------------


USUAL = ("direct", "pgbouncer", "claviger")
SECURED = (*USUAL, "pgbouncer-tls", "claviger-tls")


def tests():
    """Name to function, and the targets that it says something of; each returns a `value` of which more is better."""
    all = {}
    for protocol in ("simple", "extended", "prepared"):
        for clients in (1, 16):
            name = f"select {protocol}, {clients} client{'s' * (clients > 1)}"
            all[name] = (bench("-S", "-M", protocol, clients=clients), SECURED if protocol == "simple" else USUAL)
    all["update and insert (-N), 16 clients"] = (bench("-N", clients=16), (*USUAL, "claviger-ordered"))
    all["new connections (-C), 4 clients"] = (bench("-S", "-C", clients=4), SECURED)
    for name in ("select simple, 1 client", "select prepared, 1 client"):
        all[name] = (all[name][0], (*all[name][1], "claviger-masked", "claviger-record"))
    large = (*SECURED, "claviger-full", "claviger-none", "claviger-masked")
    all["copy 1M rows out"] = (psql("copy big to stdout"), large)
    all["select 1M rows"] = (psql("select * from big"), large)
    return all


def bench(*options, clients):
    def run(environment):
        with tempfile.TemporaryDirectory() as scratch:
            command = [PGBENCH, "-n", *options, "-c", str(clients), "-j", str(min(clients, 2)), "-T", str(SECS)]
            command += ["-l", f"--log-prefix={scratch}/log"] if clients == 1 else []
            output = finish(command, environment, SECS + 60)
            result = {
                "value": float(re.search(r"tps = ([\d.]+)", output)[1]),
                "operations": int(re.search(r"actually processed: (\d+)", output)[1]),
            }
            if clients == 1:
                lines = (line for path in glob.glob(f"{scratch}/log*") for line in open(path))
                latencies = sorted(int(line.split()[2]) for line in lines)
                result |= {"p50": percentile(latencies, 50), "p99": percentile(latencies, 99)}
            return result

    return run


def psql(statement):
    def run(environment):
        start = time.perf_counter()
        # psql formats as COPY does, nearly; the megabytes are those of COPY for both.
        finish([PSQL, "-qXAt", "-c", statement], environment, 300, subprocess.DEVNULL)
        return {"value": megabytes(environment) / (time.perf_counter() - start)}

    return run


SIZE = []


def megabytes(environment):
    if not SIZE:
        SIZE.append(len(finish([PSQL, "-qXAt", "-c", "copy big to stdout"], environment, 300)) / 1e6)
    return SIZE[0]


def finish(command, environment, timeout, stdout=subprocess.PIPE):
    done = subprocess.run(command, env=environment, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=timeout)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return done.stdout


# --- Idle memory -----------------------------------------------------------------------------------------------------


def idle(directory, pid, target, sessions):
    environment = read_targets(directory)[target]
    direct = read_targets(directory)["direct"]
    before = proportional(pid)
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        # A statement first, so that buffers have been used.
        script.write("select 1;\n\\sleep 600 s\n")
        script.flush()
        command = [PGBENCH, "-n", "-f", script.name, "-c", str(sessions), "-j", "2", "-t", "1"]
        clients = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            await_sessions(direct, sessions, clients)
            time.sleep(3)
            each = (proportional(pid) - before) / sessions
        finally:
            clients.terminate()
            clients.wait()
    await_sessions(direct, 0, None)
    with open(f"{directory}/idle", "a") as out:
        print(target, before, each, sep="\t", file=out)
    print(f"idle: {target} {each:.1f} KiB", file=sys.stderr)


def await_sessions(direct, wanted, clients):
    """Until the server has that many sessions that have run their statement; the one that asks does not count."""
    query = "select count(*) from pg_stat_activity where usename = 'bench' and pid <> pg_backend_pid() and (state = 'idle') = true"
    for _ in range(240):
        if clients and clients.poll() is not None:
            sys.exit(f"measure: the idle clients have ended: {clients.stderr.read()[-300:]}")
        count = int(finish([PSQL, "-qXAt", "-c", query], direct, 10))
        if count >= wanted if wanted else count == 0:
            return
        time.sleep(0.5)
    sys.exit(f"measure: {count} of {wanted} sessions")


def proportional(pid):
    """The process's memory in KiB, shared pages by their share."""
    return int(re.search(r"^Pss: +(\d+)", open(f"/proc/{pid}/smaps_rollup").read(), re.M)[1])


def cpu(pid):
    """Microseconds of CPU that the process has used."""
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * 1e6 / TICK


# --- The table -------------------------------------------------------------------------------------------------------


def table(results, idles, targets):
    base, *others = targets
    row("", base, *others)
    row(*["---"] * (len(targets) + 1))
    for test, by_target in results.items():
        # What a test leaves out stays an empty cell.
        compared = [other if other in by_target else None for other in others]
        cells = lambda cell: [cell(other) if other else "" for other in compared]
        unit = "MB/s" if "rows" in test else "/s"
        ratios = cells(lambda other: spread(paired(by_target, base, other, "value")))
        row(test, spread(values(by_target[base], "value"), unit), *ratios)
        for key in ("p50", "p99"):
            if values(by_target[base], key):
                added = cells(lambda other: spread(paired(by_target, base, other, key, lambda a, b: a - b), "µs", sign="+"))
                row(f"— {key}, and what is added", spread(values(by_target[base], key), "µs"), *added)
        if values(by_target[base], "cpu"):
            costs = cells(lambda other: spread(values(by_target[other], "cpu"), "µs") if "claviger" in other else "")
            row("— CPU of the gateway, each", "", *costs)
        peers = {"claviger": "pgbouncer", "claviger-tls": "pgbouncer-tls", "claviger-ordered": "pgbouncer"}
        compared_with = cells(lambda other: against(by_target, peers.get(other), other) or "")
        if any(compared_with):
            row("— to PgBouncer", "", *compared_with)
    if idles:
        row("memory of an idle session", "", *(f"{idles[other][1]:.1f} KiB" if other in idles else "" for other in others))
        row("memory of the process without any", "", *(f"{idles[other][0] / 1024:.1f} MiB" if other in idles else "" for other in others))
    for test, by_target in results.items():
        for target, outcomes in by_target.items():
            for error in {outcome["error"] for outcome in outcomes if "error" in outcome}:
                print(f"\nFAILED: {test}, {target}: {error}")


def against(by_target, peer, ours):
    """The same rounds compared with a peer instead of with `direct`."""
    if peer in by_target and ours in by_target:
        return spread(paired(by_target, peer, ours, "value"))
    return None


def row(*cells):
    print("| " + " | ".join(cells) + " |")


def paired(by_target, base, other, key, compare=lambda a, b: a / b):
    return [compare(a[key], b[key]) for a, b in zip(by_target[other], by_target[base]) if key in a and key in b]


def spread(numbers, unit="", sign=""):
    if not numbers:
        return "n/a"
    form = f"{{:{sign}.0f}}" if unit else "{:.2f}"
    median, low, high = (form.format(of(numbers)) for of in (statistics.median, min, max))
    return f"{median} {unit}".rstrip() + f" ({low} to {high})"


def values(outcomes, key):
    return [outcome[key] for outcome in outcomes if key in outcome]


def percentile(ascending, percent):
    return ascending[min(len(ascending) - 1, len(ascending) * percent // 100)]


# --- The world -------------------------------------------------------------------------------------------------------


def read_targets(directory):
    """Name to environment."""
    found = {}
    for line in open(f"{directory}/targets"):
        name, port, sslmode, secret = line.rstrip("\n").split("\t")
        found[name] = os.environ | {
            "PGHOST": "127.0.0.1",
            "PGPORT": port,
            "PGUSER": "bench",
            "PGDATABASE": "bench",
            "PGSSLMODE": sslmode,
            "PGPASSWORD": open(secret).read().strip(),
        }
    return found


def read_idles(directory):
    """Name to the process's memory without sessions, and that of each session."""
    if not os.path.exists(f"{directory}/idle"):
        return {}
    lines = (line.rstrip("\n").split("\t") for line in open(f"{directory}/idle"))
    return {name: (float(before), float(each)) for name, before, each in lines}


if __name__ == "__main__":
    if sys.argv[1] == "rounds":
        rounds(sys.argv[2], int(sys.argv[3]))
    else:
        idle(sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5]))
