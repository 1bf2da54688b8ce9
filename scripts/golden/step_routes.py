"""The part of check_step.py that judges routing: noise, choices of experts, who was served, weights, balance losses."""
import math

import numpy as np
import torch

import vlmoe_torch as vt

FACTOR = 3.0     # as in check_step.py
SIX_SIGMA = 6.0  # a fair draw lies outside about once in 5e8


def keys(dump, i):
    """(block, modality) of the sparse layers that group i has tokens for, by the config alone."""
    model = vt.Model({"norm.weight": torch.zeros(0)}, dump.config)
    layout = dump.groups[i].layout(dump.config.model.patches)
    return {(block, modality): (end - begin, sets) for block in range(dump.config.model.layers)
            for modality, begin, end, sets in model.runs(block, layout) if modality != "vl" and block in model.sparse_layers(modality)}


def check_shapes(judge, dump, i):
    expected = keys(dump, i)
    found = set(dump.routes(i))
    if found != set(expected):
        judge.fail(f"group.{i}: routings of {sorted(found)}, expected {sorted(expected)}")
        return
    moe = dump.config.moe
    for (block, modality), (n_tokens, sets) in expected.items():
        base = f"group.{i}/block.{block}.{modality}/"
        n_experts = moe.v_experts if modality == "v" else moe.t_experts
        shapes = {"noise": (n_tokens, n_experts), "gates": (n_tokens, n_experts), "expert": (n_tokens, moe.k), "slot": (n_tokens, moe.k),
                  "served": (n_tokens, moe.k), "weight": (n_tokens, moe.k), "set_offset": (len(sets) + 1,), "losses": (len(sets), 6)}
        for name, shape in shapes.items():
            array = dump.tensors.get(base + name)
            if array is None or array.shape != shape:
                judge.fail(f"{base}{name}: shape {'missing' if array is None else array.shape}, expected {shape}")
        offsets = dump.tensors[base + "set_offset"].tolist()
        if offsets != [begin for begin, _ in sets] + [n_tokens]:
            judge.fail(f"{base}set_offset is {offsets}, expected {[begin for begin, _ in sets] + [n_tokens]}")
        expert = dump.tensors[base + "expert"]
        if expert.min() < 0 or expert.max() >= n_experts or any(len(set(row)) != moe.k for row in expert.tolist()):
            judge.fail(f"{base}expert: choices are not {moe.k} different experts of {n_experts}")


def check_noise(judge, base, noise, sigma):
    """Independent normals of deviation sigma: mean and deviation within six standard errors."""
    if sigma == 0:
        if noise.any():
            judge.fail(f"{base}noise is not zero although moe.noise_std is 0")
        return
    n = noise.size
    mean, square = noise.mean() / sigma, (noise ** 2).mean() / sigma ** 2
    if abs(mean) > SIX_SIGMA / math.sqrt(n) or abs(square - 1) > SIX_SIGMA * math.sqrt(2 / n):
        judge.fail(f"{base}noise: mean {mean:.3f} and mean square {square:.3f} in units of noise_std / experts, expected 0 and 1")


def check_choices(judge, base, exact, peer):
    """Choice k of a token must beat every expert not chosen before it, but for the error of a difference of two logits. Returns ties."""
    deviation = (peer.noisy.double() - exact.noisy)
    allowed = FACTOR * max(float((deviation.amax(1) - deviation.amin(1)).max()), judge.floor * float(exact.noisy.abs().max()))
    open_logits, ties = exact.noisy.clone(), 0
    for k in range(exact.expert.shape[1]):
        chosen = exact.expert[:, k:k + 1]
        behind = open_logits.amax(1) - exact.noisy.gather(1, chosen)[:, 0]
        ties += int((behind > 0).sum())
        worst = int(behind.argmax())
        if float(behind[worst]) > allowed:
            judge.fail(f"{base}expert: choice {k} of token {worst} is expert {int(chosen[worst])}, {float(behind[worst]):.3g} below the best "
                       f"logit; the error of logits explains {allowed:.3g}")
        open_logits.scatter_(1, chosen, -math.inf)
    return ties


def check_served(judge, base, moe, exact, peer):
    """Each expert serves the first `capacity` of its entries. Two entries of the same choice may have changed places where their
    priorities are equal within error. Returns how many were served out of the float64 model's order."""
    priority = exact.gates.amax(1)
    deviation = peer.gates.amax(1).double() - priority
    allowed = FACTOR * max(float(deviation.max() - deviation.min()), judge.floor)
    ties = 0
    for begin, end in exact.sets:
        rows = vt.capacity(moe, end - begin, exact.gates.shape[1])
        expert, served = exact.expert[begin:end], exact.served[begin:end]
        order = vt.service_order(expert, priority[begin:end], moe.order == "priority")
        for e in range(exact.gates.shape[1]):
            mine = order[expert.reshape(-1)[order] == e]  # entries that want e, first served first
            kept = served.reshape(-1)[mine]
            wanted = len(mine) if rows is None else min(rows, len(mine))
            if int(kept.sum()) != wanted:
                judge.fail(f"{base}served: expert {e} serves {int(kept.sum())} of {len(mine)} choices of tokens {begin} to {end}; "
                           f"capacity {rows} says {wanted}")
                continue
            dropped_early, served_late = mine[:wanted][~kept[:wanted]], mine[wanted:][kept[wanted:]]
            if len(dropped_early) == 0:
                continue
            ties += len(dropped_early)
            k, p = expert.shape[1], priority[begin:end]
            is_one_choice = len(set((torch.cat([dropped_early, served_late]) % k).tolist())) == 1
            gap = float(p[dropped_early // k].max() - p[served_late // k].min())
            if moe.order != "priority" or not is_one_choice or gap > allowed:
                judge.fail(f"{base}served: expert {e} drops token {begin + int(dropped_early[0]) // k} and serves token "
                           f"{begin + int(served_late[-1]) // k} that comes later (priorities {gap:.3g} apart, error explains {allowed:.3g})")
    return ties


def check_slots(judge, base, slot, exact):
    """Served rows lie expert by expert, within an expert by set, token, choice; the others have no row."""
    expected = np.full(slot.size, -1)
    entries = torch.nonzero(exact.served.reshape(-1))[:, 0]
    by_expert = entries[torch.sort(exact.expert.reshape(-1)[entries], dim=0, stable=True).indices]
    expected[by_expert.numpy()] = np.arange(len(by_expert))
    if not np.array_equal(expected, slot.reshape(-1)):
        judge.fail(f"{base}slot: served rows are not laid out by expert, set, token, choice")


def check_group(judge, dump, i, exact, peer):
    ties = late = choices = 0
    for (block, modality), route in sorted(exact.items()):
        base = f"group.{i}/block.{block}.{modality}/"
        other, n_experts = peer[block, modality], route.noisy.shape[1]
        check_noise(judge, base, dump.tensors[base + "noise"], dump.config.moe.noise_std / n_experts)
        ties += check_choices(judge, base, route, other)
        late += check_served(judge, base, dump.config.moe, route, other)
        choices += route.expert.numel()
        check_slots(judge, base, dump.tensors[base + "slot"], route)
        judge.compare(base + "gates", dump.tensors[base + "gates"], route.clean, other.clean)
        judge.compare(base + "weight", dump.tensors[base + "weight"], route.weight, other.weight)
    judge.notes.append(f"group {i}: {choices} choices of experts, {ties} of them ties within the logits' error, {late} served in another order")


def compare_losses(judge, dump, exact, peer):
    """Each balance loss over all sets of all layers and groups. What rounding alone does to a loss is relative to the terms it is the
    difference of: a squared variation c^2 of terms with relative error f moves by 2 c f + f^2; an entropy threshold by its entropy."""
    if not any(exact.routing):
        return
    ours, value, other = [], [], []
    for i, routing in enumerate(exact.routing):
        for (block, modality), route in sorted(routing.items()):
            ours.append(dump.tensors[f"group.{i}/block.{block}.{modality}/losses"])
            value.append(route.losses)
            other.append(peer.routing[i][block, modality].losses)
    ours, value, other = np.concatenate(ours).astype(np.float64), torch.cat(value), torch.cat(other)
    f = judge.floor
    for k, name in enumerate(vt.BALANCE):
        scale = None
        if name in ("importance", "load"):
            scale = float((2 * value[:, k].abs().sqrt() + f).norm())
        elif name == "global_entropy":
            n_experts = max(dump.config.moe.v_experts, dump.config.moe.t_experts)
            scale = math.sqrt(len(value)) * 2 * math.log(max(n_experts, 2))
        judge.compare(f"balance.{name}", ours[:, k], value[:, k], other[:, k], scale=scale)
