"""What the tests of deploy/ share: where things are, and how its files are read.

Importing it fails, saying what to do, where scripts/setup.sh has not brought the tools.
"""
import os
import pathlib
import subprocess
import sys

sys.dont_write_bytecode = True

SOURCE = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = SOURCE / "deploy"
TOOLS = pathlib.Path(
    os.environ.get("DIME_CHECK_TOOLS") or os.path.expanduser("~/.cache/dime-deps/check-tools")
)

if not TOOLS.is_dir():
    sys.exit(f"the tools that check deploy/ are not at {TOOLS}; run scripts/setup.sh, or set "
             "DIME_CHECK_TOOLS")
sys.path.insert(0, str(TOOLS))
import yaml  # noqa: E402


def run_tool(name, *arguments, **options):
    """Runs one of the tools; its words are both streams together."""
    path = TOOLS / "bin" / name
    if not path.is_file():
        sys.exit(f"{path} is missing; delete {TOOLS} and run scripts/setup.sh")
    return subprocess.run(
        [path, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TOOLS)},
        **options,
    )


def read_yaml(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def kustomize(overlay):
    """The objects that `kubectl apply -k` of an overlay would send, and their text."""
    result = run_tool("kubectl", "kustomize", DEPLOY / "kubernetes/overlays" / overlay)
    if result.returncode != 0 or "deprecated" in result.stdout.lower():
        sys.exit(f"kubectl kustomize of the overlay {overlay}: {result.stdout}")
    return list(yaml.safe_load_all(result.stdout)), result.stdout
