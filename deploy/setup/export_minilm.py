"""Exports all-MiniLM-L6-v2 from its safetensors weights to ONNX and proves the export.

    python export_minilm.py WEIGHTS.safetensors TOKENIZER.json MODEL.onnx

Inputs `input_ids`, `attention_mask`, `token_type_ids`: int64 [batch, sequence]. Outputs `last_hidden_state`: f32
[batch, sequence, 384]; `sentence_embedding`: f32 [batch, 384], the mean over the mask, scaled to length 1.
The bytes are the same on every machine: weights are copied, never computed with.
"""
import json, math, re, sys, unicodedata
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

LAYERS, HEADS, WIDTH, EPSILON = 6, 12, 384, 1e-12


def read_safetensors(path):
    raw = memoryview(open(path, "rb").read())
    start = 8 + int.from_bytes(raw[:8], "little")
    entries = json.loads(bytes(raw[8:start]))
    body = raw[start:]
    return {name: np.frombuffer(body[slice(*entry["data_offsets"])], "<f4").reshape(entry["shape"])
            for name, entry in entries.items() if name != "__metadata__" and entry["dtype"] == "F32"}


def export(weights):
    """The BERT encoder (Devlin et al. 2019, post-norm, erf-GELU) with pooling behind it, as an ONNX graph of opset 17."""
    nodes, initializers = [], []

    def constant(name, array):
        initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def op(kind, *inputs, **attributes):
        output = attributes.pop("output", f"{kind}_{len(nodes)}")
        nodes.append(helper.make_node(kind, inputs, [output], name=f"node_{len(nodes)}", **attributes))
        return output

    def linear(x, name):
        return op("Add", op("MatMul", x, constant(name + ".weight", weights[name + ".weight"].T)),
                  constant(name + ".bias", weights[name + ".bias"]))

    def normalise(x, name, **output):
        return op("LayerNormalization", x, constant(name + ".weight", weights[name + ".weight"]),
                  constant(name + ".bias", weights[name + ".bias"]), axis=-1, epsilon=EPSILON, **output)

    def scalar(name, value):
        return constant(name, np.array(value, np.float32))

    def axes(name, *values):
        return constant(name, np.array(values, np.int64))

    one, half, root2 = scalar("one", 1), scalar("half", 0.5), scalar("root2", math.sqrt(2))
    scale, masked, tiny = scalar("scale", 1 / math.sqrt(WIDTH // HEADS)), scalar("masked", -10000), scalar("tiny", EPSILON)
    split, join = axes("split", 0, 0, HEADS, WIDTH // HEADS), axes("join", 0, 0, WIDTH)

    mask = op("Cast", "attention_mask", to=TensorProto.FLOAT)
    bias = op("Mul", op("Sub", one, op("Unsqueeze", mask, axes("axes_1_2", 1, 2))), masked)
    words, kinds, places = (constant(f"embeddings.{name}.weight", weights[f"embeddings.{name}.weight"])
                            for name in ("word_embeddings", "token_type_embeddings", "position_embeddings"))
    length = op("Gather", op("Shape", "input_ids"), axes("index_1", 1))
    places = op("Slice", places, axes("index_0", 0), length)
    x = op("Add", op("Add", op("Gather", words, "input_ids"), op("Gather", kinds, "token_type_ids")), places)
    x = normalise(x, "embeddings.LayerNorm")
    for layer in range(LAYERS):
        prefix = f"encoder.layer.{layer}."

        def heads(name, order):
            return op("Transpose", op("Reshape", linear(x, prefix + "attention.self." + name), split), perm=order)

        query, key, value = heads("query", [0, 2, 1, 3]), heads("key", [0, 2, 3, 1]), heads("value", [0, 2, 1, 3])
        attention = op("Softmax", op("Add", op("Mul", op("MatMul", query, key), scale), bias), axis=-1)
        mixed = op("Reshape", op("Transpose", op("MatMul", attention, value), perm=[0, 2, 1, 3]), join)
        x = normalise(op("Add", linear(mixed, prefix + "attention.output.dense"), x), prefix + "attention.output.LayerNorm")
        inner = linear(x, prefix + "intermediate.dense")
        inner = op("Mul", op("Mul", inner, op("Add", op("Erf", op("Div", inner, root2)), one)), half)
        last = {"output": "last_hidden_state"} if layer == LAYERS - 1 else {}
        x = normalise(op("Add", linear(inner, prefix + "output.dense"), x), prefix + "output.LayerNorm", **last)

    weight = op("Unsqueeze", mask, axes("axes_2", 2))
    along = axes("axes_1", 1)
    mean = op("Div", op("ReduceSum", op("Mul", x, weight), along, keepdims=0),
              op("Max", op("ReduceSum", weight, along, keepdims=0), tiny))
    norm = op("Sqrt", op("ReduceSum", op("Mul", mean, mean), along, keepdims=1))
    op("Div", mean, op("Max", norm, tiny), output="sentence_embedding")

    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"])
              for name in ("input_ids", "attention_mask", "token_type_ids")]
    outputs = [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["batch", "sequence", WIDTH]),
               helper.make_tensor_value_info("sentence_embedding", TensorProto.FLOAT, ["batch", WIDTH])]
    graph = helper.make_graph(nodes, "all-MiniLM-L6-v2", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="deckle")
    onnx.checker.check_model(model, full_check=True)
    return model


def forward(weights, ids, mask):
    """The same network written a second time, in float64 and without the graph: the judge of the export."""
    w = {name: array.astype(np.float64) for name, array in weights.items()}
    erf = np.vectorize(math.erf)

    def linear(x, name):
        return np.einsum("bsi,oi->bso", x, w[name + ".weight"]) + w[name + ".bias"]

    def normalise(x, name):
        centred = x - x.mean(-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + EPSILON) * w[name + ".weight"] + w[name + ".bias"]

    x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][: ids.shape[1]]
    x = normalise(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for layer in range(LAYERS):
        p = f"encoder.layer.{layer}."
        q, k, v = (linear(x, f"{p}attention.self.{name}").reshape(*ids.shape, HEADS, -1) for name in ("query", "key", "value"))
        scores = np.einsum("bqhd,bkhd->bhqk", q, k) / math.sqrt(WIDTH / HEADS)
        scores = np.exp(np.where(mask[:, None, None, :] == 1, scores, -np.inf) - scores.max())
        mixed = np.einsum("bhqk,bkhd->bqhd", scores / scores.sum(-1, keepdims=True), v).reshape(x.shape)
        x = normalise(linear(mixed, p + "attention.output.dense") + x, p + "attention.output.LayerNorm")
        inner = linear(x, p + "intermediate.dense")
        inner = inner * (1 + erf(inner / math.sqrt(2))) / 2
        x = normalise(linear(inner, p + "output.dense") + x, p + "output.LayerNorm")
    pooled = np.stack([row[m == 1].mean(0) for row, m in zip(x, mask)])
    return x, pooled / np.linalg.norm(pooled, axis=1, keepdims=True)


def tokenize(sentences, vocabulary):
    """WordPiece, longest match first, for plain English: lower case, no accents."""
    rows = []
    for sentence in sentences:
        row = ["[CLS]"]
        for word in re.findall(r"\w+|[^\w\s]", unicodedata.normalize("NFKD", sentence.lower())):
            start = 0
            while start < len(word):
                prefix = "##" if start else ""
                end = next(end for end in range(len(word), start, -1) if prefix + word[start:end] in vocabulary)
                row.append(prefix + word[start:end])
                start = end
        rows.append([vocabulary[token] for token in row + ["[SEP]"]])
    longest = max(map(len, rows))
    ids = np.array([row + [0] * (longest - len(row)) for row in rows], np.int64)
    return ids, np.array([[1] * len(row) + [0] * (longest - len(row)) for row in rows], np.int64)


def verify(model, weights, vocabulary):
    sentences = ["The cat sat on the mat.", "A feline was resting on the rug.", "The film was wonderful.",
                 "I loved this movie.", "The invoice total is 500 euros.", "The amount payable is 500 EUR.",
                 "Volcanoes erupt molten rock."]
    ids, mask = tokenize(sentences, vocabulary)
    feeds = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    hidden, embedding = ReferenceEvaluator(model).run(None, feeds)
    expected_hidden, expected = forward(weights, ids, mask)
    difference = max(np.abs(hidden - expected_hidden)[mask == 1].max(), np.abs(embedding - expected).max())
    similarity = embedding @ embedding.T
    print(f"largest difference to a float64 forward pass {difference:.1e}; similarities: cat/feline {similarity[0, 1]:.2f}, "
          f"film/movie {similarity[2, 3]:.2f}, invoice/payable {similarity[4, 5]:.2f}, cat/volcano {similarity[0, 6]:.2f}")
    assert difference < 1e-4, "the exported graph does not compute the published network"
    assert similarity[0, 1] > 0.5 and similarity[2, 3] > 0.5 and similarity[4, 5] > 0.5 and similarity[0, 6] < 0.2


weights_path, tokenizer_path, target = sys.argv[1:]
weights = read_safetensors(weights_path)
model = export(weights)
verify(model, weights, json.load(open(tokenizer_path))["model"]["vocab"])
onnx.save(model, target)
