"""A dumped step (docs/FORMATS.md, "Step dump") computed again in PyTorch, along the routes that the dump records."""
import dataclasses

import torch

import run_config
import tensor_file
import vlmoe_torch as vt


class Dump:
    """tensors and metadata of a step dump, and its groups as vt.Group."""
    tasks = ("pretrain",)

    def __init__(self, path):
        self.tensors, self.metadata = tensor_file.read(path)
        if self.metadata.get("format") != "vlmoe-step-1":
            raise ValueError(f"{path}: format is {self.metadata.get('format')!r}, expected 'vlmoe-step-1'")
        self.config = run_config.parse(self.metadata["config"], path)
        if self.config.run.task not in self.tasks:
            raise ValueError(f"{path}: a dump of task {self.config.run.task}; known here: {', '.join(self.tasks)}")
        self.groups = [self.group(i) for i in range(self.config.run.groups)]

    def named(self, prefix):
        return {name[len(prefix):]: array for name, array in self.tensors.items() if name.startswith(prefix)}

    def torch(self, name, dtype=None):
        array = self.tensors[name]
        return torch.from_numpy(array.copy()).to(dtype or torch.from_numpy(array[:0].copy()).dtype)

    def group(self, i):
        base = f"group.{i}/"
        images, pairs, texts = self.tensors[base + "counts"].tolist()
        has = self.tensors.__contains__
        token = self.torch(base + "token", torch.long)
        mask = (self.torch(base + "patch_mask", torch.bool) if has(base + "patch_mask")
                else torch.zeros(images + pairs, self.config.model.patches, dtype=torch.bool))
        target = self.torch(base + "token_target", torch.long) if has(base + "token_target") else torch.full_like(token, -1)
        return vt.Group(images, pairs, texts, self.torch(base + "pixels"), mask, token, target,
                        self.tensors[base + "text_offset"].tolist(),
                        self.torch(base + "codes", torch.long) if has(base + "codes") else None,
                        self.torch(base + "drop_path") if has(base + "drop_path") else None)

    def routes(self, i):
        """The recorded choices of group i: Route by (block, modality)."""
        found = {}
        for name in self.tensors:
            if name.startswith(f"group.{i}/block.") and name.endswith("/expert"):
                base = name[:-len("expert")]
                _, block, modality = base.split("/")[1].split(".")
                noise = self.torch(base + "noise")
                found[int(block), modality] = vt.Route(noise if noise.any() else None, self.torch(name, torch.long),
                                                       self.torch(base + "served", torch.bool))
        return found


@dataclasses.dataclass
class Result:
    """Of one type of computation: per group what was computed, and the mean gradients."""
    hidden: list
    loss: list     # the group's whole loss
    models: list   # that computed them
    parts: list    # {part: (nll, logits, target)} detached
    routing: list  # {(block, modality): Route} detached
    grads: dict    # mean over groups, float64


def detached(route):
    return dataclasses.replace(route, **{field.name: getattr(route, field.name).detach() for field in dataclasses.fields(route)
                                         if isinstance(getattr(route, field.name), torch.Tensor)})


def compute(params, config, groups, routes, dtype, bf16=False, model=vt.Model):
    """params: numpy arrays by name. routes: one dictionary a group, or None = own choices without noise."""
    p = {name: torch.tensor(array, dtype=dtype, requires_grad=True) for name, array in params.items()}
    result = Result([], [], [], [], [], {})
    for i, group in enumerate(groups):
        m = model(p, config)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss, hidden, parts = m.loss(group, {key: dataclasses.replace(r) for key, r in routes[i].items()} if routes else None)
        loss.backward()
        result.models.append(m)
        result.hidden.append(hidden.detach())
        result.loss.append(loss.item())
        result.parts.append({part: tuple(x.detach() for x in values) for part, values in parts.items()})
        result.routing.append({key: detached(route) for key, route in m.routing.items()})
    for name, x in p.items():
        grad = torch.zeros_like(x) if x.grad is None else x.grad
        result.grads[name] = grad.double() / len(groups)
    return result
