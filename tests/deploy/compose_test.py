#!/usr/bin/env python3
"""The compose file: what it mounts exists, and nothing is served beyond this machine's loopback."""
import re
import unittest

from deploy_files import DEPLOY, read_yaml, run_tool

COMPOSE = DEPLOY / "compose"


class ComposeTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.services = read_yaml(COMPOSE / "compose.yaml")["services"]
        cls.volumes = read_yaml(COMPOSE / "compose.yaml")["volumes"]

    def test_services(self):
        self.assertEqual(set(self.services), {"server", "prometheus", "grafana"})

    def test_mounts_are_there(self):
        for name, service in self.services.items():
            for volume in service["volumes"]:
                with self.subTest(f"{name}: {volume}"):
                    source = re.sub(r"\$\{.*?\}", "${}", volume).split(":")[0]
                    if source.startswith("."):
                        self.assertTrue((COMPOSE / source).exists())
                        self.assertTrue(volume.endswith(":ro"))
                    elif source != "${}":
                        self.assertIn(source, self.volumes)

    def test_ports_are_on_the_loopback(self):
        for name, service in self.services.items():
            for port in service["ports"]:
                with self.subTest(name):
                    self.assertTrue(port.startswith("127.0.0.1:"), port)

    def test_images_have_versions_and_no_registry(self):
        for name, service in self.services.items():
            image = re.sub(r"\$\{\w+:-(.*)\}", r"\1", service["image"])
            self.assertRegex(image, r"^[\w-]+(/[\w-]+)?:(?!latest)[\w.-]+$", name)

    def test_server_is_confined_and_has_time_to_drain(self):
        server = self.services["server"]
        self.assertIs(server["read_only"], True)
        self.assertEqual(server["cap_drop"], ["ALL"])
        drain = next(argument for argument in server["command"] if argument.startswith("--drain-seconds="))
        self.assertGreater(float(server["stop_grace_period"].rstrip("s")), float(drain.split("=")[1]) + 5)
        self.assertTrue((COMPOSE / server["build"]["context"] / server["build"]["dockerfile"]).is_file())

    def test_gpu_file_adds_to_a_service_that_is_there(self):
        added = read_yaml(COMPOSE / "compose.gpu.yaml")["services"]
        self.assertLessEqual(set(added), set(self.services))
        self.assertEqual(added["server"]["build"]["target"], "cuda")

    def test_prometheus_scrapes_the_server_under_the_name_that_rules_select(self):
        result = run_tool("promtool", "check", "config", "--syntax-only", COMPOSE / "prometheus.yaml")
        self.assertEqual(result.returncode, 0, result.stdout)
        (scrape,) = read_yaml(COMPOSE / "prometheus.yaml")["scrape_configs"]
        self.assertEqual(scrape["job_name"], "dime")
        (target,) = scrape["static_configs"][0]["targets"]
        host, _, port = target.partition(":")
        self.assertIn(host, self.services)
        self.assertIn(f"--metrics-address=0.0.0.0:{port}", self.services[host]["command"])

    def test_grafana_is_given_its_source_and_dashboard(self):
        folder = COMPOSE / "grafana/provisioning"
        (source,) = read_yaml(folder / "datasources/prometheus.yaml")["datasources"]
        self.assertRegex(source["url"], r"^http://prometheus:9090$")
        (provider,) = read_yaml(folder / "dashboards/dime.yaml")["providers"]
        mounted = {volume.split(":")[1]: volume.split(":")[0]
                   for volume in self.services["grafana"]["volumes"]}
        dashboards = COMPOSE / mounted[provider["options"]["path"]]
        self.assertEqual([path.name for path in dashboards.glob("*.json")], ["dime.json"])
        home = self.services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
        self.assertEqual(home, f"{provider['options']['path']}/dime.json")


if __name__ == "__main__":
    unittest.main()
