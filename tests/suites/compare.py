"""Compares two runs of a suite.

    compare.py differing DIRECT THROUGH          the tests whose outcomes differ, one a line
    compare.py judge TITLE DIR EXPECTED          states the counts; fails on a difference that EXPECTED gives no rule for

EXPECTED holds sections: a line `# RULE` that says which of the gateway's rules causes a difference and where it is written
down, then patterns of test names, one a line, in which `*` stands for anything. `@18 ` before a pattern limits it to that
server. A pattern that matches tests of which none differs is an error too, so that the list stays true.
"""

import collections
import os
import re
import sys


def outcomes(path):
    if not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8") as lines:
        return {test: outcome for outcome, test in (line.rstrip("\n").split("\t", 1) for line in lines)}


def differing(direct, through):
    """Every test whose outcomes differ, with both."""
    return {
        test: (direct.get(test, "not run"), through.get(test, "not run"))
        for test in sorted(direct.keys() | through.keys())
        if direct.get(test) != through.get(test)
    }


def rules(path, major):
    """Pairs of a pattern and its rule."""
    rule, found = None, []
    if not os.path.exists(path):
        return found
    with open(path, encoding="utf-8") as lines:
        for line in map(str.strip, lines):
            if line.startswith("# "):
                rule = line[2:]
            elif line:
                if rule is None:
                    sys.exit(f"{path}: `{line}` stands under no rule")
                limit, _, pattern = line.rpartition(" ") if line.startswith("@") else ("", "", line)
                if limit in ("", f"@{major}"):
                    found.append((re.compile(re.escape(pattern).replace(r"\*", ".*")), rule))
    return found


def judge(title, directory, expected):
    direct, through = (outcomes(os.path.join(directory, way)) for way in ("direct", "through"))
    differ = differing(direct, through)
    again = differing(*(outcomes(os.path.join(directory, f"{way}.again")) for way in ("direct", "through")))
    known = rules(expected, title.rpartition("@")[2])
    for way, results in (("direct", direct), ("through", through)):
        counts = ", ".join(f"{count} {outcome}" for outcome, count in collections.Counter(results.values()).most_common())
        print(f"{title} {way:8} {len(results)} tests: {counts}")
    explained, unexplained, used = collections.Counter(), [], set()
    for test, (one, other) in differ.items():
        matching = [(pattern, rule) for pattern, rule in known if pattern.fullmatch(test)]
        used.update(pattern for pattern, _ in matching)
        if matching:
            explained[matching[0][1]] += 1
        elif test in again:
            unexplained.append(f"{test}: {one} directly, {other} through the gateway")
        else:
            print(f"{title} unsteady: {test} ({one} directly, {other} through the gateway; alike when run again)")
    stale = [pattern.pattern for pattern, _ in known if pattern not in used and any(map(pattern.fullmatch, direct))]
    for rule, count in explained.items():
        print(f"{title} expected: {count} differ: {rule}")
    for line in unexplained:
        print(f"{title} UNEXPLAINED: {line}")
    for pattern in stale:
        print(f"{title} STALE: {pattern} is expected to differ and does not")
    print(f"{title}: {len(differ)} differ, {sum(explained.values())} by rule, {len(unexplained)} unexplained")
    return 1 if unexplained or stale else 0


if sys.argv[1] == "differing":
    print(*differing(*map(outcomes, sys.argv[2:4])), sep="\n", end="")
else:
    sys.exit(judge(*sys.argv[2:5]))
