#!/usr/bin/python3
"""The measuring of scripts/show/overhead: a sparse model's step beside the dense model's of equal work per token."""
import argparse
import json
import sys
from pathlib import Path

import interleave

WANTED = 1.13  # without the optimiser, which has E times the parameters of the dense model's to update


def measure(args, dtype, routing):
    base = [f"{args.build}/tests/bench/bench_step", "--config", args.config, f"run.dtype={dtype}", "moe.capacity_factor=0", *args.settings]
    dense = ["moe.v_layers=[]", "moe.t_layers=[]", "moe.v_importance=0", "moe.v_load=0", "moe.t_load=0"]
    programs = {"sparse": interleave.Program("sparse", [*base, "--routing", routing]), "dense": interleave.Program("dense", [*base, *dense])}
    probe = interleave.Program("probe", [f"{args.build}/tests/bench/bench_probe"])
    run = interleave.Run(probe)
    try:
        run.interleave([(name, program, "step") for name, program in programs.items()], args.rounds, args.seconds)
    finally:
        for program in [*programs.values(), probe]:
            program.quit()
    return run


def without_optimiser(run, name):
    kept = run.samples[name].good(run.best)
    times = sorted(answer["seconds"] - answer["optimiser"] for answer in kept)
    return times[len(times) // 2]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--config", required=True)
    parser.add_argument("--dtype", action="append")
    parser.add_argument("--routing", action="append", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=240)
    parser.add_argument("settings", nargs="*")
    args = parser.parse_intermixed_args()
    shortfalls, quality = [], []
    print(interleave.machine() + ".\n")
    print(f"{args.config}, none dropped, against the same model with dense feed-forwards: seconds a step.\n")
    print("| type, routing | GFLOP sparse, dense | sparse | dense | longer by, without optimiser | with it |\n|---|---|---|---|---|---|", flush=True)
    for dtype in args.dtype or ("f32", "bf16"):
        for routing in args.routing:
            run = measure(args, dtype, routing)
            sparse, dense = without_optimiser(run, "sparse"), without_optimiser(run, "dense")
            whole = run.median("sparse") / run.median("dense")
            where = f"{dtype}, {Path(routing).stem}"
            print(f"| {where} | {run.median('sparse', 'gflop'):.0f}, {run.median('dense', 'gflop'):.0f} | {sparse:.3f} | {dense:.3f} | "
                  f"**{sparse / dense - 1:+.1%}** | {whole - 1:+.1%} |", flush=True)
            quality.append(run.quality())
            shortfalls += [f"{where}: {busy}" for busy in run.too_busy()]
            if sparse / dense > WANTED:
                shortfalls.append(f"{where}: {sparse / dense - 1:+.1%}, wanted at most {WANTED - 1:+.0%}")
    print("\n" + "; ".join(f"row {i + 1}: {text}" for i, text in enumerate(quality)))
    sys.stdout.flush()
    print("short: " + json.dumps(shortfalls))


if __name__ == "__main__":
    main()
