#!/usr/bin/python3
"""Does check_task.py see what it should? A dump that HOLDS must FALL SHORT with one fault put in.

usage: selftest_tasks.py DUMP.safetensors ..."""
import sys

import numpy as np

import check_task


def other_class(dump):
    label = dump.tensors["group.0/label"]
    classes = len(dump.tensors["param/" + head(dump, "fc2.bias")])
    label[0] = next(c for c in range(classes) if c not in label[:dump.tensors["group.0/label_offset"][1]])


def own_concept(dump):
    dump.tensors["group.0/negative_text"][1] = 1


def head(dump, part):
    return f"head.{dump.config.run.task}.{part}"


def scale(name, factor):
    def fault(dump):
        dump.tensors[name if "/" in name else "grad/" + head(dump, name)] *= factor
    return fault


def main_weight(dump):
    return "match.weight" if dump.config.run.task == "retrieval" else "fc2.weight"


def without_gradient(dump):
    del dump.tensors["grad/" + head(dump, main_weight(dump))]


def head_without_rate(dump):
    """As if task.head_lr were 1."""
    name = head(dump, main_weight(dump))
    before = dump.tensors["param/" + name]
    after = dump.tensors["after/" + name]
    after[...] = before + (after - before) / dump.config.task.head_lr


def thawed(dump):
    name = next(name for name in dump.named("param/") if ".router." in name)
    dump.tensors["after/" + name] *= np.float32(1.001)


FAULTS = {"a gradient 1 % too large": lambda dump: scale(main_weight(dump), 1.01)(dump),
          "a loss off by a thousandth": scale("group.0/losses.total", 1.001),
          "logits off by a thousandth": scale("group.1/logits", 1.001),
          "a trained parameter without gradient": without_gradient,
          "the head at the rate of the last block": head_without_rate,
          "a frozen router that moves": thawed,
          "another class": other_class,
          "a sample as its own negative": own_concept}


def main():
    missed = 0
    for path in sys.argv[1:]:
        for name, fault in FAULTS.items():
            dump = check_task.TaskDump(path)
            is_retrieval = dump.config.run.task == "retrieval"
            if fault is (other_class if is_retrieval else own_concept) or (fault is thawed and not dump.config.task.freeze_moe):
                continue
            dump.tensors = {key: array.copy() for key, array in dump.tensors.items()}
            fault(dump)
            found = check_task.check(dump).failures
            print(f"{dump.config.run.task}, {name}: {found[0] if found else 'NOT SEEN'}")
            missed += not found
    print(f"{missed} faults were missed" if missed else "every fault is seen")
    sys.exit(1 if missed or len(sys.argv) < 2 else 0)


if __name__ == "__main__":
    main()
