"""A pytest plugin that writes a line `OUTCOME<tab>ID` for each test to the file $OUTCOMES."""

import os

_worst = {}


def pytest_runtest_logreport(report):
    if report.when == "call" or report.outcome != "passed":
        outcome = report.outcome
        if report.when != "call" and outcome == "failed":
            outcome = "error"
        if hasattr(report, "wasxfail"):
            outcome = "xfailed" if outcome == "skipped" else "xpassed"
        # An error while tearing down outweighs a test that passed.
        _worst[report.nodeid] = outcome
    if report.when == "teardown":
        with open(os.environ["OUTCOMES"], "a", encoding="utf-8") as out:
            print(_worst.pop(report.nodeid, "passed"), report.nodeid, sep="\t", file=out)
