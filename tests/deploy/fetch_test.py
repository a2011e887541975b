#!/usr/bin/env python3
"""deploy/kubernetes/base/fetch.sh: a volume always names one whole version of the artefacts."""
import hashlib
import io
import os
import pathlib
import shutil
import subprocess
import tarfile
import tempfile
import unittest

from deploy_files import DEPLOY

SCRIPT = DEPLOY / "kubernetes/base/fetch.sh"


def archive_of(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


class FetchTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.volume = self.folder / "volume"
        (self.volume / "lost+found").mkdir(parents=True)
        (self.folder / "netrc").touch()
        self.assertIsNotNone(shutil.which("curl"), "curl is missing; run scripts/setup.sh")

    def publish(self, version, files=None):
        """An archive's name in the store, and its SHA-256."""
        content = archive_of(files or {"model/config.json": version, "gallery/gallery.json": version})
        path = self.folder / f"{version}.tar.gz"
        path.write_bytes(content)
        return path, hashlib.sha256(content).hexdigest()

    def fetch(self, path, sha256):
        return subprocess.run(
            ["sh", SCRIPT],
            capture_output=True,
            text=True,
            env={"PATH": os.environ["PATH"], "ARTIFACTS_URL": path.as_uri(),
                 "ARTIFACTS_SHA256": sha256, "ARTIFACTS_DIR": str(self.volume),
                 "NETRC": str(self.folder / "netrc")},
        )

    def serves(self):
        return (self.volume / "current/model/config.json").read_text()

    def test_fetches_once(self):
        path, sha256 = self.publish("one")
        result = self.fetch(path, sha256)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.serves(), "one")
        path.unlink()  # not asked for again
        result = self.fetch(path, sha256)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertNotIn("fetching", result.stdout)
        self.assertEqual(self.serves(), "one")

    def test_a_new_version_replaces_the_old_one(self):
        self.assertEqual(self.fetch(*self.publish("one")).returncode, 0)
        path, sha256 = self.publish("two")
        self.assertEqual(self.fetch(path, sha256).returncode, 0)
        self.assertEqual(self.serves(), "two")
        self.assertEqual({entry.name for entry in self.volume.iterdir()},
                         {"current", "lost+found", sha256})

    def test_another_content_is_refused_and_the_old_version_stays(self):
        self.assertEqual(self.fetch(*self.publish("one")).returncode, 0)
        path, _ = self.publish("two")
        wrong = "0" * 64
        result = self.fetch(path, wrong)
        self.assertNotEqual(result.returncode, 0)
        self.assertIn(f"not {wrong}", result.stderr)
        self.assertEqual(self.serves(), "one")

    def test_an_archive_without_a_gallery_is_refused(self):
        path, sha256 = self.publish("half", {"model/config.json": "half"})
        result = self.fetch(path, sha256)
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("no gallery/gallery.json", result.stderr)
        self.assertFalse((self.volume / "current").exists())

    def test_goes_on_after_a_run_that_was_killed(self):
        self.assertEqual(self.fetch(*self.publish("one")).returncode, 0)
        path, sha256 = self.publish("two")
        (self.volume / "archive.part").write_text("half an arch")
        (self.volume / "unpacked.part").mkdir()
        (self.volume / "current.part").symlink_to(sha256)
        (self.volume / sha256).mkdir()  # moved, but not marked complete
        result = self.fetch(path, sha256)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.serves(), "two")

    def test_a_store_that_does_not_answer(self):
        _, sha256 = self.publish("one")
        result = self.fetch(self.folder / "absent.tar.gz", sha256)
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("absent.tar.gz", result.stderr)


if __name__ == "__main__":
    unittest.main()
