"""The peer of bench_loader: PyTorch's DataLoader over Pillow, doing what torchvision's transforms do to a picture.

usage: peer_loader.py CONFIG.json     the same config; commands, one a line: "workers K N" = N batches with num_workers=K
Each answer is a line of JSON: pictures done and the processor's seconds they took, of this process and its workers.
"""
import io
import json
import math
import os
import random
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageEnhance
from torch.utils.data import DataLoader, Dataset

sys.path.insert(0, str(Path(__file__).parents[1] / "golden"))
from peer_data import decode, read_shards

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
DEVIATION = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
TICK = os.sysconf("SC_CLK_TCK")


def random_box(width, height, scale_min, ratio_min):
    """Where a random resized crop lies: ten tries, then the middle."""
    for _ in range(10):
        area = width * height * random.uniform(scale_min, 1.0)
        ratio = math.exp(random.uniform(math.log(ratio_min), -math.log(ratio_min)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            x, y = random.randrange(width - w + 1), random.randrange(height - h + 1)
            return x, y, x + w, y + h
    w, h = min(width, round(height / ratio_min)), min(height, round(width / ratio_min))
    x, y = (width - w) // 2, (height - h) // 2
    return x, y, x + w, y + h


class Pictures(Dataset):
    def __init__(self, config):
        self.data, self.size = config["data"], config["model"]["image_size"]
        self.files = [sample["image"] for sample in read_shards(self.data["pairs"] + self.data["images"])]

    def __len__(self):
        return 1 << 40  # endless: drawn with replacement below, so that no round ends within a measurement

    def __getitem__(self, index):
        data = self.data
        file = self.files[hash((index, 1)) % len(self.files)]
        image = Image.open(io.BytesIO(file))
        image = image.convert("RGB") if image.mode in ("RGB", "L", "CMYK") else decode(file, data["background"])
        if data["crop_min"] < 1:
            image = image.crop(random_box(*image.size, data["crop_min"], data["crop_ratio"]))
        image = image.resize((self.size, self.size), Image.BICUBIC)
        if random.random() < data["flip"]:
            image = image.transpose(Image.FLIP_LEFT_RIGHT)
        changes = [ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color] if data["jitter"] > 0 else []
        random.shuffle(changes)
        for change in changes:
            image = change(image).enhance(random.uniform(max(0.0, 1 - data["jitter"]), 1 + data["jitter"]))
        tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().to(torch.float32).div_(255)
        return tensor.sub_(MEAN).div_(DEVIATION)


class Sequence(torch.utils.data.Sampler):
    def __init__(self):
        pass

    def __iter__(self):
        return iter(range(1 << 40))

    def __len__(self):
        return 1 << 40


def cpu_seconds():
    """Of this process and its children, dead and alive."""
    total = time.process_time()
    me = os.getpid()
    with open(f"/proc/{me}/task/{me}/children") as children:
        for child in children.read().split():
            with open(f"/proc/{child}/schedstat") as stat:
                total += int(stat.read().split()[0]) * 1e-9
    return total


def settle():
    """Workers make batches ahead; wait until they have, so that a measurement holds exactly its own batches."""
    while True:
        before = cpu_seconds()
        time.sleep(0.05)
        if cpu_seconds() - before < 0.004:
            return


def main(path):
    torch.set_num_threads(1)
    with open(path) as file:
        config = json.load(file)
    batch = config["data"]["images_per_group"] + config["data"]["pairs_per_group"]
    pictures, iterators = Pictures(config), {}
    for line in sys.stdin:
        workers, count = map(int, line.split()[1:])
        if workers not in iterators:
            loader = DataLoader(pictures, batch_size=batch, sampler=Sequence(), num_workers=workers)
            iterators[workers] = iter(loader)
            next(iterators[workers])
        settle()
        cpu = cpu_seconds()
        for _ in range(count):
            next(iterators[workers])
        settle()
        print(json.dumps({"pictures": batch * count, "cpu": cpu_seconds() - cpu}), flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
