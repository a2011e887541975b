#!/usr/bin/env python3
"""Compares reference.py with arrays that the published model computed.

Run: check_reference.py --model DIR --fixtures DIR
DIR of fixtures holds {i2t,t2i}_expected.npz, {i2t,t2i}_loss.json, metrics.json, tokens.json and
toy_precomp/test_{ims.npy,caps.txt}; the model directory holds the same weights, converted.
"""

import argparse
import json
import os
import sys

import numpy as np

import reference

TOLERANCE = 1e-5


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--fixtures", required=True)
    args = parser.parse_args()

    def read_json(name):
        with open(os.path.join(args.fixtures, name), encoding="utf-8") as f:
            return json.load(f)

    worst = 0.0

    def compare(name, got, expected):
        nonlocal worst
        deviation = float(np.abs(np.asarray(got, float) - np.asarray(expected, float)).max())
        worst = max(worst, deviation)
        print(f"{name:32} {deviation:.2e}")

    split = os.path.join(args.fixtures, "toy_precomp", "test_")
    features = np.load(split + "ims.npy")
    captions = reference.read_captions(split + "caps.txt")
    model = reference.Model(args.model)
    ids, lengths = model.encode(captions)
    tokens = read_json("tokens.json")
    wrong = sum(reference.tokenize(c, model.vocab) != t for c, t in zip(captions, tokens))
    compare(f"tokens ({len(tokens)} captions)", wrong, 0)
    similarities, expected_metrics = [], read_json("metrics.json")
    for name, direction in model.directions.items():
        expected = np.load(os.path.join(args.fixtures, f"{name}_expected.npz"))
        images = [direction.image(f) for f in features]
        texts = [direction.text(i, n) for i, n in zip(ids, lengths)]
        scores, paths = direction.scores(
            images, [(s, words, n) for (_, s, words), n in zip(texts, lengths)])
        got = {"input_ids": ids, "lengths": lengths, "sentence": [t[1] for t in texts],
               "words": [t[2] for t in texts], "image": [i[0] for i in images],
               "regions": [i[1] for i in images], "similarity": scores, "paths": paths}
        for key in expected:
            compare(f"{name}.{key}", got[key], expected[key])
        similarities.append(scores)

        loss = read_json(f"{name}_loss.json")
        b = loss["batch"]
        first, second = range(0, 5 * b, 5), range(1, 5 * b, 5)
        value, grad = reference.ranking_loss(scores[:b, first], b)
        compare(f"{name}.loss_max_violation", value, loss["loss_max_violation"])
        compare(f"{name}.grad_max_violation", grad, loss["grad_max_violation"])
        value, _ = reference.ranking_loss(scores[:b, first], b, max_violation=False)
        compare(f"{name}.loss_sum", value, loss["loss_sum"])
        value, _ = reference.ranking_loss(scores[:b, [*first, *second]], b)
        compare(f"{name}.loss_extra_text", value, loss["loss_extra_text"])
        value, _ = reference.ranking_loss(scores[:2 * b, first], b)
        compare(f"{name}.loss_extra_image", value, loss["loss_extra_image"])
    cases = dict(zip(model.directions, similarities), ensemble=np.mean(similarities, axis=0))
    for name, scores in cases.items():
        for side, axis in (("image_to_text", 1), ("text_to_image", 0)):
            got = reference.metrics(scores)[side]
            compare(f"metrics.{name}.{side}", got, expected_metrics[name][side])
    print("largest deviation", worst)
    return 0 if worst < TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
