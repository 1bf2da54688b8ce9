#!/usr/bin/python3
"""Draws the pictures of the README's figure: six simple things, made for it. Pillow; the same bytes each time.

usage: draw.py OUT     OUT/*.png and OUT/pairs.jsonl (image and caption of each, in the order of the figure)
"""
import json
import math
import os
import sys

from PIL import Image, ImageDraw

SIZE, SHARP = 128, 4  # pixels on a side; drawn so many times larger


class Sheet:
    """A white square with coordinates from 0 to 100."""

    def __init__(self):
        self.image = Image.new("RGB", (SIZE * SHARP, SIZE * SHARP), "white")
        self.pen = ImageDraw.Draw(self.image)

    def points(self, xy):
        return [tuple(v * SIZE * SHARP / 100 for v in point) for point in xy]

    def shape(self, xy, fill):
        self.pen.polygon(self.points(xy), fill=fill)

    def disc(self, x, y, rx, ry, fill):
        self.pen.ellipse([v for point in self.points([(x - rx, y - ry), (x + rx, y + ry)]) for v in point], fill=fill)

    def line(self, xy, width, fill):
        self.pen.line(self.points(xy), fill=fill, width=round(width * SIZE * SHARP / 100), joint="curve")

    def arc(self, x, y, rx, ry, begin, end, width, fill):
        steps = [math.radians(begin + (end - begin) * i / 40) for i in range(41)]
        self.line([(x + rx * math.cos(t), y + ry * math.sin(t)) for t in steps], width, fill)

    def save(self, path):
        self.image.resize((SIZE, SIZE), Image.LANCZOS).save(path)


def apple(s):
    s.line([(50, 34), (54, 14)], 4, "#6b4226")
    s.shape([(55, 22), (64, 10), (82, 10), (74, 22)], "#4caf50")
    for x in (38, 62):
        s.disc(x, 50, 26, 24, "#d62828")
        s.disc(x, 66, 20, 25, "#d62828")
    s.disc(50, 62, 26, 28, "#d62828")
    s.disc(32, 46, 6, 9, "#f28482")


def face(s):
    s.disc(50, 50, 42, 42, "#ffce3a")
    for x in (35, 65):
        s.disc(x, 40, 5, 8, "#4a2f0b")
    s.arc(50, 52, 24, 21, 20, 160, 5, "#4a2f0b")


def ball(s):
    s.disc(50, 50, 42, 42, "#ee7b22")
    s.line([(50, 8), (50, 92)], 3, "#3a2412")
    s.line([(8, 50), (92, 50)], 3, "#3a2412")
    s.arc(8, 50, 30, 34, -62, 62, 3, "#3a2412")
    s.arc(92, 50, 30, 34, 118, 242, 3, "#3a2412")


def house(s):
    s.shape([(66, 16), (76, 16), (76, 40), (66, 30)], "#8d5a3b")
    s.shape([(18, 46), (82, 46), (82, 90), (18, 90)], "#f2dfb3")
    s.shape([(8, 50), (50, 12), (92, 50)], "#c0392b")
    s.shape([(43, 62), (58, 62), (58, 90), (43, 90)], "#7b4a2a")
    for x in (25, 65):
        s.shape([(x, 58), (x + 11, 58), (x + 11, 70), (x, 70)], "#7cc4ee")


def tree(s):
    s.shape([(44, 62), (56, 62), (58, 94), (42, 94)], "#7b4f2c")
    for x, y, r in ((50, 28, 24), (32, 44, 21), (68, 44, 21), (50, 54, 23)):
        s.disc(x, y, r, r * 0.92, "#4a9b3e")
    s.disc(42, 30, 9, 8, "#74bb5b")


def fish(s):
    s.shape([(72, 50), (95, 28), (95, 72)], "#1f7fbf")
    s.shape([(38, 32), (58, 14), (66, 34)], "#1f7fbf")
    s.disc(45, 50, 37, 25, "#35a7e0")
    s.disc(40, 58, 26, 13, "#a8dcf2")
    s.disc(24, 44, 6, 6, "white")
    s.disc(23, 44, 3, 3, "#12344a")


DRAWINGS = [(face, "people: smiling face, happy, smile"), (apple, "food: red apple, fruit"), (fish, "nature: fish, animal, food"),
            (tree, "nature: tree, plant, leaves"), (house, "travel: house, building, home"), (ball, "activity: basketball, ball, sports")]


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__.split("\n\n")[1])
    out = sys.argv[1]
    os.makedirs(out, exist_ok=True)
    with open(f"{out}/pairs.jsonl", "w") as pairs:
        for draw, caption in DRAWINGS:
            sheet = Sheet()
            draw(sheet)
            sheet.save(f"{out}/{draw.__name__}.png")
            pairs.write(json.dumps({"image": f"{draw.__name__}.png", "text": caption}) + "\n")


if __name__ == "__main__":
    main()
