"""Battle for Wesnoth's unit pictures with what the game itself says of them, from Debian's wesnoth-1.16-data.

A unit's definition (a .cfg file in the game's markup, WML) names its pictures by what they show: animations for standing,
attacking with a named weapon, dying, and portraits. Everything told here comes from those fields; nothing is guessed from pixels.
"""
import glob
import os
import re

ACTIONS = {
    "standing": "standing", "idle": "idle", "movement": "walking", "attack": "attacking", "defend": "defending itself",
    "death": "dying", "victory": "cheering", "leading": "leading", "healing": "healing", "recruit": "arriving",
    "recruiting": "recruiting", "levelin": "arriving", "levelout": "leaving", "teleport": "teleporting",
    "pre_movement": "starting to walk", "post_movement": "stopping", "draw_weapon": "drawing its weapon",
    "sheath_weapon": "putting its weapon away", "extra": "moving",
}
PICTURE = r"\.(?:png|jpg|webp)"


def article(words):
    return ("an " if words[:1].lower() in "aeiou" else "a ") + words


def blocks(tag, text):
    return re.findall(rf"\[{tag}\](.*?)\[/{tag}\]", text, re.S)


def field(block, key):
    """The first value of a key, or None: key=value, key="value" or key=_"translated value"."""
    match = re.search(rf'^\s*{key}\s*=\s*_?\s*"?([^"\n]*)"?', block, re.M)
    return match.group(1) if match else None


def expand(name):
    """Every file of 'a-[1~3].png' or 'a-[1,5*2].png': ranges may fall, a leading 0 keeps the digits, '*' repeats."""
    match = re.search(r"\[([0-9,~*]+)\]", name)
    if not match:
        return [name]
    numbers = []
    for part in match.group(1).split(","):
        first, _, last = part.split("*")[0].partition("~")
        if first and last:
            step = 1 if int(last) >= int(first) else -1
            digits = len(first) if first.startswith("0") else 0
            numbers += [str(n).zfill(digits) for n in range(int(first), int(last) + step, step)]
        elif first:
            numbers.append(first)
    return [whole for n in numbers for whole in expand(name[:match.start()] + n + name[match.end():])]


class Units:
    """Collects pictures, each once, by the first thing said of it."""

    def __init__(self, package):
        games = os.path.join(package, "usr/share/games/wesnoth/1.16")
        self.data = os.path.join(games, "data")
        self.folders = [f"{self.data}/core/images"] + sorted(glob.glob(f"{self.data}/campaigns/*/images")) + \
            sorted(glob.glob(f"{self.data}/multiplayer/*/images")) + [f"{games}/images"]
        self.pictures = {}
        self.n_units = 0

    def find(self, name, definition):
        campaign = re.search(r"/campaigns/([^/]+)/", definition)
        own = [f"{self.data}/campaigns/{campaign.group(1)}/images"] if campaign else []
        for folder in own + self.folders:
            path = os.path.normpath(f"{folder}/{name}")
            if os.path.isfile(path):
                return path
        return None

    def add(self, names, unit, action="", weapon=None, facing=""):
        for name in expand(re.sub(rf"({PICTURE}).*$", r"\1", names)):  # times and filters follow the name
            path = self.find(name, unit["definition"])
            if path and path not in self.pictures:
                self.pictures[path] = {**unit, "path": path, "action": action, "weapon": weapon, "facing": facing,
                                       "is_portrait": "portraits/" in path}

    def add_animations(self, text, unit, attacks):
        for tag, body in re.findall(r"\[(\w+?)_anim\](.*?)\[/\1_anim\]", text, re.S):
            weapon = None
            if tag == "attack":
                filters = blocks("filter_attack", body)
                weapon = attacks.get(field(filters[0], "name")) if filters else None
            for part in body.split("[else]"):
                facing = "north" if re.search(r"direction\s*=\s*n", part) or \
                    (re.search(r"-n-|-n\.png", part) and "-s-" not in part) else ""
                for names in re.findall(rf'image(?:_diagonal)?\s*=\s*"?([^"\n]+{PICTURE}[^"\n]*)', part):
                    for name in names.split(",units/"):
                        name = name if name.startswith(("units", "portraits")) else "units/" + name
                        self.add(name, unit, ACTIONS.get(tag, tag.replace("_", " ")), weapon, facing)

    def add_unit(self, text, definition):
        name = field(text, "name")
        if not name:
            return
        self.n_units += 1
        described = re.search(r'^\s*description\s*=\s*_\s*"(.*?)"\s*(?:\+|$)', text, re.M | re.S)
        description = re.sub(r"\s+", " ", described.group(1)).strip() if described else ""
        unit = {
            "definition": definition, "unit": name.split("^")[-1], "race": field(text, "race") or "other",
            "description": "" if description.startswith(("{", "<")) else description,
            "level": field(text, "level") or "", "alignment": field(text, "alignment") or "",
        }
        attacks = {}
        for attack in blocks("attack", text):
            told = field(attack, "description") or field(attack, "name")
            attacks[field(attack, "name")] = (told.lower(), field(attack, "range"), field(attack, "type"))
        self.add_animations(text, unit, attacks)  # first: a frame of an animation says what is done
        base = field(text, "image")
        if base:
            self.add(base, unit)
        for names in re.findall(r'image(?:_icon)?\s*=\s*"?(units/[^"\n]+\.(?:png|webp)[^"\n]*)', text) + \
                re.findall(rf'(?:profile|small_profile)\s*=\s*"?(portraits/[^"\n]+{PICTURE})', text):
            self.add(names, unit)


def caption(picture):
    """'a human Fighter attacking with a sword (melee, blade)'"""
    unit, race = picture["unit"], picture["race"].replace("_", " ")
    text = article(unit if race == "other" or race.lower() in unit.lower() else f"{race} {unit}")
    if picture["action"]:
        text += " " + picture["action"]
    if picture["weapon"]:
        name, reach, damage = picture["weapon"]
        text += f" with {article(name)} ({reach}, {damage})"
    if picture["facing"]:
        text += f", facing {picture['facing']}"
    return ("a portrait of " if picture["is_portrait"] else "") + text


def read_pictures(package):
    """(pictures in the order of the definitions, number of units)"""
    units = Units(package)
    for definition in sorted(glob.glob(f"{units.data}/**/units/**/*.cfg", recursive=True)):
        with open(definition, encoding="utf-8", errors="replace") as file:
            text = re.sub(r"^\s*#.*$", "", file.read(), flags=re.M)
        for unit in blocks("unit_type", text):
            units.add_unit(unit, definition)
    return list(units.pictures.values()), units.n_units
