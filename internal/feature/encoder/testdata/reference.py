"""Asks ONNX Runtime what a BERT encoder says, and how long it takes.

  python reference.py graph MODEL graph.onnx
      writes the ONNX graph of a model's folder (config.json, model.safetensors), for those
      whose authors' graph is not at hand
  python reference.py golden MODEL graph.onnx < sentences.txt > golden.json
      vectors of sentences, a JSON string a line: mean of all tokens, length 1
  python reference.py speed MODEL graph.onnx [--int8] [--tokens 8,32,128] [--threads 1,2] [--runs 50]
      milliseconds for one text, best and median, processor time and time on the wall, as JSON lines;
      --int8 quantises the graph's weights first, as ONNX Runtime's documents say

Needs the packages "onnxruntime", "tokenizers", "safetensors" and "onnx" from the Python index; with
"sympy" the graph is also optimised for transformers offline, and the faster one is reported.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort


def session(graph, threads):
    o = ort.SessionOptions()
    o.intra_op_num_threads = threads
    o.inter_op_num_threads = 1
    return ort.InferenceSession(str(graph), o, providers=["CPUExecutionProvider"])


def run(s, ids):
    feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    return s.run(None, {i.name: feeds[i.name] for i in s.get_inputs()})[0]


def graph(model, out):
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    from safetensors.numpy import load_file

    c = json.loads((model / "config.json").read_text())
    w = load_file(str(model / "model.safetensors"))
    w = {k.removeprefix("bert."): v.astype(np.float32) for k, v in w.items() if v.dtype.kind == "f"}
    h, heads, eps = c["hidden_size"], c["num_attention_heads"], c["layer_norm_eps"]
    nodes, inits, n = [], [], 0

    def const(value, name=None):
        name = name or f"c{len(inits)}"
        inits.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def op(kind, *inputs, **attributes):
        nonlocal n
        n += 1
        nodes.append(helper.make_node(kind, list(inputs), [f"t{n}"], **attributes))
        return f"t{n}"

    def norm(x, name):
        return op("LayerNormalization", x, const(w[name + ".weight"]), const(w[name + ".bias"]), axis=-1, epsilon=eps)

    def linear(x, name):
        return op("Add", op("MatMul", x, const(np.ascontiguousarray(w[name + ".weight"].T))), const(w[name + ".bias"]))

    split = const(np.array([0, 0, heads, h // heads], np.int64))
    join = const(np.array([0, 0, h], np.int64))
    length = op("Gather", op("Shape", "input_ids"), const(np.array(1, np.int64)), axis=0)
    at = op("Range", const(np.array(0, np.int64)), length, const(np.array(1, np.int64)))
    e = "embeddings."
    x = op("Add", op("Gather", const(w[e + "word_embeddings.weight"]), "input_ids"),
           op("Gather", const(w[e + "token_type_embeddings.weight"]), "token_type_ids"))
    x = norm(op("Add", x, op("Gather", const(w[e + "position_embeddings.weight"]), at)), e + "LayerNorm")
    mask = op("Unsqueeze", op("Cast", "attention_mask", to=TensorProto.FLOAT), const(np.array([1, 2], np.int64)))
    mask = op("Mul", op("Sub", const(np.array(1, np.float32)), mask), const(np.array(-3e38, np.float32)))
    for i in range(c["num_hidden_layers"]):
        p = f"encoder.layer.{i}."
        parts = [op("Reshape", linear(x, p + "attention.self." + k), split) for k in ("query", "key", "value")]
        q, v = (op("Transpose", parts[j], perm=[0, 2, 1, 3]) for j in (0, 2))
        k = op("Transpose", parts[1], perm=[0, 2, 3, 1])
        s = op("Div", op("MatMul", q, k), const(np.array((h // heads) ** 0.5, np.float32)))
        a = op("MatMul", op("Softmax", op("Add", s, mask), axis=-1), v)
        a = op("Reshape", op("Transpose", a, perm=[0, 2, 1, 3]), join)
        x = norm(op("Add", linear(a, p + "attention.output.dense"), x), p + "attention.output.LayerNorm")
        y = linear(x, p + "intermediate.dense")
        erf = op("Erf", op("Div", y, const(np.array(2**0.5, np.float32))))
        y = op("Mul", op("Mul", y, op("Add", erf, const(np.array(1, np.float32)))), const(np.array(0.5, np.float32)))
        x = norm(op("Add", linear(y, p + "output.dense"), x), p + "output.LayerNorm")
    nodes[-1].output[0] = "last_hidden_state"
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"])
              for name in ("input_ids", "attention_mask", "token_type_ids")]
    outputs = [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["batch", "tokens", h])]
    m = helper.make_model(helper.make_graph(nodes, "bert", inputs, outputs, inits),
                          opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(m)
    onnx.save(m, str(out))


def golden(model, file):
    from tokenizers import Tokenizer

    t = Tokenizer.from_file(str(model / "tokenizer.json"))
    t.no_padding()
    t.enable_truncation(256)
    s = session(file, 1)
    lines = []
    for line in sys.stdin:
        text = json.loads(line)
        v = run(s, np.array([t.encode(text).ids], np.int64))[0].mean(axis=0, dtype=np.float64)
        v /= np.linalg.norm(v)
        lines.append(json.dumps({"text": text, "vector": [float(f"{x:.7f}") for x in v]}, separators=(",", ":")))
    print("[\n" + ",\n".join(lines) + "\n]")


def optimised(model, file, folder):
    try:
        from onnxruntime.transformers import optimizer

        c = json.loads((model / "config.json").read_text())
        m = optimizer.optimize_model(str(file), model_type="bert", num_heads=c["num_attention_heads"],
                                     hidden_size=c["hidden_size"], opt_level=0)
    except ImportError:
        return None
    m.save_model_to_file(str(folder / "optimised.onnx"))
    return folder / "optimised.onnx"


def speed(model, file, int8, tokens, threads, runs):
    vocabulary = json.loads((model / "config.json").read_text())["vocab_size"]
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        graphs = {"as it is": file, "optimised offline": optimised(model, file, folder)}
        for name, g in graphs.items():
            if g is None:
                continue
            if int8:
                from onnxruntime.quantization import QuantType, quantize_dynamic

                small = folder / f"{len(name)}.onnx"
                quantize_dynamic(str(g), str(small), weight_type=QuantType.QInt8)
                g = small
            for count in threads:
                s = session(g, count)
                for n in tokens:
                    ids = (np.arange(n, dtype=np.int64) * 7919 % vocabulary)[None]
                    cpu, wall = [], []
                    for _ in range(runs + 3):
                        c, t = time.process_time(), time.perf_counter()
                        run(s, ids)
                        cpu.append(1e3 * (time.process_time() - c))
                        wall.append(1e3 * (time.perf_counter() - t))
                    ms = {k: round(float(f(v[3:])), 2) for k, f, v in (
                        ("wall_best", np.min, wall), ("wall_median", np.median, wall),
                        ("cpu_best", np.min, cpu), ("cpu_median", np.median, cpu))}
                    print(json.dumps({"runtime": f"onnxruntime {ort.__version__}", "graph": name, "int8": int8,
                                      "tokens": n, "threads": count, **ms}), flush=True)


def main():
    numbers = lambda text: [int(x) for x in text.split(",")]
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("what", choices=["graph", "golden", "speed"])
    p.add_argument("model", type=Path)
    p.add_argument("onnx", type=Path)
    p.add_argument("--int8", action="store_true")
    p.add_argument("--tokens", type=numbers, default=[8, 32, 128])
    p.add_argument("--threads", type=numbers, default=[1, 2])
    p.add_argument("--runs", type=int, default=50)
    a = p.parse_args()
    match a.what:
        case "graph":
            graph(a.model, a.onnx)
        case "golden":
            golden(a.model, a.onnx)
        case "speed":
            speed(a.model, a.onnx, a.int8, a.tokens, a.threads, a.runs)


if __name__ == "__main__":
    main()
