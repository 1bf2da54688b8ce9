"""A run's config as attributes: config.model.width. Defaults come from src/config/config.def, so a key is said once."""
import json
import re
from pathlib import Path
from types import SimpleNamespace

DEFINITIONS = Path(__file__).resolve().parents[2] / "src/config/config.def"
ROW = re.compile(r'^VLM_(INT|REAL|BOOL|TEXT|CHOICE|INTS|REALS|TEXTS)\((\w+), (\w+), ("(?:[^"\\]|\\.)*"|[^,]+),', re.M)
COMMENT = re.compile(r'("(?:[^"\\]|\\.)*")|//[^\n]*|/\*.*?\*/', re.S)


def defaults():
    sections = {}
    for kind, section, name, text in ROW.findall(DEFINITIONS.read_text()):
        value = json.loads(text)
        sections.setdefault(section, {})[name] = json.loads(value) if kind in ("INTS", "REALS", "TEXTS") else value
    return sections


def merge(sections, document, where):
    for section, values in document.items():
        if section == "include":
            continue
        for name, value in values.items():
            if name not in sections.get(section, {}):
                raise KeyError(f"{where}: {section}.{name} is not a key of {DEFINITIONS.name}")
            sections[section][name] = value


def read_json(path):
    return json.loads(COMMENT.sub(lambda match: match[1] or " ", Path(path).read_text()))


def apply_file(sections, path):
    document = read_json(path)
    include = document.get("include", [])
    for name in [include] if isinstance(include, str) else include:
        apply_file(sections, Path(path).parent / name)
    merge(sections, document, path)


def as_attributes(sections):
    config = SimpleNamespace(**{name: SimpleNamespace(**values) for name, values in sections.items()})
    config.model.hidden = config.model.hidden or 4 * config.model.width
    config.model.patches = (config.model.image_size // config.model.patch) ** 2
    return config


def load(path, overrides=()):
    """overrides: "section.key=value", the value as JSON or plain text."""
    sections = defaults()
    apply_file(sections, path)
    for text in overrides:
        key, value = text.split("=", 1)
        section, name = key.split(".")
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            pass
        merge(sections, {section: {name: value}}, text)
    return as_attributes(sections)


def parse(text, where):
    sections = defaults()
    merge(sections, json.loads(text), where)
    return as_attributes(sections)
