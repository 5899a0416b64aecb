"""Runs PostgreSQL's regression or isolation tests as pg_regress does, against a server that is there already.

    regress.py OUT SOURCE RESULTS SCHEDULE SUFFIX COMMAND...

Every test of SOURCE/SCHEDULE is given to COMMAND on standard input, groups of tests side by side, and what it prints is kept in
RESULTS. A test is `ok` if that is what one of SOURCE/expected/TEST*.out holds. If it is not, its outcome in OUT names the
difference, so that two runs of a test are alike only if they fail alike.
"""

import difflib
import glob
import hashlib
import os
import re
import subprocess
import sys

PATIENCE = 300
SIDE_BY_SIDE = 10


def groups(schedule):
    with open(schedule, encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("test:"):
                yield line.removeprefix("test:").split()


def start(test, source, results, suffix, command):
    kind = "sql" if suffix == "sql" else "specs"
    with open(f"{source}/{kind}/{test}.{suffix}", "rb") as script, open(f"{results}/{test}.out", "wb") as out:
        return subprocess.Popen(command, stdin=script, stdout=out, stderr=subprocess.STDOUT)


def finish(test, process):
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        print(f"{test}: not done within {PATIENCE} s")
        process.kill()
        process.wait()


def read(path):
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        text = file.read()
    # What differs between a server and a gateway before it by nature, and from run to run.
    for name, value in (("port PORT", f'port {os.environ["PGPORT"]}'), ("PLACE", os.environ.get("PG_ABS_BUILDDIR"))):
        text = text.replace(value, name) if value else text
    return text.splitlines(keepends=True)


def outcome(test, source, results):
    got = read(f"{results}/{test}.out")
    best = None
    for path in [f"{source}/expected/{test}.out", *sorted(glob.glob(f"{source}/expected/{test}_[0-9].out"))]:
        if not os.path.exists(path):
            continue
        difference = list(difflib.unified_diff(read(path), got, "expected", "got", n=1))
        if not difference:
            return "ok"
        if best is None or len(difference) < len(best):
            best = difference
    text = "".join(best or ["no expectation"])
    with open(f"{results}/{test}.diff", "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
    # Addresses in memory, process ids and times differ from run to run; positions within the file do not matter.
    steady = re.sub(r"^@@.*@@$|\b\d{5,}\b|\d+\.\d+", "", text, flags=re.MULTILINE)
    return "not ok " + hashlib.sha256(steady.encode("utf-8", "surrogateescape")).hexdigest()[:8]


def main(out, source, results, schedule, suffix, *command):
    os.makedirs(results, exist_ok=True)
    with open(out, "w", encoding="utf-8") as outcomes:
        for group in groups(f"{source}/{schedule}"):
            for first in range(0, len(group), SIDE_BY_SIDE):
                running = {test: start(test, source, results, suffix, command) for test in group[first : first + SIDE_BY_SIDE]}
                for test, process in running.items():
                    finish(test, process)
                    print(outcome(test, source, results), test, sep="\t", file=outcomes, flush=True)


main(*sys.argv[1:])
