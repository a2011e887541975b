#!/usr/bin/env python3
"""A rolling restart under load: two servers, stopped by SIGTERM and started again one after the other,
while clients with the shipped policy (round robin, health, retries) go on searching. No call is lost.

Harsher than a cluster, which takes a pod's address out of the DNS before it stops it.
"""
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import threading
import unittest

from deploy_files import SOURCE

BIN = pathlib.Path(os.environ.get("DIME_BIN") or SOURCE / "build/release/bin")
TINY = SOURCE / "tests/golden/tiny"
CLIENTS = 3


def free_ports(count):
    """Ports that nobody has; all are held at once, so that they differ."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [held.getsockname()[1] for held in sockets]
    for held in sockets:
        held.close()
    return ports


class Server:
    """A dime_server on a port that it keeps over restarts."""

    def __init__(self, port, gallery):
        self.command = [BIN / "dime_server", "--model", TINY / "model", "--gallery", gallery, "--device",
                        "cpu", "--address", f"127.0.0.1:{port}", "--metrics-address", "127.0.0.1:0"]
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True)
        line = self.process.stdout.readline()
        assert re.search(r" ready in ", line), f"no ready line but {line!r}"

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.stdout.close()
        return self.process.wait(timeout=60)


class RollingRestartTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        gallery = pathlib.Path(folder.name, "gallery")
        subprocess.run([BIN / "dime_build_gallery", "--model", TINY / "model", "--data", TINY / "data",
                        "--split", "test", "--out", gallery, "--device", "cpu"], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        ports = free_ports(2)
        self.servers = [Server(port, gallery) for port in ports]
        for server in self.servers:
            self.addCleanup(server.stop)
        self.address = "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports)
        self.finished = threading.Event()
        self.grown = threading.Condition()
        self.answered, self.lost = 0, []

    def search_on(self):
        """One client after the other until the restarts are over."""
        while not self.finished.is_set():
            result = subprocess.run([BIN / "dime", "--address", self.address, "--deadline", "30s",
                                     "search-images", "a dog", "--top-k", "2"],
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            with self.grown:
                if result.returncode == 0:
                    self.answered += 1
                else:
                    self.lost.append(result.stdout)
                self.grown.notify_all()

    def await_more(self, count):
        """Until so many more calls have come back: there is load now."""
        with self.grown:
            goal = self.answered + len(self.lost) + count
            self.assertTrue(self.grown.wait_for(lambda: self.answered + len(self.lost) >= goal, timeout=60))

    def test_no_call_is_lost(self):
        threads = [threading.Thread(target=self.search_on) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(2):
                for server in self.servers:
                    self.await_more(10)
                    self.assertEqual(server.stop(), 0)
                    self.await_more(10)  # with one server alone
                    server.start()
            self.await_more(10)
        finally:
            self.finished.set()
            for thread in threads:
                thread.join()
        self.assertEqual(self.lost, [])
        self.assertGreaterEqual(self.answered, 90)


if __name__ == "__main__":
    unittest.main()
