"""Measure tandem beside its rivals: same rows, same splits, same certificate.

Run it with bench/peers/run, which installs what it needs. Every result is one
line of JSON in WORK/results.jsonl and a table in WORK/tables.md; answers and
vectors are kept in WORK, so a run that is broken off goes on where it was.
"""

import argparse
import hashlib
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # before numpy: one thread each, as tandem trains in its benchmark

import numpy as np  # noqa: E402

import minilm  # noqa: E402
import ocats  # noqa: E402
import tables  # noqa: E402
from rivals import RIVALS, Task  # noqa: E402

BANKING = ["--csv", "banking77_gpt/train_gold.csv", "--text", "text", "--teacher", "label", "--test", "banking77_gpt/test_gpt.csv"]
ROWS = {  # name: (what people read, flags of tandem bench offload, alphas)
    "ocats": ("GPT-4's answers (OCaTS)", ["--csv", "banking77_gpt/test_gpt.csv", "--csv", "banking77_gpt/dev_gpt.csv", "--text", "text",
                                          "--teacher", "gpt-label", "--gold", "label"], ["0.05", "0.1", "0.2"]),
    "isear": ("GPT-3.5's answers (ISEAR)", ["--csv", "isear_llm/isear.csv", "--text", "text", "--teacher", "gpt35", "--gold", "gold"],
              ["0.05", "0.1", "0.2"]),
    "banking77": ("Banking77, true intents", BANKING, ["0.02", "0.05", "0.1"]),
    "clinc150": ("CLINC150, true intents", ["--csv", "clinc150/data_full.json", "--text", "text", "--teacher", "intent",
                                            "--exclude-label", "oos"], ["0.02", "0.05", "0.1"]),
}
LIMITS = (200, 300, 400, 500, 600, 800, 1000, 1300, 1600, 2000, 2500)
DELTA = 0.1


class Bench:
    def __init__(self, args):
        self.args, self.work = args, args.work
        self.work.mkdir(parents=True, exist_ok=True)
        self.encoder = None

    def tandem(self, *words):
        """Run tandem; paths of data sets are completed. Its lines of JSON come back."""
        words = [str(self.args.data / w) if w.split("/")[0] in DATA else w for w in words]
        done = subprocess.run([self.args.tandem, *words], stdout=subprocess.PIPE, text=True, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def report(self, line):
        """One result: to the file of results and to the terminal."""
        line.pop("files", None)
        with (self.work / "results.jsonl").open("a") as f:
            f.write(json.dumps(line, ensure_ascii=False) + "\n")
        print(json.dumps(line, ensure_ascii=False), flush=True)

    def embed(self, texts):
        """Vectors of texts, from the cache where they are."""
        key = hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]
        path = self.work / f"vectors-{key}.npy"
        if not path.exists():
            self.encoder = self.encoder or minilm.Encoder(minilm.build(self.work / "minilm.onnx"))
            np.save(path, self.encoder(texts))
        return np.load(path)

    def splits(self, name, flags, seeds):
        """What tandem would train, certify and test on: the task, and per seed three arrays of rows."""
        path = self.work / f"{name}.splits"
        command = ["accuracy"] if flags[0] == "accuracy" else ["offload"]
        self.tandem("bench", *command, *flags[flags[0] == "accuracy":], "--seeds", str(seeds), "--splits", str(path))
        with path.open() as f:
            head, *lines = map(json.loads, f)
        rows, own = head["rows"], head.get("test", [])
        task = Task([r["text"] for r in rows + own], [r["label"] for r in rows + own], self.embed)
        parts = {}
        for line in lines:
            test = line.get("test") or range(len(rows), len(rows) + len(own))
            parts[line["seed"]] = tuple(np.array(p, dtype=int) for p in (line["fit"], line["certify"], test))
        return task, parts

    def answered(self, path, name, parts, answer):
        """Ask a rival for the seeds it has not answered yet, each kept in a file of its own; all of them go into one."""
        have = {int(p.suffix[1:]) for p in path.parent.glob(path.name + ".[0-9]*")}
        for seed, part in parts.items():
            if seed not in have:
                line = {"name": name, "seed": seed, **answer(*part)}
                half = path.with_name(path.name + ".half")
                half.write_text(json.dumps(line) + "\n")
                half.rename(path.with_name(f"{path.name}.{seed}"))
                print(f"{path.name}: seed {seed}, {line['train_s']:.0f} s {line.get('note', '')}", file=sys.stderr, flush=True)
        lines = [path.with_name(f"{path.name}.{seed}").read_text() for seed in parts]
        path.write_text("".join(lines))
        return {seed: json.loads(line) for seed, line in zip(parts, lines)}

    def judge(self, rows, rival, flags, alphas, seeds, path=None, **more):
        extra = ["--answers", str(path)] if path else []
        for line in self.tandem("bench", "offload", *flags, "--alpha", ",".join(alphas), "--delta", str(DELTA), "--seeds", str(seeds), "--json", *extra):
            self.report({"peers": "offload", "of": rows, "rival": rival, **more, **line})

    def offload(self):
        """Served share under one certificate, and under the rivals' own."""
        for rows, (_, flags, alphas) in ROWS.items():
            if self.args.rows and rows not in self.args.rows:
                continue
            if "tandem" in self.args.rival:
                self.judge(rows, "tandem", [*flags, *self.args.student], alphas, self.args.seeds)
            task, parts = self.splits(rows, flags, self.args.seeds)
            for key, kind in RIVALS.items():
                if key not in self.args.rival:
                    continue
                some = {s: p for s, p in parts.items() if s <= self.seeds_of(key)}
                rival, path = kind(task), self.work / f"{rows}-{key}.answers"
                said = self.answered(path, kind.name, some, lambda *p, r=rival: r.answers(*p, 0.05))
                self.judge(rows, key, flags, alphas, len(some), path)
                for alpha in alphas if hasattr(kind, "own_gate") else []:
                    own = self.work / f"{rows}-{key}-own-{alpha}.answers"
                    judged = {s: (said[s], *p) for s, p in some.items() if key == "shadow" or s <= self.args.own_seeds}
                    if not judged:
                        continue
                    self.answered(own, kind.own_gate, judged, lambda *p, r=rival, a=float(alpha): r.own(*p, a, DELTA))
                    self.judge(rows, key + " own", flags, [alpha], len(judged), own)

    def first(self):
        """Labels that are needed before there is a first certificate at 10 %."""
        for limit in self.args.limit or LIMITS:
            flags = [*BANKING, "--limit", str(limit)]
            if "tandem" in self.args.rival:
                self.judge("banking77", "tandem", [*flags, *self.args.student], ["0.1"], self.args.seeds, peers="first")
            task, parts = self.splits(f"first-{limit}", flags, self.args.seeds)
            for key, kind in RIVALS.items():
                if key in self.args.rival:
                    some = {s: p for s, p in parts.items() if s <= self.seeds_of(key)}
                    path = self.work / f"first-{limit}-{key}.answers"
                    self.answered(path, kind.name, some, lambda *p, r=kind(task): r.answers(*p, 0.05))
                    self.judge("banking77", key, flags, ["0.1"], len(some), path, peers="first")

    def accuracy(self):
        """Right answers without a gate, and how well the score tells what is no part of the task."""
        for rows, flags in ACCURACY.items():
            if self.args.rows and rows not in self.args.rows:
                continue
            seeds = str(self.args.accuracy_seeds)
            if "tandem" in self.args.rival:
                for line in self.tandem("bench", "accuracy", *flags, "--seeds", seeds, "--json", *self.args.student):
                    self.report({"peers": "accuracy", "of": rows, "rival": "tandem", **line})
            task, parts = self.splits(f"accuracy-{rows}", ["accuracy", *flags], self.args.accuracy_seeds)
            for key, kind in RIVALS.items():
                if key in self.args.rival:
                    path = self.work / f"accuracy-{rows}-{key}.answers"
                    self.answered(path, kind.name, {1: parts[1]}, lambda *p, r=kind(task): r.answers(*p, 0.05))
                    for line in self.tandem("bench", "accuracy", *flags, "--seeds", "1", "--json", "--answers", str(path)):
                        self.report({"peers": "accuracy", "of": rows, "rival": key, **line})

    def encoder(self):
        """How long one text takes in ONNX Runtime."""
        for line in minilm.speed(self.work):
            self.report({"peers": "encoder", "rival": "onnxruntime", **line})

    def stream(self):
        """OCaTS and tandem on OCaTS's stream. Both tune on its development rows: it two thresholds, tandem alpha."""
        flags = ["--text", "text", "--teacher", "gpt-label", "--gold", "label", "--seed-rows", "banking77_gpt/train_3shot.csv", "--seed-label", "label"]
        if "tandem" in self.args.rival:
            runs = {}
            for name in ("dev", "test"):
                for alpha in STREAM_ALPHAS:
                    line, = self.tandem("bench", "stream", "--csv", f"banking77_gpt/{name}_gpt.csv", *flags, "--alpha", alpha, "--json", *self.args.student)
                    runs[name, alpha] = {d["lambda"]: d["tandem"] for d in line["discounted"]}, line
            for price in ocats.LAMBDAS:
                alpha = max(STREAM_ALPHAS, key=lambda a: runs["dev", a][0][price]["mean"])
                discounted, line = runs["test", alpha]
                self.report({"peers": "stream", "rival": "tandem", "lambda": price, "limits": [float(alpha)], "accuracy": line["accuracy"]["mean"],
                             "calls": line["calls"]["mean"], "discounted": discounted[price]["mean"], "sd": discounted[price]["sd"],
                             "rows": line["rows"], "orders": line["shuffles"], "teacher": line["accuracy_teacher"]["mean"]})
        if "ocats" in self.args.rival:
            for line in ocats.measure(self.args.data, self.embed):
                self.report(line)

    def seeds_of(self, rival):
        return min(self.args.seeds, self.args.slow_seeds if rival in ("shadow", "tfidf") else self.args.seeds)


ACCURACY = {
    "banking77": BANKING,
    "clinc150": ["--csv", "clinc150/data_full.json", "--text", "text", "--teacher", "intent", "--split", "train", "--test", "clinc150/data_full.json",
                 "--test-split", "test", "--test-split", "oos_test", "--outside", "oos"],
}
STREAM_ALPHAS = ("0.1", "0.2", "0.3", "0.4")
DATA = {"banking77_gpt", "isear_llm", "clinc150"}


def main():
    sections = {name: getattr(Bench, name) for name in ("offload", "first", "accuracy", "encoder", "stream")}
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--tandem", default="./tandem", help="the program to measure")
    p.add_argument("--data", type=Path, default=os.environ.get("TANDEM_DATA", "../shared/data"), help="folder with the public data sets")
    p.add_argument("--work", type=Path, required=True, help="folder for answers, vectors and results")
    p.add_argument("--docs", type=Path, help="also write the tables into this document, between <!-- bench peers --> and <!-- end -->")
    p.add_argument("--only", action="append", choices=sections, help="only this section; repeat for several")
    p.add_argument("--rows", action="append", choices=ROWS, help="only these rows; repeat for several")
    p.add_argument("--rival", action="append", choices=["tandem", *RIVALS, "ocats"], help="only this program; repeat for several")
    p.add_argument("--limit", action="append", type=int, help="only so many labels in section first; repeat for several")
    p.add_argument("--student", type=shlex.split, default=[], metavar="FLAGS",
                   help="flags of tandem's own runs, such as '--family linear'; results of other families are kept beside")
    p.add_argument("--seeds", type=int, default=20)
    p.add_argument("--accuracy-seeds", type=int, default=3, help="trainings of tandem for the accuracy; rivals train once")
    p.add_argument("--slow-seeds", type=int, default=5, help="seeds of rivals that train for minutes")
    p.add_argument("--own-seeds", type=int, default=5, help="seeds of TRACER's own gate, which trains anew for each alpha")
    args = p.parse_args()
    args.data = Path(args.data)
    args.rival = args.rival or ["tandem", *RIVALS, "ocats"]
    bench = Bench(args)
    for name, section in sections.items():
        if not args.only or name in args.only:
            section(bench)
    text = tables.write(args.work / "results.jsonl", {name: title for name, (title, *_) in ROWS.items()})
    (args.work / "tables.md").write_text(text)
    if args.docs:
        tables.put(args.docs, "peers", text)


if __name__ == "__main__":
    main()
