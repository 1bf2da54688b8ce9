"""The heads and losses of fine-tuning tasks in eager PyTorch, on vlmoe_torch.Model: what libvlmoe's tasks are held against.

Forms: VLMo (arXiv 2111.02358) and BEiT-3 (arXiv 2208.10442); names of parameters: docs/FORMATS.md."""
import dataclasses

import torch
import torch.nn.functional as F

import vlmoe_torch as vt

TASKS = ("vqa", "nlvr2", "classify", "nli", "retrieval")


@dataclasses.dataclass
class Labels:
    """What a group of a task has besides its samples."""
    offset: list = None           # [n + 1]
    label: torch.Tensor = None    # i64
    score: torch.Tensor = None    # of each label
    concept: torch.Tensor = None  # [n] retrieval: equal numbers are positives of each other
    negative_image: list = None   # [n] retrieval: a picture for each text; -1 = none
    negative_text: list = None    # [n] a text for each picture

    def dense(self, classes, dtype):
        t = torch.zeros(len(self.offset) - 1, classes, dtype=dtype)
        for i, (a, b) in enumerate(zip(self.offset, self.offset[1:])):
            t[i].index_add_(0, self.label[a:b], self.score[a:b].to(dtype))
        return t


class TaskModel(vt.Model):
    """task_loss(group, labels): (loss, results by name), the balance losses of the group's routings among the loss."""

    apart_routing = None  # of retrieval's first encoding, when there is a second

    def task_loss(self, group, labels, routes=None, together=None):
        """together: of retrieval's second encoding, (its group, its routes); None = made here, with routes of its own."""
        if self.config.run.task == "retrieval":
            return self.retrieval_loss(group, labels, routes, together)
        logits = self.task_logits(group, self.encode(group, routes))
        loss, rows = self.label_loss(logits, labels)
        return loss + self.balance(), {"logits": logits, "row_loss": rows, "loss": loss}

    def balance(self):
        """Frozen routers are not balanced."""
        return torch.zeros((), dtype=self.dtype) if self.config.task.freeze_moe else super().balance()

    # -- heads --

    def head(self, name, x):
        return vt.linear(self.p, f"head.{self.config.run.task}.{name}", x)

    def text_cls(self, group, hidden, of_pairs):
        begin = group.layout(self.config.model.patches).text_begin
        first = 0 if of_pairs else group.n_pairs
        count = group.n_pairs if of_pairs else group.n_texts
        return hidden[torch.tensor([begin + a for a in group.text_offset[first:first + count]])]

    def image_rows(self, group, hidden):
        """[n_images, 1 + P, D]"""
        per_picture = 1 + self.config.model.patches
        return hidden[:group.n_images * per_picture].view(group.n_images, per_picture, -1)

    def pool(self, x):
        return torch.tanh(self.head("pooler", x))

    def task_logits(self, group, hidden):
        task, eps = self.config.run.task, self.config.model.norm_eps
        name = f"head.{task}.norm"
        if task == "classify":
            x = vt.norm(self.p, name, self.image_rows(group, hidden)[:, 1:].mean(1), eps)
        else:
            x = self.pool(self.text_cls(group, hidden, task != "nli"))
        if task == "nlvr2":
            x = torch.cat([x[0::2], x[1::2]], 1)
        if task in ("vqa", "nlvr2"):
            x = F.gelu(vt.norm(self.p, name, self.head("fc1", x), eps))
        return self.head("match" if task == "retrieval" else "fc2", x).to(self.dtype)

    # -- losses --

    def label_loss(self, logits, labels):
        """(mean over labelled samples, loss of each sample)"""
        classes = logits.shape[1]
        target = labels.dense(classes, logits.dtype)
        if self.config.run.task == "vqa":
            rows = F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(1) * classes
        else:
            s = self.config.task.label_smoothing
            target = target * (1 - s) + target.sum(1, keepdim=True) * s / classes
            rows = -(target * logits.log_softmax(1)).sum(1)
        counted = torch.tensor([b > a for a, b in zip(labels.offset, labels.offset[1:])])
        return rows[counted].mean(), rows

    def features(self, group, hidden):
        cls = self.image_rows(group, hidden)[:, 0], self.text_cls(group, hidden, False)
        return [F.normalize(F.linear(x, self.p[f"head.retrieval.{side}.weight"]).to(self.dtype), dim=1)
                for side, x in zip(("image", "text"), cls)]

    def contrastive(self, features, concept):
        """Losses of rows [2, n]: image to text, text to image; and both similarities."""
        with torch.autocast("cpu", enabled=False):  # features are compared in full precision
            return self.contrastive_rows(*features, concept)

    def contrastive_rows(self, image, text, concept):
        positive = (concept[:, None] == concept[None, :]).to(self.dtype)
        target = positive / positive.sum(1, keepdim=True)
        similarity = [torch.exp(self.p["head.retrieval.log_scale"]) * a @ b.T for a, b in ((image, text), (text, image))]
        return torch.stack([-(target * s.log_softmax(1)).sum(1) for s in similarity]), similarity

    def together(self, group, labels):
        """The 3 n pairs that are read together, and whether each is right; None = no negative, counts nothing."""
        n, text = group.n_texts, list(zip(group.text_offset, group.text_offset[1:]))
        pick_image = list(range(n)) + [i if j < 0 else j for i, j in enumerate(labels.negative_image)] + list(range(n))
        pick_text = list(range(n)) * 2 + [i if j < 0 else j for i, j in enumerate(labels.negative_text)]
        right = [True] * n + [None if j < 0 else False for j in labels.negative_image + labels.negative_text]
        token = torch.cat([group.token[slice(*text[j])] for j in pick_text])
        offset = [0]
        for j in pick_text:
            offset.append(offset[-1] + text[j][1] - text[j][0])
        pairs = vt.Group(0, 3 * n, 0, group.pixels[pick_image], group.patch_mask[pick_image], token, torch.full_like(token, -1), offset)
        return pairs, right

    def retrieval_loss(self, group, labels, routes, together):
        task = self.config.task
        features = self.features(group, self.encode(group, routes))
        total, results = self.balance(), {"image": features[0], "text": features[1]}
        if task.contrastive_weight > 0 and not spans_step(self.config):
            rows, similarity = self.contrastive(features, labels.concept)
            results.update(contrastive=rows.mean(), similarity=similarity[0])
            total = total + task.contrastive_weight * rows.mean()
        if task.matching_weight > 0:
            pairs, right = self.together(group, labels)
            pairs, routes = together or (pairs, None)
            self.apart_routing = self.routing
            logits = self.task_logits(pairs, self.encode(pairs, routes))
            total = total + self.balance()
            counted = torch.tensor([r is not None for r in right])
            rows = F.cross_entropy(logits, torch.tensor([int(bool(r)) for r in right]), reduction="none")
            matching = rows[counted].mean()
            results.update(matching=matching, logits=logits)
            total = total + task.matching_weight * matching
        return total, results


class ContrastiveModel(TaskModel):
    """Masked pretraining with objective.contrastive_weight. The second encoding of a group is group.apart = (group, concept, routes)."""

    def balance(self):
        return vt.Model.balance(self)

    def loss(self, group, routes=None):
        total, hidden, parts = vt.Model.loss(self, group, routes)
        apart, concept, apart_routes = group.apart
        first, self.routing = self.routing, {}
        features = self.features(apart, self.encode(apart, {key: dataclasses.replace(route) for key, route in apart_routes.items()}))
        rows, _ = self.contrastive(features, concept)
        total = total + self.balance() + self.config.objective.contrastive_weight * rows.mean()
        self.routing, self.apart_routing = first, self.routing
        self.results = {"image": features[0], "text": features[1], "contrastive": rows.mean()}
        return total, hidden, parts


def apart_group(group):
    """Pictures and texts of the pairs of a masked group, apart and nothing hidden."""
    n = group.n_pairs
    offset = group.text_offset[:n + 1]
    token, target = group.token[:offset[-1]], group.token_target[:offset[-1]]
    seen = torch.where(target >= 0, target, token)
    pixels = group.pixels[group.n_images:]
    return vt.Group(n, 0, n, pixels, torch.zeros_like(group.patch_mask[group.n_images:]), seen, torch.full_like(seen, -1), offset)


def spans_step(config):
    return config.run.task == "retrieval" and config.task.negatives == "step" and config.task.contrastive_weight > 0


def rate(config, name):
    """Of a parameter's learning rate over optim.lr: blocks decay from the last to the first, heads have a factor of their own."""
    last = config.model.layers + 1
    at = int(name.split(".")[1]) + 1 if name.startswith("blocks.") else last if name.startswith(("head.", "norm.")) else 0
    return config.task.layer_decay ** (last - at) * (config.task.head_lr if name.startswith("head.") else 1.0)


def head_shapes(config, classes):
    """name -> shape of the parameters of the head of config.run.task."""
    task, D = config.run.task, config.model.width
    base = f"head.{task}."
    shapes = {}

    if task == "pretrain":  # of its contrastive part
        E, base = config.task.embed_width or D, "head.retrieval."
        return {base + "image.weight": (E, D), base + "text.weight": (E, D), base + "log_scale": (1,)}

    def linear(name, out, width, has_bias=True):
        shapes[base + name + ".weight"] = (out, width)
        if has_bias:
            shapes[base + name + ".bias"] = (out,)

    if task != "classify":
        linear("pooler", D, D)
    if task == "retrieval":
        E = config.task.embed_width or D
        linear("image", E, D, False)
        linear("text", E, D, False)
        shapes[base + "log_scale"] = (1,)
        linear("match", 2, D)
        return shapes
    if task in ("vqa", "nlvr2"):
        linear("fc1", 2 * D, 2 * D if task == "nlvr2" else D)
    last = 2 * D if task in ("vqa", "nlvr2") else D
    if task != "nli":
        shapes.update({base + "norm.weight": (last,), base + "norm.bias": (last,)})
    linear("fc2", classes, last)
    return shapes
