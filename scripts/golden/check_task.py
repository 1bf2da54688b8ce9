#!/usr/bin/python3
"""Holds one fine-tuning step of vlmoe-train against an independent PyTorch model in double precision.

usage: check_task.py [--all] DUMP.safetensors        (from vlmoe-train --dump-step, run.task vqa, nlvr2, retrieval, classify or nli)

As check_step.py: the step is computed by us (the dump), by PyTorch in float64, and by PyTorch in the run's own type, both along the
dump's recorded routes and drawn negatives. Held against each other are
  * names and shapes of the task's parameters; which of them are frozen: routers and experts (task.freeze_moe), and what nothing reaches;
  * every choice of an expert and who was served, of each encoding;
  * negatives: each of another concept than its sample's;
  * logits or features, losses, and every gradient: our distance to float64 is at most 3 times PyTorch's own;
  * the parameters after the step: AdamW at the rates of task.layer_decay and task.head_lr, frozen ones unchanged.
Prints the tensors closest to their limits (--all: every one) and ends with HOLDS or FALLS SHORT; exit code 0 or 1."""
import argparse
import dataclasses
import sys

import torch

import check_step
import second_encoding
import step_optimiser
import step_routes
import task_torch
import vlmoe_torch as vt
from step_reference import Dump, detached


class TaskDump(Dump):
    """A dump of a task: groups, their labels, and the encoding of pairs that are read together."""
    tasks = task_torch.TASKS

    def labels(self, i):
        base, has = f"group.{i}/", self.tensors.__contains__
        get = lambda name, dtype: self.torch(base + name, dtype) if has(base + name) else None  # noqa: E731
        offset = get("label_offset", torch.long)
        negatives = [get(name, torch.long) for name in ("negative_image", "negative_text")]
        return task_torch.Labels(None if offset is None else offset.tolist(), get("label", torch.long), get("label_score", torch.float64),
                                 get("concept", torch.long), *[None if x is None else x.tolist() for x in negatives])


class Together(second_encoding.SecondEncoding):
    """Pairs that retrieval reads together."""

    def __init__(self, dump):
        model = task_torch.TaskModel({"norm.weight": torch.zeros(0)}, dump.config)
        super().__init__(dump, "together", [model.together(group, dump.labels(i))[0] for i, group in enumerate(dump.groups)])


@dataclasses.dataclass
class Result:
    """Of one type of computation."""
    results: list   # of each group: tensors by name
    loss: list      # of each group
    routing: list   # of each group
    together: list
    grads: dict


def compute(params, dump, dtype, bf16=False):
    """Gradients are the mean over groups; with task.negatives "step" the contrastive loss is that of all groups at once."""
    config, together = dump.config, dump.together
    p = {name: torch.tensor(array, dtype=dtype, requires_grad=True) for name, array in params.items()}
    out, models, losses = Result([], [], [], [], {}), [], []
    fresh = lambda routes: {key: dataclasses.replace(route) for key, route in routes.items()}  # noqa: E731
    for i, group in enumerate(dump.groups):
        model = task_torch.TaskModel(p, config)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss, results = model.task_loss(group, dump.labels(i), fresh(dump.routes(i)),
                                            (together.groups[i], fresh(together.routes(i))) if together else None)
        models.append(model)
        losses.append(loss)
        out.results.append(results)
        out.routing.append({key: detached(route) for key, route in (model.apart_routing or model.routing).items()})
        out.together.append({key: detached(route) for key, route in model.routing.items()} if together else {})
    if task_torch.spans_step(config):
        add_whole_step(dump, models[0], out.results, losses)
    torch.stack(losses).sum().backward()
    out.loss = [loss.item() for loss in losses]
    out.results = [{name: x.detach() for name, x in results.items()} for results in out.results]
    out.grads = {name: None if x.grad is None else x.grad.double() / len(dump.groups) for name, x in p.items()}
    return out


def add_whole_step(dump, model, results, losses):
    """Each group's rows against the features of all groups."""
    concept = torch.cat([dump.labels(i).concept for i in range(len(dump.groups))])
    rows, _ = model.contrastive([torch.cat([r[side] for r in results]) for side in ("image", "text")], concept)
    n = rows.shape[1] // len(losses)
    for i in range(len(losses)):
        mean = rows[:, i * n:(i + 1) * n].mean()
        results[i]["contrastive"] = mean
        losses[i] = losses[i] + dump.config.task.contrastive_weight * mean


def expected_shapes(dump):
    params = dump.named("param/")
    classes = next((len(a) for name, a in params.items() if name.startswith("head.") and name.endswith(".fc2.weight")), 0)
    n_words = params["word_embedding.weight"].shape[0]
    shapes = vt.parameter_shapes(dump.config, n_words, 0) | task_torch.head_shapes(dump.config, classes)
    return {name: shape for name, shape in shapes.items() if not name.startswith("word_head.")}


def check_names(judge, dump, exact):
    """Every parameter with its shape, before and after; gradients of those that are trained, which others could not be."""
    expected, grads = expected_shapes(dump), dump.named("grad/")
    for kind in ("param/", "after/"):
        found = {name: array.shape for name, array in dump.named(kind).items()}
        for name in sorted(set(found) | set(expected)):
            if found.get(name) != expected.get(name):
                judge.fail(f"{kind}{name}: shape {found.get(name, 'missing')}, expected {expected.get(name, 'no such parameter')}")
    for name in sorted(set(grads) | set(expected)):
        sparse = ".router." in name or ".experts." in name
        reached = exact.grads[name] is not None and bool(exact.grads[name].any())
        if name in grads and dump.config.task.freeze_moe and sparse:
            judge.fail(f"grad/{name}: task.freeze_moe freezes it")
        if name not in grads and reached and not (dump.config.task.freeze_moe and sparse):
            judge.fail(f"grad/{name} is missing: the parameter is frozen, and the loss depends on it")


def check_negatives(judge, dump):
    for i in range(len(dump.groups)):
        labels = dump.labels(i)
        if labels.concept is None or labels.negative_image is None:
            continue
        concept = labels.concept.tolist()
        for side, negative in (("image", labels.negative_image), ("text", labels.negative_text)):
            for j, other in enumerate(negative):
                is_alone = all(c == concept[j] for c in concept)
                if (other < 0) != is_alone or (other >= 0 and concept[other] == concept[j]):
                    judge.fail(f"group.{i}/negative_{side}: sample {j} has {other}, which is not another concept's")


def compare(judge, dump, exact, peer):
    for i in range(len(dump.groups)):
        base = f"group.{i}/"
        for name in ("logits", "image", "text"):
            if name in exact.results[i]:
                judge.compare(base + name, dump.tensors[base + name], exact.results[i][name], peer.results[i][name])
        for name in ("loss", "contrastive", "matching"):
            if name in exact.results[i] and not (name == "contrastive" and task_torch.spans_step(dump.config)):
                judge.compare(f"{base}losses.{name}", dump.tensors[base + "losses." + name], exact.results[i][name], peer.results[i][name],
                              peer_error=spread_of(exact, peer, i))
        judge.compare(base + "losses.total", dump.tensors[base + "losses.total"], exact.loss[i], peer.loss[i],
                      peer_error=spread_of(exact, peer, i))
    grads = dump.named("grad/")
    for name, want in exact.grads.items():
        if name in grads:
            zero = torch.zeros(grads[name].shape, dtype=torch.float64)
            judge.compare("grad/" + name, grads[name], zero if want is None else want,
                          zero if peer.grads[name] is None else peer.grads[name])


def spread_of(exact, peer, i):
    """A mean loss may be right by luck where its terms are not: what independent errors of the logits would leave in it."""
    total = 0.0
    for name in ("logits", "similarity"):
        if name in exact.results[i]:
            error = (peer.results[i][name].double() - exact.results[i][name]).pow(2)
            total += float(error.mean()) / len(error)
    return total ** 0.5


def check(dump):
    judge = check_step.Judge(dump.config.model.layers)
    check_negatives(judge, dump)
    if judge.failures:
        return judge  # where rows of pairs lie depends on them
    dump.together = Together(dump) if any("/together/" in name for name in dump.tensors) else None
    encodings = [encoding for encoding in (dump, dump.together) if encoding]
    for encoding in encodings:
        for i in range(len(dump.groups)):
            check_step.check_drop_path(judge, encoding, i)
            step_routes.check_shapes(judge, encoding, i)
    if judge.failures:
        return judge
    params = dump.named("param/")
    exact = compute(params, dump, torch.float64)
    peer = compute(params, dump, torch.float32, dump.config.run.dtype == "bf16")
    check_names(judge, dump, exact)
    for encoding, ours, theirs in zip(encodings, (exact.routing, exact.together), (peer.routing, peer.together)):
        for i in range(len(dump.groups)):
            step_routes.check_group(judge, encoding, i, ours[i], theirs[i])
    compare(judge, dump, exact, peer)
    step_optimiser.check(judge, dump, lambda name: task_torch.rate(dump.config, name))
    return judge


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dump")
    parser.add_argument("--all", action="store_true", help="print every comparison")
    args = parser.parse_args()
    dump = TaskDump(args.dump)
    judge = check(dump)
    sys.exit(check_step.conclude(judge, dump, None if args.all else 10))


if __name__ == "__main__":
    main()
