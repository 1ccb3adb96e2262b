"""The programs that tandem is measured against, each on rows somebody else chose.

A rival is a class that takes a Task once and then answers one split after the
other with `answers(fit, certify, test, alpha)`: labels with scores for the rows
to certify and to test, and out-of-fold answers to the rows it was fitted on
(see bench/answers.go for the format). Seeds are fixed, so runs repeat.
"""

import tempfile
import time
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.pipeline import make_pipeline, make_union

FOLDS = 3


@dataclass
class Task:
    """Rows and test rows as one list; `embed` turns texts into vectors and remembers them."""

    texts: list
    labels: list
    embed: object

    @cached_property
    def names(self):
        return sorted(set(self.labels))

    @cached_property
    def y(self):
        at = {name: i for i, name in enumerate(self.names)}
        return np.array([at[label] for label in self.labels])

    @cached_property
    def vectors(self):
        return self.embed(self.texts)

    def part(self, codes, scores):
        """Answers as bench/answers.go reads them; the code -1 is no answer."""
        return {"labels": [self.names[c] if c >= 0 else "" for c in codes], "scores": [round(float(min(max(s, 0), 1)), 9) for s in scores]}


def folds(y, seed=0, k=FOLDS):
    """Stratified where every label has enough rows, else plain."""
    kind = StratifiedKFold if np.bincount(y)[np.bincount(y) > 0].min() >= k else KFold
    return list(kind(k, shuffle=True, random_state=seed).split(y, y))


def micros(answer, items, n=200):
    """Median time of one answer in microseconds."""
    took = []
    for item in (list(items) * (1 + n // len(items)))[:n]:
        start = time.perf_counter()
        answer(item)
        took.append(1e6 * (time.perf_counter() - start))
    return float(np.median(took))


class Logistic:
    """scikit-learn's LogisticRegression at its defaults, C chosen by cross-validation on the fit rows."""

    grid = (1, 4, 16, 64)

    def __init__(self, task):
        self.task = task

    def model(self, c):
        return LogisticRegression(C=c)

    def inputs(self, rows):
        raise NotImplementedError

    def answers(self, fit, certify, test, alpha):
        start = time.perf_counter()
        x, y = self.inputs(fit), self.task.y[fit]
        plan, best = folds(y), None
        for c in self.grid:
            codes, scores = np.zeros(len(y), int), np.zeros(len(y))
            for a, b in plan:
                codes[b], scores[b] = self.top(self.model(c).fit(x[a], y[a]), x[b])
            if best is None or (codes == y).mean() > best[0]:
                best = (codes == y).mean(), c, codes, scores
        model = self.model(best[1]).fit(x, y)
        train = time.perf_counter() - start
        line = {"fit": self.task.part(best[2], best[3]), "train_s": train, "note": f"C={best[1]}"}
        for name, rows in (("certify", certify), ("test", test)):
            line[name] = self.task.part(*self.top(model, self.inputs(rows))) if len(rows) else self.task.part([], [])
        line["p50_us"] = micros(lambda row: self.one(model, row), test[:200])
        return line

    def one(self, model, row):
        self.top(model, self.inputs([row]))

    @staticmethod
    def top(model, x):
        p = model.predict_proba(x)
        return model.classes_[p.argmax(1)], p.max(1)


class EmbeddingLogistic(Logistic):
    """On sentence vectors of all-MiniLM-L6-v2. The time of an answer does not include making the vector."""

    name = "logistic regression on MiniLM"

    def inputs(self, rows):
        return self.task.vectors[rows]


class TfidfLogistic(Logistic):
    """On TF-IDF of words and of characters within words."""

    name = "logistic regression on TF-IDF"
    grid = (4, 16, 64)

    def model(self, c):
        words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
        letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True, min_df=2)
        return make_pipeline(make_union(words, letters), LogisticRegression(C=c))

    def inputs(self, rows):
        return np.array([self.task.texts[i] for i in rows], dtype=object)


class Shadow:
    """shad0w (package shad0wllm): its table as `train()` compiles it, its confidence as the score.

    compile_schema is what training calls with the rows left to fit. Its default, student="auto", keeps the linear or
    the deep table, whichever covers more of its own held-out rows. Because a compilation takes minutes, the out-of-fold
    answers are one third of the fit rows', by a table of that kind compiled on the rest.
    """

    name = "shad0w"
    own_gate = "shad0w, its own certificate"

    def __init__(self, task):
        self.task = task

    def compile(self, rows, alpha, **options):
        from shad0w.compiler.distill import compile_schema
        return compile_schema([self.task.texts[i] for i in rows], self.task.y[rows], self.task.names, alpha=alpha, **options)

    def top(self, compiled, rows):
        p = compiled.rx.predict_proba([self.task.texts[i] for i in rows]) if len(rows) else np.zeros((0, 1))
        return (p.argmax(1), p.max(1)) if len(rows) else ([], [])

    def answers(self, fit, certify, test, alpha):
        from shad0w.native import NativeReflex
        start = time.perf_counter()
        table = self.compile(fit, alpha)
        train = time.perf_counter() - start
        codes, scores = np.full(len(fit), -1), np.zeros(len(fit))
        a, b = folds(self.task.y[fit])[0]
        codes[b], scores[b] = self.top(self.compile(fit[a], alpha, student=table.student, C=table.C), fit[b])
        line = {"fit": self.task.part(codes, scores), "train_s": train, "note": f"{table.student}, C={table.C}"}
        for name, rows in (("certify", certify), ("test", test)):
            line[name] = self.task.part(*self.top(table, rows))
        with tempfile.TemporaryDirectory() as folder:  # timed in its C core, as it serves
            table.rx.save(f"{folder}/table.s0")
            core = NativeReflex(f"{folder}/table.s0", text_kind=2)
            line["p50_us"] = micros(lambda row: core.decide(self.task.texts[row]), test[:200])
        return line

    def own(self, line, fit, certify, test, alpha, delta):
        """Its own certificate for the same table, as its training gives it when the rows to certify are its cal_records."""
        from shad0w.reliability import SelectiveRiskController
        right = [label == self.task.labels[i] for label, i in zip(line["certify"]["labels"], certify)]
        rule = SelectiveRiskController(alpha, delta).fit(np.array(line["certify"]["scores"]), np.array(right))
        return {"test": line["test"], "accept": [bool(s >= rule.threshold) for s in line["test"]["scores"]], "train_s": line["train_s"]}


class Tracer:
    """TRACER (package tracer-llm) on the vectors of MiniLM: its surrogates, its acceptor, its default split.

    Trees are off, as they are in its command line. For a certificate from outside, the score is what the acceptor of
    its learn-to-defer pipeline predicts, which does not depend on the target; its own calibration rows, a fifth of
    what it is given, stand in for out-of-fold answers.
    """

    name = "TRACER's acceptor"
    own_gate = "TRACER, its own gate"
    trees = ("dt", "rf", "et", "gbt", "xgb")

    def __init__(self, task):
        self.task = task

    def answers(self, fit, certify, test, alpha):
        from tracer.fit import pipeline
        from tracer.fit.surrogate import search_best_surrogate
        start = time.perf_counter()
        x, y = self.task.vectors[fit], self.task.y[fit]
        numbered = np.column_stack([x, np.arange(len(fit), dtype=np.float32)])  # to find its calibration rows again
        cut = pipeline._split_buffer(numbered, y)
        rows = cut["X_cal"][:, -1].astype(int)
        tr, va, ca = (cut[k][:, :-1] for k in ("X_train", "X_val", "X_cal"))
        model, kind, _ = search_best_surrogate(tr, cut["y_train"], va, cut["y_val"], skip=self.trees)
        said, p = self.say(model, va)
        acceptor = pipeline._fit_acceptor(p, said, cut["y_val"])

        def top(x):
            said, p = self.say(model, x)
            return said, pipeline._accept_scores(acceptor, p)

        train = time.perf_counter() - start
        codes, scores = np.full(len(fit), -1), np.zeros(len(fit))
        codes[rows], scores[rows] = top(ca)
        line = {"fit": self.task.part(codes, scores), "train_s": train, "note": kind}
        for name, some in (("certify", certify), ("test", test)):
            line[name] = self.task.part(*top(self.task.vectors[some])) if len(some) else self.task.part([], [])
        line["p50_us"] = micros(lambda row: top(self.task.vectors[[row]]), test[:200])
        return line

    @staticmethod
    def say(model, x):
        p = model.predict_proba(x)
        return model.classes_[p.argmax(1)], p

    def own(self, line, fit, certify, test, alpha, delta):
        """The whole of TRACER on all the rows that are not for testing: its policy decides what is answered."""
        from tracer.fit.pipeline import fit_frontier, route_pipeline
        start = time.perf_counter()
        rows = np.concatenate([fit, certify])
        known, y = np.unique(self.task.y[rows], return_inverse=True)  # it wants labels without gaps
        frontier, _ = fit_frontier(self.task.vectors[rows], y, [1 - alpha], alpha=delta, skip=self.trees)
        policy = frontier[0]["best"] or {"stages": []}
        train = time.perf_counter() - start
        codes, handled, _ = route_pipeline(policy["stages"], self.task.vectors[test])
        codes = np.where(handled, known[np.maximum(codes, 0)], -1)
        return {"test": self.task.part(codes, np.zeros(len(test))), "accept": [bool(h) for h in handled], "train_s": train}


RIVALS = {"embeddings": EmbeddingLogistic, "tfidf": TfidfLogistic, "shadow": Shadow, "tracer": Tracer}
