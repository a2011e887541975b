#!/usr/bin/env python3
"""The alert rules: that Prometheus could load them, and that whoever is woken is told what to do.

That the server exports the metrics they name is tested in tests/server/metrics_test.cc. Standard
library only; where PyYAML is installed the file is also parsed as YAML.
"""
import os
import re
import unittest

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
RULES = os.path.join(SOURCE, "deploy/prometheus/dime-alerts.yaml")

try:
    import yaml
except ImportError:
    yaml = None


def split_rules(text):
    """The text of each rule, by its alert's name."""
    parts = re.split(r"^ +- alert: (\w+)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2]))


def field(rule, name):
    """A field's value: what stands beside it, and the deeper lines below it."""
    match = re.search(rf"^( +){name}:(.*\n(?:\1 +.*\n|\n)*)", rule, flags=re.MULTILINE)
    return match.group(2).strip() if match else None


class AlertRulesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with open(RULES, encoding="utf-8") as file:
            cls.text = file.read()
        cls.rules = split_rules(cls.text)

    def test_has_the_rules_of_the_audit_and_the_depth(self):
        self.assertLessEqual({"DimeRecallAuditLow", "DimeRerankDepthTooSmall",
                              "DimeRecallAuditDrops"}, set(self.rules))

    def test_every_rule_is_complete(self):
        for name, rule in self.rules.items():
            with self.subTest(name):
                for wanted in ("expr", "for", "labels", "severity", "annotations", "summary",
                               "description"):
                    self.assertTrue(field(rule, wanted), f"{name} has no {wanted}")
                self.assertRegex(field(rule, "for"), r"^\d+[smhd]$")
                self.assertIn(field(rule, "severity"), ("info", "warning", "critical"))

    def test_descriptions_say_what_to_do(self):
        for name, rule in self.rules.items():
            with self.subTest(name):
                self.assertRegex(field(rule, "description"), r"--\w+|\bdime_tune\b")
                self.assertIn("$labels.method", field(rule, "summary"))

    def test_expressions_are_closed_and_compare_with_a_threshold(self):
        for name, rule in self.rules.items():
            with self.subTest(name):
                expression = field(rule, "expr")
                for opening, closing in ("()", "[]", "{}"):
                    self.assertEqual(expression.count(opening), expression.count(closing))
                self.assertRegex(expression, r"dime_\w+")
                self.assertRegex(expression, r"[<>]|==")

    def test_low_recall_must_last_half_an_hour(self):
        rule = self.rules["DimeRecallAuditLow"]
        self.assertEqual(field(rule, "for"), "30m")
        self.assertIn("dime_recall_audit_ratio_sum", field(rule, "expr"))

    @unittest.skipIf(yaml is None, "PyYAML is not installed")
    def test_yaml_says_the_same(self):
        document = yaml.safe_load(self.text)
        rules = [rule for group in document["groups"] for rule in group["rules"]]
        self.assertEqual([rule["alert"] for rule in rules], list(self.rules))
        for rule in rules:
            self.assertEqual(set(rule), {"alert", "expr", "for", "labels", "annotations"})
            self.assertEqual(set(rule["annotations"]), {"summary", "description"})


if __name__ == "__main__":
    unittest.main()
