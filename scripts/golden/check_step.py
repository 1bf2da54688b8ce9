#!/usr/bin/python3
"""Holds one training step of vlmoe-train against an independent PyTorch model in double precision.

usage: check_step.py [--all] DUMP.safetensors        (from vlmoe-train --dump-step DUMP.safetensors)

The step is computed three times: by us (the dump), by PyTorch in float64, and by PyTorch in the run's own type (float32, or bfloat16 under
autocast), both along the dump's recorded routes. Then
  * every recorded choice of an expert must be the float64 model's own, or a tie within the logits' error; who was served must follow from
    capacity and priority in the same sense;
  * the image codes must be those of the tokeniser's checkpoint in the same sense, where it is still at hand;
  * losses, hidden vectors, gates, combine weights and every gradient: our distance to float64, |ours - f64| / |f64| (L2 norms), is at most
    3 times PyTorch's own distance, or 3 times the rounding floor where PyTorch happens to be closer than that;
  * the parameters after the step are those of AdamW on the dumped gradients, within the roundings of float32.
Prints the tensors closest to their limits (--all: every one) and ends with HOLDS or FALLS SHORT; exit code 0 or 1."""
import argparse
import math
import sys

import numpy as np
import torch

import second_encoding
import step_optimiser
import step_routes
import task_torch
import tokeniser_torch
import vlmoe_torch as vt
from step_reference import Dump, compute, detached

U32 = 2.0 ** -24  # unit roundoff of float32
FACTOR = 3.0      # how much farther from float64 than PyTorch we may be


class Judge:
    """Collects comparisons and failures."""

    def __init__(self, layers):
        # Rounding alone: a value passes some 24 rounded operations a block on its way forward and back, whose errors add up like steps
        # of a random walk. PyTorch is seldom below this, and then by luck.
        self.floor = U32 * math.sqrt(24 * layers)
        self.rows = []  # (share of the limit, name, our distance, PyTorch's)
        self.failures = []
        self.notes = []

    def fail(self, text):
        self.failures.append(text)

    def compare(self, name, ours, exact, peer, scale=None, peer_error=0.0):
        """ours: numpy; exact, peer: tensors of the float64 and the run's-type reference. scale: what the rounding floor is relative to,
        where that is not |exact|. peer_error: an absolute error of the peer's that is expected even where luck hides it."""
        ours, exact, peer = (np.asarray(x, dtype=np.float64).reshape(-1) for x in (ours, exact, peer))
        if ours.size != exact.size:
            self.fail(f"{name} has {ours.size} elements, expected {exact.size}")
            return
        size = np.linalg.norm(exact)
        error, peer_error = np.linalg.norm(ours - exact), max(np.linalg.norm(peer - exact), peer_error)
        limit = FACTOR * max(peer_error, self.floor * (size if scale is None else scale))
        share = error / limit if limit > 0 else (0.0 if error == 0 else math.inf)
        unit = size or 1.0
        self.rows.append((share if math.isfinite(error) else math.inf, name, error / unit, peer_error / unit))
        if not error <= limit:
            self.fail(f"{name}: {error / unit:.3g} from float64, limit {limit / unit:.3g} (PyTorch {peer_error / unit:.3g})")


def compare_gradients(judge, dump, exact, peer):
    grads = dump.named("grad/")
    for name in exact.grads:
        if name in grads:
            judge.compare("grad/" + name, grads[name], exact.grads[name], peer.grads[name])


def check_names(judge, dump):
    """Every parameter is there with its shape, and nothing else."""
    params = dump.named("param/")
    if "word_embedding.weight" not in params:
        judge.fail("param/word_embedding.weight is missing")
        return
    n_codes = params["code_head.weight"].shape[0] if "code_head.weight" in params else 0
    expected = vt.parameter_shapes(dump.config, params["word_embedding.weight"].shape[0], n_codes)
    if dump.config.objective.contrastive_weight > 0:
        expected |= task_torch.head_shapes(dump.config, 0)
    for kind in ("param/", "grad/", "after/"):
        found = {name: array.shape for name, array in dump.named(kind).items()}
        for name in sorted(set(found) | set(expected)):
            if found.get(name) != expected.get(name):
                judge.fail(f"{kind}{name}: shape {found.get(name, 'missing')}, expected {expected.get(name, 'no such parameter')}")


def check_drop_path(judge, dump, i):
    """0 or 1/(1 - rate) for all rows of a sample, rates rising from 0 to model.drop_path."""
    group, m = dump.groups[i], dump.config.model
    if group.drop_path is None:
        if m.drop_path > 0:
            judge.fail(f"group.{i}/drop_path is missing although model.drop_path is {m.drop_path}")
        return
    sample = group.layout(m.patches).sample
    for row, scale in enumerate(group.drop_path):
        rate = m.drop_path * (row // 2) / (m.layers - 1) if m.layers > 1 else 0.0
        first = torch.zeros(int(sample.max()) + 1).scatter(0, sample, scale)
        kept = torch.tensor(1 / (1 - rate), dtype=torch.float64).float()
        legal = (first == kept) | ((first == 0) & torch.tensor(rate > 0))
        if not legal.all() or not torch.equal(first[sample], scale):
            judge.fail(f"group.{i}/drop_path: row {row} is not one of 0 and {kept:.6f} for all rows of each sample")


def check_codes(judge, dump):
    """Each code is the nearest to its patch's feature, but for the error of a difference of two cosines."""
    pictures = [(i, group) for i, group in enumerate(dump.groups) if group.codes is not None and len(group.pixels)]
    path = dump.config.data.image_tokeniser
    if not pictures:
        return
    try:
        models = [tokeniser_torch.ImageTokeniser(path, dtype) for dtype in (torch.float64, torch.float32)]
    except OSError:
        judge.notes.append(f"image codes not checked: the tokeniser {path} is not there")
        return
    n = ties = 0
    for i, group in pictures:
        exact = models[0].scores(group.pixels)
        with torch.autocast("cpu", torch.bfloat16, enabled=dump.config.run.dtype == "bf16"):
            deviation = models[1].scores(group.pixels).double() - exact
        behind = exact.amax(1) - exact.gather(1, group.codes.reshape(-1, 1))[:, 0]
        allowed = FACTOR * max(float((deviation.amax(1) - deviation.amin(1)).max()), judge.floor)
        n, ties = n + len(behind), ties + int((behind > 0).sum())
        if float(behind.max()) > allowed:
            judge.fail(f"group.{i}/codes: patch {int(behind.argmax())} has a code {float(behind.max()):.3g} farther (cosine) than the nearest; "
                       f"the error of cosines explains {allowed:.3g}")
    judge.notes.append(f"{n} image codes, {ties} of them ties within the cosines' error")


def compare_parts(judge, dump, exact, peer):
    """Mean losses of the parts, shares right, and the whole loss."""
    for i in range(len(dump.groups)):
        ours, right = dump.tensors[f"group.{i}/losses"], dump.tensors[f"group.{i}/correct"]
        expected_error = 0.0
        for k, part in enumerate(vt.PARTS):
            if part not in exact.parts[i]:
                if ours[k] != 0:
                    judge.fail(f"group.{i}: loss of {part} is {ours[k]}, but the part is off")
                continue
            (nll, logits, target), (peer_nll, peer_logits, _) = exact.parts[i][part], peer.parts[i][part]
            # A mean can be right by luck where its terms are not: errors of single terms, were they independent, would leave this much.
            chance = float((peer_nll - nll).double().pow(2).mean().sqrt()) / math.sqrt(len(nll))
            expected_error += getattr(dump.config.objective, part + "_weight") * chance
            judge.compare(f"group.{i}/losses.{part}", ours[k], nll.mean(), peer_nll.mean(), peer_error=chance)
            best = logits.scatter(1, target[:, None], -math.inf).amax(1)
            margin = logits.gather(1, target[:, None])[:, 0] - best
            undecided = int((margin.abs() <= 2 * FACTOR * (peer_logits - logits).abs().amax(1)).sum())
            difference = abs(right[k] * len(nll) - int((margin > 0).sum()))
            if difference > undecided + 1e-6:
                judge.fail(f"group.{i}: {part} has {right[k]:.4f} right, float64 {float((margin > 0).double().mean()):.4f}; "
                           f"{undecided} of {len(nll)} are too close to call")
        judge.compare(f"group.{i}/losses.total", ours[4], exact.loss[i], peer.loss[i], peer_error=expected_error)
        judge.compare(f"group.{i}/hidden", dump.tensors[f"group.{i}/hidden"], exact.hidden[i], peer.hidden[i])


def contrastive_part(dump):
    """The pairs that a group encodes once more, apart, as a dump of their own; None where there is no such part."""
    if not dump.config.objective.contrastive_weight > 0:
        return None
    apart = second_encoding.SecondEncoding(dump, "apart", [task_torch.apart_group(group) for group in dump.groups])
    for i, group in enumerate(dump.groups):
        group.apart = apart.groups[i], dump.torch(f"group.{i}/concept", torch.long), apart.routes(i)
    return apart


def compare_contrastive(judge, dump, apart, exact, peer):
    for i, (ours, theirs) in enumerate(zip(exact.models, peer.models)):
        step_routes.check_group(judge, apart, i, *({key: detached(route) for key, route in m.apart_routing.items()} for m in (ours, theirs)))
        for name in ("image", "text"):
            judge.compare(f"group.{i}/{name}", dump.tensors[f"group.{i}/{name}"], ours.results[name].detach(), theirs.results[name].detach())
        judge.compare(f"group.{i}/losses.contrastive", dump.tensors[f"group.{i}/losses.contrastive"], ours.results["contrastive"].detach(),
                      theirs.results["contrastive"].detach(), peer_error=judge.floor * float(ours.results["contrastive"]))


def check(dump, model=vt.Model):
    """model: the class that plays PyTorch's part (a test passes others)."""
    judge = Judge(dump.config.model.layers)
    check_names(judge, dump)
    apart = contrastive_part(dump)
    if apart:
        model = task_torch.ContrastiveModel
    for i in range(len(dump.groups)):
        check_drop_path(judge, dump, i)
        step_routes.check_shapes(judge, dump, i)
        if apart:
            check_drop_path(judge, apart, i)
            step_routes.check_shapes(judge, apart, i)
    check_codes(judge, dump)
    if judge.failures:
        return judge
    params, routes = dump.named("param/"), [dump.routes(i) for i in range(len(dump.groups))]
    exact = compute(params, dump.config, dump.groups, routes, torch.float64, model=model)
    peer = compute(params, dump.config, dump.groups, routes, torch.float32, dump.config.run.dtype == "bf16", model=model)
    for i in range(len(dump.groups)):
        step_routes.check_group(judge, dump, i, exact.routing[i], peer.routing[i])
    if apart:
        compare_contrastive(judge, dump, apart, exact, peer)
    step_routes.compare_losses(judge, dump, exact, peer)
    compare_parts(judge, dump, exact, peer)
    compare_gradients(judge, dump, exact, peer)
    step_optimiser.check(judge, dump)
    return judge


def report(judge, dump, n_rows):
    rows = sorted(judge.rows, reverse=True)
    print(f"{'of limit':>8}  {'ours':>9}  {'PyTorch':>9}  tensor   (distances to float64)")
    for share, name, ours, peer in rows[:n_rows]:
        print(f"{share:8.3f}  {ours:9.2e}  {peer:9.2e}  {name}")
    grads = [(ours, peer) for _, name, ours, peer in rows if name.startswith("grad/")]
    if grads:
        ours, peer = np.median(grads, axis=0)
        print(f"{len(grads)} gradients: median distance ours {ours:.2e}, PyTorch {peer:.2e}; "
              f"{len(rows) - len(grads)} other comparisons; type {dump.config.run.dtype}, {len(dump.groups)} groups")
    for note in judge.notes:
        print(note)


def conclude(judge, dump, n_rows):
    """Prints what was found; returns the exit code."""
    report(judge, dump, n_rows)
    for text in judge.failures[:20]:
        print(f"  {text}")
    if judge.failures:
        print(f"FALLS SHORT: {len(judge.failures)} checks failed, the first: {judge.failures[0]}")
    else:
        print("HOLDS")
    return 1 if judge.failures else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dump")
    parser.add_argument("--all", action="store_true", help="print every comparison")
    args = parser.parse_args()
    dump = Dump(args.dump)
    judge = check(dump)
    sys.exit(conclude(judge, dump, None if args.all else 10))


if __name__ == "__main__":
    main()
