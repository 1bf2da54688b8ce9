"""Data for peer_torch.py: the shards that libvlmoe reads, decoded once and kept in memory; augmentation, hiding, groups."""
import io
import math
import random
import unicodedata
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageEnhance

import vlmoe_torch as vt

IMAGE_TYPES = {"jpg", "jpeg", "png", "gif", "bmp", "ppm", "webp"}
SPECIAL = ("[CLS]", "[SEP]", "[MASK]", "[PAD]")


def read_shards(folders):
    """{"image": bytes, "txt": bytes, "json": bytes} of every sample: members of a tar whose names agree up to the first dot."""
    samples = []
    for folder in folders:
        tars = sorted(Path(folder).glob("*.tar"))
        if not tars:
            raise FileNotFoundError(f"no .tar below {folder}")
        for tar in tars:
            data, at, last = tar.read_bytes(), 0, None
            while at + 512 <= len(data) and data[at]:
                name = data[at:at + 100].rstrip(b"\0").decode()
                size, kind = int(data[at + 124:at + 136].rstrip(b"\0 "), 8), data[at + 156:at + 157]
                if kind in (b"0", b"\0"):
                    key = name.split(".", 1)[0]
                    extension = name.rsplit(".", 1)[-1].lower()
                    if key != last:
                        samples.append({})
                    last = key
                    samples[-1].setdefault("image" if extension in IMAGE_TYPES else extension, data[at + 512:at + 512 + size])
                at += 512 + -(-size // 512) * 512
    return samples


def decode(data, background):
    """RGB pixels on the background colour."""
    image = Image.open(io.BytesIO(data)).convert("RGBA")
    ground = Image.new("RGBA", image.size, tuple(background) + (255,))
    return Image.alpha_composite(ground, image).convert("RGB")


class TextModel:
    """A SentencePiece unigram model without the library: the likeliest cut of each word (Kudo 2018). Words are cut one by one,
    which is the whole sentence's best cut where no piece crosses a space. Compared with the library on the demo's 119,387 texts:
    85 differ, all in cuts of equal likelihood ("00" "0" and "0" "00")."""

    def __init__(self, path):
        self.pieces, self.scores, self.unknown = self.read(Path(path).read_bytes())
        self.ids = {piece: i for i, (piece, score) in enumerate(zip(self.pieces, self.scores)) if score is not None}
        if any("\u2581" in piece[1:] for piece in self.ids):
            raise ValueError(f"{path}: pieces cross spaces")
        self.longest = max(map(len, self.ids))
        self.penalty = min(score for score in self.scores if score is not None) - 10.0
        for name in SPECIAL:
            if name not in self.pieces:
                self.pieces.append(name)
        self.cls, self.sep, self.mask, self.pad = map(self.pieces.index, SPECIAL)
        self.known = {}

    @staticmethod
    def fields(data):
        """(number, value) of a protocol buffer's fields: integers, 4 or 8 raw bytes, or bytes."""
        at = 0

        def varint():
            nonlocal at
            value = shift = 0
            while True:
                byte = data[at]
                at += 1
                value |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    return value
        while at < len(data):
            tag = varint()
            if tag & 7 == 0:
                yield tag >> 3, varint()
                continue
            length = varint() if tag & 7 == 2 else 8 if tag & 7 == 1 else 4
            yield tag >> 3, data[at:at + length]
            at += length

    @classmethod
    def read(cls, data):
        """Pieces, their scores (None: not found in texts) and the unknown piece's id. ModelProto: field 1 = piece, 2 = score, 3 = type."""
        pieces, scores, unknown = [], [], 0
        for number, value in cls.fields(data):
            if number != 1:
                continue
            piece = dict(cls.fields(value))
            kind = piece.get(3, 1)  # 1 normal, 2 unknown, 3 control, 4 user-defined
            if kind == 2:
                unknown = len(pieces)
            pieces.append(piece.get(1, b"").decode())
            scores.append(float(np.frombuffer(piece.get(2, b"\0\0\0\0"), "<f4")[0]) if kind == 1 else None)
        return pieces, scores, unknown

    def cut(self, word):
        if word in self.known:
            return self.known[word]
        best = [(0.0, 0, None)] + [(-math.inf, 0, None)] * len(word)
        for begin in range(len(word)):
            for end in range(begin + 1, min(len(word), begin + self.longest) + 1):
                i = self.ids.get(word[begin:end])
                if i is None and end > begin + 1:
                    continue
                score = best[begin][0] + (self.penalty if i is None else self.scores[i])
                if score > best[end][0]:
                    best[end] = (score, begin, self.unknown if i is None else i)
        ids, end = [], len(word)
        while end:
            ids.append(best[end][2])
            end = best[end][1]
        self.known[word] = ids[::-1]
        return self.known[word]

    def encode(self, text):
        """Ids without [CLS] and [SEP]; a run of unknown characters is one id."""
        words = unicodedata.normalize("NFKC", text).split()
        ids = [i for word in words for i in self.cut("\u2581" + word)]
        return [i for k, i in enumerate(ids) if i != self.unknown or k == 0 or ids[k - 1] != self.unknown]


class Stream:
    """Samples of one stream in memory, drawn in shuffled rounds."""

    def __init__(self, folders, config, text_model, has_image, has_text):
        samples = read_shards(folders)
        limit = config.model.text_len - 2
        self.images = [decode(s["image"], config.data.background) for s in samples] if has_image else None
        self.texts = None
        if has_text:
            self.words = [s["txt"].decode().strip() for s in samples]
            self.texts = [np.array([text_model.cls] + text_model.encode(text)[:limit] + [text_model.sep]) for text in self.words]
        self.json = [s.get("json") for s in samples]
        self.order = []

    def draw(self, rng):
        if not self.order:
            self.order = list(range(len(self.json)))
            rng.shuffle(self.order)
        return self.order.pop()


def plain_picture(image, size):
    return np.asarray(image.resize((size, size), Image.BICUBIC))


def augment(image, config, rng):
    """Random resized crop, mirror, jitter of brightness, contrast and saturation in random order."""
    data, size = config.data, config.model.image_size
    width, height = image.size
    box = None
    for _ in range(10 if data.crop_min < 1 else 0):
        area = width * height * rng.uniform(data.crop_min, 1.0)
        ratio = math.exp(rng.uniform(math.log(data.crop_ratio), -math.log(data.crop_ratio)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            x, y = rng.randrange(width - w + 1), rng.randrange(height - h + 1)
            box = (x, y, x + w, y + h)
            break
    out = image.resize((size, size), Image.BICUBIC, box=box)
    if rng.random() < data.flip:
        out = out.transpose(Image.FLIP_LEFT_RIGHT)
    changes = [ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color] if data.jitter > 0 else []
    rng.shuffle(changes)
    for change in changes:
        out = change(out).enhance(rng.uniform(max(0.0, 1 - data.jitter), 1 + data.jitter))
    return np.asarray(out)


def hide_words(ids, rate, config, n_words, mask_id, rng):
    """(what the model sees, targets with -1 where nothing is hidden)."""
    seen, target = ids.copy(), np.full(len(ids), -1)
    n = len(ids) - 2
    if n < 1 or rate <= 0:
        return seen, target
    for i in rng.sample(range(1, n + 1), min(n, max(1, round(rate * n)))):
        target[i] = ids[i]
        what = rng.random()
        if what >= config.objective.mask_keep:
            is_random = what < config.objective.mask_keep + config.objective.mask_random
            seen[i] = rng.randrange(n_words) if is_random else mask_id
    return seen, target


def hide_patches(config, rate, rng):
    """Blocks of random area and aspect until the share is reached (Bao et al. 2021), topped up with single patches."""
    side = config.model.image_size // config.model.patch
    mask, wanted = np.zeros((side, side), dtype=bool), round(rate * side * side)
    smallest = config.objective.block_min or max(1, round(16 * side * side / 196))
    tries = 0
    while mask.sum() < wanted and tries < 10:
        tries += 1
        room = wanted - int(mask.sum())
        area = smallest + max(0, room - smallest) * rng.random()
        aspect = math.exp(math.log(config.objective.block_aspect) * (1 - 2 * rng.random()))
        h, w = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if not (0 < h <= side and 0 < w <= side):
            continue
        y, x = rng.randrange(side - h + 1), rng.randrange(side - w + 1)
        if 0 < (~mask[y:y + h, x:x + w]).sum() <= room:
            mask[y:y + h, x:x + w] = True
            tries = 0
    free = np.flatnonzero(~mask.reshape(-1)).tolist()
    mask.reshape(-1)[rng.sample(free, wanted - int(mask.sum()))] = True
    return mask.reshape(-1)


def make_group(pictures, masks, texts, n_images, n_pairs, n_texts):
    """pictures [S, S, 3] and masks of images then pairs; texts (seen, target) of pairs then texts."""
    lengths = [len(seen) for seen, _ in texts]
    cat = [np.concatenate([text[k] for text in texts]) if texts else np.zeros(0, dtype=np.int64) for k in (0, 1)]
    return vt.Group(n_images, n_pairs, n_texts, torch.from_numpy(np.stack(pictures)) if pictures else torch.zeros(0, dtype=torch.uint8),
                    torch.from_numpy(np.stack(masks)) if masks else torch.zeros(0, dtype=torch.bool),
                    torch.from_numpy(cat[0]).long(), torch.from_numpy(cat[1]).long(), np.cumsum([0] + lengths).tolist())


class Source:
    """Groups to train on, as the config says."""

    def __init__(self, config, text_model, seed):
        self.config, self.text_model, self.rng = config, text_model, random.Random(seed)
        data, weight = config.data, config.objective
        self.counts = [data.images_per_group * (weight.image_weight > 0),
                       data.pairs_per_group * (weight.pair_text_weight > 0 or weight.pair_image_weight > 0),
                       data.texts_per_group * (weight.text_weight > 0)]
        self.images = Stream(data.images, config, text_model, True, False) if self.counts[0] else None
        self.pairs = Stream(data.pairs, config, text_model, True, True) if self.counts[1] else None
        self.texts = Stream(data.texts, config, text_model, False, True) if self.counts[2] else None

    def hide(self, ids, rate):
        return hide_words(ids, rate, self.config, len(self.text_model.pieces), self.text_model.mask, self.rng)

    def group(self):
        objective, rng = self.config.objective, self.rng
        chosen = [(self.images, self.images.draw(rng), objective.image_mask) for _ in range(self.counts[0])]
        pairs = [(self.pairs, self.pairs.draw(rng), objective.pair_image_mask * (objective.pair_image_weight > 0))
                 for _ in range(self.counts[1])]
        pictures = [augment(stream.images[i], self.config, rng) for stream, i, _ in chosen + pairs]
        masks = [hide_patches(self.config, rate, rng) for _, _, rate in chosen + pairs]
        top = max(objective.pair_text_mask, objective.pair_text_mask_max)
        texts = [self.hide(stream.texts[i], rng.uniform(objective.pair_text_mask, top) * (objective.pair_text_weight > 0))
                 for stream, i, _ in pairs]
        texts += [self.hide(self.texts.texts[self.texts.draw(rng)], objective.text_mask) for _ in range(self.counts[2])]
        return make_group(pictures, masks, texts, *self.counts)
