"""Tables of docs/benchmarks.md from the lines of results."""

import json

NAMES = {"tandem": "tandem", "shadow": "shad0w", "embeddings": "logistic regression, MiniLM", "tfidf": "logistic regression, TF-IDF",
         "tracer": "TRACER's acceptor", "shadow own": "shad0w, own certificate", "tracer own": "TRACER, own gate"}
WANTED = {("ocats", 0.05), ("ocats", 0.1), ("isear", 0.05), ("isear", 0.1), ("banking77", 0.05), ("banking77", 0.1)}


def percent(x):
    return f"{100 * x:.1f} %"


def table(head, rows):
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def last(lines, section, *keys):
    """The line with the most seeds for each key, the latest of those."""
    out = {}
    for line in lines:
        key = tuple(line.get(k) for k in keys)
        if line["peers"] == section and line.get("seeds", 0) >= out.get(key, line).get("seeds", 0):
            out[key] = line
    return out


def name(r):
    return f"tandem ({r['family']})" if r["rival"] == "tandem" else NAMES[r["rival"]]


def over(r):
    return f"{r['violations']} of {r['seeds']}" + ("" if r["within"] else " (too many)")


def served(r, seeds):
    """Over the first seeds, which are the same splits for everybody."""
    return sum(r["served_by_seed"][:seeds]) / seeds


def ratio(ours, theirs):
    n = min(ours["seeds"], theirs["seeds"])
    return served(ours, n) / served(theirs, n) if served(theirs, n) else float("inf")


def best(results):
    return max(results, key=lambda r: r["served_mean"], default=None)


def offload(lines, titles):
    results = list(last(lines, "offload", "of", "alpha", "rival", "family").values())
    results.sort(key=lambda r: (r["alpha"], list(NAMES).index(r["rival"])))
    out, verdict = [], []
    for rows, title in titles.items():
        body = []
        for alpha in sorted({r["alpha"] for r in results if r["of"] == rows}):
            here = [r for r in results if (r["of"], r["alpha"]) == (rows, alpha)]
            ours = best([r for r in here if r["rival"] == "tandem"])
            for r in here:
                body.append([name(r), f"{100 * alpha:g} %", percent(r["served_mean"]), percent(r["served_sd"]), percent(r["disagreement_mean"]),
                             over(r), r["refused"], "" if "own" in r["rival"] else percent(r["agreement"]), f"{r['train_s']:.0f} s",
                             f"{ratio(ours, r):.2f}" if ours and r["rival"] != "tandem" and r["served_mean"] else ""])
            theirs = best([r for r in here if r["rival"] != "tandem" and "own" not in r["rival"]])
            if (rows, alpha) in WANTED and ours and theirs:
                x = ratio(ours, theirs)
                verdict.append([title, f"{100 * alpha:g} %", f"{name(ours)}: {percent(ours['served_mean'])}", f"{name(theirs)}: {percent(theirs['served_mean'])}",
                                f"{x:.2f}", "met" if x >= 1.15 else "missed"])
        if body:
            head = ["program", "α", "served", "±", "disagreement", "seeds over α", "refused", "right without a gate", "training", "tandem ÷ it"]
            out.append(f"#### {title}\n\n" + table(head, body))
    if verdict:
        out.append("#### Against the best rival under the same certificate\n\n" + table(["rows", "α", "tandem", "best rival", "tandem ÷ it", "at least 1.15"], verdict))
    return "\n".join(out)


def first(lines):
    results = last(lines, "first", "rival", "family", "limit")
    limits = sorted({limit for *_, limit in results})
    body = []
    for who in sorted({key[:2] for key in results}, key=lambda k: list(NAMES).index(k[0])):
        mine = {limit: r for (*key, limit), r in results.items() if tuple(key) == who}
        certified = [n for n in limits if n in mine and mine[n]["refused"] * 2 <= mine[n]["seeds"]]
        cells = [f"{mine[n]['seeds'] - mine[n]['refused']} of {mine[n]['seeds']}: {100 * mine[n]['served_mean']:.0f} %" if n in mine else "" for n in limits]
        body.append([name(next(iter(mine.values()))), certified[0] if certified else f"over {max(mine)}", *cells])
    return table(["program", "labels until half of the seeds have one", *limits], body) if body else ""


def accuracy(lines):
    body = []
    for (of, rival, family), r in sorted(last(lines, "accuracy", "of", "rival", "family").items(), key=lambda kv: (kv[0][0], list(NAMES).index(kv[0][1]))):
        body.append([name(r), of, percent(r["accuracy"]["mean"]),
                     f"{r['auroc']['mean']:.3f}" if "auroc" in r else "", f"{r['train_s']:.1f} s", f"{r['p50_us']:.0f} µs"])
    return table(["program", "rows", "right", "AUROC", "training", "one answer"], body) if body else ""


def encoder(lines):
    body = [[name, f"{precision}", threads, tokens, f"{r['p50_ms']:.1f}", f"{r['least_ms']:.1f}", f"{r['cpu_ms']:.1f}"]
            for (name, precision, threads, tokens), r in last(lines, "encoder", "name", "precision", "threads", "tokens").items()]
    return table(["encoder", "weights", "threads", "tokens", "median ms", "least ms", "processor ms"], body) if body else ""


def stream(lines):
    body = [[rival, price, ", ".join(f"{x:.2f}" for x in r["limits"]), percent(r["accuracy"]), percent(r["calls"]), f"{r['discounted']:.3f}", f"{r['sd']:.3f}"]
            for (price, rival), r in sorted(last(lines, "stream", "lambda", "rival").items())]
    return table(["program", "λ", "thresholds or α", "right", "calls", "discounted", "±"], body) if body else ""


def write(results, titles):
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    parts = {"Certified offload": offload(lines, titles), "Labels before the first certificate, α 10 %": first(lines),
             "Accuracy without a gate": accuracy(lines), "Encoder": encoder(lines), "Stream": stream(lines)}
    return "\n".join(f"### {head}\n\n{body}" for head, body in parts.items() if body)


def put(document, name, text):
    """Replace what stands between the two comments."""
    head, mark, rest = document.read_text().partition(f"<!-- bench {name} -->\n")
    _, end, tail = rest.partition("<!-- end -->")
    if not mark or not end:
        raise SystemExit(f"{document} has no <!-- bench {name} --> that ends in <!-- end -->")
    document.write_text(head + mark + text + end + tail)
