#!/usr/bin/python3
"""Writes tests/golden/tasks.txt: losses and gradients of each task's head and objective on a tiny model, by PyTorch in float64, for
tests/model/test_heads.c. Parameters and samples come from formulas that stand here and there, so nothing but results is kept.

usage: make_tasks.py OUT"""
import sys

import numpy as np
import torch

import run_config
import task_torch
import vlmoe_torch as vt

WORDS, CLASSES = 23, 5
# As test_tiny_config of tests/support/test_model.c, without draws.
SET = {"model": dict(layers=3, width=16, heads=2, hidden=24, vl_from=2, image_size=8, patch=4, text_len=9, init_std=0.4),
       "moe": dict(v_layers=[1], t_layers=[0, 1], v_experts=4, t_experts=3, k=2, capacity_factor=0.8, distinct_experts=True,
                   v_importance=0.3, v_load=0.0, v_z=0.03, v_local_entropy=0.05, t_importance=0.02, t_load=0.0, t_switch=0.04,
                   t_global_entropy=0.06, noise_std=0.0),
       "task": dict(freeze_moe=False, embed_width=6, contrastive_weight=0.7, matching_weight=1.3)}


def config_of(task, **more):
    sections = run_config.defaults()
    run_config.merge(sections, SET, "SET")
    run_config.merge(sections, {"run": {"task": task}, "task": more}, task)
    return run_config.as_attributes(sections)


def seed_of(name):
    """FNV-1a of 32 bits."""
    h = 2166136261
    for byte in name.encode():
        h = (h ^ byte) * 16777619 % 2 ** 32
    return h


def fill(name, shape):
    """centre + 0.3 sin(seed mod 1000 + 1.7 i); experts are one tensor in our files' order, named with {e}."""
    n, first = int(np.prod(shape)), 0
    if ".experts." in name:
        before, rest = name.split(".experts.")
        e, last = rest.split(".", 1)
        name, first = f"{before}.experts.{{e}}.{last}", int(e) * n
    parts = name.split(".")
    is_gain = parts[-1] == "weight" and any(part.startswith("norm") for part in parts)
    x = (1.0 if is_gain else 0.0) + 0.3 * np.sin(seed_of(name) % 1000 + 1.7 * (first + np.arange(n)))
    return torch.tensor(x.reshape(shape), dtype=torch.float64, requires_grad=True)


def group_of(n_images, n_pairs, n_texts, shift=0):
    """Random-looking samples by formula. shift tells groups of one step apart."""
    pictures, texts = n_images + n_pairs, n_pairs + n_texts
    offset = [0]
    for j in range(texts):
        offset.append(offset[-1] + 3 + (j + shift) % 4)
    i = np.arange(pictures * 8 * 8 * 3) + 1000 * shift
    pixels = torch.from_numpy(((i * 37 + i // 64 * 11) % 256).astype(np.uint8)).view(pictures, 8, 8, 3)
    token = torch.tensor([(7 * t + 3 * shift + t * t) % WORDS for t in range(offset[-1])], dtype=torch.long)
    return vt.Group(n_images, n_pairs, n_texts, pixels, torch.zeros(pictures, 4, dtype=torch.bool), token, torch.full_like(token, -1), offset)


def labels_of(n, classes):
    """Sample i has i mod 3 further labels; the last sample has none."""
    offset, label, score = [0], [], []
    for i in range(n):
        for k in range(1 + i % 3 if i < n - 1 else 0):
            label.append((3 * i + k) % classes)
            score.append(1.0 / (1 + k))
        offset.append(len(label))
    return task_torch.Labels(offset, torch.tensor(label), torch.tensor(np.float32(score).astype(np.float64)))


def parameters(config, classes):
    shapes = vt.parameter_shapes(config, WORDS, 0) | task_torch.head_shapes(config, classes)
    return {name: fill(name, shape) for name, shape in shapes.items() if not name.startswith("word_head.")}


def write(out, case, p, loss, results):
    """Gradients as (sum, sum of g_i sin(i)) of each tensor, experts of a layer together."""
    loss.backward()
    print(f"case {case}", file=out)
    print(f"loss {loss.item()!r}", file=out)
    for name, value in results.items():
        print(f"value {name} {' '.join(repr(v) for v in value.detach().reshape(-1).tolist())}", file=out)
    grads = {}
    for name, x in p.items():
        g = (torch.zeros_like(x) if x.grad is None else x.grad).reshape(-1).numpy()
        if ".experts." in name:
            before, rest = name.split(".experts.")
            name = f"{before}.experts.{{e}}.{rest.split('.', 1)[1]}"
        grads.setdefault(name, []).append(g)
    for name, parts in sorted(grads.items()):
        g = np.concatenate(parts)
        print(f"grad {name} {float(g.sum())!r} {float(g @ np.sin(np.arange(len(g))))!r}", file=out)


def main():
    torch.set_num_threads(1)
    counts = {"vqa": (0, 4, 0), "nlvr2": (0, 8, 0), "classify": (4, 0, 0), "nli": (0, 0, 4)}
    with open(sys.argv[1], "w") as out:
        for task, count in counts.items():
            classes = 2 if task == "nlvr2" else CLASSES
            config = config_of(task, label_smoothing=0.0 if task == "vqa" else 0.1)
            p = parameters(config, classes)
            loss, results = task_torch.TaskModel(p, config).task_loss(group_of(*count), labels_of(4, classes))
            write(out, task, p, loss, {"logits": results["logits"], "row_loss": results["row_loss"]})
        config = config_of("retrieval")
        labels = task_torch.Labels(concept=torch.tensor([5, 9, 5, 7]), negative_image=[3, 3, 1, 0], negative_text=[3, 3, 1, 1])
        p = parameters(config, 2)
        loss, results = task_torch.TaskModel(p, config).task_loss(group_of(4, 0, 4), labels)
        write(out, "retrieval", p, loss, results)
        # One contrastive loss over two groups; the sum over groups of each group's mean, whose half is the step's.
        config = config_of("retrieval", matching_weight=0.0)
        p = parameters(config, 2)
        model, features, balance = task_torch.TaskModel(p, config), [], 0.0
        for shift in range(2):
            group = group_of(3, 0, 3, shift)
            features.append(model.features(group, model.encode(group)))
            balance = balance + model.balance()
        rows, _ = model.contrastive([torch.cat(side) for side in zip(*features)], torch.tensor([5, 9, 5, 7, 9, 1]))
        by_group = rows.view(2, 2, 3).mean((0, 2))
        write(out, "step", p, balance + config.task.contrastive_weight * by_group.sum(), {"contrastive": by_group})


if __name__ == "__main__":
    main()
