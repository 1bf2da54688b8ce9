"""Runs bench_loader and peer_loader.py in turns over one config and compares pictures per second of one core.

usage: loader.py BENCH_LOADER CONFIG.json TITLE [--rounds N] [--groups N] [--want-peer R] [--want-bare R]
Prints a table of medians and the share of each stage; the last line is JSON with the two ratios, null where there is no figure.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

PEER = Path(__file__).with_name("peer_loader.py")
WORKERS = (0, 1, 2)


class Program:
    """A process that answers each line with a line of JSON."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"loader: {self.process.args[0]} ended at '{line}'")
        return json.loads(answer)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def seconds(answer):
    return answer["cpu"] / answer["pictures"] if answer["pictures"] else None


def measure(options, config):
    group = config["data"]["images_per_group"] + config["data"]["pairs_per_group"]
    pictures = options.groups * group
    environment = dict(os.environ, OMP_WAIT_POLICY="passive", OMP_NUM_THREADS="1")
    os.environ.update(environment)
    ours, peer = Program([options.bench, options.config]), Program([sys.executable, str(PEER), options.config])
    asks = [("ours", ours, f"ours {options.groups}"), ("decode", ours, f"decode {pictures}"), ("bare", ours, f"bare {pictures}")]
    asks += [(f"peer{k}", peer, f"workers {k} {options.groups}") for k in WORKERS]
    found, stages = {name: [] for name, _, _ in asks}, []
    for name, program, line in asks:
        program.ask(line)  # warm: files in memory, workers started
    for _ in range(options.rounds):
        for name, program, line in asks:
            found[name].append(seconds(program.ask(line)))
        stages.append(ours.ask(f"stages {pictures}")["stages"])
    ours.close()
    peer.close()
    return found, stages


def row(title, values, base):
    if values[0] is None:
        return None
    middle = statistics.median(values)
    print(f"  {title:<46} {1 / middle:9.0f} {1e3 * middle:9.3f} {min(values) / middle:6.2f}-{max(values) / middle:.2f} {base / middle:9.2f}")
    return middle


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bench")
    parser.add_argument("config")
    parser.add_argument("title")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--groups", type=int, default=8)
    options = parser.parse_args()
    with open(options.config) as file:
        config = json.load(file)
    found, stages = measure(options, config)
    base = statistics.median(found["ours"])
    print(f"{options.title}: {options.rounds} rounds, one processor's seconds, medians")
    print(f"  {'':<46} {'pictures/s':>9} {'ms each':>9} {'spread':>11} {'of ours':>9}")
    row("libvlmoe, shard to normalised f32 rows", found["ours"], base)
    row("libvlmoe, decoding alone", found["decode"], base)
    bare = row("libjpeg alone: decoded rows, thrown away", found["bare"], base)
    peers = [row(f"Pillow + DataLoader, num_workers={k}", found[f"peer{k}"], base) for k in WORKERS]
    total = {name: statistics.median(s[name] for s in stages) for name in stages[0]}
    print("  stages: " + ", ".join(f"{name} {1e3 * t:.3f} ms ({100 * t / sum(total.values()):.0f} %)" for name, t in total.items()))
    print(json.dumps({"of_peer": min(peers) / base, "of_bare": bare / base if bare else None}))


if __name__ == "__main__":
    main()
