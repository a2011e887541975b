#!/usr/bin/env python3
"""The Dockerfile by hadolint, and what it promises: two targets, no root, nothing baked in."""
import fnmatch
import json
import re
import unittest

from deploy_files import DEPLOY, SOURCE, run_tool

DOCKERFILE = DEPLOY / "docker/Dockerfile"


def instructions():
    """(instruction, arguments) in order, continued lines joined, comments left out."""
    text = DOCKERFILE.read_text(encoding="utf-8")
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"\\\n\s*", "", text)
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


def stages():
    """Stage -> (the stage or image it is from, its instructions)."""
    result = {}
    for instruction, arguments in instructions():
        if instruction == "FROM":
            base, name = re.fullmatch(r"(\S+) AS (\S+)", arguments).groups()
            current = result[name] = (base, [])
        elif result:
            current[1].append((instruction, arguments))
    return result


def effective(name):
    """A stage's instructions behind those that it inherits."""
    base, own = stages()[name]
    return (effective(base) if base in stages() else []) + own


class DockerfileTest(unittest.TestCase):
    def last(self, stage, instruction):
        found = [arguments for i, arguments in effective(stage) if i == instruction]
        self.assertTrue(found, f"{stage} has no {instruction}")
        return found[-1]

    def test_hadolint(self):
        result = run_tool("hadolint", "--config", SOURCE / ".hadolint.yaml", DOCKERFILE)
        self.assertEqual((result.returncode, result.stdout), (0, ""))

    def test_hadolint_would_see_a_fault(self):
        result = run_tool("hadolint", "--config", SOURCE / ".hadolint.yaml", "-",
                          input="FROM debian:bookworm-slim\nRUN cd /tmp\nUSER root\n")
        self.assertNotEqual(result.returncode, 0)

    def test_both_targets_run_as_a_numbered_user_that_is_not_root(self):
        for target in ("cpu", "cuda"):
            with self.subTest(target):
                user, group = self.last(target, "USER").split(":")
                self.assertGreater(int(user), 0)
                self.assertGreater(int(group), 0)
                self.assertEqual(json.loads(self.last(target, "ENTRYPOINT")), ["dime_server"])

    def test_runtime_stages_hold_no_compiler_and_no_source(self):
        for target in ("cpu", "cuda"):
            with self.subTest(target):
                for instruction, arguments in effective(target):
                    self.assertNotRegex(arguments, r"build-essential|cmake|pip |-dev\b")
                    if instruction == "COPY":
                        self.assertRegex(arguments, r"^--from=(build|cuda-libraries) /out/|^LICENSE ")

    def test_healthcheck_asks_the_served_address(self):
        command = json.loads(re.search(r"CMD (\[.*\])", self.last("cpu", "HEALTHCHECK")).group(1))
        self.assertEqual(command[0], "dime")
        served = json.loads(self.last("cpu", "CMD"))
        port = served[served.index("--address") + 1].rpartition(":")[2]
        self.assertEqual(command[command.index("--address") + 1], f"127.0.0.1:{port}")
        self.assertIn(port, self.last("cpu", "EXPOSE").split())

    def test_context_holds_what_is_copied_and_no_model(self):
        lines = (SOURCE / ".dockerignore").read_text(encoding="utf-8").splitlines()
        lines = [line for line in lines if line and not line.startswith("#")]
        self.assertEqual(lines[0], "*")
        allowed = [line[1:] for line in lines if line.startswith("!")]
        for path in allowed:
            self.assertTrue((SOURCE / path).exists(), path)
        # Each folder that the build reads.
        lists = (SOURCE / "CMakeLists.txt").read_text(encoding="utf-8")
        for folder in re.findall(r"add_subdirectory\(([\w/]+)\)", lists):
            if folder not in ("tests", "benchmarks"):
                self.assertIn(folder.split("/")[0], allowed)
        self.assertIn("examples/scenes/model", lines)
        for path in (SOURCE / "examples/scenes/model").iterdir():
            self.assertFalse(any(fnmatch.fnmatch(str(path.relative_to(SOURCE)), pattern)
                                 for pattern in allowed))


if __name__ == "__main__":
    unittest.main()
