#!/usr/bin/python3
"""The measuring of scripts/show/experts: an expert layer beside our dense layer of equal work and beside PyTorch's loop over experts."""
import argparse
import json
import sys
from pathlib import Path

import interleave

ROOT = Path(__file__).resolve().parents[2]
WANTED_OF_DENSE, WANTED_TIMES_LOOP = 0.85, 2.0


def measure(args, dtype, k, routing):
    """(dense GFLOP/s, experts GFLOP/s, {peer: GFLOP/s}, the run)."""
    shape = ["--dtype", dtype, "--tokens", args.tokens, "--width", args.width, "--hidden", args.hidden, "--experts", args.experts, "--k", k,
             "--routing", routing]
    ours = interleave.Program("libvlmoe", [f"{args.build}/tests/bench/bench_layer", *shape])
    peers = [interleave.Program(f"PyTorch of {python}", [python, ROOT / "scripts/bench/peer_layer.py", *shape], interleave.peer_env())
             for python in args.python]
    probe = interleave.Program("probe", [f"{args.build}/tests/bench/bench_probe"])
    run = interleave.Run(probe)
    turns = [("dense", ours, "dense"), ("moe", ours, "moe")] + [(peer.label, peer, "moe") for peer in peers]
    try:
        for name, program, command in turns:  # the first call of each kind makes primitives and touches memory
            program.ask(command)
            program.ask(command)
        run.interleave(turns, args.rounds, args.seconds)
    finally:
        for program in [ours, probe, *peers]:
            program.quit()
    gflop = run.values("moe", "gflop")[0]
    return gflop / run.median("dense"), gflop / run.median("moe"), {peer.label: gflop / run.median(peer.label) for peer in peers}, run


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--python", action="append", required=True)
    parser.add_argument("--dtype", action="append")
    parser.add_argument("--k", action="append", type=int)
    parser.add_argument("--routing", action="append", required=True)
    for name, value in (("tokens", 2048), ("width", 768), ("hidden", 3072), ("experts", 32)):
        parser.add_argument("--" + name, type=int, default=value)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=60)
    args = parser.parse_args()
    shortfalls, quality = [], []
    print(interleave.machine() + ".\n")
    print(f"Forward and backward of one layer, {args.tokens} tokens, width {args.width}, hidden {args.hidden}, {args.experts} experts; GFLOP/s, "
          "counting the feed-forward's products alone.\n")
    print("| type, k, routing | dense | experts | of dense | loop of experts in PyTorch | times the loop |\n|---|---|---|---|---|---|", flush=True)
    for dtype in args.dtype or ("f32", "bf16"):
        for k in args.k or (1, 2):
            for routing in args.routing:
                dense, moe, peers, run = measure(args, dtype, k, routing)
                where = f"{dtype}, k {k}, {Path(routing).stem}"
                loops = ", ".join(f"{rate:.0f} ({label})" for label, rate in peers.items())
                times = ", ".join(f"{moe / rate:.2f}" for rate in peers.values())
                print(f"| {where} | {dense:.0f} | {moe:.0f} | **{moe / dense:.0%}** | {loops} | **{times}** |", flush=True)
                quality.append(run.quality())
                shortfalls += [f"{where}: {busy}" for busy in run.too_busy()]
                if moe / dense < WANTED_OF_DENSE:
                    shortfalls.append(f"{where}: {moe / dense:.0%} of dense, wanted {WANTED_OF_DENSE:.0%}")
                shortfalls += [f"{where}: {moe / rate:.2f} times {label}, wanted {WANTED_TIMES_LOOP}"
                               for label, rate in peers.items() if moe / rate < WANTED_TIMES_LOOP]
    print("\n" + "; ".join(f"row {i + 1}: {text}" for i, text in enumerate(quality)))
    sys.stdout.flush()
    print("short: " + json.dumps(shortfalls))


if __name__ == "__main__":
    main()
