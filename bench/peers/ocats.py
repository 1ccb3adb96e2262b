"""The online policy of OCaTS (Stogiannidis et al., EMNLP Findings 2023), our reading of its published code.

A student that votes among the five nearest known texts answers when the entropy of its vote is under one threshold
and the text lies closer than another to the weighted centre of those five; else the teacher is asked, and its answer
becomes known. The thresholds are tuned per price λ of a call on the development rows, for the discounted accuracy
(accuracy against gold minus λ times calls per row), by random search in place of its TPE sampler. The vectors are
MiniLM's in place of MPNet's, and the stream, the 231 known rows and the five orders are its own.
"""

import csv
from pathlib import Path

import numpy as np

LAMBDAS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
NEIGHBOURS = 5
# The thresholds its repository lists for the nearest-neighbour student on MPNet vectors: λ to (entropy, distance).
PUBLISHED = {0.05: (0.832418, 0.982418), 0.1: (0.995321, 0.995321), 0.2: (1.084372, 1.084372),
             0.3: (1.27726, 1.27726), 0.4: (1.7, 0.302405), 0.5: (1.627944, 0.305642)}


def stream(vectors, teacher, gold, known, known_labels, entropy_limit, distance_limit):
    """One pass: accuracy against gold and calls per row."""
    n = len(vectors)
    base, labels = np.concatenate([known, np.empty_like(vectors)]), np.concatenate([known_labels, np.empty(n, int)])
    size, calls, right = len(known), 0, 0
    for x, said, truth in zip(vectors, teacher, gold):
        distance = 1 - base[:size] @ x
        near = np.argpartition(distance, NEIGHBOURS)[:NEIGHBOURS]
        d = np.maximum(distance[near], 0)
        votes = np.bincount(labels[near], weights=1 / (d + 1e-10) ** 2)
        p = np.maximum(votes / votes.sum(), 1e-10)
        weight = 1 / (d + 1e-6) ** 2
        centre = weight @ base[near]
        away = 1 - centre @ x / np.linalg.norm(centre)
        answer = int(p.argmax())
        if -(p * np.log(p)).sum() > entropy_limit or not away < distance_limit:
            answer = said
            base[size], labels[size] = x, said
            size, calls = size + 1, calls + 1
        right += answer == truth
    return right / n, calls / n


def read(path: Path, teacher=None):
    with path.open(newline="") as f:
        rows = [r for r in csv.DictReader(f) if teacher is None or r[teacher]]
    return [r["text"] for r in rows], np.array([int(r["label"]) for r in rows]), np.array([int(r[teacher or "label"]) for r in rows])


def measure(data: Path, embed, trials=40, orders=5):
    """Yield a result per λ for tuned and for published thresholds, averaged over the orders."""
    folder = data / "banking77_gpt"
    texts, _, first = read(folder / "train_3shot.csv")
    known = embed(texts)
    dev, test = (read(folder / f"{name}_gpt.csv", "gpt-label") for name in ("dev", "test"))
    dev_x, test_x = embed(dev[0]), embed(test[0])
    rng = np.random.default_rng(1)
    order = rng.permutation(len(dev_x))
    tried = []
    for _ in range(trials):  # its search space: entropy up to log 5 (the most a vote of five can have), distance as published
        limits = rng.uniform(0.1, np.log(NEIGHBOURS)), rng.uniform(0.05, 0.7)
        tried.append((limits, stream(dev_x[order], dev[2][order], dev[1][order], known, first, *limits)))
    shuffles = [np.random.default_rng(100 + s).permutation(len(test_x)) for s in range(orders)]
    for price in LAMBDAS:
        tuned = max(tried, key=lambda t: t[1][0] - price * t[1][1])[0]
        for name, limits in (("tuned", tuned), ("published", PUBLISHED[price])):
            runs = np.array([stream(test_x[o], test[2][o], test[1][o], known, first, *limits) for o in shuffles])
            discounted = runs[:, 0] - price * runs[:, 1]
            yield {"peers": "stream", "rival": f"OCaTS, {name} thresholds", "lambda": price, "limits": limits,
                   "accuracy": runs[:, 0].mean(), "calls": runs[:, 1].mean(), "discounted": discounted.mean(),
                   "sd": discounted.std(ddof=1), "rows": len(test_x), "orders": orders,
                   "teacher": float((test[1] == test[2]).mean())}


if __name__ == "__main__":
    raise SystemExit("run bench/peers/run --only stream")
