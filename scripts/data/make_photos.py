#!/usr/bin/python3
"""Photographs of the size that ImageNet and COCO have, as JPEG, for benches of the data path.

usage: make_photos.py PACKAGES OUT
       PACKAGES holds unpacked Debian packages (fetch_debs.sh PACKAGES endless-sky-data mate-backgrounds)
       writes OUT/images/*.jpg and OUT/photos.jsonl, a manifest for vlmoe-data pack

Landscapes of about 720 x 360 are cut to their middle 4:3. Larger photographs are cut in tiles of 1000 x 750, each halved
to 500 x 375. All are stored as JPEG of quality 90 with halved chroma, as cameras and the web do. The same packages give
the same bytes with the same libjpeg-turbo.
"""
import json
import sys
from pathlib import Path

from PIL import Image

TILE, SIZE, QUALITY = (1000, 750), (500, 375), 90


def middle(image):
    """The largest 4:3 part in the middle."""
    width, height = image.size
    w, h = min(width, height * 4 // 3), min(height, width * 3 // 4)
    x, y = (width - w) // 2, (height - h) // 2
    return image.crop((x, y, x + w, y + h))


def pieces(image):
    width, height = image.size
    if width < TILE[0] or height < TILE[1]:
        yield middle(image)
        return
    for y in range(0, height - TILE[1] + 1, TILE[1]):
        for x in range(0, width - TILE[0] + 1, TILE[0]):
            yield image.crop((x, y, x + TILE[0], y + TILE[1])).resize(SIZE, Image.LANCZOS)


def main(packages, out):
    files = sorted(Path(packages).glob("endless-sky-data/**/images/land/*.jpg"))
    files += sorted(Path(packages).glob("mate-backgrounds/**/nature/*.jpg"))
    if not files:
        sys.exit(f"make_photos: no photographs below {packages}; fetch endless-sky-data and mate-backgrounds first")
    (out / "images").mkdir(parents=True, exist_ok=True)
    with open(out / "photos.jsonl", "w") as manifest:
        for i, file in enumerate(files):
            for j, piece in enumerate(pieces(Image.open(file).convert("RGB"))):
                name = f"images/{i:03d}_{j:02d}.jpg"
                piece.save(out / name, quality=QUALITY, subsampling="4:2:0")
                manifest.write(json.dumps({"image": name, "text": file.stem}) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], Path(sys.argv[2]))
