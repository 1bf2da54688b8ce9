#!/usr/bin/python3
"""The measuring of scripts/show/speed: whole steps beside PyTorch, share of the machine's product peak, where the rest goes."""
import argparse
import json
import subprocess
import sys
from pathlib import Path

import interleave

ROOT = Path(__file__).resolve().parents[2]
WANTED = {"f32": (1.2, 0.65), "bf16": (1.3, 0.58)}  # times PyTorch's speed; share of the best large product's rate
OPERATIONS = 12  # rows kept of a profile's longest table
NATURAL = ['data.texts=["data/bench/sets/natural_texts"]', 'data.pairs=["data/bench/sets/natural_pairs"]']

# How a peer may be run; the fastest counts. Spinning threads take nothing from us: a program is stopped when it is not its turn.
VARIANTS = {"threads that sleep": ("passive", []), "threads that spin": ("active", []),
            "groups as one batch": ("active", ["--merge"])}


class Case:
    """A config in one type."""

    def __init__(self, args, config, dtype):
        self.args, self.config, self.dtype = args, config, dtype
        self.keys = ["--config", config, f"run.dtype={dtype}", *args.settings]
        # PyTorch takes about what we take; where all do not fit side by side, each is started for its turn.
        self.is_large = 1.25 * self.bytes_needed() * (1 + len(args.python)) > interleave.available_bytes()
        self.name = f"{Path(config).stem} {dtype}"

    def bytes_needed(self):
        """By our dry run."""
        words = [] if any("model.words" in text for text in self.args.settings) else ["model.words=4004"]
        command = [f"{self.args.build}/vlmoe-train", *self.keys, *words, "--dry-run"]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return 2 ** 20 * next(float(line.split()[1]) for line in text.splitlines() if line.split()[:1] == ["together"])

    def ours(self, label="libvlmoe", more=()):
        command = [f"{self.args.build}/tests/bench/bench_step", *self.keys, *more, "--routing", self.args.routing]
        return interleave.Program(label, command, resident=not self.is_large)

    def peer(self, python, variant):
        policy, flags = VARIANTS[variant]
        command = [python, ROOT / "scripts/bench/peer_step.py", *self.keys, "--routing", self.args.routing, *flags]
        command += ["--no-foreach"] if self.is_large else []  # its temporaries would not fit
        return interleave.Program(f"PyTorch of {python}", command, interleave.peer_env(policy), resident=not self.is_large)

    def probe(self, label="probe"):
        return interleave.Program(label, [f"{self.args.build}/tests/bench/bench_probe"])


def best_variant(case, python):
    """Two samples of each way to run this peer, one way after the other: they need not fit side by side."""
    run = interleave.Run(case.probe())
    variants = [name for name, (_, flags) in VARIANTS.items() if not (case.is_large and flags)]
    for variant in variants if len(variants) > 1 else []:
        program = case.peer(python, variant)
        try:
            run.take(variant, program, "step", 2)
        finally:
            program.quit()
    run.probe_program.quit()
    best = min(variants, key=lambda name: min(answer["seconds"] for answer, _, _ in run.samples[name]))
    seconds = {name: min(answer["seconds"] for answer, _, _ in run.samples[name]) for name in variants}
    return best, ", ".join(f"{name} {value:.2f} s" for name, value in seconds.items())


def interleaved(turns, args, seconds, and_then=None):
    """A run over (name, program, command), all programs ended; and what and_then gives before that."""
    probe = interleave.Program("probe", [f"{args.build}/tests/bench/bench_probe"])
    run, more = interleave.Run(probe), None
    try:
        run.interleave(turns, args.rounds, seconds)
        more = and_then and and_then()
    finally:
        for program in [probe, *(program for _, program, _ in turns)]:
            program.quit()
    return run, more


def shorten(tables):
    """A profile with only the first rows of its operations."""
    lines, kept, left = tables.splitlines(), [], None
    for line in lines:
        if line.startswith("operation"):
            left = OPERATIONS
        elif left is not None and (not line or line.startswith("total")):
            left = None
        elif left is not None:
            left -= 1
            if left < 0:
                continue
        kept.append(line)
    return "\n".join(kept)


def compare(case, peaks, chosen):
    args, ours, product = case.args, case.ours(), case.probe("product")
    peers = [case.peer(python, chosen[python]) for python in args.python]
    turns = [("libvlmoe", ours, "step"), ("product", product, "product_" + case.dtype)] + [(peer.label, peer, "step") for peer in peers]
    run, tables = interleaved(turns, args, args.seconds, lambda: args.tables and ours.text("tables"))
    peak, best = run.median("product", "product_" + case.dtype), max(peaks["product_" + case.dtype], *run.values("product", "product_" + case.dtype))
    seconds, gflop = run.median("libvlmoe"), run.median("libvlmoe", "gflop")
    wanted_ratio, wanted_share = WANTED[case.dtype]
    print(f"\n### {case.config}, {case.dtype}, routing {Path(args.routing).stem}\n")
    print(f"{run.quality()}. {gflop:.0f} GFLOP of products and attention a step; dropped {run.median('libvlmoe', 'dropped'):.1%}.\n")
    print("| | s a step | of them optimiser | s, least to most | libvlmoe is faster by |\n|---|---|---|---|---|")
    print(f"| libvlmoe | {seconds:.3f} | {run.median('libvlmoe', 'optimiser'):.3f} | {run.spread('libvlmoe')} | |")
    shortfalls = [f"{case.name}: {text}" for text in run.too_busy()]
    for peer in peers:
        ratio = run.median(peer.label) / seconds
        print(f"| {peer.label} | {run.median(peer.label):.3f} | {run.median(peer.label, 'optimiser'):.3f} | {run.spread(peer.label)} | **{ratio:.2f}** |")
        if ratio < wanted_ratio:
            shortfalls.append(f"{case.name}: {ratio:.2f} times {peer.label}, wanted {wanted_ratio}")
    rate, unit = gflop / seconds, peaks["fma"] if case.dtype == "f32" else peaks["bf16"]
    print(f"\n{rate:.0f} GFLOP/s: **{rate / peak:.0%}** of a large product of oneDNN in the same turns ({peak:.0f}), {rate / best:.0%} of the best one seen ({best:.0f})" +
          (f", {rate / unit:.0%} of multiply-adds in vector registers ({unit:.0f})." if unit else "."))
    if rate / peak < wanted_share:
        shortfalls.append(f"{case.name}: {rate / peak:.0%} of the product peak, wanted {wanted_share:.0%}")
    if tables:
        print(f"\n```\n{shorten(tables)}\n```")
    sys.stdout.flush()
    return shortfalls


def natural(case):
    """Ours on texts as they come."""
    turns = [("full", case.ours("full"), "step"), ("natural", case.ours("natural", NATURAL), "step")]
    run, _ = interleaved(turns, case.args, case.args.seconds / 2)
    print(f"\nTexts of natural length ({case.name}): {run.median('natural'):.3f} s a step against {run.median('full'):.3f} s where all fill "
          f"text_len, {run.median('full') / run.median('natural'):.2f} times as fast, because rows are packed. A program that pads to text_len takes "
          "as long as on full texts.", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--config", action="append", required=True)
    parser.add_argument("--dtype", action="append")
    parser.add_argument("--python", action="append", required=True)
    parser.add_argument("--routing", default="balanced")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=240, help="longest measuring of one table")
    parser.add_argument("--variant", choices=VARIANTS, help="of the peers; default: the fastest in two samples each")
    parser.add_argument("--tables", action="store_true")
    parser.add_argument("--natural", action="store_true")
    parser.add_argument("settings", nargs="*")
    args = parser.parse_intermixed_args()
    peaks = interleave.machine_peaks(args.build)
    print(f"{interleave.machine()}. Peaks: " + ", ".join(f"{name} {value:.0f}" for name, value in peaks.items()) + " (GFLOP/s; read and triad GB/s).")
    shortfalls = []
    for config in args.config:
        for dtype in args.dtype or ("f32", "bf16"):
            case = Case(args, config, dtype)
            chosen = {}
            for python in args.python:
                chosen[python], tried = (args.variant, "") if args.variant else best_variant(case, python)
                print(f"\n{case.name}, {python}: {chosen[python]}" + (f" (tried: {tried})" if tried else "") + ".", flush=True)
            shortfalls += compare(case, peaks, chosen)
            if args.natural:
                natural(case)
    sys.stdout.flush()
    print("short: " + json.dumps(shortfalls))


if __name__ == "__main__":
    main()
