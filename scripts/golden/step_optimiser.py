"""The part of check_step.py that judges the update: clipping, learning rate, AdamW with decay by role."""
import math

import numpy as np

import vlmoe_torch as vt

U32 = 2.0 ** -24
# Roundings on the way to a parameter: of itself (decay factor, product, difference), and of its update (clip factor twice, both moments
# with their constants, both corrections, root, sum, quotient, products; the root halves errors).
OF_PARAMETER, OF_UPDATE = 3, 16


def check(judge, dump, rate=lambda name: 1.0):
    """After the first step, when moments were zero: p (1 - lr decay) - lr g / (|g| + eps), g clipped, lr times the parameter's rate.
    What has no gradient is frozen: it keeps its bits."""
    optim, metadata = dump.config.optim, dump.metadata
    step = int(float(metadata["step"]))
    lr = vt.learning_rate(optim, dump.config.run.steps, step)
    if not math.isclose(float(metadata["lr"]), lr, rel_tol=1e-12, abs_tol=0.0):
        judge.fail(f"learning rate of step {step} is {metadata['lr']}, expected {lr!r}")
    grads, params, after = (dump.named(kind) for kind in ("grad/", "param/", "after/"))
    norm = math.sqrt(sum(float(np.sum(np.square(g, dtype=np.float64))) for g in grads.values()))
    if not math.isclose(float(metadata["grad_norm"]), norm, rel_tol=4 * U32):  # dumped gradients carry the rounding of 1/groups
        judge.fail(f"gradient norm is {metadata['grad_norm']}, that of the dumped gradients is {norm!r}")
    if step != 1:
        judge.notes.append(f"update not checked: step {step} started from moments that the dump does not hold")
        return
    factor, worst = vt.clip_factor(optim, norm), (0.0, "")
    scheduled = lr
    for name, p in params.items():
        if name not in grads:
            if not np.array_equal(p, after[name]):
                judge.fail(f"after/{name} has changed, and the parameter is frozen")
            continue
        lr = scheduled * rate(name)
        p, g = p.astype(np.float64), factor * grads[name].astype(np.float64)
        decay = lr * optim.weight_decay if vt.decays(name) else 0.0
        update = lr * g / (np.abs(g) + optim.eps)
        expected = p * (1 - decay) - update
        limit = U32 * (OF_PARAMETER * np.abs(p) + OF_UPDATE * np.abs(update)) + np.finfo(np.float32).tiny
        share = float((np.abs(after[name] - expected) / limit).max())
        worst = max(worst, (share, name))
        if not share <= 1.0:
            at = int((np.abs(after[name] - expected) / limit).argmax())
            judge.fail(f"after/{name}: element {at} is {after[name].reshape(-1)[at]!r}, AdamW gives {expected.reshape(-1)[at]!r} "
                       f"(clip factor {factor:.6g}, decay {'on' if decay else 'off'}); {share:.3g} times what rounding explains")
    judge.notes.append(f"AdamW: worst parameter {worst[1]} at {worst[0]:.2f} of its limit; clip factor {factor:.6g}, lr {scheduled:.6g}")
