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


def settings(args, dtype):
    return ["--config", args.config, f"run.dtype={dtype}", *args.settings]


def build_programs(args, dtype):
    ours = interleave.Program("libvlmoe", [f"{args.build}/tests/bench/bench_step", *settings(args, dtype), "--routing", args.routing])
    peers = []
    for python in args.python:
        command = [python, ROOT / "scripts/bench/peer_step.py", *settings(args, dtype), "--routing", args.routing]
        command += ["--merge"] if args.merge else []
        peers.append(interleave.Program(f"PyTorch of {python}", command + (["--no-foreach"] if args.is_large else []), interleave.peer_env()))
    return ours, peers


def parameters(args):
    words = ["model.words=4004"] if "model.words" not in " ".join(args.settings) else []
    text = subprocess.run([f"{args.build}/vlmoe-train", *settings(args, "f32"), *words, "--dry-run"], capture_output=True, text=True, check=True).stdout
    return int(text.split()[1].rstrip(","))


def compare(args, dtype, peaks):
    """One row a program; what falls short."""
    ours, peers = build_programs(args, dtype)
    probe = interleave.Program("probe", [f"{args.build}/tests/bench/bench_probe"])
    run = interleave.Run(probe)
    for program in [ours, *peers]:  # two large models side by side may not fit
        program.resident = not args.is_large
    product = interleave.Program("product", [f"{args.build}/tests/bench/bench_probe"])
    turns = [("libvlmoe", ours, "step"), ("product", product, "product_" + dtype)] + [(peer.label, peer, "step") for peer in peers]
    try:
        run.interleave(turns, args.rounds, args.seconds)
        tables = args.tables and ours.text("tables")
    finally:
        for program in [ours, probe, product, *peers]:
            program.quit()
    peaks = {**peaks, "product_" + dtype: max(peaks["product_" + dtype], *run.values("product", "product_" + dtype))}
    return report(args, dtype, peaks, run, peers), tables


def report(args, dtype, peaks, run, peers):
    seconds, gflop = run.median("libvlmoe"), run.median("libvlmoe", "gflop")
    wanted_ratio, wanted_share = WANTED[dtype]
    rate, peak = gflop / seconds, peaks["product_" + dtype]
    print(f"\n### {args.config}, {dtype}, routing {args.routing}\n")
    print(f"{run.quality()}. {gflop:.0f} GFLOP of products and attention a step; dropped {run.median('libvlmoe', 'dropped'):.1%}.\n")
    print("| | s a step | of them optimiser | s, least to most | libvlmoe is faster by |\n|---|---|---|---|---|")
    print(f"| libvlmoe | {seconds:.3f} | {run.median('libvlmoe', 'optimiser'):.3f} | {run.spread('libvlmoe')} | |")
    shortfalls = run.too_busy()
    for peer in peers:
        ratio = run.median(peer.label) / seconds
        print(f"| {peer.label} | {run.median(peer.label):.3f} | {run.median(peer.label, 'optimiser'):.3f} | {run.spread(peer.label)} | **{ratio:.2f}** |")
        if ratio < wanted_ratio:
            shortfalls.append(f"{Path(args.config).stem} {dtype}: {ratio:.2f} times {peer.label}, wanted {wanted_ratio}")
    print(f"\n{rate:.0f} GFLOP/s: **{rate / peak:.0%}** of the best large product of oneDNN here ({peak:.0f}), ", end="")
    unit = peaks["fma"] if dtype == "f32" else peaks["bf16"]
    print(f"{rate / unit:.0%} of multiply-adds in vector registers ({unit:.0f})." if unit else "no vector unit for this type.")
    if rate / peak < wanted_share:
        shortfalls.append(f"{Path(args.config).stem} {dtype}: {rate / peak:.0%} of the product peak, wanted {wanted_share:.0%}")
    return shortfalls


def natural(args, dtype):
    """Ours on texts as they come; a peer that pads to text_len takes as long as on full texts."""
    short = [*args.settings, 'data.texts=["data/bench/sets/natural_texts"]', 'data.pairs=["data/bench/sets/natural_pairs"]']
    probe = interleave.Program("probe", [f"{args.build}/tests/bench/bench_probe"])
    run = interleave.Run(probe)
    command = [f"{args.build}/tests/bench/bench_step", "--config", args.config, f"run.dtype={dtype}"]
    programs = {"full": interleave.Program("full", [*command, *args.settings, "--routing", args.routing]),
                "natural": interleave.Program("natural", [*command, *short, "--routing", args.routing])}
    for program in programs.values():
        program.resident = not args.is_large
    try:
        run.interleave([(name, program, "step") for name, program in programs.items()], args.rounds, args.seconds / 2)
    finally:
        for program in [*programs.values(), probe]:
            program.quit()
    gain = run.median("full") / run.median("natural")
    print(f"\nTexts of natural length ({dtype}): {run.median('natural'):.3f} s a step against {run.median('full'):.3f} s where all fill "
          f"text_len: {gain:.2f} times faster, because rows are packed. A program that pads to text_len has the time of full texts.")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--config", required=True)
    parser.add_argument("--dtype", action="append")
    parser.add_argument("--python", action="append", required=True)
    parser.add_argument("--routing", default="balanced")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=240, help="longest measuring of one table")
    parser.add_argument("--merge", action="store_true")
    parser.add_argument("--tables", action="store_true")
    parser.add_argument("--natural", action="store_true")
    parser.add_argument("--peaks", help="of an earlier run, as JSON")
    parser.add_argument("settings", nargs="*")
    args = parser.parse_intermixed_args()
    # Parameters, gradients and two moments of f32 on both sides, and as much again for activations and temporaries of a large model.
    args.is_large = 2 * 24 * parameters(args) > interleave.available_bytes()
    peaks = json.loads(args.peaks) if args.peaks else interleave.machine_peaks(args.build)
    shortfalls = []
    for dtype in args.dtype or ("f32", "bf16"):
        short, tables = compare(args, dtype, peaks)
        shortfalls += short
        if tables:
            print(f"\n```\n{tables}```")
        if args.natural:
            natural(args, dtype)
    sys.stdout.flush()
    print("short: " + json.dumps(shortfalls))


if __name__ == "__main__":
    main()
