#!/usr/bin/env python3
"""The kustomizations: valid by the cluster's own schemas, and sound where schemas do not look."""
import pathlib
import re
import shutil
import tempfile
import textwrap
import unittest

from deploy_files import DEPLOY, kustomize, read_yaml, run_tool, yaml

OVERLAYS = ("cpu", "gpu", "cpu-tls")
# The oldest whose gRPC probes are stable, and the newest that the validator knows.
VERSIONS = ("1.27", "1.37")


class KubernetesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.texts, cls.objects = {}, {}
        for overlay in OVERLAYS:
            documents, cls.texts[overlay] = kustomize(overlay)
            cls.objects[overlay] = {}
            for document in documents:
                cls.objects[overlay].setdefault(document["kind"], []).append(document)

    def only(self, objects, kind):
        self.assertEqual(len(objects.get(kind, [])), 1, kind)
        return objects[kind][0]

    def pod(self, objects):
        return self.only(objects, "StatefulSet")["spec"]["template"]["spec"]

    def server(self, objects):
        (container,) = self.pod(objects)["containers"]
        return container

    def settings(self, objects):
        (found,) = (o for o in objects["ConfigMap"] if o["metadata"]["name"].startswith("dime-server-"))
        return found["data"]

    def test_strict_schemas(self):
        for overlay in OVERLAYS:
            for version in VERSIONS:
                with self.subTest(overlay=overlay, version=version):
                    with tempfile.TemporaryDirectory() as folder:
                        path = pathlib.Path(folder, "all.yaml")
                        path.write_text(self.texts[overlay], encoding="utf-8")
                        result = run_tool("kubernetes-validate", "--strict", "-k", version, path)
                    self.assertEqual(result.returncode, 0, result.stdout)
                    # Nothing but the operator's own kind goes unchecked.
                    for line in result.stdout.splitlines():
                        if "Couldn't find schema" in line:
                            self.assertIn("ServiceMonitor", line)

    def test_a_broken_manifest_would_be_seen(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "all.yaml")
            path.write_text(self.texts["cpu"].replace("failureThreshold: 120", "failureTreshold: 120"),
                            encoding="utf-8")
            result = run_tool("kubernetes-validate", "--strict", path)
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("failureTreshold", result.stdout)

    def test_every_kind_is_there_in_one_namespace(self):
        wanted = {"Namespace", "ServiceAccount", "Service", "StatefulSet", "PodDisruptionBudget",
                  "HorizontalPodAutoscaler", "NetworkPolicy", "ServiceMonitor", "ConfigMap", "Secret"}
        for objects in self.objects.values():
            self.assertEqual(set(objects), wanted)
            for documents in objects.values():
                for document in documents:
                    if document["kind"] != "Namespace":
                        self.assertEqual(document["metadata"]["namespace"], "dime", document["kind"])

    def test_pods_meet_the_restricted_standard_and_cannot_write_their_root(self):
        for objects in self.objects.values():
            pod = self.pod(objects)
            self.assertIs(pod["securityContext"]["runAsNonRoot"], True)
            self.assertEqual(pod["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
            self.assertIs(pod["automountServiceAccountToken"], False)
            for container in pod["initContainers"] + pod["containers"]:
                context = container["securityContext"]
                self.assertIs(context["allowPrivilegeEscalation"], False)
                self.assertIs(context["readOnlyRootFilesystem"], True)
                self.assertEqual(context["capabilities"], {"drop": ["ALL"]})
                for kind in ("requests", "limits"):
                    self.assertLessEqual({"cpu", "memory"}, set(container["resources"][kind]))
                self.assertRegex(container["image"], r":(?!latest)[\w.-]+$")

    def test_pods_can_have_cores_of_their_own(self):
        """Quality of service Guaranteed, with whole cores: what a static CPU manager asks for."""
        for objects in self.objects.values():
            pod = self.pod(objects)
            for container in pod["initContainers"] + pod["containers"]:
                resources = container["resources"]
                self.assertEqual(resources["requests"], resources["limits"], container["name"])
            self.assertRegex(self.server(objects)["resources"]["limits"]["cpu"], r"^[0-9]+$")

    def test_termination_leaves_time_to_drain(self):
        for objects in self.objects.values():
            pod, server = self.pod(objects), self.server(objects)
            self.assertIn("--drain-seconds=$(DRAIN_SECONDS)", server["args"])
            drain = float(self.settings(objects)["DRAIN_SECONDS"])
            pause = float(server["lifecycle"]["preStop"]["exec"]["command"][1])
            self.assertGreaterEqual(pod["terminationGracePeriodSeconds"], pause + drain + 5)
            # Clients learn of the new addresses before the old pod drains.
            self.assertGreaterEqual(pause, 3)

    def test_probes_ask_the_health_service_on_the_served_port(self):
        proto = (DEPLOY.parent / "proto/dime/v1/retrieval.proto").read_text(encoding="utf-8")
        self.assertIn("package dime.v1;", proto)
        self.assertIn("service RetrievalService", proto)
        for objects in self.objects.values():
            server = self.server(objects)
            ports = {port["name"]: port["containerPort"] for port in server["ports"]}
            self.assertIn(f"--address=0.0.0.0:{ports['grpc']}", server["args"])
            self.assertIn(f"--metrics-address=0.0.0.0:{ports['metrics']}", server["args"])
            for probe, service in (("startupProbe", "dime.v1.RetrievalService"),
                                   ("readinessProbe", "dime.v1.RetrievalService"),
                                   ("livenessProbe", "liveness")):
                if "--tls-key=/tls/tls.key" in server["args"]:
                    self.assertNotIn("grpc", server[probe], "which speaks no TLS")
                    command = server[probe]["exec"]["command"]
                    self.assertEqual(command[0], "dime")
                    self.assertEqual(command[-2:], ["health", service])
                    seconds = float(command[command.index("--deadline") + 1].rstrip("s"))
                    self.assertLessEqual(seconds, server[probe]["timeoutSeconds"])
                else:
                    self.assertEqual(server[probe]["grpc"],
                                     {"port": ports["grpc"], "service": service})
            # Loading may take long; a busy server must not be killed as fast as it is taken out.
            startup, liveness, readiness = (
                server[name]["periodSeconds"] * server[name]["failureThreshold"]
                for name in ("startupProbe", "livenessProbe", "readinessProbe"))
            self.assertGreaterEqual(startup, 300)
            self.assertGreater(liveness, 3 * readiness)

    def test_arguments_find_their_settings_and_settings_their_arguments(self):
        for objects in self.objects.values():
            pod, server = self.pod(objects), self.server(objects)
            settings = self.settings(objects)
            used = {argument.split("$(")[1][:-1] for argument in server["args"] if "$(" in argument}
            fetched = {item["valueFrom"]["configMapKeyRef"]["key"]
                       for item in pod["initContainers"][0]["env"] if "valueFrom" in item}
            self.assertEqual(used | fetched, set(settings))
            self.assertFalse(used & fetched)

    def test_selectors_select_the_pods(self):
        for objects in self.objects.values():
            stateful_set = self.only(objects, "StatefulSet")
            labels = stateful_set["spec"]["template"]["metadata"]["labels"]
            service = self.only(objects, "Service")
            selectors = [
                stateful_set["spec"]["selector"]["matchLabels"],
                service["spec"]["selector"],
                self.only(objects, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
                self.only(objects, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
            ]
            for selector in selectors:
                self.assertTrue(selector)
                self.assertLessEqual(selector.items(), labels.items())
            # Headless, so that clients see every pod.
            self.assertEqual(service["spec"]["clusterIP"], "None")
            self.assertEqual(stateful_set["spec"]["serviceName"], service["metadata"]["name"])
            monitor = self.only(objects, "ServiceMonitor")["spec"]
            self.assertLessEqual(monitor["selector"]["matchLabels"].items(),
                                 service["metadata"]["labels"].items())
            self.assertEqual(service["metadata"]["labels"][monitor["jobLabel"]], "dime")
            self.assertIn(monitor["endpoints"][0]["port"],
                          [port["name"] for port in service["spec"]["ports"]])

    def test_autoscaler_scales_this_set_on_a_metric_of_the_adapter(self):
        rules = read_yaml(DEPLOY / "kubernetes/prometheus-adapter-values.yaml")["rules"]["custom"]
        for objects in self.objects.values():
            spec = self.only(objects, "HorizontalPodAutoscaler")["spec"]
            stateful_set = self.only(objects, "StatefulSet")
            self.assertEqual(spec["scaleTargetRef"]["kind"], "StatefulSet")
            self.assertEqual(spec["scaleTargetRef"]["name"], stateful_set["metadata"]["name"])
            # An apply would set the autoscaler's number back.
            self.assertNotIn("replicas", stateful_set["spec"])
            (metric,) = spec["metrics"]
            self.assertIn(metric["pods"]["metric"]["name"], [rule["name"]["as"] for rule in rules])
            budget = self.only(objects, "PodDisruptionBudget")["spec"]
            self.assertGreater(spec["minReplicas"], budget["maxUnavailable"])

    def test_overlays_differ_in_the_device(self):
        cpu, gpu = (self.objects[overlay] for overlay in ("cpu", "gpu"))
        self.assertEqual(self.server(cpu)["image"], "dime:cpu")
        self.assertEqual(self.server(gpu)["image"], "dime:cuda")
        self.assertEqual(self.settings(cpu)["DEVICE"], "cpu")
        self.assertEqual(self.settings(gpu)["DEVICE"], "cuda")
        self.assertNotIn("nvidia.com/gpu", self.server(cpu)["resources"]["limits"])
        self.assertEqual(self.server(gpu)["resources"]["limits"]["nvidia.com/gpu"], "1")

    def test_the_overlay_of_ones_own_in_the_documents(self):
        document = (DEPLOY.parent / "docs/deployment.md").read_text(encoding="utf-8")
        text = re.search(r"^    # my-overlay/kustomization.yaml\n((?:    .*\n)+)", document,
                         flags=re.MULTILINE).group(1)
        with tempfile.TemporaryDirectory() as folder:
            # kubectl reads nothing outside, but by relative paths.
            shutil.copytree(DEPLOY / "kubernetes", pathlib.Path(folder, "deploy/kubernetes"))
            own = pathlib.Path(folder, "my-overlay")
            own.mkdir()
            (own / "kustomization.yaml").write_text(textwrap.dedent(text), encoding="utf-8")
            (own / "netrc").write_text("machine artifacts.example.com login a password b\n")
            result = run_tool("kubectl", "kustomize", own)
        self.assertEqual(result.returncode, 0, result.stdout)
        objects = {}
        for found in yaml.safe_load_all(result.stdout):
            objects.setdefault(found["kind"], []).append(found)
        self.assertNotIn("ServiceMonitor", objects)
        self.assertNotIn("HorizontalPodAutoscaler", objects)
        self.assertEqual(self.server(objects)["image"], "registry.example.com/dime:cpu-1")
        settings = self.settings(objects)
        self.assertTrue(settings["ARTIFACTS_URL"].endswith("flowers-7.tar.gz"))
        self.assertIn("DRAIN_SECONDS", settings)  # merged, not replaced
        secret = self.only(objects, "Secret")
        self.assertTrue(secret["data"]["netrc"])
        (volume,) = (v for v in self.pod(objects)["volumes"] if v["name"] == "artifacts")
        self.assertEqual(volume["secret"]["secretName"], secret["metadata"]["name"])

    def test_no_credential_is_committed(self):
        for objects in self.objects.values():
            self.assertEqual(self.only(objects, "Secret")["data"], {"netrc": ""})


if __name__ == "__main__":
    unittest.main()
