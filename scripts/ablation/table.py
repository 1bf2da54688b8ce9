"""An ablation's table: which configs are run, with which seeds. Read from JSON in which lines may be // comments.

  config    the base config, relative to the table's file
  set       settings of every run, as vlmoe-train takes them: ["run.steps=400", ...]
  seeds     [0, 1, 2]
  axes      name -> {value: settings}; "base" names the value that holds where an axis is not varied, by default the first
  studies   name -> axes that are varied together, all combinations
  then      name -> {"config": ..., "set": [...]}: a task that is tuned from every run's last checkpoint (task.init),
            with its blocks and experts

Runs of several studies that have the same settings are one run.
"""
import itertools
import json
import os
import re


class TableError(Exception):
    pass


def load_json(path):
    try:
        with open(path, encoding="utf-8") as file:
            return json.loads(re.sub(r"^\s*//.*$", "", file.read(), flags=re.M))
    except (OSError, ValueError) as error:
        raise TableError(f"{path}: {error}") from None


class Run:
    """One config with one seed. values: axis -> value, all axes."""

    def __init__(self, values, seed, settings):
        self.values, self.seed, self.settings = values, seed, settings

    @property
    def name(self):
        told = "-".join(f"{axis}_{value}" for axis, value in self.values.items())
        return re.sub(r"[^A-Za-z0-9_.+-]", "_", f"{told}-seed_{self.seed}")


class Table:
    KEYS = {"config", "set", "seeds", "axes", "base", "studies", "then"}

    def __init__(self, path):
        raw = load_json(path)
        strange = set(raw) - self.KEYS
        if strange:
            raise TableError(f"{path}: unknown key '{min(strange)}'; known: {', '.join(sorted(self.KEYS))}")
        for key in ("config", "axes", "studies"):
            if key not in raw:
                raise TableError(f"{path}: '{key}' is missing")
        folder = os.path.dirname(os.path.abspath(path))
        self.path = path
        self.config = os.path.join(folder, raw["config"])
        self.settings = raw.get("set", [])
        self.seeds = raw.get("seeds", [0, 1, 2])
        self.axes = raw["axes"]
        self.studies = raw["studies"]
        self.base = {axis: raw.get("base", {}).get(axis, next(iter(values))) for axis, values in self.axes.items()}
        self.then = {name: {"config": os.path.join(folder, task["config"]), "set": task.get("set", [])}
                     for name, task in raw.get("then", {}).items()}
        for study, axes in self.studies.items():
            for axis in axes:
                if axis not in self.axes:
                    raise TableError(f"{path}: study '{study}' varies '{axis}', which is no axis")
        for axis, value in self.base.items():
            if axis not in self.axes or value not in self.axes[axis]:
                raise TableError(f"{path}: 'base' gives '{axis}' the value '{value}', which it has not")

    def cells(self, study):
        """The combinations of a study, as full values of all axes."""
        axes = self.studies[study]
        for chosen in itertools.product(*(self.axes[axis] for axis in axes)):
            yield {**self.base, **dict(zip(axes, chosen))}

    def run(self, values, seed):
        settings = list(self.settings)
        for axis, value in values.items():
            settings += self.axes[axis][value]
        return Run(values, seed, settings + [f"run.seed={seed}"])

    def runs(self):
        """Every run once, all cells with the first seed before any with the second: what is cut short is still even."""
        seen = {}
        for seed in self.seeds:
            for study in self.studies:
                for values in self.cells(study):
                    run = self.run(values, seed)
                    seen.setdefault(tuple(run.settings), run)
        return list(seen.values())
