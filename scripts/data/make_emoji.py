#!/usr/bin/python3
"""Emoji pictures with names and keywords, from unpacked Debian packages, as manifests of image-text pairs.

usage: make_emoji.py PACKAGES OUT

PACKAGES is the folder fetch_debs.sh filled. Four drawings of the same things:
  emojione   ruby-gemojione          PNG files, and the names, keywords and categories used for all four
  noto       ruby-tanuki-emoji       PNG files
  noto_font  fonts-noto-color-emoji  PNG pictures inside the font
  symbola    fonts-symbola           outlines, drawn here in black on white
Flags and skin tones are left out: hundreds of near-equal pictures.

Writes below OUT:
  images/STYLE/CODE.png  the pictures
  train_pairs.jsonl      one line a picture: image, text, concept, category, style
  val_pairs.jsonl        the same: the emojione drawing of every fifth concept that train shows in at least two
                         other styles, so a known thing in a drawing never seen
  train_images.jsonl     image only, the pictures of train_pairs
A text reads "CATEGORY: NAME, KEYWORD, ...", in lower case, the same for every drawing of a concept.
The same packages give the same bytes on every run.
"""
import collections
import glob
import json
import os
import re
import shutil
import sys
import unicodedata

from fontTools.ttLib import TTFont
from PIL import Image, ImageDraw, ImageFont

GEMS = "usr/share/rubygems-integration/all/gems"
STYLES = ("emojione", "noto", "noto_font", "symbola")
LEFT_OUT = {"flags", "modifier"}
SKIN_TONES = {"1f3fb", "1f3fc", "1f3fd", "1f3fe", "1f3ff"}
CATEGORY_OF_EXTRAS = "symbols"  # "extras" holds a single concept
MAX_KEYWORDS = 6
SYMBOLA_SIDE = 96  # pixels


def only(pattern):
    """The one path that matches, or a clear end."""
    found = sorted(glob.glob(pattern, recursive=True))
    if not found:
        sys.exit(f"make_emoji: nothing matches {pattern}; run fetch_debs.sh first")
    return found[0]


def code_of(text):
    """'1F468-200D-FE0F' -> '1f468-200d': lower case, no leading zeros, no variation selectors."""
    parts = [part.lstrip("0") or "0" for part in text.lower().replace("_", "-").split("-")]
    return "-".join(part for part in parts if part != "fe0f")


def plain(text):
    """NFC, straight quotes, single spaces, lower case."""
    text = unicodedata.normalize("NFC", text)
    text = text.replace("\u2018", "'").replace("\u2019", "'").replace("\u201c", '"').replace("\u201d", '"')
    return re.sub(r"[\s_]+", " ", text).strip().lower()


def caption_of(category, name, keywords):
    """Keywords that repeat the name or give away the category are dropped, so that the category has to be
    told from the picture or from the meaning of the other words."""
    told = {name, category, category.rstrip("s")}
    kept = []
    for keyword in map(plain, keywords):
        if keyword and keyword not in told:
            told.add(keyword)
            kept.append(keyword)
    return f"{category}: " + ", ".join([name] + kept[:MAX_KEYWORDS])


def read_concepts(packages):
    """code -> {caption, category, concept}; alternate codes of a concept share its entry."""
    with open(only(f"{packages}/ruby-gemojione/{GEMS}/*/config/index.json"), encoding="utf-8") as file:
        index = json.load(file)
    concepts = {}
    alternates = {}
    for entry in index.values():
        code = code_of(entry["unicode"])
        if entry["category"] in LEFT_OUT or SKIN_TONES & set(code.split("-")):
            continue
        category = CATEGORY_OF_EXTRAS if entry["category"] == "extras" else plain(entry["category"])
        text = caption_of(category, plain(entry["name"]), entry.get("keywords", []))
        concepts[code] = {"text": text, "concept": code, "category": category}
        for other in entry.get("unicode_alternates", []):
            alternates[code_of(other)] = concepts[code]
    return {**alternates, **concepts}


class Collector:
    """Picks the pictures of known concepts, at most one per concept and style, and stores them."""

    def __init__(self, concepts, out):
        self.concepts = concepts
        self.out = out
        self.rows = {}

    def path_for(self, code, style):
        """Where the picture of this code belongs, or None when it is not wanted."""
        entry = self.concepts.get(code)
        if entry is None or (style, entry["concept"]) in self.rows:
            return None
        image = f"images/{style}/{entry['concept']}.png"
        self.rows[style, entry["concept"]] = {"image": image, **entry, "style": style}
        return os.path.join(self.out, image)

    def sorted_rows(self):
        return [self.rows[key] for key in sorted(self.rows, key=lambda k: (STYLES.index(k[0]), k[1]))]


def add_files(collector, style, pattern, prefix):
    paths = sorted(glob.glob(pattern))
    if not paths:
        sys.exit(f"make_emoji: nothing matches {pattern}; run fetch_debs.sh first")
    for path in paths:
        code = code_of(os.path.basename(path)[len(prefix):-len(".png")])
        target = collector.path_for(code, style)
        if target:
            shutil.copyfile(path, target)


def glyphs_by_code(font):
    """code -> glyph name, for single characters and for the sequences that the font joins into one glyph."""
    characters = font.getBestCmap()
    glyphs = {f"{character:x}": glyph for character, glyph in characters.items()}
    character_of = {}
    for character in sorted(characters):
        character_of.setdefault(characters[character], character)
    for lookup in font["GSUB"].table.LookupList.Lookup:
        for table in lookup.SubTable:
            table = getattr(table, "ExtSubTable", table)
            for first, ligatures in (getattr(table, "ligatures", None) or {}).items():
                for ligature in ligatures:
                    parts = [first] + ligature.Component
                    if all(part in character_of for part in parts):
                        code = code_of("-".join(f"{character_of[part]:x}" for part in parts))
                        glyphs.setdefault(code, ligature.LigGlyph)
    return glyphs


def add_noto_font(collector, packages):
    font = TTFont(only(f"{packages}/fonts-noto-color-emoji/**/NotoColorEmoji.ttf"))
    pictures = font["CBDT"].strikeData[0]
    for code, glyph in sorted(glyphs_by_code(font).items()):
        picture = getattr(pictures.get(glyph), "imageData", None)
        target = collector.path_for(code, "noto_font") if picture else None
        if target:
            with open(target, "wb") as file:
                file.write(picture)


def add_symbola(collector, packages):
    path = only(f"{packages}/fonts-symbola/**/Symbola*.ttf")
    characters = TTFont(path).getBestCmap()
    pen = ImageFont.truetype(path, 56)
    for code in sorted(collector.concepts):
        if "-" in code or int(code, 16) not in characters or int(code, 16) < 0x2000:
            continue
        target = collector.path_for(code, "symbola")
        if target:
            draw_centred(chr(int(code, 16)), pen).save(target)


def draw_centred(character, pen):
    image = Image.new("L", (SYMBOLA_SIDE, SYMBOLA_SIDE), 255)
    draw = ImageDraw.Draw(image)
    left, top, right, bottom = draw.textbbox((0, 0), character, font=pen)
    x = (SYMBOLA_SIDE - (right - left)) // 2 - left
    y = (SYMBOLA_SIDE - (bottom - top)) // 2 - top
    draw.text((x, y), character, font=pen, fill=0)
    return image


def split(rows):
    """(train, val): see the module's text."""
    styles = collections.defaultdict(set)
    for row in rows:
        styles[row["concept"]].add(row["style"])
    testable = sorted(c for c, seen in styles.items() if "emojione" in seen and len(seen) >= 3)
    held_out = set(testable[::5])
    val = [r for r in rows if r["style"] == "emojione" and r["concept"] in held_out]
    train = [r for r in rows if r["style"] != "emojione" or r["concept"] not in held_out]
    return train, val


def write_lines(path, rows):
    with open(path, "w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__.split("\n\n")[1])
    packages, out = sys.argv[1:]
    shutil.rmtree(os.path.join(out, "images"), ignore_errors=True)
    for style in STYLES:
        os.makedirs(os.path.join(out, "images", style))

    collector = Collector(read_concepts(packages), out)
    add_files(collector, "emojione", f"{packages}/ruby-gemojione/{GEMS}/*/assets/png/*.png", "")
    add_files(collector, "noto", f"{packages}/ruby-tanuki-emoji/{GEMS}/*/app/assets/images/tanuki_emoji/emoji_u*.png", "emoji_u")
    add_noto_font(collector, packages)
    add_symbola(collector, packages)

    rows = collector.sorted_rows()
    train, val = split(rows)
    write_lines(os.path.join(out, "train_pairs.jsonl"), train)
    write_lines(os.path.join(out, "val_pairs.jsonl"), val)
    write_lines(os.path.join(out, "train_images.jsonl"), [{"image": r["image"]} for r in train])

    def counts(key):
        return ", ".join(f"{k} {n}" for k, n in sorted(collections.Counter(r[key] for r in rows).items()))

    print(f"emoji: {len(rows)} pictures of {len({r['concept'] for r in rows})} concepts: {len(train)} train, {len(val)} val")
    print(f"emoji: styles: {counts('style')}")
    print(f"emoji: categories: {counts('category')}")


if __name__ == "__main__":
    main()
