#!/usr/bin/env python3
"""Every command line and flag in deploy/ is one that the programs take: asked of the programs themselves."""
import json
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

from deploy_files import DEPLOY, SOURCE, kustomize, read_yaml

BIN = pathlib.Path(os.environ.get("DIME_BIN") or SOURCE / "build/release/bin")
USAGE = 2


def run(program, *arguments):
    return subprocess.run([BIN / program, *arguments], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=60)


def flags_of(*command):
    return set(re.findall(r"--[a-z][a-z0-9-]*", run(*command, "--help").stdout))


class ServerFlagsTest(unittest.TestCase):
    def assert_taken(self, arguments):
        """The server parses the line and then fails for want of the model, with all else in order."""
        with tempfile.TemporaryDirectory() as folder:
            model = os.path.join(folder, "model")
            arguments = [f"--model={model}" if argument.startswith("--model=") else argument
                         for argument in arguments]
            self.assertIn(f"--model={model}", arguments)
            result = run("dime_server", *arguments)
        self.assertNotEqual(result.returncode, USAGE, result.stdout)
        self.assertNotEqual(result.returncode, 0)
        self.assertIn(model, result.stdout)

    def test_kubernetes(self):
        for overlay in ("cpu", "gpu"):
            with self.subTest(overlay):
                objects, _ = kustomize(overlay)
                (stateful_set,) = (o for o in objects if o["kind"] == "StatefulSet")
                (settings,) = (o["data"] for o in objects if o["kind"] == "ConfigMap"
                               and o["metadata"]["name"].startswith("dime-server-"))
                (server,) = stateful_set["spec"]["template"]["spec"]["containers"]
                self.assert_taken([re.sub(r"\$\((\w+)\)", lambda match: settings[match.group(1)], argument)
                                   for argument in server["args"]])

    def test_compose(self):
        command = read_yaml(DEPLOY / "compose/compose.yaml")["services"]["server"]["command"]
        self.assert_taken([re.sub(r"\$\{\w+:-(.*?)\}", r"\1", argument) for argument in command])

    def test_dockerfile(self):
        text = re.sub(r"\\\n\s*", "", (DEPLOY / "docker/Dockerfile").read_text(encoding="utf-8"))
        served = json.loads(re.search(r"^CMD (\[.*\])", text, flags=re.MULTILINE).group(1))
        self.assert_taken([f"{name}={value}" for name, value in zip(served[::2], served[1::2])])
        probe = json.loads(re.search(r"HEALTHCHECK .*CMD (\[.*\])", text).group(1))
        # Nobody listens on that port: UNAVAILABLE (5), not a wrong command line.
        probe[probe.index("--address") + 1] = "127.0.0.1:1"
        self.assertEqual(run(*probe).returncode, 5)

    def test_configuration_file(self):
        example = DEPLOY / "config/dime_server.textproto"
        with tempfile.TemporaryDirectory() as folder:
            paths = [f"--model={folder}", f"--gallery={folder}", f"--snapshot-dir={folder}"]
            result = run("dime_server", "--config", example, "--check-config", *paths)
            self.assertEqual(result.returncode, 0, result.stdout)
            self.assertIn('address: "0.0.0.0:8980"', result.stdout)
            # What it prints is a configuration again, that amounts to the same.
            printed = os.path.join(folder, "printed")
            pathlib.Path(printed).write_text(result.stdout, encoding="utf-8")
            self.assertEqual(run("dime_server", "--config", printed, "--check-config").stdout, result.stdout)
            # A flag wins; all that is wrong is told, with nothing loaded.
            result = run("dime_server", "--config", printed, "--check-config", "--workers", "3")
            self.assertIn("workers: 3\n", result.stdout)
            pathlib.Path(printed).write_text('search { workers: 0 typo: 1 }\nrerank { max_queue_pairs: 0 }', encoding="utf-8")
            result = run("dime_server", "--config", printed, *paths)
            self.assertNotEqual(result.returncode, 0)
            for told in ("printed:1:", "typo", "search.workers", "rerank.max_queue_pairs"):
                self.assertIn(told, result.stdout)
            missing = run("dime_server", f"--model={folder}/no", f"--gallery={folder}/none", "--check-config")
            self.assertNotEqual(missing.returncode, 0)
            self.assertIn(f"{folder}/no\n", missing.stdout)
            self.assertIn(f"{folder}/none\n", missing.stdout)
        self.assertEqual(run("dime_server", "--check-config").returncode, USAGE)

    def test_every_flag_is_a_field(self):
        text = (SOURCE / "proto/dime/v1/server_config.proto").read_text(encoding="utf-8")
        fields = set(re.findall(r"^ +// (--[a-z-]+):", text, flags=re.MULTILINE))
        self.assertEqual(flags_of("dime_server") - {"--help", "--version", "--config", "--check-config"}, fields)

    def test_flags_that_texts_name(self):
        known = flags_of("dime_server") | flags_of("dime") | flags_of("dime", "search-images")
        for folder in ("prometheus", "kubernetes", "compose", "grafana"):
            for path in (DEPLOY / folder).rglob("*"):
                if path.suffix not in (".yaml", ".env", ".json"):
                    continue
                text = path.read_text(encoding="utf-8")
                if path.parent.name == "prometheus":
                    text = text.replace("--index", "")  # dime_build_gallery's
                for flag in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", text):
                    with self.subTest(path=str(path.relative_to(DEPLOY)), flag=flag):
                        if flag.startswith(("--config.", "--storage.")) or flag in ("--config", "--storage"):
                            continue  # Prometheus' own
                        self.assertIn(flag, known)


if __name__ == "__main__":
    unittest.main()
