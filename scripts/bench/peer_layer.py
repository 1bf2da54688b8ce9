#!/usr/bin/python3
"""One feed-forward, dense or of experts, in eager PyTorch on command: the peer of tests/bench/bench_layer.c, same options and answers.

usage: peer_layer.py [--dtype f32|bf16] [--tokens T] [--width D] [--hidden F] [--experts E] [--k K] [--routing balanced|zipf|FILE]

Experts as a loop: rows picked by index_select, two products, results added by index_add. bf16 is autocast over f32 weights, as in training: gradients
of weights are f32, ours too. --pure makes weights and their gradients bfloat16, which moves half the memory and trains otherwise."""
import argparse
import json
import os
import sys
import time
from pathlib import Path

for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "OPENBLAS_NUM_THREADS"):
    os.environ.pop(name, None)
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "golden"))

import torch
import torch.nn.functional as F

import peer_step


class Layer:
    def __init__(self, args):
        self.args = args
        dtype = torch.bfloat16 if args.dtype == "bf16" else torch.float32
        stored = dtype if args.pure else torch.float32
        T, D, hidden, E, K = args.tokens, args.width, args.hidden, args.experts, args.k

        def weights(width):
            shapes = ((width, D), (width,), (D, width), (D,))
            return [(0.02 * torch.randn(shape)).to(stored).requires_grad_() for shape in shapes]
        self.dense_weights = weights(K * hidden)
        self.experts = [weights(hidden) for _ in range(E)]
        self.router = (0.02 * torch.randn(E, D)).requires_grad_()
        self.x = torch.randn(T, D).to(dtype).requires_grad_()
        self.dy = torch.randn(T, D).to(dtype)
        self.choice = peer_step.forced_experts(args.routing, T, E, K)

    @staticmethod
    def feed_forward(w, x):
        return F.linear(F.gelu(F.linear(x, w[0], w[1])), w[2], w[3])

    def dense(self):
        return self.feed_forward(self.dense_weights, self.x)

    def moe(self):
        gates = F.linear(self.x.float(), self.router).softmax(1)
        weight = gates.gather(1, self.choice)
        out = torch.zeros(self.x.shape)
        for e, w in enumerate(self.experts):
            token, k = torch.nonzero(self.choice == e, as_tuple=True)
            if len(token):
                y = self.feed_forward(w, self.x.index_select(0, token))
                out.index_add_(0, token, y.float() * weight[token, k, None])
        return out.to(self.x.dtype)

    def run(self, command):
        for w in (self.x, self.router, *self.dense_weights, *(w for expert in self.experts for w in expert)):
            w.grad = None
        begin = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.args.dtype == "bf16" and not self.args.pure):
            y = self.dense() if command == "dense" else self.moe()
        forward = time.perf_counter()
        y.backward(self.dy)
        end = time.perf_counter()
        a = self.args
        return {"seconds": round(end - begin, 6), "forward": round(forward - begin, 6), "gflop": 12e-9 * a.tokens * a.k * a.width * a.hidden}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", default="f32", choices=("f32", "bf16"))
    parser.add_argument("--routing", default="balanced")
    parser.add_argument("--pure", action="store_true")
    for name, value in (("tokens", 2048), ("width", 768), ("hidden", 3072), ("experts", 32), ("k", 1)):
        parser.add_argument("--" + name, type=int, default=value)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    layer = Layer(args)
    print(json.dumps({"ready": f"PyTorch {torch.__version__}", "threads": args.threads}), flush=True)
    for line in sys.stdin:
        command = line.strip()
        if command == "quit":
            break
        if command not in ("dense", "moe"):
            sys.exit(f"peer_layer: unknown command '{command}'")
        print(json.dumps(layer.run(command)), flush=True)


if __name__ == "__main__":
    main()
