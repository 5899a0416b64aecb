"""Shows the leaves of `claviger sessions tail`, of standard input: what was asked of the model, and what was masked anywhere."""

import json
import sys

leaves = [json.loads(line) for line in sys.stdin if line.startswith("{")]
outcomes = {(leaf["session"], leaf["op"]): leaf for leaf in leaves if leaf["type"] == "OUTCOME"}
for leaf in leaves:
    if leaf["type"] != "REQUEST":
        continue
    masked = outcomes.get((leaf["session"], leaf["op"]), {}).get("masked")
    if leaf["connection"] != "model" and not masked:
        continue
    effects = [effect for statement in leaf["statements"] for effect in statement["effects"]]
    done = ", ".join(dict.fromkeys(f"{effect['verb']} {effect['object']}" for effect in effects))
    print(f"{leaf['who']}, {leaf['connection']}: {done}")
    decision = leaf["decision"]
    print(f"  {decision['verdict']} by {', '.join(decision['policies'])}")
    if masked:
        found = [f"{one['of']} {one['count']}" for one in masked["found"]]
        print("  masked:", ", ".join([f"{one['column']} {one['values']}" for one in masked["columns"]] + found))
