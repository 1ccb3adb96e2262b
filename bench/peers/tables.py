"""Tables of docs/benchmarks.md from the lines of results; a later line takes the place of an earlier one."""

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
    return {tuple(line.get(k) for k in keys): line for line in lines if line["peers"] == section}


def mean(x):
    return sum(x) / len(x)


def offload(lines, titles):
    results = last(lines, "offload", "of", "alpha", "rival")
    out = []
    for rows, title in titles.items():
        body = []
        for (of, alpha, rival), r in sorted(results.items(), key=lambda kv: (kv[0][1], list(NAMES).index(kv[0][2]))):
            if of != rows:
                continue
            ours = results.get((of, alpha, "tandem"))
            ratio = ""
            if ours and rival != "tandem":
                n = min(r["seeds"], ours["seeds"])  # on the seeds that both have
                theirs = mean(r["served_by_seed"][:n])
                ratio = f"{mean(ours['served_by_seed'][:n]) / theirs:.2f}" if theirs > 0 else "they serve none"
            over = f"{r['violations']} of {r['seeds']}" + ("" if r["within"] else " (too many)")
            body.append([NAMES[rival], percent(alpha)[:-4] + " %", percent(r["served_mean"]), percent(r["served_sd"]),
                         percent(r["disagreement_mean"]), over, r["refused"], percent(r["agreement"]) if "own" not in rival else "",
                         f"{r['train_s']:.0f} s", ratio])
        if body:
            head = ["program", "α", "served", "±", "disagreement", "seeds over α", "refused", "right without a gate", "training", "tandem ÷ it"]
            out.append(f"#### {title}\n\n" + table(head, body))
    verdict = []
    for rows, alpha in sorted(WANTED):
        ours = results.get((rows, alpha, "tandem"))
        rivals = {k[2]: r for k, r in results.items() if k[:2] == (rows, alpha) and k[2] != "tandem" and "own" not in k[2]}
        if ours and rivals:
            name, best = max(rivals.items(), key=lambda kv: kv[1]["served_mean"])
            n = min(best["seeds"], ours["seeds"])
            theirs = mean(best["served_by_seed"][:n])
            ratio = mean(ours["served_by_seed"][:n]) / theirs if theirs else float("inf")
            verdict.append([titles[rows], percent(alpha)[:-4] + " %", percent(ours["served_mean"]), f"{NAMES[name]}: {percent(best['served_mean'])}",
                            f"{ratio:.2f}", "met" if ratio >= 1.15 else "missed"])
    if verdict:
        out.append("#### Against the best rival\n\n" + table(["rows", "α", "tandem", "best rival", "tandem ÷ it", "at least 1.15"], verdict))
    return "\n".join(out)


def first(lines):
    results = last(lines, "first", "rival", "limit")
    limits = sorted({limit for _, limit in results})
    body = []
    for rival in [r for r in NAMES if any(k[0] == r for k in results)]:
        mine = {limit: r for (name, limit), r in results.items() if name == rival}
        certified = [limit for limit in limits if limit in mine and mine[limit]["refused"] * 2 <= mine[limit]["seeds"]]
        cells = [f"{mine[n]['seeds'] - mine[n]['refused']}/{mine[n]['seeds']}, {100 * mine[n]['served_mean']:.0f} %" if n in mine else "" for n in limits]
        body.append([NAMES[rival], certified[0] if certified else f"over {limits[-1]}", *cells])
    return table(["program", "labels for half of the seeds", *limits], body) if body else ""


def accuracy(lines):
    body = []
    for (of, rival, family), r in sorted(last(lines, "accuracy", "of", "rival", "family").items(), key=lambda kv: (kv[0][0], list(NAMES).index(kv[0][1]))):
        body.append([f"{NAMES[rival]} ({family})" if rival == "tandem" else NAMES[rival], of, percent(r["accuracy"]["mean"]),
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
