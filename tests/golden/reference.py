"""An independent NumPy reference of the DIME model, for readable truth rather than speed.

Everything is float64, one image-text pair at a time, and follows the order of the published
description: text, image, cells, routing, score, losses, metrics. Shapes use E for the joint
dimension, R regions, L token positions, H BERT's hidden size, and M = R (i2t) or L (t2i).
It shares no code with the C++ modules, which is what makes it a check of them.
"""

import json
import math
import os
import struct
import unicodedata

import numpy as np

NORMS = ("clipped_l2norm", "l2norm", "clipped_l1norm", "l1norm", "clipped", "no_norm", "softmax")
CELLS = ("ric", "glgc", "imrc", "cmrc")
DTYPES = {"F32": np.float32, "F64": np.float64, "I32": np.int32, "I64": np.int64}

# ------------------------------------------------------------------------------- safetensors


def read_safetensors(path):
    """{name: array} of a safetensors file."""
    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        payload = f.read()
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            flat = np.frombuffer(payload[begin:end], DTYPES[entry["dtype"]])
            tensors[name] = flat.reshape(entry["shape"])
    return tensors


def write_safetensors(path, tensors):
    names = {np.dtype(dtype): name for name, dtype in DTYPES.items()}
    header, blobs, offset = {"__metadata__": {"format": "pt"}}, [], 0
    # Wide types first, so that every tensor starts on a multiple of its own size.
    for name in sorted(tensors, key=lambda n: (-tensors[n].itemsize, n)):
        array = np.ascontiguousarray(tensors[name]).reshape(tensors[name].shape)
        blobs.append(array.tobytes())
        header[name] = {"dtype": names[array.dtype], "shape": list(array.shape),
                        "data_offsets": [offset, offset + len(blobs[-1])]}
        offset += len(blobs[-1])
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


# ------------------------------------------------------------------------------ small pieces


def normalize(x, axis=-1):
    return x / np.maximum(np.sqrt((x * x).sum(axis, keepdims=True)), 1e-12)


def relu(x):
    return np.maximum(x, 0.0)


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def gelu(x):
    return 0.5 * x * (1.0 + np.vectorize(math.erf)(x / math.sqrt(2.0)))


def linear(w, name, x):
    return x @ w[name + ".weight"].T + w[name + ".bias"]


def layer_norm(w, name, x, eps=1e-12):
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred * centred).mean(-1, keepdims=True) + eps)
    return scaled * w[name + ".weight"] + w[name + ".bias"]


def batch_norm(w, name, x, eps=1e-5):
    """Inference form; the last axis of x is the channels."""
    scaled = (x - w[name + ".running_mean"]) / np.sqrt(w[name + ".running_var"] + eps)
    return scaled * w[name + ".weight"] + w[name + ".bias"]


def attention_heads(query, key, value, heads, bias=0.0):
    """Multi-head attention without projections; query, key, value (M, width), bias per key."""
    width = query.shape[1] // heads
    out = []
    for h in range(heads):
        s = slice(h * width, (h + 1) * width)
        weight = softmax(query[:, s] @ key[:, s].T / math.sqrt(width) + bias)
        out.append(weight @ value[:, s])
    return np.concatenate(out, axis=1)


# --------------------------------------------------------------------------------- tokenizer


def is_punctuation(c):
    return (33 <= ord(c) <= 47 or 58 <= ord(c) <= 64 or 91 <= ord(c) <= 96
            or 123 <= ord(c) <= 126 or unicodedata.category(c).startswith("P"))


def is_chinese(c):
    return any(lo <= ord(c) <= hi for lo, hi in (
        (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F),
        (0x2B740, 0x2B81F), (0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F)))


def clean(caption):
    out = []
    for c in caption:
        if c in " \t\n\r" or unicodedata.category(c) == "Zs":
            out.append(" ")
        elif ord(c) not in (0, 0xFFFD) and not unicodedata.category(c).startswith("C"):
            out.append(c)
    return "".join(out)


def basic_tokens(caption, lower_case=True, split_chinese=False):
    text = clean(caption)
    if split_chinese:
        text = "".join(f" {c} " if is_chinese(c) else c for c in text)
    if lower_case:
        text = unicodedata.normalize("NFD", text.lower())
        text = "".join(c for c in text if unicodedata.category(c) != "Mn")
    return "".join(f" {c} " if is_punctuation(c) else c for c in text).split()


def word_pieces(word, vocab):
    """Greedy, longest match first; [UNK] as a whole where any part has no piece."""
    pieces, start = [], 0
    while start < len(word) <= 100:
        for end in range(len(word), start, -1):
            piece = ("##" if start else "") + word[start:end]
            if piece in vocab:
                break
        else:
            return ["[UNK]"]
        pieces.append(piece)
        start = end
    return pieces or ["[UNK]"]


def tokenize(caption, vocab, **options):
    return [p for w in basic_tokens(caption, **options) for p in word_pieces(w, vocab)]


def encode(caption, vocab, max_words, **options):
    """(ids of length max_words, number of tokens with [CLS] and [SEP])."""
    tokens = tokenize(caption, vocab, **options)[:max_words - 2]
    ids = [vocab[t] for t in ["[CLS]", *tokens, "[SEP]"]]
    return ids + [0] * (max_words - len(ids)), len(ids)


# -------------------------------------------------------------------------------------- BERT


def bert(w, config, ids, length):
    """Last hidden layer (L, H) of one caption, all positions kept."""
    positions = np.arange(len(ids))
    x = (w["embeddings.word_embeddings.weight"][ids]
         + w["embeddings.position_embeddings.weight"][positions]
         + w["embeddings.token_type_embeddings.weight"][0])
    x = layer_norm(w, "embeddings.LayerNorm", x)
    bias = np.where(positions < length, 0.0, -10000.0)
    for n in range(config["num_hidden_layers"]):
        p = f"encoder.layer.{n}."
        q, k, v = (linear(w, p + "attention.self." + s, x) for s in ("query", "key", "value"))
        y = attention_heads(q, k, v, config["num_attention_heads"], bias)
        x = layer_norm(w, p + "attention.output.LayerNorm",
                       x + linear(w, p + "attention.output.dense", y))
        y = linear(w, p + "output.dense", gelu(linear(w, p + "intermediate.dense", x)))
        x = layer_norm(w, p + "output.LayerNorm", x + y)
    return x


# -------------------------------------------------------------------------- one direction


def attention_norm(a, kind):
    """raw_feature_norm_CMRC of A (context, M), along M."""
    if kind.startswith("clipped"):
        a = np.where(a > 0, a, 0.1 * a)
    if kind == "clipped_l2norm":
        return normalize(a)
    if kind == "l2norm":
        return a / (np.sqrt((a * a).sum(-1, keepdims=True)) + 1e-8)
    if kind in ("l1norm", "clipped_l1norm"):
        return a / (np.abs(a).sum(-1, keepdims=True) + 1e-8)
    if kind == "softmax":
        return softmax(a)
    assert kind in ("clipped", "no_norm"), kind
    return a


class Direction:
    """One of the two models, i2t or t2i, with the BERT that belongs to it.

    `settings` is the entry of config.json's "directions"; its values may be changed to get the
    same weights under another configuration.
    """

    def __init__(self, direction, settings, weights, bert_config, bert_weights):
        self.i2t = direction == "i2t"
        self.settings = settings
        self.w = {k: v.astype(np.float64) for k, v in weights.items()}
        self.bert_config = bert_config
        self.bert_w = {k: v.astype(np.float64) for k, v in bert_weights.items()}

    # ---- text and image heads

    def text(self, ids, length):
        """X (L, H), sentence (E), words (L, E)."""
        x = bert(self.bert_w, self.bert_config, ids, length)
        none = np.zeros((1, x.shape[1]))
        padded = np.concatenate([none, x, none])  # padded[t + 1] is X[t]
        rows = len(x)
        convs = []
        for i, offsets in enumerate(((0,), (0, 1), (-1, 0, 1))):
            kernel = self.w[f"text.convs1.{i}.weight"]  # (E, 1, k, H)
            c = sum(padded[1 + o:1 + o + rows] @ kernel[:, 0, n].T for n, o in enumerate(offsets))
            convs.append(relu(c + self.w[f"text.convs1.{i}.bias"]))
        c, fc = np.concatenate(convs, axis=1), linear(self.w, "text.fc", x)
        words = normalize(linear(self.w, "text.mapping", c) + fc)
        sentence = normalize(linear(self.w, "text.mapping", c.max(0)) + fc.mean(0))
        return x, sentence, words

    def image(self, features):
        """image (E) and regions (R, E) of region features (R, D)."""
        r = linear(self.w, "image.fc", features.astype(np.float64))
        g = r.mean(0)
        if not self.i2t:
            g = batch_norm(self.w, "image.bn", g)
        if not self.settings["no_imgnorm"]:
            g = normalize(g)
        return (np.abs(g) if self.settings["use_abs"] else g), normalize(r)

    # ---- cells; p is "interaction.dynamic_itr_l<n>."

    def raw_gates(self, p, cell, z):
        """tanh(MLP(mean of Z)); the gate is its positive part."""
        hidden = relu(linear(self.w, f"{p}{cell}.router.mlp.0", z.mean(0)))
        return np.tanh(linear(self.w, f"{p}{cell}.router.mlp.2", hidden))

    def glgc(self, p, z, guide):
        return (1.0 + normalize(linear(self.w, p + "glgc.fc_1", z) * guide, axis=0)) * z

    def imrc(self, p, z):
        q, k, v = (linear(self.w, f"{p}imrc.sa.att_layer.linears.{i}", z) for i in range(3))
        y = z + attention_heads(q, k, v, self.settings["num_head_IMRC"])
        f = p + "imrc.sa.feed_forward_layer."
        return y + linear(self.w, f + "fc2", relu(linear(self.w, f + "fc1", y)))

    def cmrc(self, p, z, context):
        a = attention_norm(context @ z.T, self.settings["raw_feature_norm_CMRC"])
        v = softmax(self.settings["lambda_softmax_CMRC"] * a.T) @ context
        r = p + "cmrc.refine."
        y = z * np.tanh(linear(self.w, r + "fc_scale", v)) + linear(self.w, r + "fc_shift", v)
        return z + linear(self.w, r + "fc_2", relu(linear(self.w, r + "fc_1", y)))

    def cells(self, layer, inputs, guide, context):
        """Raw gates (4 cells, paths) and outputs (4 cells, M, E) of a layer."""
        p = f"interaction.dynamic_itr_l{layer}."
        raw = np.stack([self.raw_gates(p, cell, z) for cell, z in zip(CELLS, inputs)])
        outputs = np.stack([relu(inputs[0]), self.glgc(p, inputs[1], guide),
                            self.imrc(p, inputs[2]), self.cmrc(p, inputs[3], context)])
        return raw, outputs

    # ---- one pair

    def pair(self, image, regions, sentence, words, length):
        """(score, path vector of 36, raw gates (cells, paths) of each layer) of a pair."""
        if self.i2t:
            z, context, guide = regions, words[:length], sentence
        else:
            z, context, guide = words, regions, image
        inputs, path, trace = [z] * 4, [], []
        for layer in (0, 1):
            raw, out = self.cells(layer, inputs, guide, context)
            g = relu(raw)
            p = g / (g.sum(0) + 1e-8)
            skip = g.sum(0) < 1e-4
            inputs = [np.tensordot(p[:, i], out, 1) + skip[i] * out[0] for i in range(4)]
            path.extend(p.T.ravel())  # index path * 4 + cell
            trace.append(raw)
        raw, out = self.cells(2, inputs, guide, context)
        q = relu(raw[:, 0])
        o = (q < 1e-4 / 4).astype(np.float64)
        y = sum(q[j] * out[j] + o[j] * inputs[j] for j in range(4)) / (o.sum() + q.sum())
        y = batch_norm(self.w, "interaction.bn", y)
        score = normalize(y.mean(0) + y.max(0)) @ guide
        return score, np.array([*path, *q]), [*trace, raw]

    def scores(self, images, texts):
        """Similarity (images, texts) and paths (images, texts, 36).

        images: [(image, regions)]; texts: [(sentence, words, length)].
        """
        results = [[self.pair(*image, *text)[:2] for text in texts] for image in images]
        return (np.array([[score for score, _ in row] for row in results]),
                np.array([[path for _, path in row] for row in results]))


class Model:
    """A model directory: tokenizer and the two directions it holds."""

    def __init__(self, directory):
        def read_json(*parts):
            with open(os.path.join(directory, *parts), encoding="utf-8") as f:
                return json.load(f)

        self.config = read_json("config.json")
        self.directions = {}
        for name, settings in self.config["directions"].items():
            folder = settings["bert"]
            self.directions[name] = Direction(
                name, settings, read_safetensors(os.path.join(directory, settings["weights"])),
                read_json(folder, "config.json"),
                read_safetensors(os.path.join(directory, folder, "model.safetensors")))
            with open(os.path.join(directory, folder, "vocab.txt"), encoding="utf-8") as f:
                self.vocab = {line.rstrip("\n"): i for i, line in enumerate(f)}

    def encode(self, captions, **changed):
        """input_ids (captions, L) and lengths."""
        options = {**self.config["tokenizer"], **changed}
        rows = [encode(c, self.vocab, self.config["max_words"], **options) for c in captions]
        return (np.array([ids for ids, _ in rows], np.int32),
                np.array([length for _, length in rows], np.int32))


def read_captions(path):
    with open(path, encoding="utf-8", newline="\n") as f:
        return [line.strip() for line in f]


# ------------------------------------------------------------------------------------ losses


def ranking_loss(scores, batch, margin=0.2, max_violation=True):
    """(loss, gradient by the scores); scores (images, texts), the first `batch` of each paired.

    Rows and columns past `batch` are extra images and texts: negatives only. Only a violation
    above zero has a gradient; of equal largest ones the first takes it.
    """
    loss, grad = 0.0, np.zeros_like(scores)
    for i in range(batch):
        row = [((i, j), margin + scores[i, j] - scores[i, i])
               for j in range(scores.shape[1]) if j != i]
        column = [((k, i), margin + scores[k, i] - scores[i, i])
                  for k in range(scores.shape[0]) if k != i]
        for costs in (row, column):
            for place, cost in [max(costs, key=lambda c: c[1])] if max_violation else costs:
                if cost > 0:
                    loss += cost
                    grad[place] += 1.0
                    grad[i, i] -= 1.0
    return loss, grad


def path_loss(direction, paths, hidden):
    """Path regularisation; paths (images, texts, 36), hidden [X (L, H)] of the paired captions."""
    mean = paths.mean(1 if direction.i2t else 0)
    k = normalize(linear(direction.w, "interaction.path_mapping", mean))
    b = normalize(np.stack([x.mean(0) for x in hidden]))
    return ((k @ k.T - b @ b.T) ** 2).sum() / len(hidden)


# ----------------------------------------------------------------------------------- metrics


def ranks(scores):
    """0-based ranks, image to text and text to image.

    An item's rank is its place in a reversed stable sort: items with a higher score stand before
    it, and of equal ones the later. So the published metrics settle ties.
    """
    images, texts = scores.shape
    per_image = 1 if images == texts else 5
    assert texts == images * per_image

    def place(column, own):
        return int((column > column[own]).sum() + (column[own + 1:] == column[own]).sum())

    to_image = np.array([place(scores[:, t], t // per_image) for t in range(texts)])
    to_text = np.array([min(place(scores[i], t) for t in range(per_image * i, per_image * (i + 1)))
                        for i in range(images)])
    return to_text, to_image


def summary(rank):
    """[R@1, R@5, R@10, median rank, mean rank]; recalls in per cent, ranks from 1."""
    recalls = [100.0 * float((rank < k).mean()) for k in (1, 5, 10)]
    return [*recalls, float(math.floor(np.median(rank)) + 1), float(rank.mean() + 1)]


def metrics(scores):
    to_text, to_image = map(summary, ranks(scores))
    return {"image_to_text": to_text, "text_to_image": to_image,
            "rsum": sum(to_text[:3]) + sum(to_image[:3])}
