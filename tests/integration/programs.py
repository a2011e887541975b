"""What the integration tests share: running the programs, a server as a process, arrays as files. Each test is
started as TEST.py BIN_DIR SOURCE_DIR. Standard library only."""
import json
import os
import re
import signal
import struct
import subprocess
import sys
import time
import urllib.request

BIN, SOURCE = sys.argv[1], sys.argv[2]
TINY = os.path.join(SOURCE, "tests/golden/tiny")


def read_npy(path):
    """A float32 matrix as lists of rows."""
    with open(path, "rb") as file:
        content = file.read()
    size = struct.unpack("<H", content[8:10])[0]
    header = content[10:10 + size].decode()
    rows, columns = map(int, re.search(r"\((\d+), (\d+)\)", header).groups())
    values = struct.unpack(f"<{rows * columns}f", content[10 + size:])
    return [values[i * columns:(i + 1) * columns] for i in range(rows)]


def write_npy(path, shape, values):
    """A float32 array, row by row."""
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    with open(path, "wb") as file:
        file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() +
                   struct.pack(f"<{len(values)}f", *values))


def run(program, *arguments, check=True):
    result = subprocess.run([os.path.join(BIN, program), *arguments], capture_output=True,
                            text=True, timeout=300)
    if check and result.returncode != 0:
        raise AssertionError(f"{program} {arguments}: {result.returncode}\n{result.stderr}")
    return result


class Server:
    """A dime_server, on a port of its choice if none is given, with metrics likewise."""

    def __init__(self, model, gallery, *arguments, address="127.0.0.1:0"):
        self.process = subprocess.Popen(
            [os.path.join(BIN, "dime_server"), "--model", model, "--gallery", gallery, "--device",
             "cpu", "--address", address, "--metrics-address", "127.0.0.1:0", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        match = re.search(r"gRPC on ([^,;]+), metrics on (\S+?);", line)
        if not match:
            raise AssertionError(f"no ready line but {line!r}: {self.process.stderr.read()}")
        self.address, self.metrics = match.groups()

    def client(self, *arguments, check=True):
        return run("dime", "--address", self.address, "--deadline", "60s", *arguments, check=check)

    def json(self, *arguments):
        return json.loads(self.client("--json", *arguments).stdout)

    def scrape(self):
        with urllib.request.urlopen(self.metrics) as response:
            return response.read().decode()

    def await_metric(self, series):
        """Scrapes until the text holds `series`; a bound, so that what never comes fails."""
        end = time.monotonic() + 60
        while series not in self.scrape():
            if time.monotonic() > end:
                raise AssertionError(f"{series!r} never came")

    def end(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        code = self.process.wait(timeout=60)
        self.process.stdout.close()
        self.process.stderr.close()
        return code
