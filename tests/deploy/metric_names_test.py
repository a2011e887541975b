#!/usr/bin/env python3
"""Every metric, label and value that rules, dashboard and autoscaler name is one that the server exports."""
import json
import re
import unittest

from deploy_files import DEPLOY, SOURCE, kustomize, read_yaml

METRIC = re.compile(r"(?<![\w:])(?:dime|process)_[a-z0-9_]+(?![\w:(])")
SELECTOR = re.compile(r"(?<![\w:])((?:dime|process)_[a-z0-9_]+)\{([^}]*)\}")
# Labels that Prometheus and the cluster add to what is scraped.
SCRAPE_LABELS = {"job", "instance", "namespace", "pod", "le"}


def metrics_source():
    return "\n".join(path.read_text(encoding="utf-8")
                     for pattern in ("*metrics*.cc", "rpc_method.cc")
                     for path in sorted((SOURCE / "server").glob(pattern)))


def exported():
    """Name -> "Counter", "Gauge" or "Histogram", out of the sources that make them."""
    text = metrics_source()
    # Whatever way a series is made in, its name is a literal; of most ways the kind is known.
    found = {name: "Unknown" for name in re.findall(r'"(dime_\w+)"', text)}
    found |= {name: kind for kind, name in
              re.findall(r'Build(Counter|Gauge|Histogram)\(\)\s*\.Name\("(dime_\w+)"\)', text)}
    for function, name in re.findall(r'\b(gauge|histogram|info)\(\s*"(dime_\w+)"', text):
        found[name] = "Histogram" if function == "histogram" else "Gauge"
    for name, kind in re.findall(r'Family\("(process_\w+)",[^;]*?MetricType::(\w+)', text):
        found[name] = kind
    return found


def base_name(name, metrics):
    """The exported name behind a series' name, which has a suffix for a histogram; or None."""
    if name in metrics and metrics[name] != "Histogram":
        return name
    stem = re.sub(r"_(bucket|sum|count)$", "", name)
    return stem if metrics.get(stem) in ("Histogram", "Unknown") and stem != name else None


def rule_expressions():
    """(what it is, its expression)"""
    for path in sorted((DEPLOY / "prometheus").glob("*.yaml")):
        for group in read_yaml(path)["groups"]:
            for rule in group["rules"]:
                yield rule.get("alert") or rule["record"], rule["expr"]


def dashboard():
    return json.loads((DEPLOY / "grafana/dime.json").read_text(encoding="utf-8"))


def dashboard_expressions():
    board = dashboard()
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["query"]["query"]
    for annotation in board["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]


class MetricNamesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.metrics = exported()
        cls.source = metrics_source()
        cls.records = {rule["record"] for path in (DEPLOY / "prometheus").glob("*.yaml")
                       for group in read_yaml(path)["groups"] for rule in group["rules"]
                       if "record" in rule}

    def expressions(self):
        yield from rule_expressions()
        yield from dashboard_expressions()

    def test_the_sources_are_understood(self):
        self.assertGreaterEqual(len(self.metrics), 25)
        for name, kind in (("dime_requests_total", "Counter"), ("dime_queue_oldest_seconds", "Gauge"),
                           ("dime_stage_duration_seconds", "Histogram"), ("dime_model_info", "Gauge"),
                           ("process_cpu_seconds_total", "Counter")):
            self.assertEqual(self.metrics.get(name), kind, name)

    def test_names_are_exported(self):
        for what, expression in self.expressions():
            for name in METRIC.findall(expression):
                with self.subTest(what=what, name=name):
                    self.assertIsNotNone(base_name(name, self.metrics))

    def test_recorded_series_are_recorded(self):
        for what, expression in self.expressions():
            for name in re.findall(r"\b[a-z_]*:dime_\w+:\w+|\bdime:\w+:\w+", expression):
                with self.subTest(what):
                    self.assertIn(name, self.records)

    def test_labels_and_values_are_exported(self):
        literals = set(re.findall(r'"([^"\n]*)"', self.source))
        codes = {re.sub(r"(?<!^)(?=[A-Z])", "_", name).upper()
                 for name in re.findall(r"absl::StatusCode::k(\w+),", self.source)}
        ks = set(re.search(r"kAuditedTopK = \{([\d, ]+)\}",
                           (SOURCE / "server/recall_auditor.h").read_text()).group(1).split(", "))
        values = {"code": codes, "k": ks}
        for what, expression in self.expressions():
            for name, selector in SELECTOR.findall(expression):
                for label, operator, value in re.findall(r'(\w+)(=~|!=|!~|=)"([^"]*)"', selector):
                    with self.subTest(what=what, name=name, label=label):
                        if label in SCRAPE_LABELS:
                            continue
                        self.assertIn(label, literals)
                        if "$" in value:
                            continue
                        for one in value.split("|"):
                            self.assertIn(one, values.get(label, literals))

    def test_quantiles_are_over_histograms_by_le(self):
        for what, expression in self.expressions():
            with self.subTest(what):
                for part in re.findall(r"histogram_quantile\((.*?)_bucket", expression, flags=re.DOTALL):
                    self.assertRegex(part, r"by \([\w, ]*\ble\)")

    def test_autoscaler_and_adapter(self):
        for overlay in ("cpu", "gpu"):
            objects, _ = kustomize(overlay)
            (scaler,) = (o for o in objects if o["kind"] == "HorizontalPodAutoscaler")
            for metric in scaler["spec"]["metrics"]:
                self.assertEqual(self.metrics.get(metric["pods"]["metric"]["name"]), "Gauge")
        for rule in read_yaml(DEPLOY / "kubernetes/prometheus-adapter-values.yaml")["rules"]["custom"]:
            self.assertIn(rule["seriesQuery"].split("{")[0], self.metrics)

    def test_alert_texts_name_what_there_is(self):
        for path in (DEPLOY / "prometheus").glob("*.yaml"):
            for name in re.findall(r"\bdime_[a-z0-9_]+\b", path.read_text(encoding="utf-8")):
                if name in ("dime_tune", "dime_server", "dime_train_coarse"):
                    continue
                recorded = any(f":{name}:" in record for record in self.records)
                with self.subTest(path=path.name, name=name):
                    self.assertTrue(recorded or name in self.metrics or base_name(name, self.metrics))

    def test_dashboard_shows_load_latency_batches_and_quality(self):
        shown = {base_name(name, self.metrics) for _, expression in dashboard_expressions()
                 for name in METRIC.findall(expression)}
        self.assertLessEqual({
            "dime_requests_total", "dime_queue_rejected_total", "dime_request_duration_seconds",
            "dime_stage_duration_seconds", "dime_queue_requests", "dime_queue_pairs",
            "dime_queue_oldest_seconds", "dime_rerank_pairs_total", "dime_batch_pairs",
            "dime_batch_requests", "dime_batch_duration_seconds", "dime_recall_audit_ratio",
            "dime_recall_audit_samples_total", "dime_recall_audit_dropped_total",
            "dime_rerank_top1_changed_total", "dime_rank_displacement",
            "dime_deepest_promoted_rank_ratio", "dime_model_info", "process_resident_memory_bytes",
        }, shown)

    def test_dashboard_is_laid_out(self):
        panels = dashboard()["panels"]
        self.assertEqual(len({panel["id"] for panel in panels}), len(panels))
        taken = set()
        for panel in panels:
            place = panel["gridPos"]
            self.assertLessEqual(place["x"] + place["w"], 24)
            cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                     for y in range(place["y"], place["y"] + place["h"])}
            self.assertFalse(cells & taken, panel["title"])
            taken |= cells
            if panel["type"] != "row":
                self.assertTrue(panel["description"], panel["title"])
                self.assertTrue(panel["targets"], panel["title"])


if __name__ == "__main__":
    unittest.main()
