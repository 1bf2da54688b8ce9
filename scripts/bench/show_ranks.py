#!/usr/bin/python3
"""The measuring of scripts/show/law-cost, planned and ep-overhead: what ranks cost, and what was planned of it. Numbers are read from the
tools' JSON, never from their screens."""
import argparse
import json
import os
import re
import statistics
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

NO_EVALUATION = ["data.val_images=[]", "data.val_texts=[]", "data.val_pairs=[]", "run.report=false"]
ELEMENT = {"F32": "f", "I32": "i"}


def output(command, timeout=600):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=timeout)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {done.returncode}: {done.stderr.strip().splitlines()[-1:]}")
    return done.stdout


class Trainer:
    """Runs of one config in a scratch folder."""

    def __init__(self, args, scratch):
        self.base = [f"{args.build}/vlmoe-train", "--config", args.config]
        self.settings, self.scratch, self.n = [*NO_EVALUATION, *args.settings], scratch, 0

    def run(self, ranks, *more, threads=1):
        """What it held and sent (--memory --json), and the seconds of its steps but the first two."""
        self.n += 1
        out, report = Path(self.scratch) / f"run{self.n}", Path(self.scratch) / f"held{self.n}.json"
        launch = ["mpirun", "-n", ranks] if ranks > 1 else []
        output([*launch, *self.base, *self.settings, f"run.threads={threads}", f"run.out={out}", "--memory", "--json", report, *more])
        lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        return json.loads(report.read_text()), [line["seconds"] for line in lines if line["kind"] == "train"][2:]

    def plan(self, config, ranks, machine, *settings):
        """What --plan says of one number of ranks."""
        file = Path(self.scratch) / "plan.json"
        output([self.base[0], "--config", config, *settings, "--plan", "--ranks", ranks, "--machine", machine, "--json", file])
        return json.loads(file.read_text())["rows"][0]


def shares_of_steps(trace):
    """Phase -> its part of the steps that a profile saw."""
    spent = {}
    for event in json.loads(Path(trace).read_text())["traceEvents"]:
        if event.get("cat") == "phase":
            spent[event["name"]] = spent.get(event["name"], 0) + event["dur"]
    return {name: seconds / spent["step"] for name, seconds in spent.items()}


def tensors(path):
    """Of a safetensors file: name -> (shape, numbers)."""
    data = Path(path).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    found = {}
    for name, entry in json.loads(data[8:8 + length]).items():
        if name == "__metadata__" or entry["dtype"] not in ELEMENT:
            continue
        begin, end = entry["data_offsets"]
        count = (end - begin) // 4
        found[name] = (entry["shape"], lambda b=8 + length + begin, n=count, t=ELEMENT[entry["dtype"]]: struct.unpack(f"<{n}{t}", data[b:b + 4 * n]))
    return found


def law_cost(args, trainer):
    shortfalls = []
    print("| ranks | elements | ordered, s | MPI_Reduce_scatter_block, s | ordered / library |\n|---|---|---|---|---|", flush=True)
    for ranks in args.ranks or (2, 4):
        for elements in (1 << 22, 1 << 25):
            line = json.loads(output(["mpirun", "-n", ranks, f"{args.build}/tests/bench/bench_reduce", elements, args.rounds]).splitlines()[-1])
            ratio = line["ordered"] / line["library"]
            print(f"| {ranks} | {line['elements']:,} | {line['ordered']:.4f} | {line['library']:.4f} | **{ratio:.2f}** |", flush=True)
            if ratio > 1.1:
                shortfalls.append(f"{ranks} ranks, {elements} elements: {ratio:.2f} times the library's time")
    trace = Path(trainer.scratch) / "trace.json"
    trainer.run(2, "run.steps=4", f"--profile={trace}")
    share = shares_of_steps(trace)
    print(f"\n{args.config}, 2 ranks on this machine: sums over ranks {share['sums over ranks']:.1%} of a step, waiting for the other rank's backward "
          f"included; new values to ranks {share['values to ranks']:.1%}.")
    for machine in args.machine or ("configs/machines/h100_sxm_8.json",):
        row = trainer.plan("configs/vlmoe/base_32e.json", 32, machine)
        predicted = 100 * row["seconds"]["gradients"] / row["step_seconds"]
        print(f"\nPredicted for configs/vlmoe/base_32e.json on 32 ranks of {Path(machine).stem}, nothing overlapping: gradients {predicted:.1f} % of a step (aim 3).")
        if predicted > 3:
            shortfalls.append(f"{Path(machine).stem}: {predicted:.1f} % of a step predicted at 32 ranks, aimed at 3")
    return shortfalls


def expected_rows(dump, ranks):
    """Rows that rank 0 sends in one step of a group a rank, from the choices dumped on one rank: those of its own group whose expert lies
    elsewhere leave twice (activations, gradients of results), those of other groups with an expert here go back twice."""
    found, rows = tensors(dump), 0
    for name, (_, numbers) in found.items():
        layer = re.fullmatch(r"(group\.(\d+)/block\.\d+\.[vt])/expert", name)
        if not layer:
            continue
        experts = found[f"{layer.group(1)}/gates"][0][1]
        per_rank, is_own = experts // min(ranks, experts), layer.group(2) == "0"
        rows += 2 * sum(1 for expert, slot in zip(numbers(), found[f"{layer.group(1)}/slot"][1]())
                        if slot >= 0 and (expert // per_rank != 0) == is_own)
    return rows


def planned(args, trainer):
    shortfalls = []
    machine = Path(trainer.scratch) / "machine.json"
    output([*trainer.base, *trainer.settings, "--calibrate", machine])
    width = json.loads(output([*trainer.base, *trainer.settings, "--print-config"]))
    element = 2 if width["run"]["dtype"] == "bf16" else 4
    print("| ranks | MiB planned | MiB held | off by | s planned | s a step | off by |\n|---|---|---|---|---|---|---|", flush=True)
    for ranks in args.ranks or (1, 2):
        row = trainer.plan(args.config, ranks, machine, *trainer.settings)
        planned_mib, planned_seconds = row["memory_bytes"] / 2**20, row["step_seconds"]
        report, seconds = trainer.run(ranks, f"run.steps={args.rounds}", threads=max(1, os.cpu_count() // ranks))
        held = report["held_bytes"]["together"] / 2**20
        step = statistics.median(seconds)
        off_memory, off_seconds = planned_mib / held - 1, planned_seconds / step - 1
        print(f"| {ranks} | {planned_mib:.0f} | {held:.0f} | {off_memory:+.1%} | {planned_seconds:.3f} | {step:.3f} | {off_seconds:+.0%} |", flush=True)
        shortfalls += [f"{ranks} ranks: memory off by {off_memory:+.1%}, wanted 5 %"] if abs(off_memory) > 0.05 else []
        shortfalls += [f"{ranks} ranks: step time off by {off_seconds:+.0%}, wanted 15 %"] if abs(off_seconds) > 0.15 else []
    ranks, dump = 2, Path(trainer.scratch) / "step.safetensors"
    one_step = ["run.steps=1", f"run.groups={ranks}"]
    trainer.run(1, *one_step, "--dump-step", dump)
    traffic = trainer.run(ranks, *one_step)[0]["traffic"]
    sent = traffic["sent_bytes"]
    rows = expected_rows(dump, ranks)
    expected = {"rows": rows * width["model"]["width"] * element, **traffic["planned_bytes"]}
    print("\n| sent by rank 0 of 2 in one step | bytes counted | by formula |\n|---|---|---|")
    for name in ("rows", "gradients", "values"):
        print(f"| {name} | {sent[name]:,} | {expected[name]:,} |")
        if sent[name] != expected[name]:
            shortfalls.append(f"{name}: counted and planned bytes differ")
    return shortfalls


def ep_overhead(args, trainer):
    both = {1: [], 2: []}
    waits = []
    for _ in range(args.rounds):
        for ranks, threads in ((1, 2), (2, 1)):
            report, seconds = trainer.run(ranks, "run.steps=5", threads=threads)
            both[ranks] += seconds
            waits += [report["traffic"]["wait_seconds"]] if ranks == 2 else []
    one, two = (statistics.median(both[ranks]) for ranks in (1, 2))
    print(f"{args.config}: one rank with two threads {one:.3f} s a step, two ranks with one thread each {two:.3f} s: ratio **{two / one:.2f}** "
          f"({min(both[1]):.3f}-{max(both[1]):.3f}, {min(both[2]):.3f}-{max(both[2]):.3f}).")
    print(f"Rank 0 waited for the other {statistics.median(waits):.3f} s in 5 steps: uneven rows, moving bytes, and the last rank's start.")
    return []


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("law-cost", "planned", "ep-overhead"))
    parser.add_argument("--build", required=True)
    parser.add_argument("--config", required=True)
    parser.add_argument("--ranks", type=int, action="append")
    parser.add_argument("--machine", action="append")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("settings", nargs="*")
    args = parser.parse_intermixed_args()
    with tempfile.TemporaryDirectory() as scratch:
        trainer = Trainer(args, scratch)
        shortfalls = {"law-cost": law_cost, "planned": planned, "ep-overhead": ep_overhead}[args.what](args, trainer)
    sys.stdout.flush()
    print("short: " + json.dumps(shortfalls))


if __name__ == "__main__":
    main()
