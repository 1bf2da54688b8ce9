#!/usr/bin/python3
"""Stored pictures for tests/data/test_{image,resize,augment,randaug}.c, made with Pillow.

usage: make_image.py GOLDEN_DIR CORPUS_DIR
       writes data_{image,exif,resize,colour,fit,randaug}.bin to GOLDEN_DIR, and the pictures
       themselves and a few tars to CORPUS_DIR/image and CORPUS_DIR/tar (seeds of tests/fuzz)

All numbers are little-endian. Records follow each other to the end of the file:
  data_image.bin   char name[16], i32 exact, i32 file_bytes, i32 width, i32 height, file,
                   RGB pixels on white
  data_exif.bin    the same, for each orientation; the pixels are turned as Pillow turns them
  data_resize.bin  i32 width, height, box x, y, width, height, out width, out height,
                   pixels, out pixels
  data_colour.bin  i32 change (0 brightness, 1 contrast, 2 saturation, 3 hue), i32 n_pixels,
                   f64 factor, pixels, out pixels
  data_fit.bin     i32 width, height, size, pixels, out pixels: the shorter side to size / 0.875,
                   the centre of that
  data_randaug.bin i32 operation (in the order of vlm_randaug_op), i32 turned, i32 width, height,
                   f64 magnitude, pixels, out pixels
"""
import io
import math
import struct
import sys
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

rng = np.random.default_rng(20220314)


def noise(height, width, channels):
    return rng.integers(0, 256, (height, width, channels), dtype=np.uint8)


def smooth(height, width):
    """Colours that a JPEG can hold without much loss."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 9 % 256, 255 - y * 11 % 256, (x + y) * 5 % 256], -1).astype(np.uint8)


def encode(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def on_white(image):
    image = image.convert("RGBA")
    background = Image.new("RGBA", image.size, "white")
    background.alpha_composite(image)
    return np.asarray(background.convert("RGB"))


def images():
    rgb, rgba = Image.fromarray(noise(7, 13, 3)), Image.fromarray(noise(7, 13, 4), "RGBA")
    soft = Image.fromarray(smooth(17, 21))
    sixteen = rng.integers(0, 65536, (7, 13)).astype(np.uint16)
    yield "png-1", encode(rgb.convert("1"), "PNG"), None
    yield "png-L", encode(rgb.convert("L"), "PNG"), None
    yield "png-LA", encode(rgba.convert("LA"), "PNG"), None
    yield "png-P", encode(rgb.quantize(200), "PNG"), None
    yield "png-P4", encode(rgb.quantize(4), "PNG"), None
    yield "png-P-clear", encode(rgb.quantize(16), "PNG", transparency=3), None
    yield "png-RGB", encode(rgb, "PNG"), None
    yield "png-RGBA", encode(rgba, "PNG"), None
    # Pillow keeps 16 grey bits; the library cuts them to 8.
    yield "png-16", encode(Image.fromarray(sixteen), "PNG"), np.stack([sixteen >> 8] * 3, -1)
    yield "gif", encode(rgb.quantize(64), "GIF"), None
    yield "bmp", encode(rgb, "BMP"), None
    yield "bmp-P", encode(rgb.quantize(16), "BMP"), None
    yield "ppm", encode(rgb, "PPM"), None
    yield "pgm", encode(rgb.convert("L"), "PPM"), None
    yield "jpeg", encode(soft, "JPEG", subsampling=0), None
    yield "jpeg-L", encode(soft.convert("L"), "JPEG"), None
    yield "jpeg-CMYK", encode(soft.convert("CMYK"), "JPEG"), None
    yield "jpeg-progr", encode(soft, "JPEG", subsampling=0, progressive=True), None


def write_images(out):
    with open(out / "data_image.bin", "wb") as file:
        for name, data, pixels in images():
            if pixels is None:
                pixels = on_white(Image.open(io.BytesIO(data)))
            exact = not name.startswith("jpeg")
            height, width = pixels.shape[:2]
            file.write(struct.pack("<16siiii", name.encode(), exact, len(data), width, height))
            file.write(data + pixels.astype(np.uint8).tobytes())


def write_exif(out):
    """The stored picture with each orientation, shown as Pillow shows it. The odd ones are big-endian."""
    soft = Image.fromarray(smooth(17, 21))
    plain = encode(soft, "JPEG", subsampling=0)
    with open(out / "data_exif.bin", "wb") as file:
        for orientation in range(1, 9):
            order = "<>"[orientation % 2]
            entries = [(0x10F, 2, 4, 0), (0x112, 3, 1, orientation)]  # the maker's name comes before it
            body = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "IH", 8, len(entries))
            for tag, kind, count, value in entries:
                body += struct.pack(order + "HHI", tag, kind, count)
                body += struct.pack(order + "HH", value, 0) if kind == 3 else b"abc\0"
            body = b"Exif\0\0" + body + struct.pack(order + "I", 0)
            data = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + plain[2:]
            pixels = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
            file.write(struct.pack("<16siiii", f"exif-{orientation}".encode(), 0, len(data), pixels.shape[1], pixels.shape[0]))
            file.write(data + pixels.tobytes())
    return data


def write_corpus(out, exif):
    (out / "image").mkdir(parents=True, exist_ok=True)
    (out / "tar").mkdir(exist_ok=True)
    for name, data, _ in images():
        (out / "image" / name).write_bytes(data)
    # Large enough that a part of it is less than all, with chroma of half the size.
    (out / "image" / "jpeg-420").write_bytes(encode(Image.fromarray(smooth(70, 90)), "JPEG", quality=60))
    (out / "image" / "jpeg-exif").write_bytes(exif)
    formats = {"ustar": tarfile.USTAR_FORMAT, "pax": tarfile.PAX_FORMAT, "gnu": tarfile.GNU_FORMAT}
    for name, kind in formats.items():
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w", format=kind) as tar:
            long_name = "folder/" + "n" * (90 if name == "ustar" else 120)
            for member in ("a.jpg", "a.txt", long_name + ".txt"):
                info = tarfile.TarInfo(member)
                info.size = 5
                tar.addfile(info, io.BytesIO(b"bytes"))
            used = tar.offset
        (out / "tar" / name).write_bytes(file.getvalue()[: used + 1024])  # no more padding


def write_resizes(out):
    cases = [
        # width, height, box, out width, out height
        (1, 1, (0, 0, 1, 1), 3, 2),
        (9, 7, (0, 0, 9, 7), 9, 7),
        (9, 7, (0, 0, 9, 7), 4, 3),
        (9, 7, (0, 0, 9, 7), 20, 15),
        (9, 7, (2, 1, 6, 5), 4, 4),
        (9, 7, (2, 1, 6, 5), 11, 13),
        (31, 23, (0, 0, 31, 23), 8, 8),
        (31, 23, (5, 3, 27, 20), 8, 8),
        (40, 3, (0, 0, 40, 3), 1, 1),
        (17, 29, (16, 28, 17, 29), 5, 6),
        (24, 24, (4, 4, 20, 20), 16, 16),
        (64, 48, (0, 0, 64, 48), 7, 31),
    ]
    with open(out / "data_resize.bin", "wb") as file:
        for i, (width, height, box, new_width, new_height) in enumerate(cases):
            pixels = noise(height, width, 3)
            if i % 2:  # black and white overshoot most
                pixels = (pixels > 127).astype(np.uint8) * 255
            image = Image.fromarray(pixels).resize((new_width, new_height), Image.BICUBIC, box=box)
            sides = (box[0], box[1], box[2] - box[0], box[3] - box[1])
            file.write(struct.pack("<8i", width, height, *sides, new_width, new_height))
            file.write(pixels.tobytes() + np.asarray(image).tobytes())


def shift_hue(image, shift):
    hue, saturation, value = image.convert("HSV").split()
    turned = (np.asarray(hue).astype(int) + int(shift * 255)) % 256
    hue = Image.fromarray(turned.astype(np.uint8), "L")
    return Image.merge("HSV", (hue, saturation, value)).convert("RGB")


def write_colours(out):
    changes = [
        lambda image, factor: ImageEnhance.Brightness(image).enhance(factor),
        lambda image, factor: ImageEnhance.Contrast(image).enhance(factor),
        lambda image, factor: ImageEnhance.Color(image).enhance(factor),
        shift_hue,
    ]
    factors = [[0.0, 0.6, 1.0, 1.375, 1.75]] * 3 + [[-0.5, -0.1, 0.0, 0.25, 0.4]]
    with open(out / "data_colour.bin", "wb") as file:
        for change, list_of_factors in enumerate(factors):
            for factor in list_of_factors:
                pixels = noise(8, 16, 3)
                pixels[0] = 77  # greys have no hue
                image = changes[change](Image.fromarray(pixels), factor)
                file.write(struct.pack("<iid", change, 8 * 16, factor))
                file.write(pixels.tobytes() + np.asarray(image).tobytes())


def crop_fit(image, size):
    width, height = image.size
    target, shorter = int(size / 0.875), min(width, height)
    image = image.resize((width * target // shorter, height * target // shorter), Image.BICUBIC)
    left, top = round((image.width - size) / 2), round((image.height - size) / 2)
    return image.crop((left, top, left + size, top + size))


def write_fits(out):
    cases = [(9, 7, 4), (7, 9, 4), (16, 16, 14), (40, 31, 7), (31, 64, 16), (5, 5, 21), (90, 4, 8), (37, 11, 12)]
    with open(out / "data_fit.bin", "wb") as file:
        for width, height, size in cases:
            pixels = noise(height, width, 3)
            file.write(struct.pack("<3i", width, height, size) + pixels.tobytes())
            file.write(np.asarray(crop_fit(Image.fromarray(pixels), size)).tobytes())


def affine(image, *matrix):
    return image.transform(image.size, Image.AFFINE, matrix, Image.BILINEAR, fillcolor=(128, 128, 128))


def rotate(image, degrees):
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = image.width / 2, image.height / 2
    return affine(image, c, s, x - x * c - y * s, -s, c, y + x * s - y * c)


RANDAUG = [  # strength 0..1, negative where turned
    lambda image, s: image,
    lambda image, s: ImageOps.autocontrast(image),
    lambda image, s: ImageOps.equalize(image),
    lambda image, s: ImageEnhance.Brightness(image).enhance(0.1 + 1.8 * abs(s)),
    lambda image, s: ImageEnhance.Sharpness(image).enhance(0.1 + 1.8 * abs(s)),
    lambda image, s: affine(image, 1, 0.3 * s, 0, 0, 1, 0),
    lambda image, s: affine(image, 1, 0, 0, 0.3 * s, 1, 0),
    lambda image, s: affine(image, 1, 0, 10 * s, 0, 1, 0),
    lambda image, s: affine(image, 1, 0, 0, 0, 1, 10 * s),
    lambda image, s: rotate(image, 30 * s),
]


def write_randaug(out):
    sizes = [(24, 17), (33, 40), (1, 3), (16, 16)]
    with open(out / "data_randaug.bin", "wb") as file:
        for op, change in enumerate(RANDAUG):
            for i, magnitude in enumerate((7.0, 10.0, 2.5, 0.0)):
                for turned in (0, 1) if op >= 5 else (0,):
                    width, height = sizes[(i + op) % len(sizes)]
                    pixels = noise(height, width, 3)
                    if i % 2:  # few levels, far from the ends
                        pixels = pixels // 32 * 5 + 70
                    image = change(Image.fromarray(pixels), -magnitude / 10 if turned else magnitude / 10)
                    file.write(struct.pack("<4id", op, turned, width, height, magnitude))
                    file.write(pixels.tobytes() + np.asarray(image).tobytes())


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    write_images(folder)
    write_resizes(folder)
    write_colours(folder)
    write_corpus(Path(sys.argv[2]), write_exif(folder))
    write_fits(folder)
    write_randaug(folder)
