"""Pictures with words from Debian packages whose files name or describe them: each reader yields (source, picture, text).

A reader gets the folder of unpacked packages and yields nothing where its package is missing. Texts are as their authors wrote them.
"""
import glob
import html
import json
import os
import re
import xml.etree.ElementTree as xml

import wesnoth

GAMES = "usr/share/games"


def words_of(path):
    """'greenTree_02.png' -> 'green tree'"""
    name = re.sub(r"\.\w+$", "", os.path.basename(path))
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return re.sub(r"\s+", " ", re.sub(r"[_\-.]+|\d+", " ", name)).strip().lower()


def clean(text):
    """Text of marked-up text."""
    return re.sub(r"\s+", " ", html.unescape(html.unescape(re.sub(r"<[^>]+>", " ", text)))).strip()


def found(packages, pattern):
    return sorted(glob.glob(f"{packages}/{pattern}", recursive=True))


def tuxpaint(packages):
    """A stamp's first line of text is its English caption."""
    for path in found(packages, "tuxpaint-stamps-default/usr/share/tuxpaint/stamps/**/*.txt"):
        picture = path[:-len(".txt")] + ".png"
        if os.path.exists(picture):
            with open(path, encoding="utf-8", errors="replace") as file:
                yield "tuxpaint", picture, file.readline().strip()


def of_openclipart(text):
    """(title, description, keywords) of an SVG's Dublin Core, without what it says of its makers."""
    work = re.search(r"<(?:cc:)?Work\b.*?</(?:cc:)?Work>", text, re.S)
    text = re.sub(r"<dc:(?:creator|rights|publisher)>.*?</dc:(?:creator|rights|publisher)>", "", work.group(0) if work else text, flags=re.S)

    def part(name):
        match = re.search(rf"<dc:{name}[^>/]*>(.*?)</dc:{name}>", text, re.S)
        return match.group(1) if match else ""
    keywords = [clean(word).replace("_", " ").lower() for word in re.findall(r"<rdf:li[^>/]*>(.*?)</rdf:li>", part("subject"), re.S)]
    return clean(part("title")), clean(part("description")), keywords


USELESS = {"hash", "", "clip art", "clipart", "theme", "images", "image", "media", "externalsource", "unsorted", "png", "svg", "inkscape",
           "public domain", "openclipart"}


def openclipart(packages):
    """Title, or the file's name where a collection shares the title; description; up to five keywords that say something new."""
    png = f"{packages}/openclipart-png/usr/share/openclipart/png"
    told, titles = [], {}
    for picture in found(packages, "openclipart-png/usr/share/openclipart/png/**/*.png"):
        if os.path.islink(picture):
            continue
        svg = f"{packages}/openclipart-svg/usr/share/openclipart/svg/{os.path.relpath(picture, png)[:-4]}.svg"
        text = ""
        if os.path.exists(svg):
            with open(svg, encoding="utf-8", errors="replace") as file:
                text = file.read()
        told.append((picture, *of_openclipart(text)))
        titles[told[-1][1].lower()] = titles.get(told[-1][1].lower(), 0) + 1
    for picture, title, description, keywords in told:
        is_own = title and titles[title.lower()] <= 8 and "http" not in title and len(title) < 120
        caption = (title.replace("_", " ") if is_own else words_of(picture)).rstrip(".")
        if 1 < len(description.split()) and len(description) < 300 and not re.search("@|http", description):
            caption += ". " + description.rstrip(".")
        known, kept = set(re.findall("[a-z]+", caption.lower())), []
        for word in keywords:
            letters = set(re.findall("[a-z]+", word))
            if word not in USELESS and len(word) <= 30 and not re.search("@|http", word) and not letters <= known and len(kept) < 5:
                kept.append(word)
                known |= letters
        yield "openclipart", picture, ". ".join([caption, ", ".join(kept)] if kept else [caption])


def unit_art(packages):
    root = f"{packages}/wesnoth-1.16-data"
    for picture in wesnoth.read_pictures(root)[0] if os.path.isdir(root) else ():
        yield "wesnoth", picture["path"], wesnoth.caption(picture)


def art4apps(packages):
    for picture in found(packages, f"pysiogame/{GAMES}/pysiogame/res/images/art4apps/*/*.jpg"):
        yield "art4apps", picture, words_of(picture)


def endless_sky(packages):
    """Planets by their landscape, outfits and ships by their picture, each with the first sentence of its description."""
    root = f"{packages}/endless-sky-data/{GAMES}/endless-sky"
    for path in sorted(glob.glob(f"{root}/data/*.txt")):
        with open(path, encoding="utf-8", errors="replace") as file:
            blocks = re.split(r"\n(?=\S)", file.read())
        for block in blocks:
            head = re.match(r'(planet|outfit|ship)\s+(?:"([^"]+)"|`([^`]+)`|(\S+))', block)
            said = re.search(r'^\tdescription\s+(?:`([^`]*)`|"([^"]*)")', block, re.M)
            picture = re.search(r'^\t\t?(?:landscape|thumbnail|sprite)\s+"?([^"\n]+)', block, re.M)
            if not (head and said and picture):
                continue
            name = head.group(2) or head.group(3) or head.group(4)
            sentence = re.split(r"(?<=[.!?])\s", (said.group(1) or said.group(2)).strip())[0]
            for ending in (".jpg", ".png", "-0.png", "=0.png", "+0.png", "~0.png"):
                file_name = f"{root}/images/{picture.group(1)}{ending}"
                if os.path.isfile(file_name):
                    yield "endless-sky", file_name, f"{head.group(1)} {name}: {sentence}"
                    break


def flags_and_maps(packages):
    root = f"{packages}/kgeography-data/usr/share/kgeography"
    seen = set()
    for path in sorted(glob.glob(f"{root}/*.kgm")):
        try:
            tree = xml.parse(path)
        except xml.ParseError:
            continue
        yield "kgeography", f"{root}/{tree.findtext('mapFile')}", \
            f"map of {tree.findtext('name')} by {(tree.findtext('divisionsName') or 'division').lower()}"
        for division in tree.iter("division"):
            flag, name, capital = (division.findtext(key) for key in ("flag", "name", "capital"))
            if flag and flag not in seen:
                seen.add(flag)
                yield "kgeography", f"{root}/flags/{flag}", f"flag of {name}" + (f", capital {capital}" if capital else "")


def country_flags(packages):
    names = f"{packages}/unicode-cldr-core/usr/share/unicode/cldr/common/main/en.xml"
    if os.path.exists(names):
        territories = {e.get("type"): e.text for e in xml.parse(names).iter("territory") if not e.get("alt")}
        for picture in found(packages, "iso-flags-png-320x240/usr/share/iso-flags-png-320x240/*.png"):
            name = territories.get(os.path.basename(picture)[:-4].upper())
            if name:
                yield "iso-flags", picture, f"flag of {name}"


def oxygen(packages):
    for picture in found(packages, "oxygen-icon-theme/usr/share/icons/oxygen/base/128x128/*/*.png"):
        if not os.path.islink(picture):
            yield "oxygen", picture, f"icon: {words_of(picture)}"


def constellations(packages):
    """Drawings of constellations as peoples see them."""
    for path in found(packages, "stellarium-data/usr/share/stellarium/skycultures/*/constellationsart.fab"):
        folder, names = os.path.dirname(path), {}
        if os.path.exists(f"{folder}/constellation_names.eng.fab"):
            with open(f"{folder}/constellation_names.eng.fab", encoding="utf-8", errors="replace") as file:
                for match in re.finditer(r'^\.?(\S+)\s+"([^"]*)"\s+_\("([^"]*)"', file.read(), re.M):
                    names[match.group(1)] = [match.group(2)] + [match.group(3)] * (match.group(3) not in ("", match.group(2)))
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                parts = line.split()
                if len(parts) > 2 and parts[0] in names:
                    people = os.path.basename(folder).replace("_", " ")
                    yield "stellarium", os.path.join(folder, parts[1]), f"{people} constellation {', '.join(names[parts[0]])}"


def nebulae(packages):
    root = f"{packages}/stellarium-data/usr/share/stellarium/nebulae/default"
    names = {}
    if os.path.exists(f"{root}/names.dat"):
        with open(f"{root}/names.dat", encoding="utf-8") as file:
            for match in re.finditer(r'^(\S+)\s+(\S+)\s+_\("([^"]+)"\)', file.read(), re.M):
                names.setdefault((match.group(1) + match.group(2)).lower(), match.group(3))
    for picture in sorted(glob.glob(f"{root}/*.png")):
        name = re.sub(r"^n(?=\d)", "ngc", os.path.basename(picture)[:-4].lower())
        code = re.match(r"(ngc|ic|m|sh2|abell|barnard|c|vdb|ugc|ced|lbn|ldn|arp|pgc)[-_ ]?(\d+)", name)
        known = names.get(code.group(1) + code.group(2), "") if code else ""
        yield "stellarium", picture, f"deep sky: {known or words_of(picture) or name}"


def emoji_extras(packages, known):
    """Noto's flags, skin tones and all else that the demo's set leaves out, by Unicode's names; never another drawing style, so that no
    near copy of a held-out drawing comes in. known: codes of the demo's set."""
    from fontTools.ttLib import TTFont
    import make_emoji
    fonts = found(packages, "fonts-noto-color-emoji/**/NotoColorEmoji.ttf")
    root = f"{packages}/unicode-cldr-core/usr/share/unicode/cldr/common"
    if not fonts or not os.path.isdir(root):
        return
    names = {}
    for folder in ("annotations", "annotationsDerived"):
        for entry in xml.parse(f"{root}/{folder}/en.xml").iter("annotation"):
            if entry.get("type") == "tts" and entry.text:
                names[make_emoji.code_of("-".join(f"{ord(c):x}" for c in entry.get("cp")))] = entry.text
    font = TTFont(fonts[0])
    pictures = font["CBDT"].strikeData[0]
    for code, glyph in sorted(make_emoji.glyphs_by_code(font).items()):
        data = getattr(pictures.get(glyph), "imageData", None)
        if data and code in names and code not in known:
            yield "emoji", data, names[code]


def demo(emoji):
    """The demo's training pairs; its held-out drawings stay out."""
    with open(f"{emoji}/train_pairs.jsonl", encoding="utf-8") as file:
        for row in map(json.loads, file):
            yield "emoji", os.path.join(emoji, row["image"]), row["text"]


READERS = (tuxpaint, openclipart, unit_art, art4apps, endless_sky, flags_and_maps, country_flags, oxygen, constellations, nebulae)
