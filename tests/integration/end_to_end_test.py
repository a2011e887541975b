#!/usr/bin/env python3
"""The programs together, as a user runs them: build a gallery, serve it, search it, and compare every
answer with the similarity matrix that dime_evaluate writes. Standard library only.

    end_to_end_test.py BIN_DIR SOURCE_DIR
"""
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import unittest
import xml.etree.ElementTree

sys.dont_write_bytecode = True  # the source tree is no place for it
from programs import SOURCE, TINY, Server, read_npy, run, write_npy  # noqa: E402


class EndToEndTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.work = tempfile.mkdtemp(prefix="dime-end-to-end-")
        cls.model = os.path.join(TINY, "model")
        cls.gallery = os.path.join(cls.work, "gallery")
        # The data, with boxes: region r of every image is a strip of 10 x 40 pixels.
        data = os.path.join(cls.work, "data")
        shutil.copytree(os.path.join(TINY, "data"), data)
        write_npy(os.path.join(data, "test_boxes.npy"), (3, 7, 4),
                  3 * [edge for r in range(7) for edge in (10 * r, 0, 10 * r + 10, 40)])
        cls.modules_gallery = os.path.join(cls.work, "modules-gallery")
        for gallery, scorer in ((cls.gallery, "auto"), (cls.modules_gallery, "modules")):
            run("dime_build_gallery", "--model", cls.model, "--data", data, "--split", "test",
                "--out", gallery, "--device", "cpu", "--scorer", scorer)
        # By what serves, and by the modules, which explain.
        cls.similarity = cls.similarities("auto")
        cls.modules_similarity = cls.similarities("modules")
        with open(os.path.join(TINY, "data/test_caps.txt"), encoding="utf-8") as lines:
            cls.captions = [line.rstrip("\n") for line in lines]
        cls.server = Server(cls.model, cls.gallery)
        # An item encoded alone and one encoded among others may differ in their last bits, which
        # kernels that round can make differences of a few 1e-4.
        kernels = cls.server.json("info")["model"]["scorer"] != "modules"
        cls.rounding = 1e-3 if kernels else 2e-5

    @classmethod
    def similarities(cls, scorer):
        matrices = {}
        for mode in ("i2t", "t2i", "ensemble"):
            path = os.path.join(cls.work, f"{scorer}-{mode}.npy")
            run("dime_evaluate", "--model", cls.model, "--data", os.path.join(TINY, "data"),
                "--split", "test", "--direction", mode, "--similarity-out", path, "--json",
                "--device", "cpu", "--scorer", scorer)
            matrices[mode] = read_npy(path)
        return matrices

    @classmethod
    def tearDownClass(cls):
        code = cls.server.end()
        shutil.rmtree(cls.work)
        assert code == 0, f"the server ended with {code} on SIGTERM"

    def check_order(self, hits, expected, id_to_row, delta):
        """Hits are the best of `expected` in order; near-ties may swap."""
        self.assertEqual(len(hits), min(len(hits), len(expected)))
        best = sorted(expected, reverse=True)
        for rank, hit in enumerate(hits):
            self.assertAlmostEqual(hit["score"], best[rank], delta=delta)
            self.assertAlmostEqual(hit["score"], expected[id_to_row(hit["id"])], delta=delta)

    def check_exact_search(self, server, similarity, delta):
        for mode, matrix in similarity.items():
            for caption in (0, 4, 7, 14):
                answer = server.json("search-images", self.captions[caption],
                                     "--exact", "--mode", mode, "--top-k", "3")
                self.assertEqual(len(answer["hits"]), 3)
                self.check_order(answer["hits"], [row[caption] for row in matrix],
                                 lambda name: int(name.rsplit("-", 1)[1]), delta)
            for image in range(3):
                answer = server.json("search-captions", "--image-id", f"test-{image}",
                                     "--exact", "--mode", mode, "--top-k", "15")
                self.assertEqual(len(answer["hits"]), 15)
                self.check_order(
                    answer["hits"], matrix[image],
                    lambda name: 5 * int(name.split("#")[0].rsplit("-", 1)[1]) +
                    int(name.split("#")[1]), delta)

    def test_exact_search_equals_exhaustive_scoring(self):
        self.check_exact_search(self.server, self.similarity, self.rounding)

    def test_exact_search_by_the_modules_equals_theirs(self):
        server = Server(self.model, self.modules_gallery, "--scorer", "modules")
        try:
            self.check_exact_search(server, self.modules_similarity, 2e-5)
        finally:
            self.assertEqual(server.end(), 0)

    def test_a_hangup_loads_anew_and_a_bad_one_changes_nothing(self):
        living = os.path.join(self.work, "living")
        run("dime_build_gallery", "--model", self.model, "--living", "--out", living, "--device",
            "cpu")
        link = os.path.join(self.work, "current")
        os.symlink(self.gallery, link)
        server = Server(self.model, link)

        def lead_to(target):
            os.symlink(target, link + ".new")
            os.replace(link + ".new", link)
            server.process.send_signal(signal.SIGHUP)

        try:
            lead_to(os.path.join(self.work, "nowhere"))
            server.await_metric('dime_reloads_total{outcome="failed"} 1\n')
            self.assertEqual(int(server.json("info")["gallery"]["image_count"]), 3)
            self.assertEqual(len(server.json("search-images", self.captions[0])["hits"]), 3)
            lead_to(living)
            server.await_metric('dime_reloads_total{outcome="done"} 1\n')
            info = server.json("info")["gallery"]
            self.assertEqual(int(info.get("image_count", 0)), 0)
            self.assertTrue(info["writable"])
            refused = server.client("search-images", "anything", check=False)
            self.assertIn("GALLERY_EMPTY", refused.stderr)
        finally:
            self.assertEqual(server.end(), 0)

    def test_a_shadow_of_the_same_model_agrees(self):
        copy = os.path.join(self.work, "shadow")
        shutil.copytree(self.gallery, copy)
        server = Server(self.model, self.gallery, "--shadow-model", self.model, "--shadow-gallery",
                        copy, "--shadow-rate", "1")
        try:
            server.json("search-images", self.captions[0])
            server.await_metric('dime_shadow_samples_total{method="SearchImages"} 1\n')
            self.assertIn('dime_shadow_top1_same_total{method="SearchImages"} 1\n',
                          server.scrape())
            self.assertIn('dime_shadow_overlap_ratio_sum{method="SearchImages"} 1\n',
                          server.scrape())
        finally:
            self.assertEqual(server.end(), 0)

    def test_two_stages_over_the_whole_gallery_are_exact(self):
        exact = self.server.json("search-captions", "--image-id", "test-1", "--exact",
                                        "--top-k", "15")
        deep = self.server.json("search-captions", "--image-id", "test-1", "--top-k", "15",
                                       "--rerank-depth", "15")
        self.assertEqual([hit["id"] for hit in exact["hits"]], [hit["id"] for hit in deep["hits"]])

    def test_features_find_what_the_stored_image_finds(self):
        stored = self.server.json("search-captions", "--image-id", "test-2")
        sent = self.server.json("search-captions", "--features",
                                       os.path.join(TINY, "data/test_ims.npy"), "--row", "2")
        self.assertEqual([hit["id"] for hit in stored["hits"]], [hit["id"] for hit in sent["hits"]])
        for a, b in zip(stored["hits"], sent["hits"]):
            self.assertAlmostEqual(a["score"], b["score"], delta=self.rounding)

    def test_explain_shows_thirty_six_weights_of_each_direction(self):
        answer = self.server.json("search-images", self.captions[0], "--view", "explain")
        details = answer["hits"][0]["details"]
        self.assertEqual(len(details["routings"]), 2)
        for routing in details["routings"]:
            weights = routing["path_weights"]
            self.assertEqual(len(weights), 36)
            for layer in (0, 1):
                for path in range(4):
                    total = sum(w["weight"] for w in weights[16 * layer + 4 * path:][:4])
                    self.assertTrue(abs(total - 1) < 1e-4 or total == 0, total)
        self.assertAlmostEqual(details["i2t_score"] + details["t2i_score"],
                               2 * answer["hits"][0]["score"], delta=1e-5)

    def test_explain_tells_what_made_the_score(self):
        caption = self.captions[7].strip()
        for mode, matrix in self.modules_similarity.items():
            answer = self.server.json("explain", caption, "--image", "test-1",
                                             "--mode", mode)
            self.assertAlmostEqual(answer["rerank_score"], matrix[1][7], delta=2e-5)
            words, regions = answer["words"], answer["num_regions"]
            self.assertEqual((words[0], words[-1], regions), ("[CLS]", "[SEP]", 7))
            for direction in answer["directions"]:
                self.assertEqual(len(direction["cells"]), 3)
                for cell in direction["cells"]:
                    table = [cell["attention"][w * regions:(w + 1) * regions]
                             for w in range(len(words))]
                    self.assertEqual(len(cell["attention"]), len(words) * regions)
                    sharing = zip(*table) if direction["direction"] == "SCORE_MODE_I2T" else table
                    for shares in sharing:
                        self.assertAlmostEqual(sum(shares), 1, delta=1e-4)
        stored = self.server.json("explain", "--caption-id", "test-1#2", "--image", "test-1")
        self.assertEqual(stored["words"], answer["words"])
        self.assertAlmostEqual(stored["rerank_score"], answer["rerank_score"], delta=1e-5)
        found = self.server.json("search-images", caption, "--view", "explain", "--exact")
        hit = next(hit for hit in found["hits"] if hit["id"] == "test-1")
        self.assertAlmostEqual(hit["details"]["coarse_score"], answer["coarse_score"], delta=1e-5)

    def test_explain_is_drawn(self):
        svg = os.path.join(self.work, "why.svg")
        shown = self.server.client("explain", self.captions[7], "--image", "test-1", "--svg", svg)
        self.assertIn("i2t: the regions look at the words", shown.stdout)
        self.assertIn("r3:30,0-40,40", shown.stdout)
        self.assertIn(f"wrote {svg}", shown.stdout)
        tags = [element.tag for element in xml.etree.ElementTree.parse(svg).iter()]
        self.assertGreater(tags.count("{http://www.w3.org/2000/svg}rect"), 10)
        unknown = self.server.client("explain", "a", "--image", "no-such", check=False)
        self.assertEqual(unknown.returncode, 4)
        self.assertIn("no-such", unknown.stderr)
        sent = self.server.client("explain", "a", "--features",
                                  os.path.join(TINY, "data/test_ims.npy"), "--row", "1",
                                  "--svg", svg, check=False)
        self.assertEqual(sent.returncode, 4)
        self.assertIn("does not know where", sent.stderr)

    def test_the_coarse_score_weighs_what_is_asked(self):
        for weight in (0, 0.25, 1):
            answer = self.server.json(
                "search-captions", "--image-id", "test-1", "--exact", "--top-k", "15", "--view",
                "full", "--fusion-weight", str(weight))
            self.assertEqual(answer["stats"]["recalled_count"], 15)
            self.assertEqual(answer["stats"]["reranked_count"], 0 if weight == 1 else 15)
            self.assertEqual(answer["stats"]["fusion_weight"], weight)
            scores = [hit["score"] for hit in answer["hits"]]
            self.assertEqual(scores, sorted(scores, reverse=True))
            for hit in answer["hits"]:
                details = hit["details"]
                self.assertEqual("rerank_score" in details, weight != 1)
                rerank = details.get("rerank_score", 0)
                self.assertAlmostEqual(
                    hit["score"], (1 - weight) * rerank + weight * details["coarse_score"],
                    delta=1e-5)

    def test_adaptive_depth_without_a_calibration_reranks_all(self):
        plain = self.server.json("search-captions", "--image-id", "test-0")
        adaptive = self.server.json("search-captions", "--image-id", "test-0",
                                           "--adaptive-depth", "--view", "full")
        self.assertEqual(adaptive["stats"]["reranked_count"], 15)
        self.assertEqual([hit["id"] for hit in plain["hits"]],
                         [hit["id"] for hit in adaptive["hits"]])

    def test_audits_compare_served_answers_with_exact_ones(self):
        server = Server(self.model, self.gallery, "--audit-rate", "1")
        try:
            server.client("search-captions", "--image-id", "test-0", "--rerank-depth", "15")
            count = 'dime_recall_audit_ratio_count{k="10",method="SearchCaptions"} '
            server.await_metric(count + "1\n")
            text = server.scrape()
            self.assertIn(count.replace("_count", "_sum") + "1\n", text)
            self.assertIn('dime_recall_audit_top1_in_window_total{method="SearchCaptions"} 1\n',
                          text)
        finally:
            self.assertEqual(server.end(), 0)

    def test_info_and_metrics(self):
        info = self.server.json("info")
        self.assertEqual(int(info["gallery"]["image_count"]), 3)
        self.assertEqual(info["model"]["max_words"], 10)
        self.assertEqual(info["model"]["default_score_mode"], "SCORE_MODE_ENSEMBLE")
        self.assertEqual([weight["images"] for weight in info["model"]["fusion_weights"]],
                         [0, 0, 0])
        text = self.server.scrape()
        self.assertRegex(text, r'dime_gallery_items\{modality="caption"\} 15')
        self.assertRegex(text, r"dime_model_info\{")

    def test_bad_input_names_the_field(self):
        for arguments, code, words in [
            (("search-images", ""), 3, "text"),
            (("search-images", "word " * 10000), 3, "text"),
            (("search-images", "a", "--top-k", "0"), 3, "top_k"),
            (("search-images", "a", "--top-k", "1000000"), 3, "top_k"),
            (("search-captions", "--image-id", "no-such"), 4, "no-such"),
            (("search-captions", "--features", os.path.join(self.work, "auto-i2t.npy")), 3, "features"),
        ]:
            result = self.server.client(*arguments, check=False)
            self.assertEqual(result.returncode, code, (arguments[0], result.stderr))
            self.assertIn(words, result.stderr)
        self.server.client("info")  # it is still there

    def test_a_second_server_on_the_port_is_refused(self):
        result = run("dime_server", "--model", self.model, "--gallery", self.gallery, "--device",
                     "cpu", "--address", self.server.address, "--metrics-address", "", check=False)
        self.assertNotEqual(result.returncode, 0)
        self.assertIn(self.server.address, result.stderr)

    def test_a_gallery_of_another_model_is_refused(self):
        other = os.path.join(self.work, "other_model")
        shutil.copytree(self.model, other)
        with open(os.path.join(other, "config.json"), encoding="utf-8") as file:
            config = json.load(file)
        config["directions"]["i2t"]["lambda_softmax_CMRC"] += 1
        with open(os.path.join(other, "config.json"), "w", encoding="utf-8") as file:
            json.dump(config, file)
        result = run("dime_server", "--model", other, "--gallery", self.gallery, "--device", "cpu",
                     "--address", "127.0.0.1:0", "--metrics-address", "", check=False)
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("dime_build_gallery", result.stderr)

    def test_no_server(self):
        with socket.socket() as taken:  # bound but not listening: nobody answers, nobody takes it
            taken.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            result = run("dime", "--address", address, "--deadline", "2s", "info", check=False)
        self.assertEqual(result.returncode, 5, result.stderr)
        self.assertIn(address, result.stderr)

    def test_tsv_gallery(self):
        tsv = os.path.join(SOURCE, "../shared/data/butd10")
        if not os.path.isdir(tsv):
            self.skipTest(f"no reference data at {tsv}")
        # Features 2048 wide do not fit the tiny model: the error says so.
        result = run("dime_build_gallery", "--model", self.model, "--tsv",
                     os.path.join(tsv, "trainval_resnet101_faster_rcnn_genome_36.tsv"), "--out",
                     os.path.join(self.work, "tsv_gallery"), "--device", "cpu", check=False)
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("2048", result.stderr)
        self.assertFalse(os.path.exists(os.path.join(self.work, "tsv_gallery")))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
