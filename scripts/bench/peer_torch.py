#!/usr/bin/python3
"""Eager PyTorch as a peer: trains the model of a config on the same shards with the same recipe, and says how fast and how well.

usage: peer_torch.py --config configs/emoji_quick.json [section.key=value ...] [--seconds S | --steps N] [--eval-every SECONDS]

The model is scripts/golden/vlmoe_torch.py with losses of weight 0 left out: attention in padded batches, one pass an expert over its own
rows (index_select, index_add), torch.optim.AdamW, gradients clipped. Texts are cut and pictures decoded before the clock starts; a thread
prepares groups. With --seconds the cosine follows the time, so that a budget ends with a finished schedule. Drop path and router noise as
in the config; run.dtype bf16 trains under autocast. Prints one JSON object a line; evaluation does not count as time.

Held-out figures: every word of a pair masked, the first one (its category) predicted from the picture. category_right: with its own
picture; category_shuffled: with one of another concept; words_right and words_shuffled: the same for all words."""
import argparse
import contextlib
import json
import os
import queue
import random
import sys
import threading
import time
from pathlib import Path

for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "OPENBLAS_NUM_THREADS"):
    os.environ.pop(name, None)  # they would make the peer slower than it is
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # threads that spin take the cores from the one that prepares groups
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "golden"))

import numpy as np
import torch

import peer_data
import run_config
import tokeniser_torch
import vlmoe_torch as vt


class Peer(vt.Model):
    """The golden model, without computing losses that weigh nothing."""

    def balance(self):
        total = 0.0
        for route in self.routing.values():
            total = total + route.losses.mean()
        return total

    def decide(self, route, logits, modality):
        moe, n_experts = self.config.moe, logits.shape[1]
        route.noisy = logits + torch.randn_like(logits) * (moe.noise_std / n_experts) if self.training else logits
        route.clean, route.gates = logits.softmax(1), route.noisy.softmax(1)
        route.expert = route.noisy.detach().topk(moe.k, 1).indices
        route.served = vt.assign(moe, route.sets, route.expert, route.gates.detach()) if self.training else torch.ones_like(route.expert).bool()
        route.weight = vt.combine_weights(moe.renormalise, route.gates, route.expert, route.served)
        route.losses = torch.zeros(1)
        if self.training:
            weights = {name: getattr(moe, f"{modality}_{name}") for name in vt.BALANCE}
            route.losses = torch.stack([self.set_loss(weights, logits, route, begin, end, modality) for begin, end in route.sets])

    def set_loss(self, weights, logits, route, begin, end, modality):
        """The weighted losses of one routing set."""
        if any(weights[name] for name in vt.BALANCE[2:]):
            route.logits = logits
            soft = getattr(self.config.moe, modality + "_global_experts")
            losses = vt.balance_losses(route, begin, end, self.config.moe.noise_std / logits.shape[1], soft)
            return (losses * torch.tensor([weights[name] for name in vt.BALANCE])).sum()
        loss = logits.new_zeros(())
        if weights["importance"]:
            loss = loss + weights["importance"] * vt.squared_variation(route.clean[begin:end].sum(0))
        if weights["load"]:
            sigma = self.config.moe.noise_std / logits.shape[1]
            threshold = route.noisy[begin:end].gather(1, route.expert[begin:end, -1:])
            loss = loss + weights["load"] * vt.squared_variation((1 - torch.special.ndtr((threshold - logits[begin:end]) / sigma)).mean(0))
        return loss


class Held:
    """Held-out pairs with every word masked, each with its own picture and with one of another concept."""

    def __init__(self, config, text_model):
        stream = peer_data.Stream(config.data.val_pairs, config, text_model, True, True)
        size = config.model.image_size
        pictures = np.stack([peer_data.plain_picture(image, size) for image in stream.images])
        self.target = stream.texts
        concept = stream.words  # all drawings of a concept share one text
        rng, n = random.Random(0), len(concept)
        other = [rng.choice([j for j in range(n) if concept[j] != concept[i]]) for i in range(n)]
        self.pictures = {"right": pictures, "shuffled": pictures[other]}
        self.mask = text_model.mask
        self.patches = config.model.patches

    def groups(self, kind, size=64):
        for begin in range(0, len(self.target), size):
            texts = []
            for ids in self.target[begin:begin + size]:
                seen, target = ids.copy(), ids.copy()
                seen[1:-1], target[0], target[-1] = self.mask, -1, -1
                texts.append((seen, target))
            pictures = list(self.pictures[kind][begin:begin + size])
            yield peer_data.make_group(pictures, [np.zeros(self.patches, dtype=bool)] * len(pictures), texts, 0, len(pictures), 0)

    @torch.no_grad()
    def measure(self, model):
        model.training = False
        figures = {}
        for kind in self.pictures:
            first, words = [], []
            for group in self.groups(kind):
                rows, target = model.masked_rows(group)["pair_text"]
                right = model.word_logits(model.encode(group)[rows]).argmax(1) == target
                starts = torch.tensor(group.text_offset[:-1]) + 1 + group.layout(self.patches).text_begin
                first.append(right[torch.isin(rows, starts)])
                words.append(right)
            figures[f"category_{kind}"] = round(float(torch.cat(first).double().mean()), 4)
            figures[f"words_{kind}"] = round(float(torch.cat(words).double().mean()), 4)
        model.training = True
        return figures


def prefetch(source, depth=4):
    """Groups from a thread."""
    ready = queue.Queue(depth)

    def work():
        while True:
            ready.put(source.group())
    threading.Thread(target=work, daemon=True).start()
    return ready.get


def draw_drop_path(group, config):
    m = config.model
    if m.drop_path <= 0 or m.layers < 2:
        return
    rate = torch.arange(m.layers).repeat_interleave(2)[:, None] * m.drop_path / (m.layers - 1)
    kept = (torch.rand(2 * m.layers, group.n_images + group.n_pairs + group.n_texts) >= rate) / (1 - rate)
    group.drop_path = kept[:, group.layout(m.patches).sample]


class Trainer:
    def __init__(self, config, args):
        self.config, self.args = config, args
        text_model = peer_data.TextModel(config.data.text_model)
        self.source = peer_data.Source(config, text_model, config.run.seed)
        self.held = Held(config, text_model) if config.data.val_pairs else None
        has_codes = config.objective.image_weight > 0 or config.objective.pair_image_weight > 0
        self.tokeniser = tokeniser_torch.ImageTokeniser(config.data.image_tokeniser) if has_codes else None
        generator = torch.Generator().manual_seed(config.run.seed)
        start = vt.initial(config, len(text_model.pieces), self.tokeniser.n_codes if has_codes else 0, generator)
        self.p = {name: x.requires_grad_() for name, x in start.items()}
        self.model = Peer(self.p, config)
        self.model.training = True
        o = config.optim
        groups = [{"params": [x for name, x in self.p.items() if vt.decays(name) == decay], "weight_decay": o.weight_decay * decay}
                  for decay in (True, False)]
        self.optimiser = torch.optim.AdamW(groups, lr=o.lr, betas=(o.beta1, o.beta2), eps=o.eps)
        self.amp = (lambda: torch.autocast("cpu", torch.bfloat16)) if config.run.dtype == "bf16" else contextlib.nullcontext

    def rate(self, step, seconds):
        """By step; with a budget of time, warm-up by step and the cosine by the share of time that is gone."""
        steps = self.args.steps or self.config.run.steps
        o = self.config.optim
        if self.args.seconds and step > o.warmup:
            steps, share = 1 << 30, min(1.0, seconds / self.args.seconds)
            step = o.warmup + share * (steps - o.warmup)
        return vt.learning_rate(o, steps, step)

    def step(self, step, seconds, next_group):
        self.optimiser.param_groups[0]["lr"] = self.optimiser.param_groups[1]["lr"] = self.rate(step, seconds)
        self.optimiser.zero_grad(set_to_none=True)
        losses, n_groups = {}, self.config.run.groups
        for _ in range(n_groups):
            group = next_group()
            draw_drop_path(group, self.config)
            if self.tokeniser and len(group.pixels):
                group.codes = self.tokeniser.codes(group.pixels)
            with self.amp():
                loss, _, parts = self.model.loss(group)
            (loss / n_groups).backward()
            for part, (nll, _, _) in parts.items():
                losses[part] = losses.get(part, 0.0) + float(nll.mean()) / n_groups
        if self.config.optim.clip > 0:
            torch.nn.utils.clip_grad_norm_(self.p.values(), self.config.optim.clip)
        self.optimiser.step()
        return losses

    def line(self, seconds, step, running):
        per_step = sum(self.source.counts) * self.config.run.groups
        line = {"seconds": round(seconds, 1), "steps": step, "samples": step * per_step, "samples_per_second": round(step * per_step / seconds, 1)}
        line.update({part + "_loss": round(value, 4) for part, value in running.items()})
        if self.held:
            with self.amp():
                line.update(self.held.measure(self.model))
        print(json.dumps(line), flush=True)

    def run(self):
        next_group = prefetch(self.source)
        next_group()  # the thread is at work before the clock starts
        seconds, step, next_line, running = 0.0, 0, self.args.eval_every, {}
        last = self.args.steps or (0 if self.args.seconds else self.config.run.steps)
        while (seconds < self.args.seconds) if not last else (step < last):
            begin = time.perf_counter()
            step += 1
            for part, value in self.step(step, seconds, next_group).items():
                running[part] = 0.95 * running.get(part, value) + 0.05 * value
            seconds += time.perf_counter() - begin
            if seconds >= next_line:
                self.line(seconds, step, running)
                next_line = seconds + self.args.eval_every
        if seconds + self.args.eval_every != next_line:
            self.line(seconds, step, running)


def check_products(threads):
    """Debian's standard BLAS is a plain loop, ten times too slow to compare with."""
    a, best = torch.randn(768, 768), 1e9
    for _ in range(8):
        begin = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - begin)
    speed = 2 * 768 ** 3 / best / 1e9
    if speed < 10 * threads:
        sys.exit(f"peer_torch: PyTorch multiplies matrices at {speed:.0f} GFLOP/s: an unfair peer. Debian: apt-get install libopenblas0-openmp")
    return round(speed)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True)
    parser.add_argument("overrides", nargs="*", metavar="section.key=value")
    parser.add_argument("--seconds", type=float, default=0, help="training time")
    parser.add_argument("--steps", type=int, default=0, help="default run.steps")
    parser.add_argument("--eval-every", type=float, default=60, help="seconds of training between lines")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_intermixed_args()
    config = run_config.load(args.config, args.overrides)
    torch.set_num_threads(args.threads)
    torch.manual_seed(config.run.seed)
    print(json.dumps({"peer": f"PyTorch {torch.__version__}, eager", "threads": args.threads, "dtype": config.run.dtype,
                      "product_gflops": check_products(args.threads)}), flush=True)
    Trainer(config, args).run()


if __name__ == "__main__":
    main()
