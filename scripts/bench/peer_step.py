#!/usr/bin/python3
"""Whole training steps of a config in eager PyTorch on command: the peer of tests/bench/bench_step.c, with the same commands and answers.

usage: peer_step.py --config FILE [section.key=value ...] [--routing own|balanced|zipf|FILE] [--merge] [--no-foreach]

The same work as a step of vlmoe-train: targets from the image tokeniser, all four objectives with balance losses, drop path, capacity and
Batch Priority Routing, gradients of all groups averaged, clipping, AdamW. Made as fast as eager PyTorch allows: layouts are made once, fused
attention and a fused optimiser where this PyTorch has them, weights cast to bfloat16 once a step. Groups are prepared before the clock starts.
--merge runs all groups of a step as one batch, which keeps each group's routing sets and means: faster, but activations of all groups at once.
Answers "step" with seconds of the step and, of them, of the optimiser."""
import argparse
import contextlib
import json
import os
import sys
import time
from pathlib import Path

for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "OPENBLAS_NUM_THREADS"):
    os.environ.pop(name, None)  # they would make the peer slower than it is
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "golden"))

import numpy as np
import torch
import torch.nn.functional as F

import peer_data
import peer_torch
import run_config
import tokeniser_torch
import vlmoe_torch as vt

GROUPS_KEPT = 8
FUSED_ATTENTION = getattr(F, "scaled_dot_product_attention", None)


def attention(p, name, h, heads, sequences):
    """vt.attention; fused where it can be, and rows without padding are not picked out again."""
    width, wide = h.shape[1], p[name + ".qkv.weight"].dtype
    q_bias, v_bias = p[name + ".qkv.bias"]
    qkv = F.linear(h, p[name + ".qkv.weight"], torch.cat([q_bias, torch.zeros_like(q_bias), v_bias]))
    out = []
    for index, real in sequences.batches:
        n, length = real.shape
        q, k, v = qkv.index_select(0, index).view(n, length, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
        is_full = sequences.is_full(real)
        if FUSED_ATTENTION:
            mixed = FUSED_ATTENTION(q, k, v, attn_mask=None if is_full else real[:, None, None, :])
        else:
            scores = (q * (width // heads) ** -0.5 @ k.transpose(-1, -2)).to(wide)
            if not is_full:
                scores = scores.masked_fill(~real[:, None, None, :], float("-inf"))
            mixed = scores.softmax(-1).to(v.dtype) @ v
        mixed = mixed.transpose(1, 2).reshape(n * length, width)
        out.append(mixed if is_full else mixed.index_select(0, torch.nonzero(real.reshape(-1))[:, 0]))
    return vt.linear(p, name + ".proj", torch.cat(out).index_select(0, sequences.back))


class Sequences(vt.Sequences):
    def __init__(self, batches):
        super().__init__(batches)
        self.full = {id(real): bool(real.all()) for _, real in self.batches}

    def is_full(self, real):
        return self.full[id(real)]


vt.attention, vt.Sequences = attention, Sequences


def forced_experts(how, n_tokens, n_experts, k):
    """The choices of tests/bench/shared_bench.c."""
    token = np.arange(n_tokens)
    if how == "balanced":
        first = token % n_experts
    elif how == "zipf":
        bounds = np.cumsum(1.0 / np.arange(1, n_experts + 1))
        place = token * 0.61803398874989485
        first = np.searchsorted(bounds, (place - np.floor(place)) * bounds[-1], side="right").clip(max=n_experts - 1)
    else:
        recorded = np.array(Path(how).read_text().split(), dtype=np.int64)
        first = recorded[token % len(recorded)] % n_experts
    return torch.from_numpy((first[:, None] + np.arange(k)) % n_experts)


class Model(peer_torch.Peer):
    """Routing may be given. counts of merged groups cut the routing sets further."""

    def __init__(self, p, config, routing):
        super().__init__(p, config)
        self.how, self.given, self.dropped = routing, {}, [0, 0]

    def given_experts(self, route, n_experts):
        key = (tuple(route.sets), n_experts)
        if key not in self.given:
            n = route.sets[-1][1]
            self.given[key] = forced_experts(self.how, n, n_experts, self.config.moe.k)
        return self.given[key]

    def decide(self, route, logits, modality):
        moe, n_experts = self.config.moe, logits.shape[1]
        if self.how == "own":
            super().decide(route, logits, modality)
        else:
            route.noisy = logits + torch.randn_like(logits) * (moe.noise_std / n_experts)
            route.clean, route.gates = logits.softmax(1), route.noisy.softmax(1)
            route.expert = self.given_experts(route, n_experts)
            route.served = vt.assign(moe, route.sets, route.expert, route.gates.detach())
            route.weight = vt.combine_weights(moe.renormalise, route.gates, route.expert, route.served)
            weights = {name: getattr(moe, f"{modality}_{name}") for name in vt.BALANCE}
            route.losses = torch.stack([self.set_loss(weights, logits, route, begin, end, modality) for begin, end in route.sets])
        self.dropped[0] += int((~route.served).sum())
        self.dropped[1] += route.served.numel()

    def runs(self, block, layout):
        cuts = getattr(layout, "cuts", None)
        if not cuts:
            return super().runs(block, layout)
        return [(modality, begin, end, sets and [(a - begin, b - begin) for a, b in zip(cuts, cuts[1:]) if a >= begin and b <= end and b > a])
                for modality, begin, end, sets in super().runs(block, layout)]


def merge(groups, patches):
    """Groups as one, its rows again [pictures of images | of pairs | texts of pairs | texts]. cuts: rows where a routing set begins or ends."""
    first = groups[0]
    A, B = first.n_images, first.n_pairs
    images = [slice(0, A), slice(A, A + B)]
    pixels = torch.cat([g.pixels[s] for s in images for g in groups])
    mask = torch.cat([g.patch_mask[s] for s in images for g in groups])
    token, target, offset, rows = [], [], [0], []
    for texts in (range(0, B), range(B, len(first.text_offset) - 1)):
        for g in groups:
            for i in texts:
                a, b = g.text_offset[i], g.text_offset[i + 1]
                token.append(g.token[a:b])
                target.append(g.token_target[a:b])
                offset.append(offset[-1] + b - a)
            rows.append(offset[-1])
    n = len(groups)
    merged = vt.Group(A * n, B * n, (len(first.text_offset) - 1 - B) * n, pixels, mask, torch.cat(token), torch.cat(target), offset)
    layout = merged.layout(patches)
    per = layout.per_picture
    cuts = {0, *(A * per * (i + 1) for i in range(n)), *(layout.pair_begin + B * per * (i + 1) for i in range(n)),
            *(layout.text_begin + at for at in rows)}
    layout.cuts = sorted(cuts)
    return merged


class Step:
    def __init__(self, config, args):
        self.config, self.args = config, args
        text_model = peer_data.TextModel(config.data.text_model)
        source = peer_data.Source(config, text_model, config.run.seed)
        self.groups = [source.group() for _ in range(GROUPS_KEPT)]
        self.tokeniser = tokeniser_torch.ImageTokeniser(config.data.image_tokeniser)
        generator = torch.Generator().manual_seed(config.run.seed)
        start = vt.initial(config, len(text_model.pieces), self.tokeniser.n_codes, generator)
        self.p = {name: x.requires_grad_() for name, x in start.items()}
        self.model = Model(self.p, config, args.routing)
        self.model.training = True
        self.optimiser = self.make_optimiser()
        self.i_group, self.layouts = 0, {}
        self.is_bf16 = config.run.dtype == "bf16"

    def make_optimiser(self):
        o = self.config.optim
        groups = [{"params": [x for name, x in self.p.items() if vt.decays(name) == decay], "weight_decay": o.weight_decay * decay}
                  for decay in (True, False)]
        for how in ({"fused": True}, {"foreach": not self.args.no_foreach}):
            try:
                return torch.optim.AdamW(groups, lr=o.lr / max(o.warmup, 1), betas=(o.beta1, o.beta2), eps=o.eps, **how)
            except (RuntimeError, TypeError):
                continue  # this PyTorch has no fused AdamW for the CPU
        raise RuntimeError("no AdamW")

    def next_group(self):
        group = self.groups[self.i_group % len(self.groups)]
        self.i_group += 1
        key = (group.n_images, group.n_pairs, tuple(group.text_offset))
        group.known_layout = self.layouts.setdefault(key, group.layout(self.config.model.patches))
        return group

    def prepare(self, group):
        peer_torch.draw_drop_path(group, self.config)
        group.codes = self.tokeniser.codes(group.pixels)

    def separate(self, n):
        """The groups one after the other, as the library does."""
        total = 0.0
        for _ in range(n):
            group = self.next_group()
            self.prepare(group)
            loss, _, _ = self.model.loss(group)
            (loss / n).backward()
            total += float(loss.detach()) / n
        return total

    def merged(self, n):
        groups = [self.next_group() for _ in range(n)]
        group = merge(groups, self.config.model.patches)
        self.prepare(group)
        hidden = self.model.encode(group)
        total = self.model.balance()  # a mean over sets already
        for part, (rows, target) in self.model.masked_rows(group).items():
            logits = (self.model.word_logits if part.endswith("text") else self.model.code_logits)(hidden.index_select(0, rows)).float()
            nll = F.cross_entropy(logits, target, reduction="none")
            counts = [self.hidden_of(part, g) for g in groups]
            weight = torch.cat([torch.full((c,), 1.0 / (c * n)) for c in counts])
            total = total + getattr(self.config.objective, part + "_weight") * (nll * weight).sum()
        total.backward()
        return float(total.detach())

    @staticmethod
    def hidden_of(part, group):
        """Masked positions of a part in one group."""
        n_words = group.text_offset[group.n_pairs]
        words = {"text": group.token_target[n_words:], "pair_text": group.token_target[:n_words]}
        if part in words:
            return int((words[part] >= 0).sum())
        masks = {"image": group.patch_mask[:group.n_images], "pair_image": group.patch_mask[group.n_images:]}
        return int(masks[part].sum())

    def step(self):
        begin = time.perf_counter()
        self.model.dropped = [0, 0]
        self.optimiser.zero_grad(set_to_none=True)
        amp = torch.autocast("cpu", torch.bfloat16) if self.is_bf16 else contextlib.nullcontext()
        with amp:  # around all groups: weights are cast once a step
            loss = (self.merged if self.args.merge else self.separate)(self.config.run.groups)
        before = time.perf_counter()
        if self.config.optim.clip > 0:
            torch.nn.utils.clip_grad_norm_(self.p.values(), self.config.optim.clip)
        self.optimiser.step()
        end = time.perf_counter()
        return {"seconds": round(end - begin, 6), "optimiser": round(end - before, 6), "loss": round(loss, 4),
                "dropped": round(self.model.dropped[0] / max(1, self.model.dropped[1]), 4)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True)
    parser.add_argument("overrides", nargs="*", metavar="section.key=value")
    parser.add_argument("--routing", default="own")
    parser.add_argument("--merge", action="store_true")
    parser.add_argument("--no-foreach", action="store_true", help="AdamW parameter by parameter: slower, but without temporaries of all of them")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_intermixed_args()
    config = run_config.load(args.config, args.overrides)
    torch.set_num_threads(args.threads)
    torch.manual_seed(config.run.seed)
    worker = Step(config, args)
    print(json.dumps({"ready": f"PyTorch {torch.__version__}", "threads": args.threads}), flush=True)
    for line in sys.stdin:
        command = line.strip()
        if command == "quit":
            break
        if command != "step":
            sys.exit(f"peer_step: unknown command '{command}'")
        print(json.dumps(worker.step()), flush=True)


if __name__ == "__main__":
    main()
