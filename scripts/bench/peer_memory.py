#!/usr/bin/python3
"""What eager PyTorch holds for a config's step, beside parameters, gradients, moments: one JSON line.

usage: peer_memory.py --config FILE [section.key=value ...] [--steps N]

The model and the step of peer_torch.py (losses of weight 0 left out, one group's forward and backward at a time, torch.optim.AdamW), with
run.dtype f32 or bf16 autocast, on groups of run's sizes with random pixels, words and image codes, every text at its longest. peak_mib is
the process's (VmHWM); start_mib what it held after the imports, before the model; state_mib parameters, gradients and moments."""
import argparse
import contextlib
import json
import os
import resource
import sys
from pathlib import Path

for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "OPENBLAS_NUM_THREADS"):
    os.environ.pop(name, None)
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "golden"))

import numpy as np
import torch

import peer_data
import peer_torch
import run_config
import vlmoe_torch as vt


def held_mib():
    for line in open("/proc/self/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024.0
    return 0.0


def random_group(config, rng, n_words):
    m, d, o = config.model, config.data, config.objective
    n_pictures, n_texts = d.images_per_group + d.pairs_per_group, d.pairs_per_group + d.texts_per_group
    pictures = [rng.integers(0, 256, (m.image_size, m.image_size, 3), dtype=np.uint8) for _ in range(n_pictures)]
    masks = [np.arange(m.patches) < (o.image_mask if i < d.images_per_group else o.pair_image_mask) * m.patches for i in range(n_pictures)]
    texts = []
    for i in range(n_texts):
        ids = rng.integers(8, n_words, m.text_len)
        rate = max(o.pair_text_mask, o.pair_text_mask_max) if i < d.pairs_per_group else o.text_mask
        hidden = np.arange(m.text_len) - 1 < rate * (m.text_len - 2)
        hidden[0] = hidden[-1] = False
        texts.append((ids, np.where(hidden, ids, -1)))
    group = peer_data.make_group(pictures, masks, texts, d.images_per_group, d.pairs_per_group, d.texts_per_group)
    group.codes = torch.from_numpy(rng.integers(0, 512, (n_pictures, m.patches)))
    return group


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True)
    parser.add_argument("overrides", nargs="*", metavar="section.key=value")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--words", type=int, required=True, help="vocabulary")
    parser.add_argument("--codes", type=int, required=True, help="entries of the image tokeniser's code book")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_intermixed_args()
    config = run_config.load(args.config, args.overrides)
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    start = held_mib()
    p = {name: x.requires_grad_() for name, x in
         vt.initial(config, args.words, args.codes, torch.Generator().manual_seed(0)).items()}
    model = peer_torch.Peer(p, config)
    model.training = True
    optimiser = torch.optim.AdamW(p.values(), lr=1e-4)
    amp = (lambda: torch.autocast("cpu", torch.bfloat16)) if config.run.dtype == "bf16" else contextlib.nullcontext
    rng = np.random.default_rng(0)
    for _ in range(args.steps):
        optimiser.zero_grad(set_to_none=False)
        for _ in range(config.run.groups):
            group = random_group(config, rng, args.words)
            peer_torch.draw_drop_path(group, config)
            with amp():
                loss, _, _ = model.loss(group)
            (loss / config.run.groups).backward()
            del loss, group
        torch.nn.utils.clip_grad_norm_(p.values(), config.optim.clip or 1e9)
        optimiser.step()
    state = 4 * sum(x.numel() for x in p.values()) * 4 / 2 ** 20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
    print(json.dumps({"peer": f"PyTorch {torch.__version__}, eager", "dtype": config.run.dtype, "peak_mib": round(peak, 1),
                      "start_mib": round(start, 1), "state_mib": round(state, 1)}))


if __name__ == "__main__":
    main()
