#!/usr/bin/env python3
"""dime_evaluate as a user runs it, over the toy model: recall of every order, two stages, tuning.
Standard library only.

    evaluate_test.py BIN_DIR SOURCE_DIR
"""
import json
import os
import shutil
import sys
import tempfile
import unittest
import xml.etree.ElementTree

sys.dont_write_bytecode = True  # the source tree is no place for it
from programs import TINY, run  # noqa: E402

METRICS = ("r1", "r5", "r10", "median_rank", "mean_rank")


def evaluate(*arguments, model=os.path.join(TINY, "model"), data=os.path.join(TINY, "data")):
    return run("dime_evaluate", "--model", model, "--data", data, "--split", "test", "--device",
               "cpu", *arguments, check=False)


def evaluate_json(*arguments, **options):
    result = evaluate("--json", *arguments, **options)
    if result.returncode != 0:
        raise AssertionError(result.stderr)
    return json.loads(result.stdout)


def metrics(of):
    return [of[name] for name in METRICS]


class EvaluateTest(unittest.TestCase):
    def setUp(self):
        self.work = tempfile.mkdtemp(prefix="dime-evaluate-")
        self.model = os.path.join(self.work, "model")
        shutil.copytree(os.path.join(TINY, "model"), self.model)

    def tearDown(self):
        shutil.rmtree(self.work)

    def test_every_order_of_all_pairs(self):
        rerank = evaluate_json("--fusion-weight", "0")
        self.assertEqual(rerank["fused"]["rsum"], rerank["rsum"])
        coarse = evaluate_json("--fusion-weight", "1")
        self.assertEqual(coarse["rsum"], rerank["rsum"])
        self.assertEqual(metrics(coarse["fused"]["text_to_image"]),
                         metrics(coarse["coarse"]["text_to_image"]))
        self.assertEqual(coarse["fused"]["fusion_weight"], {"images": 1, "captions": 1})
        text = evaluate().stdout
        for words in ("image to text", "coarse only", "fused"):
            self.assertIn(words, text)

    def test_a_window_of_everything_is_the_exhaustive_order(self):
        plain = evaluate_json("--direction", "t2i")
        two = evaluate_json("--direction", "t2i", "--two-stage", "--rerank-depth", "15,2,5")
        for direction, items in (("text_to_image", 3), ("image_to_text", 15)):
            kind = two[direction]
            self.assertEqual(kind["items"], items)
            self.assertEqual([at["depth"] for at in kind["depths"]], [2, 5, 15])
            self.assertEqual(metrics(kind["exhaustive"]["rerank"]), metrics(plain[direction]))
            self.assertEqual(metrics(kind["coarse"]), metrics(plain["coarse"][direction]))
            self.assertEqual(metrics(kind["depths"][-1]["rerank"]), metrics(plain[direction]))
            self.assertEqual(kind["depths"][-1]["rerank"]["top10_recalled_percent"], 100)
            self.assertEqual(kind["depths"][0]["pairs"], 2 * kind["queries"])
            self.assertGreater(kind["depths"][0]["coarse_ms_per_query"], 0)
            self.assertGreater(kind["rerank_ms_per_pair"], 0)
        self.assertAlmostEqual(two["rsum"]["exhaustive"]["rerank"], plain["rsum"])

    def test_a_sample_of_queries_searches_the_whole_gallery(self):
        two = evaluate_json("--two-stage", "--queries", "2", "--rerank-depth", "1")
        for direction, items in (("text_to_image", 3), ("image_to_text", 15)):
            self.assertEqual(two[direction]["queries"], 2)
            self.assertEqual(two[direction]["exhaustive"]["pairs"], 2 * items)

    def test_the_plot_is_an_svg_document(self):
        path = os.path.join(self.work, "plot.svg")
        result = evaluate("--two-stage", "--rerank-depth", "1,2,10", "--plot", path)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("exhaustive", result.stdout)
        root = xml.etree.ElementTree.parse(path).getroot()
        self.assertTrue(root.tag.endswith("svg"))
        self.assertEqual(len(list(root.iter("{http://www.w3.org/2000/svg}polyline"))), 16)

    def test_captions_are_told_apart_by_kind(self):
        data = os.path.join(self.work, "data")
        shutil.copytree(os.path.join(TINY, "data"), data)
        kinds = [{"kind": kind} for kind in ("count", "count", "mixed", "mixed", "mixed")]
        with open(os.path.join(data, "test_meta.json"), "w", encoding="utf-8") as file:
            json.dump([{"captions": kinds}] * 3, file)
        two = evaluate_json("--two-stage", "--rerank-depth", "2", data=data)
        by_kind = two["text_to_image"]["by_caption_kind"]
        self.assertEqual({name: kind["queries"] for name, kind in by_kind.items()},
                         {"count": 6, "mixed": 9})
        self.assertNotIn("by_caption_kind", two["image_to_text"])

    def test_tuning_writes_settings_that_are_then_used(self):
        ranking = os.path.join(self.model, "ranking.json")
        with open(ranking, "w", encoding="utf-8") as file:
            json.dump({"format": 1, "tuned_on": "stale"}, file)
        tuned = evaluate_json("--tune-fusion", model=self.model)
        self.assertEqual(len(tuned["modes"]), 6)
        with open(ranking, encoding="utf-8") as file:
            written = json.load(file)
        self.assertEqual(written["tuned_on"], "test of data, 3 images, 15 captions")
        plain = evaluate_json("--direction", "i2t", model=self.model)
        for kind, direction in (("images", "text_to_image"), ("captions", "image_to_text")):
            entry = written[kind]["i2t"]
            self.assertIn("bound_slope", entry)
            self.assertEqual(plain["fused"]["fusion_weight"][kind], entry["fusion_weight"])
            for order, metric in (("coarse_recall", plain["coarse"][direction]),
                                  ("rerank_recall", plain[direction]),
                                  ("fused_recall", plain["fused"][direction])):
                self.assertAlmostEqual(entry[order], sum(metric[k] for k in ("r1", "r5", "r10")))

    def test_a_model_whose_rerank_loses_is_reported_loudly(self):
        plain = evaluate("--json", "--direction", "ensemble")
        metrics_of = json.loads(plain.stdout)
        self.assertLess(metrics_of["rsum"], metrics_of["coarse"]["rsum"])  # it is untrained
        self.assertIn("WARNING: RERANKING MAKES THIS MODEL'S ANSWERS WORSE in mode ensemble",
                      plain.stderr)
        tuned = evaluate("--tune-fusion", model=self.model)
        self.assertIn("mode ensemble", tuned.stderr)
        self.assertIn("default", tuned.stderr)

    def test_flags_that_do_not_go_together(self):
        for arguments in (("--plot", "x.svg"), ("--rerank-depth", "10"), ("--queries", "3"),
                          ("--two-stage", "--folds", "2"), ("--two-stage", "--tune-fusion"),
                          ("--tune-fusion", "--direction", "i2t"),
                          ("--two-stage", "--rerank-depth", "0")):
            self.assertNotEqual(evaluate(*arguments).returncode, 0, arguments)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
