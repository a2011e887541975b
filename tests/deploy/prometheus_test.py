#!/usr/bin/env python3
"""Alert and recording rules, by Prometheus' own tool: rules_test.yaml says what is to fire when."""
import unittest

from deploy_files import DEPLOY, SOURCE, read_yaml, run_tool

RULES = sorted((DEPLOY / "prometheus").glob("*.yaml"))
TESTS = SOURCE / "tests/deploy/rules_test.yaml"


class PrometheusTest(unittest.TestCase):
    def test_rules_load(self):
        result = run_tool("promtool", "check", "rules", "--lint=all", "--lint-fatal", *RULES)
        self.assertEqual(result.returncode, 0, result.stdout)

    def test_rules_do_what_they_should(self):
        result = run_tool("promtool", "test", "rules", TESTS)
        self.assertEqual(result.returncode, 0, result.stdout)

    def test_every_alert_is_tested_and_says_what_to_do(self):
        tested = TESTS.read_text(encoding="utf-8")
        for path in RULES:
            for group in read_yaml(path)["groups"]:
                for rule in group["rules"]:
                    if "alert" not in rule:
                        continue
                    with self.subTest(rule["alert"]):
                        self.assertIn(rule["alert"], tested)
                        self.assertIn(rule["labels"]["severity"], ("info", "warning", "critical"))
                        self.assertGreater(len(rule["annotations"]["summary"]), 20)
                        self.assertGreater(len(rule["annotations"]["description"]), 80)

    def test_the_tests_load_every_file(self):
        loaded = {(TESTS.parent / name).resolve() for name in read_yaml(TESTS)["rule_files"]}
        self.assertEqual(loaded, {path.resolve() for path in RULES})


if __name__ == "__main__":
    unittest.main()
