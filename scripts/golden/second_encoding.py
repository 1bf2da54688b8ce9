"""A second encoding in a step's dump: arrays under group.P/TAG/ seen as a dump of its own, for the checks of routes and drop path."""
import torch

from step_reference import Dump


class SecondEncoding:
    """groups: what is encoded, by group, without drop path."""

    def __init__(self, dump, tag, groups):
        self.config, self.groups = dump.config, groups
        self.tensors = {name.replace(f"/{tag}/", "/"): array for name, array in dump.tensors.items() if f"/{tag}/" in name}
        for i, group in enumerate(groups):
            name = f"group.{i}/drop_path"
            group.drop_path = torch.from_numpy(self.tensors[name].copy()) if name in self.tensors else None

    torch, routes = Dump.torch, Dump.routes
