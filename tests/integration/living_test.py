#!/usr/bin/env python3
"""A living gallery, as its owner uses it through the programs: served empty, filled by the client, searched,
filtered, paged through while others write, deleted from, snapshot and restored, killed and started again. Every
answer is compared with that of a gallery built once from the same items. Standard library only.

    living_test.py BIN_DIR SOURCE_DIR
"""
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import unittest

sys.dont_write_bytecode = True  # the source tree is no place for it
from programs import BIN, TINY, Server, run, write_npy  # noqa: E402

MODEL = os.path.join(TINY, "model")
NUM_IMAGES, NUM_REGIONS, FEATURE_DIM, CAPTIONS_PER_IMAGE = 40, 7, 20, 5
COLORS = ("red", "green", "blue")


def serve(gallery, *arguments, **options):
    # Scores are compared closely, of items that were encoded in other company.
    return Server(MODEL, gallery, "--scorer", "modules", *arguments, **options)


def caption_id(index):
    return f"test-{index // CAPTIONS_PER_IMAGE}#{index % CAPTIONS_PER_IMAGE}"


def caption_payload(index):
    return {"n": index, "color": COLORS[index % 3], "tags": [COLORS[index % 3], f"t{index % 4}"]}


def write_world(directory):
    """A data set in the precomputed layout, and its captions as JSON lines with payloads."""
    draw = random.Random(7)
    os.makedirs(directory)
    shape = (NUM_IMAGES, NUM_REGIONS, FEATURE_DIM)
    write_npy(os.path.join(directory, "test_ims.npy"), shape,
              [draw.uniform(0, 1) for _ in range(shape[0] * shape[1] * shape[2])])
    with open(os.path.join(TINY, "data/test_caps.txt"), encoding="utf-8") as file:
        words = sorted({word for line in file for word in line.split()})
    captions = [" ".join(draw.choices(words, k=draw.randint(2, 6)))
                for _ in range(NUM_IMAGES * CAPTIONS_PER_IMAGE)]
    with open(os.path.join(directory, "test_caps.txt"), "w", encoding="utf-8") as file:
        file.writelines(caption + "\n" for caption in captions)
    with open(os.path.join(directory, "captions.jsonl"), "w", encoding="utf-8") as file:
        for index, caption in enumerate(captions):
            file.write(json.dumps({"id": caption_id(index), "text": caption,
                                   "image_id": f"test-{index // CAPTIONS_PER_IMAGE}",
                                   "payload": caption_payload(index)}) + "\n")
    return captions


class LivingTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.work = tempfile.mkdtemp(prefix="dime-living-")
        cls.data = os.path.join(cls.work, "data")
        cls.captions = write_world(cls.data)
        built = os.path.join(cls.work, "built")
        run("dime_build_gallery", "--model", MODEL, "--data", cls.data, "--split", "test", "--out",
            built, "--device", "cpu", "--scorer", "modules")
        cls.built = serve(built)
        cls.snapshots = os.path.join(cls.work, "snapshots")
        os.mkdir(cls.snapshots)
        cls.gallery = os.path.join(cls.work, "living")
        run("dime_build_gallery", "--model", MODEL, "--living", "--out", cls.gallery, "--device",
            "cpu")
        cls.server = serve(cls.gallery, "--snapshot-dir", cls.snapshots)

        # Nothing is there yet, and that is said.
        empty = cls.server.client("search-images", "anything", check=False)
        assert empty.returncode == 4 and "GALLERY_EMPTY" in empty.stderr, empty.stderr
        images = cls.server.client("upsert-images", "--quiet", "--data", cls.data, "--split", "test")
        assert f"wrote {NUM_IMAGES} images" in images.stdout, images.stdout
        captions = cls.server.client("upsert-captions", "--quiet",
                                     os.path.join(cls.data, "captions.jsonl"))
        assert f"wrote {len(cls.captions)} captions" in captions.stdout, captions.stdout
        assert not [name for name in os.listdir(cls.data) if name.endswith("journal")]

    @classmethod
    def tearDownClass(cls):
        codes = [server.end() for server in (cls.server, cls.built)]
        shutil.rmtree(cls.work)
        assert codes == [0, 0], codes

    def assert_same_hits(self, one, other):
        self.assertEqual(len(one["hits"]), len(other["hits"]))
        for a, b in zip(one["hits"], other["hits"]):
            self.assertAlmostEqual(a["score"], b["score"], delta=1e-5)
            self.assertEqual(a["id"], b["id"])

    def assert_answers_like_built(self, server):
        for index in (0, 17, 101, 199):
            query = ("search-images", self.captions[index], "--top-k", "20", "--rerank-depth", "40")
            self.assert_same_hits(server.json(*query), self.built.json(*query))
        for image in (0, 11, 39):
            query = ("search-captions", "--image-id", f"test-{image}", "--top-k", "50",
                     "--rerank-depth", "200")
            self.assert_same_hits(server.json(*query), self.built.json(*query))

    def full_order(self, server=None):
        """Every caption in the order of a search's final scores."""
        answer = (server or self.server).json("search-captions", "--image-id", "test-3", "--exact",
                                              "--top-k", "200")
        return [hit["id"] for hit in answer["hits"]]

    def test_1_answers_as_a_built_gallery_does(self):
        self.assert_answers_like_built(self.server)
        stats = self.server.json("stats")
        self.assertEqual([side["item_count"] for side in stats["modalities"]],
                         [str(NUM_IMAGES), str(len(self.captions))])
        item = self.server.json("get", "caption", "test-2#3")["caption"]
        self.assertEqual(item["text"], self.captions[13])
        self.assertEqual(item["payload"], caption_payload(13))
        self.assertTrue(item["create_time"])

    def test_2_filters_groups_and_thresholds(self):
        order = self.full_order()
        self.assertEqual(len(order), len(self.captions))
        index_of = {caption_id(index): index for index in range(len(self.captions))}
        for text, matches in (
                ('color = "red"', lambda p: p["color"] == "red"),
                ("color = red AND n < 50 OR n > 180",
                 lambda p: p["color"] == "red" and (p["n"] < 50 or p["n"] > 180)),
                ("tags:(red AND t1)", lambda p: "red" in p["tags"] and "t1" in p["tags"]),
                ('-color = "red" NOT n >= 20', lambda p: p["color"] != "red" and p["n"] < 20),
                ("color = purple", lambda p: False)):
            answer = self.server.json("search-captions", "--image-id", "test-3", "--top-k", "200",
                                      "--rerank-depth", "200", "--filter", text, "--with-payload")
            self.assertEqual([hit["id"] for hit in answer["hits"]],
                             [name for name in order if matches(caption_payload(index_of[name]))],
                             text)
            for hit in answer["hits"]:
                self.assertEqual(hit["payload"], caption_payload(index_of[hit["id"]]))
        wrong = self.server.client("search-captions", "--image-id", "test-3", "--filter", "n = ",
                                   check=False)
        self.assertEqual(wrong.returncode, 3)
        self.assertIn("FILTER_SYNTAX", wrong.stderr)

        grouped = self.server.json("search-captions", "--image-id", "test-3", "--top-k", "200",
                                   "--rerank-depth", "200", "--group-by", "image_id")
        best = {}
        for name in order:
            best.setdefault(name.split("#")[0], name)
        self.assertEqual([hit["id"] for hit in grouped["hits"]], list(best.values()))

        listed = self.server.json("list", "captions", "--filter", "n >= 195", "--all")
        self.assertEqual([item["caption"]["id"] for item in listed["items"]],
                         sorted(caption_id(index) for index in range(195, 200)))

    def test_3_pages_while_another_stream_writes(self):
        order = self.full_order()
        others = os.path.join(self.work, "others.tsv")
        with open(others, "w", encoding="utf-8") as file:
            for index in range(300):
                file.write(f"other-{index}\t{self.captions[index % 200]}\ttest-3\n")
        failures = []

        def write():
            written = self.server.client("upsert-captions", "--quiet", others, check=False)
            if written.returncode != 0:
                failures.append(written.stderr)

        writer = threading.Thread(target=write)
        query = ["search-captions", "--image-id", "test-3", "--top-k", "30", "--rerank-depth", "200",
                 "--filter", "n:*"]
        page = self.server.json(*query, "--paged")
        version = page["gallery_version"]
        writer.start()
        found = [hit["id"] for hit in page["hits"]]
        while page["next_page_token"]:
            page = self.server.json(*query, "--page-token", page["next_page_token"])
            self.assertEqual(page["gallery_version"], version)
            found += [hit["id"] for hit in page["hits"]]
        writer.join()
        self.assertEqual(failures, [])
        self.assertEqual(found, order)

        ids = os.path.join(self.work, "others.ids")
        with open(ids, "w", encoding="utf-8") as file:
            file.writelines(f"other-{index}\n" for index in range(300))
        self.assertEqual(self.server.json("delete", "captions", "--ids-file", ids),
                         {"deleted": 300, "not_found": 0, "failed": 0})
        gone = self.server.client("get", "caption", "other-7", check=False)
        self.assertEqual(gone.returncode, 4)
        self.assert_answers_like_built(self.server)

    def test_4_a_snapshot_is_restored_elsewhere(self):
        self.server.client("snapshot", "monday")
        again = self.server.client("snapshot", "monday", check=False)
        self.assertEqual(again.returncode, 9)
        # What comes after it is not in it.
        self.server.client("delete", "captions", "test-0#0")
        restored = os.path.join(self.work, "restored")
        run("dime", "restore", os.path.join(self.snapshots, "monday"), restored)
        server = serve(restored)
        try:
            self.assert_answers_like_built(server)
            self.assertEqual(server.json("get", "caption", "test-0#0")["caption"]["text"],
                             self.captions[0])
        finally:
            self.assertEqual(server.end(), 0)
        one = os.path.join(self.work, "one.jsonl")
        with open(one, "w", encoding="utf-8") as file:
            file.write(json.dumps({"id": "test-0#0", "text": self.captions[0], "image_id": "test-0",
                                   "payload": caption_payload(0)}) + "\n")
        self.server.client("upsert-captions", "--quiet", one)

    def test_5_a_second_server_is_refused(self):
        second = run("dime_server", "--model", MODEL, "--gallery", self.gallery, "--device", "cpu",
                     "--address", "127.0.0.1:0", "--metrics-address", "", check=False)
        self.assertEqual(second.returncode, 8, second.stderr)

    def test_6_killed_under_load_it_loses_nothing(self):
        load = os.path.join(self.work, "load.tsv")
        with open(load, "w", encoding="utf-8") as file:
            for index in range(2000):
                file.write(f"load-{index:04}\t{self.captions[index % 200]}\ttest-5\n")
        address = self.server.address
        client = subprocess.Popen(
            [os.path.join(BIN, "dime"), "--address", address, "upsert-captions", load],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        # Some are acknowledged before the server is killed; the client goes on with the next one.
        client.stderr.readline()
        journal = load + ".captions.dime-journal"
        while not os.path.exists(journal) or os.path.getsize(journal) < 1000:
            self.assertIsNone(client.poll(), "the upsert ended before the server was killed")
            os.sched_yield()
        self.server.end(signal.SIGKILL)
        with open(journal, encoding="utf-8") as file:
            acknowledged = [f"load-{int(line):04}" for line in file.read().split("\n")[1:-1]]
        type(self).server = serve(self.gallery, "--snapshot-dir", self.snapshots, address=address)
        listed = self.server.json("list", "captions", "--all", "--filter", 'id = "load-*"')
        there = {item["caption"]["id"] for item in listed["items"]}
        self.assertEqual([name for name in acknowledged if name not in there], [])
        out, err = client.communicate(timeout=120)
        self.assertEqual(client.returncode, 0, err)
        self.assertIn("wrote 2000 captions", out)
        listed = self.server.json("list", "captions", "--all", "--filter", 'id = "load-*"')
        self.assertEqual([item["caption"]["id"] for item in listed["items"]],
                         [f"load-{index:04}" for index in range(2000)])
        for item in listed["items"]:
            index = int(item["caption"]["id"][5:])
            self.assertEqual(item["caption"]["text"], self.captions[index % 200])
        self.assertFalse(os.path.exists(journal))


class RebuildTest(unittest.TestCase):
    """dime_rebuild encodes a gallery again where what it was encoded from was kept, and says plainly where not."""

    def setUp(self):
        self.root = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.root)
        self.model = os.path.join(self.root, "model")
        shutil.copytree(MODEL, self.model)

    def build(self, name, *arguments):
        gallery = os.path.join(self.root, name)
        run("dime_build_gallery", "--living", "--model", MODEL, "--data",
            os.path.join(TINY, "data"), "--split", "test", "--out", gallery,
            *arguments)
        return gallery

    def rebuild(self, gallery, out, *arguments):
        return run("dime_rebuild", "--gallery", gallery, "--model", self.model, "--out",
                   os.path.join(self.root, out), *arguments, check=False)

    def test_without_raw_features_images_are_refused(self):
        gallery = self.build("bare")
        refused = self.rebuild(gallery, "new")
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("kept no raw region features", refused.stderr)
        self.assertIn("--keep-raw", refused.stderr)
        self.assertFalse(os.path.exists(os.path.join(self.root, "new")))
        captions = self.rebuild(gallery, "captions", "--captions-only")
        self.assertEqual(captions.returncode, 0, captions.stderr)

    def test_with_raw_features_all_of_it_is_encoded(self):
        rebuilt = self.rebuild(self.build("raw", "--keep-raw"), "new")
        self.assertEqual(rebuilt.returncode, 0, rebuilt.stderr)
        server = serve(os.path.join(self.root, "new"))
        try:
            stats = server.json("info")["gallery"]
            self.assertEqual((int(stats["image_count"]), int(stats["caption_count"])), (3, 15))
        finally:
            self.assertEqual(server.end(), 0)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
