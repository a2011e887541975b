#!/usr/bin/env python3
"""scripts/image_sbom.py: whatever an image holds is in its bill of materials, and nothing else."""
import contextlib
import importlib.util
import io
import json
import pathlib
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
SOURCE = pathlib.Path(__file__).resolve().parents[2]
_spec = importlib.util.spec_from_file_location("image_sbom", SOURCE / "scripts/image_sbom.py")
image_sbom = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(image_sbom)

STATUS = """Package: libgrpc++1.51
Status: install ok installed
Architecture: amd64
Version: 1.51.1-3+b1
Description: high performance general RPC framework
 Package: not a field, but a line of the description

Package: removed
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: zlib1g
Status: install ok installed
Architecture: amd64
Version: 1:1.2.13.dfsg-1
"""


class ImageSbomTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        self.write("var/lib/dpkg/status", STATUS)
        self.write("opt/dime/components", "pkg:pypi/torch@2.11.0\npkg:generic/faiss@1.7.3\n")

    def write(self, path, text):
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text, encoding="utf-8")

    def run_main(self):
        """(exit code, the document or what was said on standard error)"""
        out, errors = self.root / "out.json", io.StringIO()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
            code = image_sbom.main(["--root", str(self.root), "--name", "dime:cpu", "--version", "0.1.0",
                                    "--out", str(out)])
        return code, json.loads(out.read_text()) if code == 0 else errors.getvalue()

    def test_contents(self):
        code, document = self.run_main()
        self.assertEqual(code, 0)
        image, *parts = document["packages"]
        self.assertEqual((image["name"], image["versionInfo"]), ("dime:cpu", "0.1.0"))
        self.assertEqual({(part["name"], part["versionInfo"], part["externalRefs"][0]["referenceLocator"])
                          for part in parts}, {
            ("libgrpc++1.51", "1.51.1-3+b1", "pkg:deb/debian/libgrpc++1.51@1.51.1-3%2Bb1?arch=amd64"),
            ("zlib1g", "1:1.2.13.dfsg-1", "pkg:deb/debian/zlib1g@1%3A1.2.13.dfsg-1?arch=amd64"),
            ("torch", "2.11.0", "pkg:pypi/torch@2.11.0"),
            ("faiss", "1.7.3", "pkg:generic/faiss@1.7.3")})

    def test_cuda_adds_its_own(self):
        self.write("opt/dime/components.cuda", "pkg:pypi/torch@2.11.0\npkg:pypi/nvidia-cublas@13.1.0.3\n")
        _, document = self.run_main()
        names = [package["name"] for package in document["packages"]]
        self.assertEqual(sorted(names), sorted(
            ["dime:cpu", "libgrpc++1.51", "zlib1g", "torch", "faiss", "nvidia-cublas"]))

    def test_is_a_whole_spdx_document(self):
        _, document = self.run_main()
        self.assertEqual((document["spdxVersion"], document["dataLicense"]), ("SPDX-2.3", "CC0-1.0"))
        identifiers = [package["SPDXID"] for package in document["packages"]]
        self.assertEqual(len(set(identifiers)), len(identifiers))
        related = {(relationship["relationshipType"], relationship["relatedSpdxElement"])
                   for relationship in document["relationships"]}
        self.assertEqual(related, {("DESCRIBES", identifiers[0])} |
                         {("CONTAINS", identifier) for identifier in identifiers[1:]})

    def test_names_what_is_wrong(self):
        self.write("opt/dime/components", "torch 2.11.0\n")
        code, said = self.run_main()
        self.assertEqual(code, 1)
        self.assertIn("opt/dime/components", said)
        (self.root / "var/lib/dpkg/status").unlink()
        code, said = self.run_main()
        self.assertEqual(code, 1)
        self.assertIn("dpkg/status", said)


if __name__ == "__main__":
    unittest.main()
