#!/usr/bin/env python3
"""Makes the golden numbers of the tiny DIME model with reference.py.

Run: make_golden.py [--out DIR]; DIR (this folder by default) gets tiny/ and metrics_case.json.
The same seeds give the same weights; expected values may differ in the last bit between machines.
"""

import argparse
import json
import os

import numpy as np

import reference

SEEDS = {"inputs": 0, "i2t": 297, "t2i": 232}  # chosen for what GateCheck asks
L, R, D, H, INTERMEDIATE = 10, 7, 20, 24, 32
BATCH = 3  # pairs of the loss: images 0-2 with captions 0, 5, 10; extra texts are 1, 6, 11

SHAPES = {
    "i2t": {"embed_size": 16, "num_head_IMRC": 4, "hid_IMRC": 12, "hid_router": 8,
            "lambda_softmax_CMRC": 4.0},
    "t2i": {"embed_size": 24, "num_head_IMRC": 3, "hid_IMRC": 14, "hid_router": 6,
            "lambda_softmax_CMRC": 9.0},
}

VOCAB = """[PAD] [UNK] [CLS] [SEP] [MASK] a the two in on at near and is under au dog cat man bird
kite horse tree boat cafe ete red blue young wet jump run sit ride play sleep un straw 日 本 ##s ##ing
##ning ##ed ##ly ##er ##aff ##able ##berry ##a ##本 . , ! ? ' " - … $ 5 ##0""".split()

CAPTIONS = [
    "A young dog jumps.",
    "Two dogs running, near the tree!",  # two continuations
    "The cat sleeps on a red boat",  # exactly L with [CLS] and [SEP]
    "a man rides the blue horse and a bird sits in the tree, playing.",  # cut
    "café",
    "Un été au cafe\u0301: the man sits.",  # composed and combining accents, ':' has no piece
    "UNAFFABLE bird?!",
    "The zebra's $50 kite…",  # an unknown word, a dollar sign, an ellipsis of category P
    "a" * 101 + " dog",  # over 100 characters: one [UNK]
    "wet\u00a0dog\u200bs,\tstrawberry",  # no-break space, zero-width space (dropped), tab
    "日本 boat",  # one word unless Chinese characters are split
    "\"Red\" - is the boat-man sleeping",
    "run",
    "the young man and the wet cat sit at",  # cut by one token
    "Blue bird near blue kite on blue tree.",
]


def normal(rng, *shape, scale=1.0):
    return (scale * rng.standard_normal(shape)).astype(np.float32)


def add_linear(w, rng, name, rows, columns, gain=1.0, bias=0.1, shape=None):
    weight = normal(rng, rows, columns, scale=gain / np.sqrt(columns))
    w[name + ".weight"] = weight.reshape(shape or weight.shape)
    w[name + ".bias"] = normal(rng, rows, scale=bias)


def add_norm(w, rng, name, width, running=False):
    w[name + ".weight"] = 1 + normal(rng, width, scale=0.2)
    w[name + ".bias"] = normal(rng, width, scale=0.2)
    if running:
        w[name + ".running_mean"] = normal(rng, width, scale=0.2)
        w[name + ".running_var"] = rng.uniform(0.2, 1.5, width).astype(np.float32)


def bert_weights(rng, config):
    w = {}
    for kind, rows in (("word", config["vocab_size"]),
                       ("position", config["max_position_embeddings"]),
                       ("token_type", config["type_vocab_size"])):
        w[f"embeddings.{kind}_embeddings.weight"] = normal(rng, rows, H)
    add_norm(w, rng, "embeddings.LayerNorm", H)
    for n in range(config["num_hidden_layers"]):
        p = f"encoder.layer.{n}."
        for part in ("query", "key", "value"):
            add_linear(w, rng, p + "attention.self." + part, H, H)
        add_linear(w, rng, p + "attention.output.dense", H, H)
        add_norm(w, rng, p + "attention.output.LayerNorm", H)
        add_linear(w, rng, p + "intermediate.dense", INTERMEDIATE, H)
        add_linear(w, rng, p + "output.dense", H, INTERMEDIATE)
        add_norm(w, rng, p + "output.LayerNorm", H)
    add_linear(w, rng, "pooler.dense", H, H)  # in every checkpoint, without a part in DIME
    return w


def direction_weights(rng, settings):
    e, router, hidden = (settings[k] for k in ("embed_size", "hid_router", "hid_IMRC"))
    w = {}
    add_linear(w, rng, "image.fc", e, D)
    add_norm(w, rng, "image.bn", e, running=True)
    add_linear(w, rng, "text.fc", e, H)
    for k in (1, 2, 3):
        add_linear(w, rng, f"text.convs1.{k - 1}", e, k * H, shape=(e, 1, k, H))
    add_linear(w, rng, "text.mapping", e, 3 * e)
    for layer, paths in ((0, 4), (1, 4), (2, 1)):
        p = f"interaction.dynamic_itr_l{layer}."
        for cell in reference.CELLS:
            # Strong enough for gates that differ from pair to pair, about half of them shut.
            add_linear(w, rng, f"{p}{cell}.router.mlp.0", router, e, gain=5.0, bias=0.3)
            add_linear(w, rng, f"{p}{cell}.router.mlp.2", paths, router, gain=1.0, bias=0.2)
        for i in (1, 2):
            add_linear(w, rng, f"{p}glgc.fc_{i}", e, e)
        for i in range(3):
            add_linear(w, rng, f"{p}imrc.sa.att_layer.linears.{i}", e, e, gain=1.5)
        add_linear(w, rng, p + "imrc.sa.feed_forward_layer.fc1", hidden, e)
        add_linear(w, rng, p + "imrc.sa.feed_forward_layer.fc2", e, hidden)
        for part in ("fc_scale", "fc_shift", "fc_1", "fc_2"):
            add_linear(w, rng, f"{p}cmrc.refine.{part}", e, e)
    add_linear(w, rng, "interaction.path_mapping", 128, 36)
    add_norm(w, rng, "interaction.bn", e, running=True)
    return w


def write_json(value, *path):
    with open(os.path.join(*path), "w", encoding="utf-8") as f:
        json.dump(value, f, indent=1)
        f.write("\n")


def write_inputs(out, seeds):
    """The model directory and the test split, all random but fixed by the seeds."""
    rng = np.random.default_rng(seeds["inputs"])
    model, split = os.path.join(out, "model"), os.path.join(out, "data")
    for folder in (os.path.join(model, "bert"), split):
        os.makedirs(folder, exist_ok=True)
    config = {"format": "dime-model", "format_version": 1, "max_words": L, "num_regions": R,
              "tokenizer": {"lower_case": True, "split_chinese": False}, "directions": {}}
    for name, shape in SHAPES.items():
        config["directions"][name] = {
            "weights": name + ".safetensors", "bert": "bert", "img_dim": D, **shape,
            "raw_feature_norm_CMRC": "clipped_l2norm", "no_imgnorm": False, "use_abs": False}
        reference.write_safetensors(os.path.join(model, name + ".safetensors"),
                                    direction_weights(np.random.default_rng(seeds[name]), shape))
    write_json(config, model, "config.json")
    bert = {"architectures": ["BertModel"], "model_type": "bert", "vocab_size": len(VOCAB),
            "hidden_size": H, "num_hidden_layers": 2, "num_attention_heads": 4,
            "intermediate_size": INTERMEDIATE, "max_position_embeddings": 12,
            "type_vocab_size": 2, "hidden_act": "gelu", "layer_norm_eps": 1e-12,
            "pad_token_id": 0, "position_embedding_type": "absolute"}
    write_json(bert, model, "bert", "config.json")
    reference.write_safetensors(os.path.join(model, "bert", "model.safetensors"),
                                bert_weights(rng, bert))
    with open(os.path.join(model, "bert", "vocab.txt"), "w", encoding="utf-8") as f:
        f.writelines(piece + "\n" for piece in VOCAB)
    with open(os.path.join(split, "test_caps.txt"), "w", encoding="utf-8") as f:
        f.writelines(caption + "\n" for caption in CAPTIONS)
    # Region features are the output of a relu and of a mean, as those of a detector are.
    for name in ("test", "extra"):
        features = reference.relu(normal(rng, BATCH, R, D, scale=1.5) + normal(rng, BATCH, 1, D))
        np.save(os.path.join(split, name + "_ims.npy"), features)
    return model, split


def direction_expected(direction, ids, lengths, features, extra_features, check):
    """Every expected value of a direction that its name goes before."""
    expected = {}
    texts = [direction.text(i, n) for i, n in zip(ids, lengths)]
    captions = [(s, words, n) for (_, s, words), n in zip(texts, lengths)]

    def run(prefix):
        images = [direction.image(f) for f in features]
        scores, paths = direction.scores(images, captions)
        expected[prefix + "similarity"] = scores
        check([[direction.pair(*i, *c)[2] for c in captions] for i in images])
        return images, scores, paths

    images, scores, paths = run("")
    expected |= {"sentence": np.array([t[1] for t in texts]),
                 "words": np.array([t[2] for t in texts]),
                 "image": np.array([i[0] for i in images]),
                 "regions": np.array([i[1] for i in images]), "paths": paths}

    extra, _ = direction.scores([direction.image(f) for f in extra_features], captions)
    expected["extra.similarity"] = extra
    first, second = range(0, 5 * BATCH, 5), range(1, 5 * BATCH, 5)
    batches = {"": scores[:, first], "extra_text.": scores[:, [*first, *second]],
               "extra_image.": np.concatenate([scores, extra])[:, first]}
    for part, batch_scores in batches.items():
        for kind in ("max_violation", "sum"):
            loss, grad = reference.ranking_loss(batch_scores, BATCH,
                                                max_violation=kind == "max_violation")
            expected[f"loss.{part}{kind}"] = np.array(loss)
            expected[f"loss.{part}{kind}.grad"] = grad
    expected["loss.path"] = np.array(reference.path_loss(
        direction, paths[:, first], [texts[t][0] for t in first]))

    for option, values in (("raw_feature_norm_CMRC", reference.NORMS), ("no_imgnorm", (True,)),
                           ("use_abs", (True,))):
        kept = direction.settings[option]
        for value in values:
            direction.settings[option] = value
            prefix = f"norm.{value}." if isinstance(value, str) else option + "."
            images, _, _ = run(prefix)
            if value is True:
                expected[prefix + "image"] = np.array([i[0] for i in images])
        direction.settings[option] = kept
    return expected


class GateCheck:
    """Keeps the golden case honest: every branch of the routing taken, none on a knife's edge.

    A path's skip and a layer-2 gate's shut are jumps of the score, so a raw gate that decides
    one must be far enough from zero that float32 rounding cannot turn it.
    """

    def __init__(self):
        self.margin, self.shut, self.counts = np.inf, 0.0, {}

    def __call__(self, raw):  # raw[image][text][layer] (cells, paths)
        layers = [np.array([[pair[n] for pair in row] for row in raw]) for n in range(3)]
        highest = [layers[n].max(2) for n in (0, 1)]
        self.margin = min(self.margin, *(np.abs(h).min() for h in highest),
                          np.abs(layers[2]).min())
        if not self.counts:  # the configuration as written
            gates = np.concatenate([x.reshape(*x.shape[:2], -1) for x in layers], axis=2)
            self.shut = float((gates <= 0).mean())
            self.counts = {"layer 0 skips": int((highest[0] <= 0).sum()),
                           "layer 1 skips": int((highest[1] <= 0).sum()),
                           "layer 2 shut gates": int((layers[2] <= 0).sum()),
                           "layer 2 all shut": int((layers[2].max(2) <= 0).sum())}

    def ok(self):
        # Of the 180 layer-2 gates some must stay open, too.
        return (0.4 < self.shut < 0.6 and all(self.counts.values()) and self.margin > 5e-4
                and 45 < self.counts["layer 2 shut gates"] < 135)


def make_tiny(out, seeds):
    model_dir, split = write_inputs(out, seeds)
    model = reference.Model(model_dir)
    captions = reference.read_captions(os.path.join(split, "test_caps.txt"))
    ids, lengths = model.encode(captions)
    split_ids, split_lengths = model.encode(captions, split_chinese=True)
    features, extra = (np.load(os.path.join(split, n + "_ims.npy")) for n in ("test", "extra"))
    any_direction = model.directions["i2t"]
    expected = {"input_ids": ids, "lengths": lengths,
                "split_chinese.input_ids": split_ids, "split_chinese.lengths": split_lengths,
                "bert.hidden": np.array([reference.bert(any_direction.bert_w,
                                                        any_direction.bert_config, i, n)
                                         for i, n in zip(ids, lengths)])}
    checks = {}
    for name, direction in model.directions.items():
        checks[name] = GateCheck()
        values = direction_expected(direction, ids, lengths, features, extra, checks[name])
        for key, value in values.items():
            # A variant's name goes before the direction's: norm.l2norm.i2t.similarity.
            variant, _, rest = key.rpartition(".")
            is_variant = variant.startswith(("norm.", "no_imgnorm", "use_abs"))
            expected[f"{variant}.{name}.{rest}" if is_variant else f"{name}.{key}"] = value
    expected["ensemble.similarity"] = (expected["i2t.similarity"]
                                       + expected["t2i.similarity"]) / 2
    reference.write_safetensors(os.path.join(out, "expected.safetensors"), {
        k: v.astype(np.float32) if v.dtype == np.float64 else v for k, v in expected.items()})
    return expected, checks


def metrics_case(rng, images, texts, boost):
    """Scores in sixteenths, so that ties are many and exact in float32 as well."""
    scores = rng.integers(-8, 9, (images, texts)) / 16
    paired = np.arange(images).repeat(texts // images) == np.arange(images)[:, None]
    scores = np.clip(scores + boost * paired, -0.5, 0.5)  # makes the task harder or easier
    to_text, to_image = reference.ranks(scores)
    return {"similarity": scores.tolist(),
            "ranks": {"image_to_text": to_text.tolist(), "text_to_image": to_image.tolist()},
            "metrics": reference.metrics(scores)}


def make_metrics(path):
    rng = np.random.default_rng(42)
    cases = {"five_captions_per_image": metrics_case(rng, 6, 30, -0.125),
             "one_caption_per_image": metrics_case(rng, 12, 12, 0.25)}
    # Folds: consecutive blocks of images with their captions; each number is the folds' mean.
    scores = np.array(cases["five_captions_per_image"]["similarity"])
    folds = [reference.metrics(scores[3 * k:3 * k + 3, 15 * k:15 * k + 15]) for k in range(2)]
    cases["five_captions_per_image"]["folds"] = {
        "images_per_fold": 3,
        "metrics": {key: np.mean([f[key] for f in folds], axis=0).tolist() for key in folds[0]}}
    with open(path, "w", encoding="utf-8") as f:
        json.dump({
            "tie_rule": "rank = place in a reversed stable sort: of equal scores the later item first; from 0",
            "metric_order": ["R@1", "R@5", "R@10", "median_rank", "mean_rank"],
            "cases": cases}, f)
        f.write("\n")
    return cases


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default=os.path.dirname(os.path.abspath(__file__)))
    args = parser.parse_args()
    expected, checks = make_tiny(os.path.join(args.out, "tiny"), SEEDS)
    for name, check in checks.items():
        print(name, f"shut {check.shut:.2f}, margin {check.margin:.1e},", check.counts)
        assert check.ok(), "choose another seed: " + name
        base = expected[name + ".similarity"]
        variants = {k: np.abs(v - base).max() for k, v in expected.items()
                    if k.startswith(("norm.", "no_imgnorm", "use_abs"))
                    and k.endswith(name + ".similarity") and "clipped_l2norm" not in k}
        same = [k for k, v in variants.items() if v < 1e-3]
        # The i2t score takes nothing from the global image vector.
        assert all(name == "i2t" and k.startswith(("no_imgnorm", "use_abs")) for k in same), same
    make_metrics(os.path.join(args.out, "metrics_case.json"))


if __name__ == "__main__":
    main()
