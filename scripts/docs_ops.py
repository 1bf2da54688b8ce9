#!/usr/bin/env python3
"""docs/OPS.md from src/op/ops.def, kernels/abi/kernels.def and the comments above each argument struct of kernels/abi/*.h."""
import re

ops = re.findall(r'^VLM_OP\((\w+), (\d), ([^,]*), (\w+), "(.*)"\)', open("src/op/ops.def").read(), re.M)
kernels = re.findall(r"^VLMK_KERNEL\((\w+)\)", open("kernels/abi/kernels.def").read(), re.M)
header = "".join(open(f"kernels/abi/{name}.h").read() for name in ("vlmk", "vlmk_route"))


def meaning(kernel):
    """The comment that ends right above the struct, or above the struct of the pair's first half."""
    for name in (kernel, re.sub(r"_(bwd|dx|dw)$", "_fwd", kernel), re.sub(r"_(fwd|bwd)$", "", kernel)):
        found = re.search(r"/\*((?:[^*]|\*(?!/))*)\*/\s*(?:enum \{[^}]*\};\s*)?typedef struct vlmk_%s_args" % name, header)
        if found:
            text = re.sub(r"\s*\n \*\s*", " ", found.group(1)).strip()
            return text.replace("|", "\\|")
    return ""


print("# Operations and kernels\n")
print("Generated from `src/op/ops.def` and `kernels/abi/` by `scripts/docs.sh`; do not edit.\n")
print("## Operations\n\nEach has its shape rule, forward and backward in one file of `src/op/`. Every row is differentiated numerically in f64 "
      "(central differences, bound 1e-7) by `tests/op`.\n")
print("`reads` is whose data backward reads besides what forward saved; an output marked `remade` is given back after its last reader of the "
      "forward pass and made again, from what its row reads, when backward comes to it.\n")
print("| operation | gradient | reads | output | tested beyond shapes and gradient |\n|---|---|---|---|---|")
for name, grad, reads, remake, cases in ops:
    named = re.sub(r"IN\((\d)\)", r"input \1", reads).replace("OUT", "output").replace(" |", ",")
    reads = "nothing" if reads == "0" else named
    print(f"| `{name}` | {'yes' if grad == '1' else 'no'} | {reads} | {'kept' if remake == 'NULL' else 'remade'} | {cases} |")
print("\n## Kernels\n\nArguments with shapes stand in `kernels/abi/vlmk.h` and `vlmk_route.h`; `kernels/ref` defines each in f64; `kernels/cpu` is compiled for `base`, `avx2`, "
      "`avx512` and `avx512_bf16`, and each of these is compared with `ref` under derived bounds by `tests/kernel`.\n")
print("| kernel | what it computes |\n|---|---|")
for kernel in kernels:
    print(f"| `{kernel}` | {meaning(kernel)} |")
