#!/usr/bin/env python3
"""Memory, threads and files of a dime_server over many reloads (SIGHUP) of the same model and gallery, with a
search between them whose answer must stay the same. Prints a table. Standard library only.

    reload_memory.py BIN_DIR MODEL GALLERY [RELOADS]
"""
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request

BIN, MODEL, GALLERY = sys.argv[1:4]
RELOADS = int(sys.argv[4]) if len(sys.argv) > 4 else 50


def main():
    server = subprocess.Popen(
        [os.path.join(BIN, "dime_server"), "--model", MODEL, "--gallery", GALLERY, "--address",
         "127.0.0.1:0", "--metrics-address", "127.0.0.1:0"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    address, metrics = re.search(r"gRPC on ([^,]+), metrics on (\S+?);",
                                 server.stdout.readline()).groups()

    def search():
        return subprocess.run(
            [os.path.join(BIN, "dime"), "--address", address, "search-images", "a red star",
             "--top-k", "3"], capture_output=True, text=True, check=True).stdout

    def show(reloads):
        with open(f"/proc/{server.pid}/status", encoding="utf-8") as file:
            status = file.read()
        own, threads = (int(re.search(rf"{name}:\s+(\d+)", status).group(1))
                        for name in ("RssAnon", "Threads"))
        files = len(os.listdir(f"/proc/{server.pid}/fd"))
        print(f"| {reloads} | {own / 1024:.1f} | {threads} | {files} |", flush=True)

    print("| reloads | own memory, MiB | threads | open files |\n|---|---|---|---|")
    answer = search()
    show(0)
    for reload in range(1, RELOADS + 1):
        server.send_signal(signal.SIGHUP)
        done = f'dime_reloads_total{{outcome="done"}} {reload}\n'
        while done not in urllib.request.urlopen(metrics).read().decode():
            if server.poll() is not None:
                sys.exit(f"the server ended with {server.returncode}")
            time.sleep(0.05)
        if search() != answer:
            sys.exit(f"another answer after reload {reload}")
        if reload in (1, 2, 5) or reload % 10 == 0:
            show(reload)
    server.terminate()
    sys.exit(server.wait())


main()
