#!/usr/bin/python3
"""Does check_step.py see what it should? Steps made by the PyTorch model itself must HOLD; with one fault put in, they must FALL SHORT.

usage: selftest.py [FAULT ...]"""
import contextlib
import io
import json
import math
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

import check_step
import run_config
import tensor_file
import vlmoe_torch as vt
from step_reference import Dump, compute

N_WORDS, N_CODES = 61, 29
CONFIG = {
    "run": {"groups": 2, "steps": 1, "dtype": "f32"},
    "model": {"layers": 3, "width": 24, "heads": 3, "hidden": 40, "vl_from": 2, "image_size": 12, "patch": 4, "text_len": 11, "words": N_WORDS,
              "layer_scale": 0.7, "drop_path": 0.3, "init_std": 0.3},
    "moe": {"v_layers": [0, 2], "t_layers": [1], "v_experts": 5, "t_experts": 4, "k": 2, "capacity_factor": 0.9, "renormalise": "after",
            "v_importance": 0.3, "v_load": 0.2, "v_switch": 0.1, "v_z": 0.05, "v_local_entropy": 0.04, "v_global_entropy": 0.3,
            "v_global_experts": 5.0, "t_importance": 0.2, "t_load": 0.3, "t_z": 0.02, "distinct_experts": True},
    "objective": {"text_weight": 0.8, "pair_image_weight": 1.5},
    "optim": {"lr": 0.01, "warmup": 10, "clip": 0.5},
}


def random_group(config, generator, counts=(3, 4, 5)):
    """A group with everything in it: ragged texts, hidden words and patches, dropped branches."""
    images, pairs, texts = counts
    m = config.model

    def draw(low, high, *shape):
        return torch.randint(low, high, shape, generator=generator)

    lengths = draw(3, m.text_len + 1, pairs + texts).tolist()
    offsets = np.cumsum([0] + lengths).tolist()
    token = draw(0, N_WORDS, offsets[-1])
    target = torch.where(torch.rand(offsets[-1], generator=generator) < 0.4, draw(0, N_WORDS, offsets[-1]), torch.tensor(-1))
    group = vt.Group(images, pairs, texts, draw(0, 256, images + pairs, m.image_size, m.image_size, 3).byte(),
                     torch.rand(images + pairs, m.patches, generator=generator) < 0.4, token, target, offsets,
                     draw(0, N_CODES, images + pairs, m.patches))
    sample = group.layout(m.patches).sample
    rate = torch.arange(m.layers).repeat_interleave(2) * m.drop_path / (m.layers - 1)
    kept = torch.rand(2 * m.layers, images + pairs + texts, generator=generator) >= rate[:, None]
    group.drop_path = (kept / (1 - rate.double())[:, None]).float()[:, sample]
    return group


def draw_noise(config, group, generator):
    model = vt.Model({"norm.weight": torch.zeros(0)}, config)
    layout, routes = group.layout(config.model.patches), {}
    for block in range(config.model.layers):
        for modality, begin, end, _ in model.runs(block, layout):
            if modality != "vl" and block in model.sparse_layers(modality):
                n_experts = config.moe.v_experts if modality == "v" else config.moe.t_experts
                noise = torch.randn(end - begin, n_experts, generator=generator, dtype=torch.float64)
                routes[block, modality] = vt.Route(noise * config.moe.noise_std / n_experts)
    return routes


def slots(route):
    slot = np.full(route.expert.numel(), -1, dtype=np.int32)
    entries = torch.nonzero(route.served.reshape(-1))[:, 0]
    order = entries[torch.sort(route.expert.reshape(-1)[entries], dim=0, stable=True).indices]
    slot[order.numpy()] = np.arange(len(order))
    return slot.reshape(route.expert.shape)


def adamw_first(optim, lr, name, p, g, factor):
    """PyTorch's own AdamW, one step."""
    x = torch.tensor(p, requires_grad=True)
    x.grad = torch.tensor(g) * factor
    decay = optim.weight_decay if vt.decays(name) else 0.0
    torch.optim.AdamW([x], lr=lr, betas=(optim.beta1, optim.beta2), eps=optim.eps, weight_decay=decay).step()
    return x.detach().numpy()


def group_tensors(group, result, i):
    base, tensors = f"group.{i}/", {}
    for name, dtype in (("pixels", np.uint8), ("patch_mask", np.uint8), ("codes", np.int32), ("token", np.int32), ("token_target", np.int32),
                        ("drop_path", np.float32)):
        tensors[base + name] = getattr(group, name).numpy().astype(dtype)
    tensors[base + "text_offset"] = np.array(group.text_offset, dtype=np.int32)
    tensors[base + "counts"] = np.array([group.n_images, group.n_pairs, group.n_texts], dtype=np.int32)
    tensors[base + "hidden"] = result.hidden[i].float().numpy()
    losses, right = np.zeros(5), np.zeros(4)
    for part, (nll, logits, target) in result.parts[i].items():
        losses[vt.PARTS.index(part)] = nll.mean()
        right[vt.PARTS.index(part)] = (logits.argmax(1) == target).double().mean()
    losses[4] = result.loss[i]
    tensors.update({base + "losses": losses, base + "correct": right})
    for (block, modality), route in result.routing[i].items():
        where = f"{base}block.{block}.{modality}/"
        values = {"noise": route.noise.double(), "gates": route.clean.float(), "expert": route.expert.int(), "served": route.served.byte(),
                  "weight": route.weight.float(), "losses": route.losses.float()}
        tensors.update({where + name: value.numpy() for name, value in values.items()})
        tensors[where + "slot"] = slots(route)
        tensors[where + "set_offset"] = np.array([begin for begin, _ in route.sets] + [route.sets[-1][1]], dtype=np.int32)
    return tensors


def make_dump(document, model=vt.Model, update=adamw_first, seed=3):
    """(tensors, metadata) of a step taken by PyTorch. model and update are where faults enter."""
    config = run_config.parse(json.dumps(document), "selftest")
    generator = torch.Generator().manual_seed(seed)
    params = {name: x.numpy() for name, x in vt.initial(config, N_WORDS, N_CODES, generator).items()}
    groups = [random_group(config, generator) for _ in range(config.run.groups)]
    routes = [draw_noise(config, group, generator) for group in groups]
    result = compute(params, config, groups, routes, torch.float32, config.run.dtype == "bf16", model)
    tensors = {"param/" + name: x for name, x in params.items()}
    tensors.update({"grad/" + name: g.float().numpy() for name, g in result.grads.items()})
    norm = math.sqrt(sum(float(np.sum(np.square(tensors["grad/" + name], dtype=np.float64))) for name in params))
    lr = vt.learning_rate(config.optim, config.run.steps, 1)
    factor = vt.clip_factor(config.optim, norm)
    for name, p in params.items():
        tensors["after/" + name] = update(config.optim, lr, name, p, tensors["grad/" + name], factor)
    for i, group in enumerate(groups):
        tensors.update(group_tensors(group, result, i))
    metadata = {"format": "vlmoe-step-1", "config": json.dumps(document), "step": "1", "lr": repr(lr), "grad_norm": repr(norm)}
    return tensors, metadata


# ---- faults of a model ----

class NoisyImportance(vt.Model):
    """Balance losses from the noisy gates where the clean ones belong."""
    def decide(self, route, logits, modality):
        super().decide(route, logits, modality)
        swapped = vt.Route(sets=route.sets, logits=logits, noisy=route.noisy, clean=route.gates, expert=route.expert)
        n_experts = logits.shape[1]
        route.losses = torch.stack([vt.balance_losses(swapped, a, b, 1 / n_experts, 0.0) for a, b in route.sets])


class FixedThreshold(vt.Model):
    """No gradient through the load loss's threshold."""
    def decide(self, route, logits, modality):
        super().decide(route, logits, modality)
        fixed = vt.Route(sets=route.sets, logits=logits, noisy=route.noisy.detach(), clean=route.clean, expert=route.expert)
        soft = getattr(self.config.moe, modality + "_global_experts")
        route.losses = torch.stack([vt.balance_losses(fixed, a, b, 1 / logits.shape[1], soft) for a, b in route.sets])


class SummedSets(vt.Model):
    """Balance losses summed over routing sets instead of averaged."""
    def balance(self):
        return 2 * super().balance()


class PositionOrder(vt.Model):
    """Served by position where the config says by priority."""
    def decide(self, route, logits, modality):
        order, self.config.moe.order = self.config.moe.order, "token"
        super().decide(route, logits, modality)
        self.config.moe.order = order


class ScaledNorm(vt.Model):
    """The gain of the vision-language norm is off by a thousandth."""
    def encode(self, group, routes=None):
        self.p = dict(self.p)
        for l in range(self.config.model.vl_from, self.config.model.layers):
            for last in (".weight", ".bias"):
                name = f"blocks.{l}.norm2_vl{last}"
                self.p[name] = self.p[name] * 1.001
        return super().encode(group, routes)


class KeyBias(vt.Model):
    """The second bias goes to k instead of v."""
    def encode(self, group, routes=None):
        plain = vt.attention

        def wrong(p, name, h, heads, sequences):
            q_bias, other = p[name + ".qkv.bias"]
            changed = dict(p)
            changed[name + ".qkv.bias"] = torch.stack([q_bias + other, torch.zeros_like(other)])
            return plain(changed, name, h, heads, sequences)
        vt.attention = wrong
        try:
            return super().encode(group, routes)
        finally:
            vt.attention = plain


class TanhGelu(vt.Model):
    """GELU by its tanh approximation."""
    def encode(self, group, routes=None):
        plain = vt.F.gelu
        vt.F.gelu = lambda x: 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)))
        try:
            return super().encode(group, routes)
        finally:
            vt.F.gelu = plain


def decay_everything(optim, lr, name, p, g, factor):
    return adamw_first(optim, lr, "some.weight", p, g, factor)


def no_clip(optim, lr, name, p, g, factor):
    return adamw_first(optim, lr, name, p, g, 1.0)


# ---- faults of a dump ----

def change(name, function):
    def fault(tensors, metadata):
        tensors[name] = function(tensors[name].copy())
    return fault


def scaled(tensor):
    return tensor * np.float32(1.0001)


def swap_experts(tensors, metadata):
    for last in ("fc1.weight", "fc2.weight"):
        a, b = (f"grad/blocks.0.ffn_v.experts.{e}.{last}" for e in (0, 3))
        tensors[a], tensors[b] = tensors[b], tensors[a]


def other_choice(expert):
    expert[5, 0], expert[5, 1] = expert[5, 1], expert[5, 0]
    return expert


def serve_all(served):
    served[:] = 1
    return served


def one_element(x):
    x.reshape(-1)[7] += np.abs(x).max() * np.float32(1e-3)
    return x


def shout(noise):
    return noise * 1.5


def sum_of_groups(tensors, metadata):
    for name in tensors:
        if name.startswith("grad/"):
            tensors[name] = tensors[name] * np.float32(2)


def missing(tensors, metadata):
    del tensors["grad/text_position"]


def wrong_lr(tensors, metadata):
    metadata["lr"] = "0.01"


FAULTS = {
    "balance losses from noisy gates": {"model": NoisyImportance},
    "no gradient through the load threshold": {"model": FixedThreshold},
    "balance losses summed over sets": {"model": SummedSets},
    "served by position, not priority": {"model": PositionOrder},
    "vision-language norm off by 0.1 %": {"model": ScaledNorm},
    "bias on k": {"model": KeyBias},
    "tanh GELU": {"model": TanhGelu},
    "decay on biases and norms": {"update": decay_everything},
    "no clipping": {"update": no_clip},
    "one gradient times 1.0001": {"dump": change("grad/blocks.1.attention.qkv.weight", scaled)},
    "one element of one gradient": {"dump": change("grad/blocks.2.ffn_vl.fc1.weight", one_element)},
    "two experts' gradients exchanged": {"dump": swap_experts},
    "two choices of a token exchanged": {"dump": change("group.0/block.0.v/expert", other_choice)},
    "capacity ignored": {"dump": change("group.1/block.0.v/served", serve_all)},
    "noise half as loud again": {"dump": change("group.0/block.0.v/noise", shout)},
    "gates off by 1e-4": {"dump": change("group.0/block.1.t/gates", scaled)},
    "gradients summed over groups": {"dump": sum_of_groups},
    "a gradient missing": {"dump": missing},
    "learning rate of another step": {"dump": wrong_lr},
}


def judge(document, folder, model=vt.Model, update=adamw_first, dump=None):
    tensors, metadata = make_dump(document, model, update)
    if dump:
        dump(tensors, metadata)
    path = Path(folder) / "step.safetensors"
    tensor_file.write(path, tensors, metadata)
    loaded = Dump(path)
    return check_step.check(loaded), loaded


def main():
    wanted = sys.argv[1:]
    wrong = 0
    bf16 = json.loads(json.dumps(CONFIG))
    bf16["run"]["dtype"] = "bf16"
    plain = json.loads(json.dumps(CONFIG))
    plain["moe"].update(k=1, renormalise="none", capacity_factor=1.05, order="token")
    plain["model"].update(drop_path=0.0, layer_scale=0.0, tied_decoder=True, vl_from=3)
    with tempfile.TemporaryDirectory() as folder:
        for title, document in (("f32", CONFIG), ("bf16", bf16), ("top-1, tied, no VL blocks", plain)):
            if wanted:
                continue
            result, loaded = judge(document, folder)
            print(f"{'ok  ' if not result.failures else 'WRONG'} sound step, {title}: {len(result.rows)} comparisons")
            if result.failures:
                wrong += 1
                check_step.report(result, loaded, 5)
                print("\n".join(result.failures[:5]))
        for title, fault in FAULTS.items():
            if wanted and title not in wanted:
                continue
            with contextlib.redirect_stdout(io.StringIO()):
                result, _ = judge(CONFIG, folder, **fault)
            wrong += not result.failures
            print(f"{'ok  ' if result.failures else 'WRONG'} {title}: {len(result.failures)} failed"
                  + (f"; {result.failures[0]}" if result.failures else ""))
    print("HOLDS" if not wrong else f"FALLS SHORT: {wrong} of the cases above came out wrong")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
