"""VL-MoE (arXiv 2303.07226) in eager PyTorch: encoder, heads, routing, losses. Plain on purpose: this is what libvlmoe is held against.

Written from the paper, V-MoE (arXiv 2106.05974) and docs/FORMATS.md. Parameters are a dictionary by the names of docs/FORMATS.md; their
type (float64 or float32) is the type of the computation, and under torch.autocast products run in bfloat16.
Rows of a group: [pictures of images | pictures of pairs | texts of pairs | texts], a picture's [I_CLS] before its patches."""
import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F

PARTS = ("text", "image", "pair_text", "pair_image")
BALANCE = ("importance", "load", "switch", "z", "local_entropy", "global_entropy")


@dataclass
class Group:
    """What one group of a step is made of. A pictures of images, then B of pairs; B texts of pairs, then C texts."""
    n_images: int
    n_pairs: int
    n_texts: int
    pixels: torch.Tensor        # [A + B, S, S, 3] u8
    patch_mask: torch.Tensor    # [A + B, P] bool, True = hidden
    token: torch.Tensor         # [n] i64
    token_target: torch.Tensor  # [n] i64, -1 = not hidden
    text_offset: list           # [B + C + 1]
    codes: torch.Tensor = None  # [A + B, P] i64
    drop_path: torch.Tensor = None  # [2 layers, rows] scale of each row's attention and feed-forward branch; None = ones
    known_layout: "Layout" = None

    def layout(self, patches):
        self.known_layout = self.known_layout or Layout(self, patches)
        return self.known_layout


@dataclass
class Route:
    """One sparse layer's routing of one group. expert and served are decided here, unless they are given."""
    noise: torch.Tensor = None   # [T, E] added to the logits; None = no noise
    expert: torch.Tensor = None  # [T, K]
    served: torch.Tensor = None  # [T, K] bool
    sets: list = field(default_factory=list)  # (begin, end) of each routing set's tokens
    logits: torch.Tensor = None
    noisy: torch.Tensor = None
    clean: torch.Tensor = None   # softmax of logits
    gates: torch.Tensor = None   # softmax of noisy
    weight: torch.Tensor = None  # [T, K] of each choice in the output
    losses: torch.Tensor = None  # [n_sets, 6] in the order of BALANCE


class Layout:
    """Where a group's rows are."""

    def __init__(self, group, patches):
        per_picture = 1 + patches
        self.per_picture = per_picture
        self.pair_begin = group.n_images * per_picture
        self.text_begin = self.pair_begin + group.n_pairs * per_picture
        self.pair_end = self.text_begin + group.text_offset[group.n_pairs]
        self.n_rows = self.text_begin + group.text_offset[-1]
        # Sequences that attend within themselves: an image; a pair, its text before its picture; a text.
        picture = [list(range(i * per_picture, (i + 1) * per_picture)) for i in range(group.n_images + group.n_pairs)]
        text = [list(range(self.text_begin + a, self.text_begin + b)) for a, b in zip(group.text_offset, group.text_offset[1:])]
        images, pair_pictures = picture[:group.n_images], picture[group.n_images:]
        pairs = [words + rows for words, rows in zip(text, pair_pictures)]
        texts = text[group.n_pairs:]
        self.sequences = Sequences([sequences for sequences in (images, pairs, texts) if sequences])
        sample = [i for i, rows in enumerate(images + pairs + texts) for _ in rows]
        self.sample = torch.tensor(sample)[self.sequences.back]


class Sequences:
    """Rows that attend within themselves, in batches of padded sequences.
    batches: (index [n * L], real [n, L]) each; padding points at row 0 and is not real.
    back: where a row stands among the real ones of all batches."""

    def __init__(self, batches):
        self.batches = []
        for rows in batches:
            longest = max(map(len, rows))
            index = torch.tensor([r + [0] * (longest - len(r)) for r in rows])
            real = torch.arange(longest)[None, :] < torch.tensor([len(r) for r in rows])[:, None]
            self.batches.append((index.reshape(-1), real))
        order = torch.tensor([r for rows in batches for sequence in rows for r in sequence])
        self.back = torch.empty_like(order)
        self.back[order] = torch.arange(len(order))


def linear(p, name, x):
    return F.linear(x, p[name + ".weight"], p.get(name + ".bias"))


def norm(p, name, x, eps):
    """Statistics in the type of the parameters; under autocast the result is stored as products take it."""
    y = F.layer_norm(x.to(p[name + ".weight"].dtype), x.shape[-1:], p[name + ".weight"], p[name + ".bias"], eps)
    return y.bfloat16() if torch.is_autocast_cpu_enabled() else y


def attention(p, name, h, heads, sequences):
    """Softmax attention of all rows of a sequence on each other. q and v have biases, k none."""
    width = h.shape[1]
    q_bias, v_bias = p[name + ".qkv.bias"]
    bias = torch.cat([q_bias, torch.zeros_like(q_bias), v_bias])
    qkv = F.linear(h, p[name + ".qkv.weight"], bias)
    out = []
    for index, real in sequences.batches:
        n, length = real.shape
        q, k, v = qkv.index_select(0, index).view(n, length, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
        scores = (q @ k.transpose(-1, -2)).to(p[name + ".qkv.weight"].dtype) / math.sqrt(width // heads)
        if not real.all():
            scores = scores.masked_fill(~real[:, None, None, :], -math.inf)
        mixed = (scores.softmax(-1) @ v).transpose(1, 2).reshape(n * length, width)
        out.append(mixed.index_select(0, torch.nonzero(real.reshape(-1))[:, 0]))
    out = torch.cat(out).index_select(0, sequences.back)
    return linear(p, name + ".proj", out)


def feed_forward(p, name, h):
    return linear(p, name + ".fc2", F.gelu(linear(p, name + ".fc1", h)))


# ---- routing ----

def capacity(moe, n_tokens, n_experts):
    """Rows of an expert in a set of n_tokens; None = no limit. The factor is a decimal number of thousandths, so this is exact."""
    thousandths = round(moe.capacity_factor * 1000)
    if thousandths == 0:
        return None
    if n_tokens == 0:
        return 0
    rows = -(-moe.k * n_tokens * thousandths // (1000 * n_experts))
    rows = -(-rows // moe.capacity_multiple) * moe.capacity_multiple
    return max(rows, moe.capacity_min)


def service_order(expert, priority, by_priority):
    """Entries token * K + choice in the order they are served: all first choices, then all second ones, ...; within a choice by
    falling priority (Batch Priority Routing) or by token."""
    n_tokens, k = expert.shape
    tokens = torch.sort(priority, dim=0, descending=True, stable=True).indices if by_priority else torch.arange(n_tokens)
    return (tokens[None, :] * k + torch.arange(k)[:, None]).reshape(-1)


def assign(moe, sets, expert, gates):
    """served [T, K]: whether a choice finds room with its expert."""
    n_experts = gates.shape[1]
    served = torch.ones_like(expert, dtype=torch.bool)
    for begin, end in sets:
        rows = capacity(moe, end - begin, n_experts)
        if rows is None:
            continue
        order = service_order(expert[begin:end], gates[begin:end].amax(1), moe.order == "priority")
        chosen = F.one_hot(expert[begin:end].reshape(-1)[order], n_experts)
        place = (chosen.cumsum(0) * chosen).sum(1)  # counted from 1
        flat = torch.empty(len(order), dtype=torch.bool)
        flat[order] = place <= rows
        served[begin:end] = flat.view(end - begin, -1)
    return served


def combine_weights(renormalise, gates, expert, served):
    weight = gates.gather(1, expert)
    kept = weight * served
    if renormalise == "before":
        return kept / weight.sum(1, keepdim=True)
    if renormalise == "after":
        return kept / kept.sum(1, keepdim=True).clamp_min(1e-9)
    return kept


def squared_variation(x):
    return x.var(unbiased=False) / x.mean() ** 2


def entropy(p):
    return -torch.xlogy(p, p).sum(-1)


def balance_losses(route, begin, end, sigma, global_experts):
    """The losses of one routing set in the order of BALANCE. Sources: Riquelme et al. 2021, Fedus et al. 2021, Zoph et al. 2022,
    Mustafa et al. 2022."""
    logits, noisy, clean, expert = (x[begin:end] for x in (route.logits, route.noisy, route.clean, route.expert))
    n_experts = logits.shape[1]
    load = logits.new_zeros(())
    if sigma > 0:
        threshold = noisy.gather(1, expert[:, -1:])  # the K-th largest noisy logit
        load = squared_variation((1 - torch.special.ndtr((threshold - logits) / sigma)).mean(0))
    first_choices = F.one_hot(expert[:, 0], n_experts).to(logits.dtype).mean(0)
    spread = -entropy(clean.mean(0))
    if global_experts > 0:
        spread = (math.log(global_experts) + spread).clamp_min(0)
    return torch.stack([squared_variation(clean.sum(0)), load, n_experts * (clean.mean(0) * first_choices).sum(),
                        (logits.logsumexp(1) ** 2).mean(), entropy(clean).mean(), spread])


class Model:
    """p: parameters by name. config: see run_config.py. routing: after encode(), the routes by (block, "v" or "t")."""

    def __init__(self, p, config):
        if config.model.dropout > 0:
            raise ValueError("dropout is not part of this model; set model.dropout to 0")
        self.p, self.config = p, config
        self.dtype = p["norm.weight"].dtype
        self.routing = {}

    # -- encoder --

    def patches(self, pixels):
        """[n, S, S, 3] u8 to [n, P, 3 p p]: columns in the order channel, row, column."""
        n, size, p = len(pixels), self.config.model.image_size, self.config.model.patch
        mean, deviation = (torch.tensor(x, dtype=self.dtype) for x in (self.config.data.pixel_mean, self.config.data.pixel_std))
        x = (pixels.to(self.dtype) / 255 - mean) / deviation
        x = x.view(n, size // p, p, size // p, p, 3).permute(0, 1, 3, 5, 2, 4)
        return x.reshape(n, -1, 3 * p * p)

    def embed(self, group):
        p, width = self.p, self.config.model.width
        n = group.n_images + group.n_pairs
        rows = []
        if n:
            seen = linear(p, "patch", self.patches(group.pixels)).to(self.dtype)
            x = torch.where(group.patch_mask[:, :, None], p["image_mask"][None], seen)
            x = torch.cat([p["image_cls"].expand(n, 1, width), x], 1) + p["image_position"]
            rows.append(x.reshape(-1, width))
        if len(group.token):
            place = torch.cat([torch.arange(b - a) for a, b in zip(group.text_offset, group.text_offset[1:])])
            rows.append(F.embedding(group.token, p["word_embedding.weight"]) + F.embedding(place, p["text_position"]))
        return torch.cat(rows)

    def sparse_layers(self, modality):
        return self.config.moe.v_layers if modality == "v" else self.config.moe.t_layers

    def runs(self, block, layout):
        """(modality, begin, end, inner bounds of routing sets) of each feed-forward of a block, in the order of rows."""
        def cut(*bounds):
            return [(a - bounds[0], b - bounds[0]) for a, b in zip(bounds, bounds[1:]) if b > a]
        at = layout
        if block >= self.config.model.vl_from:
            runs = [("v", 0, at.pair_begin, cut(0, at.pair_begin)), ("vl", at.pair_begin, at.pair_end, None),
                    ("t", at.pair_end, at.n_rows, cut(at.pair_end, at.n_rows))]
        else:
            runs = [("v", 0, at.text_begin, cut(0, at.pair_begin, at.text_begin)),
                    ("t", at.text_begin, at.n_rows, cut(at.text_begin, at.pair_end, at.n_rows))]
        return [run for run in runs if run[2] > run[1]]

    def encode(self, group, routes=None):
        """Hidden vectors [rows, D] after the final norm. routes: Route by (block, modality) with noise, and choices where they are given."""
        config, p = self.config.model, self.p
        layout = group.layout(config.patches)
        self.routing = {}
        x = self.embed(group)
        for l in range(config.layers):
            name = f"blocks.{l}"
            h = norm(p, name + ".norm1", x, config.norm_eps)
            x = self.add(x, attention(p, name + ".attention", h, config.heads, layout.sequences), group, 2 * l, p.get(name + ".scale1"))
            branch = []
            for modality, begin, end, sets in self.runs(l, layout):
                h = norm(p, f"{name}.norm2_{modality}", x[begin:end], config.norm_eps)
                where = f"{name}.ffn_{modality}"
                if modality != "vl" and l in self.sparse_layers(modality):
                    route = (routes or {}).get((l, modality)) or Route()
                    route.sets = sets
                    y = self.sparse_feed_forward(where, h, modality, route)
                    self.routing[l, modality] = route
                else:
                    y = feed_forward(p, where, h)
                branch.append(y.to(x.dtype))
            x = self.add(x, torch.cat(branch), group, 2 * l + 1, p.get(name + ".scale2"))
        return F.layer_norm(x, x.shape[-1:], p["norm.weight"], p["norm.bias"], config.norm_eps)

    def add(self, x, branch, group, i_branch, scale):
        branch = branch.to(x.dtype)
        if scale is not None:
            branch = branch * scale
        if group.drop_path is not None:
            branch = branch * group.drop_path[i_branch, :, None].to(x.dtype)
        return x + branch

    def sparse_feed_forward(self, where, h, modality, route):
        moe = self.config.moe
        n_experts = moe.v_experts if modality == "v" else moe.t_experts
        with torch.autocast("cpu", enabled=False):  # a router works in full precision
            self.decide(route, F.linear(h.to(self.dtype), self.p[where + ".router.weight"]), modality)
        out = torch.zeros(h.shape, dtype=self.dtype)
        for e in range(n_experts):
            token, choice = torch.nonzero((route.expert == e) & route.served, as_tuple=True)
            if len(token):
                y = feed_forward(self.p, f"{where}.experts.{e}", h.index_select(0, token))
                out = out.index_add(0, token, y.to(self.dtype) * route.weight[token, choice, None])
        return out

    def decide(self, route, logits, modality):
        """Noisy gates choose, order and weigh; clean ones are for the losses."""
        moe, n_experts = self.config.moe, logits.shape[1]
        route.logits = logits
        route.noisy = logits if route.noise is None else logits + route.noise.to(logits.dtype)
        route.clean, route.gates = route.logits.softmax(1), route.noisy.softmax(1)
        if route.expert is None:
            route.expert = torch.sort(route.noisy.detach(), dim=1, descending=True, stable=True).indices[:, :moe.k]
        if route.served is None:
            route.served = assign(moe, route.sets, route.expert, route.gates.detach())
        route.weight = combine_weights(moe.renormalise, route.gates, route.expert, route.served)
        sigma = moe.noise_std / n_experts if route.noise is not None else 0.0
        soft_minimum = getattr(moe, modality + "_global_experts")
        route.losses = torch.stack([balance_losses(route, begin, end, sigma, soft_minimum) for begin, end in route.sets])

    # -- heads and losses --

    def word_logits(self, x):
        h = norm(self.p, "word_head.norm", F.gelu(linear(self.p, "word_head.dense", x)), self.config.model.norm_eps)
        tied = self.p["word_embedding.weight"]
        return F.linear(h, self.p.get("word_head.decoder.weight", tied), self.p["word_head.decoder.bias"])

    def code_logits(self, x):
        return linear(self.p, "code_head", x)

    def masked_rows(self, group):
        """part -> (rows of hidden, targets); parts that are off or have nothing hidden are left out."""
        layout, n_words = group.layout(self.config.model.patches), group.text_offset[group.n_pairs]
        n_codes = group.n_images * self.config.model.patches
        word = torch.nonzero(group.token_target >= 0)[:, 0]
        code = torch.nonzero(group.patch_mask.reshape(-1))[:, 0]
        code_row = code // self.config.model.patches * layout.per_picture + 1 + code % self.config.model.patches
        found = {}
        for part, rows, of_words in (("text", word >= n_words, True), ("image", code < n_codes, False),
                                     ("pair_text", word < n_words, True), ("pair_image", code >= n_codes, False)):
            if getattr(self.config.objective, part + "_weight") <= 0 or not rows.any():
                continue
            if of_words:
                found[part] = (layout.text_begin + word[rows], group.token_target[word[rows]])
            else:
                found[part] = (code_row[rows], group.codes.reshape(-1)[code[rows]])
        return found

    def balance(self):
        """The weighted balance losses: mean over the sets of a layer and modality, sum over layers and modalities."""
        total = 0.0
        for (_, modality), route in sorted(self.routing.items()):
            weights = [getattr(self.config.moe, f"{modality}_{name}") for name in BALANCE]
            total = total + (route.losses * torch.tensor(weights, dtype=self.dtype)).sum(1).mean()
        return total

    def loss(self, group, routes=None):
        """(loss, hidden, {part: (nll of each masked position, logits, targets)}) of one group."""
        hidden = self.encode(group, routes)
        parts, total = {}, self.balance()
        for part, (rows, target) in self.masked_rows(group).items():
            logits = (self.word_logits if part.endswith("text") else self.code_logits)(hidden.index_select(0, rows)).to(self.dtype)
            nll = F.cross_entropy(logits, target, reduction="none")
            parts[part] = (nll, logits, target)
            total = total + getattr(self.config.objective, part + "_weight") * nll.mean()
        return total, hidden, parts


# ---- parameters and optimiser ----

def parameter_shapes(config, n_words, n_codes):
    """name -> shape of every parameter. n_codes 0: no head for image codes."""
    m, moe = config.model, config.moe
    D, hidden = m.width, m.hidden
    shapes = {"word_embedding.weight": (n_words, D), "text_position": (m.text_len, D), "image_position": (1 + m.patches, D),
              "image_cls": (1, D), "image_mask": (1, D), "code_head": (n_codes, D), "word_head.dense": (D, D), "word_head.norm": (D,),
              "norm": (D,), "patch": (D, 3 * m.patch ** 2)}
    linears = {"patch", "code_head", "word_head.dense"}
    if n_codes == 0:
        del shapes["code_head"]
    shapes["word_head.decoder.bias"] = (n_words,)
    if not m.tied_decoder:
        shapes["word_head.decoder.weight"] = (n_words, D)
    for l in range(m.layers):
        block = f"blocks.{l}."
        shapes.update({block + "attention.qkv.weight": (3 * D, D), block + "attention.qkv.bias": (2, D), block + "norm1": (D,)})
        feed_forwards = []
        for modality in ("v", "t", "vl") if l >= m.vl_from else ("v", "t"):
            shapes[f"{block}norm2_{modality}"] = (D,)
            sparse = {"v": moe.v_layers, "t": moe.t_layers}.get(modality, [])
            if l in sparse:
                n_experts = moe.v_experts if modality == "v" else moe.t_experts
                shapes[f"{block}ffn_{modality}.router.weight"] = (n_experts, D)
                feed_forwards += [f"{block}ffn_{modality}.experts.{e}" for e in range(n_experts)]
            else:
                feed_forwards.append(f"{block}ffn_{modality}")
        for name in feed_forwards:
            shapes.update({name + ".fc1": (hidden, D), name + ".fc2": (D, hidden)})
        shapes[block + "attention.proj"] = (D, D)
        linears |= {name + fc for name in feed_forwards for fc in (".fc1", ".fc2")} | {block + "attention.proj"}
        if m.layer_scale > 0:
            shapes.update({block + "scale1": (D,), block + "scale2": (D,)})
    full = {}
    for name, shape in shapes.items():
        is_norm = name.split(".")[-1].startswith("norm")
        if name in linears or is_norm:
            full.update({name + ".weight": shape, name + ".bias": shape[:1]})
        else:
            full[name] = shape
    return full


def decays(name):
    """Weight decay goes by role: matrices and word embeddings, not biases, norms, positions and single vectors."""
    last = name.split(".")[-1]
    is_norm = any(part.startswith("norm") for part in name.split("."))
    return last == "weight" and not is_norm


def initial(config, n_words, n_codes, generator):
    """Weights as BEiT: a normal of deviation init_std cut at one deviation, output projections of block l (from 1) by 1/sqrt(2 l).
    Experts of a layer start equal unless distinct_experts."""
    p = {}
    for name, shape in parameter_shapes(config, n_words, n_codes).items():
        last = name.split(".")[-1]
        if last in ("scale1", "scale2"):
            p[name] = torch.full(shape, config.model.layer_scale)
        elif ".norm" in "." + name:
            p[name] = torch.ones(shape) if last == "weight" else torch.zeros(shape)
        elif last == "bias":
            p[name] = torch.zeros(shape)
        else:
            first = name.split(".experts.")[0] + ".experts.0." + name.split(".experts.")[1].split(".", 1)[1] if ".experts." in name else name
            if first in p and not config.moe.distinct_experts:
                p[name] = p[first].clone()
                continue
            # The inverse of the normal's distribution on the part within one deviation.
            low, high = 0.5 * (1 + math.erf(-math.sqrt(0.5))), 0.5 * (1 + math.erf(math.sqrt(0.5)))
            u = low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float64)
            x = math.sqrt(2) * torch.erfinv(2 * u - 1) * config.model.init_std
            if name.startswith("blocks.") and name.endswith(("proj.weight", "fc2.weight")):
                x /= math.sqrt(2 * (int(name.split(".")[1]) + 1))
            p[name] = x.float()
    return p


def learning_rate(optim, steps, t):
    """At step t, from 1: linear warm-up, then a cosine down to min_lr."""
    if t <= optim.warmup:
        return optim.lr * t / optim.warmup
    if t >= steps:
        return optim.min_lr
    return optim.min_lr + (optim.lr - optim.min_lr) * 0.5 * (1 + math.cos(math.pi * (t - optim.warmup) / (steps - optim.warmup)))


def clip_factor(optim, grad_norm):
    return min(1.0, optim.clip / (grad_norm + 1e-6)) if optim.clip > 0 else 1.0
