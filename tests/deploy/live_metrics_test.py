#!/usr/bin/env python3
"""A real server, scraped by a real Prometheus with the compose file's configuration: every panel of the
dashboard shows something, every rule evaluates, and no alert fires."""
import json
import os
import pathlib
import re
import subprocess
import tempfile
import time
import unittest
import urllib.parse
import urllib.request

from deploy_files import DEPLOY, SOURCE, TOOLS, read_yaml, run_tool, yaml

BIN = pathlib.Path(os.environ.get("DIME_BIN") or SOURCE / "build/release/bin")
TINY = SOURCE / "tests/golden/tiny"
PATIENCE_SECONDS = 90
# Of a model whose bound is calibrated, which the tiny one's is not; and of a server that was restarted.
WITHOUT_VALUES = {"Saved by adaptive depth", "Restarts"}


def run(program, *arguments, check=True):
    result = subprocess.run([BIN / program, *map(str, arguments)], stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, timeout=60)
    if check and result.returncode != 0:
        raise AssertionError(f"{program} {arguments}: {result.returncode}\n{result.stdout}")
    return result


def await_line(log, pattern, process):
    """What the pattern's groups are in the first line of a log that has it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        match = re.search(pattern, log.read_text(encoding="utf-8"))
        if match:
            return match.groups()
        time.sleep(0.05)
    raise AssertionError(f"no {pattern!r} in {log.read_text(encoding='utf-8')}")


class LiveMetricsTest(unittest.TestCase):
    @classmethod
    def start(cls, name, *command):
        """A program that runs until the tests end, and the file that it writes its words to."""
        log = cls.work / f"{name}.log"
        with open(log, "w", encoding="utf-8") as file:
            process = subprocess.Popen([str(word) for word in command], stdout=file,
                                       stderr=subprocess.STDOUT, cwd=cls.work)

        def stop():
            process.terminate()
            process.wait(timeout=60)

        cls.addClassCleanup(stop)
        return process, log

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.work = pathlib.Path(folder.name)
        run("dime_build_gallery", "--model", TINY / "model", "--data", TINY / "data", "--split", "test",
            "--out", cls.work / "gallery", "--device", "cpu")
        server, log = cls.start(
            "server", BIN / "dime_server", "--model", TINY / "model", "--gallery", cls.work / "gallery",
            "--device", "cpu", "--address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0",
            "--audit-rate", "1", "--shadow-model", TINY / "model", "--shadow-gallery", cls.work / "gallery",
            "--shadow-rate", "1")
        cls.address, cls.metrics = await_line(log, r"gRPC on ([^,;]+), metrics on http://(.+?)/metrics",
                                              server)

        config = read_yaml(DEPLOY / "compose/prometheus.yaml")
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = [str(DEPLOY / "prometheus/*.yaml")]
        config["scrape_configs"][0]["static_configs"] = [{"targets": [cls.metrics]}]
        (cls.work / "prometheus.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        prometheus, log = cls.start(
            "prometheus", TOOLS / "bin/prometheus", "--config.file=prometheus.yaml",
            "--storage.tsdb.path=data", "--web.listen-address=127.0.0.1:0")
        (cls.prometheus,) = await_line(log, r'msg="Listening on" address=(\S+)', prometheus)
        await_line(log, r"(ready to receive web requests)", prometheus)

    def ask(self, path, **parameters):
        url = f"http://{self.prometheus}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=20) as answer:
            return json.load(answer)["data"]

    def query(self, expression):
        for variable, value in (("$__rate_interval", "1m"), ("$__range", "5m"), ("$job", "dime"),
                                ("$instance", ".*"), ("$method", ".*")):
            expression = expression.replace(variable, value)
        return self.ask("query", query=expression)["result"]

    def search(self):
        """Calls of every kind, a refused one among them; fewer candidates than the gallery has."""
        dime = ("dime", "--address", self.address, "--deadline", "30s")
        run(*dime, "search-images", "a dog", "--top-k", 2, "--rerank-depth", 2)
        image = json.loads(run(*dime, "--json", "search-images", "a cat", "--top-k", 1).stdout)
        run(*dime, "search-captions", "--image-id", image["hits"][0]["id"], "--top-k", 2,
            "--rerank-depth", 2)
        run(*dime, "explain", "a dog", "--image", image["hits"][0]["id"])
        run(*dime, "info")
        self.assertEqual(run(*dime, "search-captions", "--image-id", "nobody", check=False).returncode, 4)

    def await_scrape(self):
        """Until Prometheus has seen the server at all: counters then grow under its eyes."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self.query("dime_requests_total") and time.monotonic() < deadline:
            time.sleep(0.1)

    def test_dashboard_shows_and_rules_evaluate(self):
        self.await_scrape()
        self.search()
        board = json.loads((DEPLOY / "grafana/dime.json").read_text(encoding="utf-8"))
        wanted = [(panel["title"], target["expr"]) for panel in board["panels"]
                  for target in panel.get("targets", [])]
        wanted += [(annotation["name"], annotation["expr"]) for annotation in board["annotations"]["list"]]
        wanted += [(rule["record"], rule["record"])
                   for path in (DEPLOY / "prometheus").glob("*.yaml")
                   for group in read_yaml(path)["groups"] for rule in group["rules"] if "record" in rule]
        self.assertGreater(len(wanted), 50)
        wanted = [(name, expression) for name, expression in wanted if name not in WITHOUT_VALUES]
        rules = []
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            wanted = [(name, expression) for name, expression in wanted if not self.query(expression)]
            rules = [rule for group in self.ask("rules")["groups"] for rule in group["rules"]]
            if not wanted and all(rule["health"] != "unknown" for rule in rules):
                break
            time.sleep(0.2)
        self.assertEqual(wanted, [], "without values")
        self.assertGreater(len(rules), 25)
        for rule in rules:
            with self.subTest(rule["name"]):
                self.assertEqual(rule["health"], "ok", rule.get("lastError"))
                self.assertNotEqual(rule.get("state"), "firing")

    def test_exposition_passes_prometheus_lint(self):
        with urllib.request.urlopen(f"http://{self.metrics}/metrics", timeout=20) as answer:
            text = answer.read().decode()
        result = run_tool("promtool", "check", "metrics", input=text)
        self.assertEqual((result.returncode, result.stdout), (0, ""))


if __name__ == "__main__":
    unittest.main()
