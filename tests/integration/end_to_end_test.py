#!/usr/bin/env python3
"""The programs together, as a user runs them: build a gallery, serve it, search it, and compare every
answer with the similarity matrix that dime_evaluate writes. Standard library only.

    end_to_end_test.py BIN_DIR SOURCE_DIR
"""
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import unittest
import urllib.request

BIN, SOURCE = sys.argv[1], sys.argv[2]
TINY = os.path.join(SOURCE, "tests/golden/tiny")


def read_npy(path):
    """A float32 matrix as lists of rows."""
    with open(path, "rb") as file:
        content = file.read()
    size = struct.unpack("<H", content[8:10])[0]
    header = content[10:10 + size].decode()
    rows, columns = map(int, re.search(r"\((\d+), (\d+)\)", header).groups())
    values = struct.unpack(f"<{rows * columns}f", content[10 + size:])
    return [values[i * columns:(i + 1) * columns] for i in range(rows)]


def run(program, *arguments, check=True):
    result = subprocess.run([os.path.join(BIN, program), *arguments], capture_output=True,
                            text=True, timeout=300)
    if check and result.returncode != 0:
        raise AssertionError(f"{program} {arguments}: {result.returncode}\n{result.stderr}")
    return result


class Server:
    """A dime_server on ports of its choice."""

    def __init__(self, model, gallery, *arguments):
        self.process = subprocess.Popen(
            [os.path.join(BIN, "dime_server"), "--model", model, "--gallery", gallery, "--device",
             "cpu", "--address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        match = re.search(r"gRPC on ([^,;]+), metrics on (\S+?);", line)
        if not match:
            raise AssertionError(f"no ready line but {line!r}: {self.process.stderr.read()}")
        self.address, self.metrics = match.groups()

    def client(self, *arguments, check=True):
        return run("dime", "--address", self.address, "--deadline", "60s", *arguments, check=check)

    def client_json(self, *arguments):
        return json.loads(self.client("--json", *arguments).stdout)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=60)
        self.process.stdout.close()
        self.process.stderr.close()
        return code


class EndToEndTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.work = tempfile.mkdtemp(prefix="dime-end-to-end-")
        cls.model = os.path.join(TINY, "model")
        cls.gallery = os.path.join(cls.work, "gallery")
        run("dime_build_gallery", "--model", cls.model, "--data", os.path.join(TINY, "data"),
            "--split", "test", "--out", cls.gallery, "--device", "cpu")
        cls.similarity = {}
        for mode in ("i2t", "t2i", "ensemble"):
            path = os.path.join(cls.work, mode + ".npy")
            run("dime_evaluate", "--model", cls.model, "--data", os.path.join(TINY, "data"),
                "--split", "test", "--direction", mode, "--similarity-out", path, "--json",
                "--device", "cpu")
            cls.similarity[mode] = read_npy(path)
        with open(os.path.join(TINY, "data/test_caps.txt"), encoding="utf-8") as lines:
            cls.captions = [line.rstrip("\n") for line in lines]
        cls.server = Server(cls.model, cls.gallery)

    @classmethod
    def tearDownClass(cls):
        code = cls.server.stop()
        shutil.rmtree(cls.work)
        assert code == 0, f"the server ended with {code} on SIGTERM"

    def check_order(self, hits, expected, id_to_row):
        """Hits are the best of `expected` in order; near-ties may swap."""
        self.assertEqual(len(hits), min(len(hits), len(expected)))
        best = sorted(expected, reverse=True)
        for rank, hit in enumerate(hits):
            self.assertAlmostEqual(hit["score"], best[rank], delta=2e-5)
            self.assertAlmostEqual(hit["score"], expected[id_to_row(hit["id"])], delta=2e-5)

    def test_exact_search_equals_exhaustive_scoring(self):
        for mode, matrix in self.similarity.items():
            for caption in (0, 4, 7, 14):
                answer = self.server.client_json("search-images", self.captions[caption],
                                                 "--exact", "--mode", mode, "--top-k", "3")
                self.assertEqual(len(answer["hits"]), 3)
                self.check_order(answer["hits"], [row[caption] for row in matrix],
                                 lambda name: int(name.rsplit("-", 1)[1]))
            for image in range(3):
                answer = self.server.client_json("search-captions", "--image-id", f"test-{image}",
                                                 "--exact", "--mode", mode, "--top-k", "15")
                self.assertEqual(len(answer["hits"]), 15)
                self.check_order(
                    answer["hits"], matrix[image],
                    lambda name: 5 * int(name.split("#")[0].rsplit("-", 1)[1]) +
                    int(name.split("#")[1]))

    def test_two_stages_over_the_whole_gallery_are_exact(self):
        exact = self.server.client_json("search-captions", "--image-id", "test-1", "--exact",
                                        "--top-k", "15")
        deep = self.server.client_json("search-captions", "--image-id", "test-1", "--top-k", "15",
                                       "--rerank-depth", "15")
        self.assertEqual([hit["id"] for hit in exact["hits"]], [hit["id"] for hit in deep["hits"]])

    def test_features_find_what_the_stored_image_finds(self):
        stored = self.server.client_json("search-captions", "--image-id", "test-2")
        sent = self.server.client_json("search-captions", "--features",
                                       os.path.join(TINY, "data/test_ims.npy"), "--row", "2")
        self.assertEqual([hit["id"] for hit in stored["hits"]], [hit["id"] for hit in sent["hits"]])
        for a, b in zip(stored["hits"], sent["hits"]):
            self.assertAlmostEqual(a["score"], b["score"], delta=1e-5)

    def test_explain_shows_thirty_six_weights_of_each_direction(self):
        answer = self.server.client_json("search-images", self.captions[0], "--view", "explain")
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

    def test_info_and_metrics(self):
        info = self.server.client_json("info")
        self.assertEqual(int(info["gallery"]["image_count"]), 3)
        self.assertEqual(info["model"]["max_words"], 10)
        with urllib.request.urlopen(self.server.metrics) as response:
            text = response.read().decode()
        self.assertRegex(text, r'dime_gallery_items\{modality="caption"\} 15')
        self.assertRegex(text, r"dime_model_info\{")

    def test_bad_input_names_the_field(self):
        for arguments, code, words in [
            (("search-images", ""), 3, "text"),
            (("search-images", "word " * 10000), 3, "text"),
            (("search-images", "a", "--top-k", "0"), 3, "top_k"),
            (("search-images", "a", "--top-k", "1000000"), 3, "top_k"),
            (("search-captions", "--image-id", "no-such"), 4, "no-such"),
            (("search-captions", "--features", os.path.join(self.work, "i2t.npy")), 3, "features"),
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
