#!/usr/bin/env python3
"""Curves of a run as one SVG, from its metrics.jsonl: losses and accuracies of each part, training and held out.
usage: plot_run.py RUN_FOLDER OUT.svg      Python's standard library only."""
import json
import math
import sys

PARTS = [("text", "words of texts", "#2a78d6"), ("image", "patches of images", "#d95f02"),
         ("pair_text", "words of pairs", "#1b9e77"), ("pair_image", "patches of pairs", "#c2378f")]
WIDTH, HEIGHT, LEFT, TOP, GAP = 400, 240, 56, 44, 60


def smooth(points, width):
    """Mean over a moving window of steps: a step sees few positions."""
    out, window = [], []
    for step, value in points:
        window = (window + [value])[-width:]
        out.append((step, sum(window) / len(window)))
    return out


def thin(points, most):
    return points[:: max(1, len(points) // most)] + points[-1:]


def ticks(low, high):
    """About five round numbers."""
    raw = (high - low) / 5
    step = 10 ** math.floor(math.log10(raw))
    step *= next(m for m in (1, 2, 5, 10) if m * step >= raw)
    return [low + i * step for i in range(12) if low + i * step <= high * (1 + 1e-9)]


def panel(records, key, title, unit, x0):
    rows, series = [], []
    for part, _, colour in PARTS:
        train = [(r["step"], r[f"{part}_{key}"] * unit) for r in records if r["kind"] == "train" and f"{part}_{key}" in r]
        held = [(r["step"], r[f"{part}_{key}"] * unit) for r in records if r["kind"] == "eval" and f"{part}_{key}" in r]
        if train:
            series.append((colour, thin(smooth(train, max(1, len(train) // 50)), 250), held))
    if not series:
        return ""
    values = [v for _, a, b in series for _, v in a + b]
    last = max(s for _, a, _ in series for s, _ in a)
    low, high = 0.0, max(values) * 1.05

    def at(step, value):
        return x0 + WIDTH * step / last, TOP + HEIGHT * (1 - (value - low) / (high - low))

    rows.append(f'<text x="{x0}" y="{TOP - 14}" class="title">{title}</text>')
    for tick in ticks(low, high):
        y = at(0, tick)[1]
        rows.append(f'<line x1="{x0}" x2="{x0 + WIDTH}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>'
                    f'<text x="{x0 - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for tick in ticks(0, last):
        rows.append(f'<text x="{at(tick, 0)[0]:.1f}" y="{TOP + HEIGHT + 18}" text-anchor="middle">{tick:g}</text>')
    for colour, train, held in series:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*p) for p in train))
        rows.append(f'<polyline points="{path}" stroke="{colour}" class="line"/>')
        rows += [f'<circle cx="{at(*p)[0]:.1f}" cy="{at(*p)[1]:.1f}" r="3.5" fill="{colour}" class="dot"/>' for p in held]
    return "\n".join(rows)


def main():
    run, out = sys.argv[1:3]
    records = [json.loads(line) for line in open(f"{run}/metrics.jsonl")]
    width, height = 2 * (WIDTH + LEFT) + GAP // 2 + 20, TOP + HEIGHT + 64
    legend = "".join(f'<rect x="{LEFT + i * 190}" y="{height - 20}" width="14" height="4" fill="{c}"/><text x="{LEFT + 20 + i * 190}" y="{height - 13}">{n}</text>'
                     for i, (_, n, c) in enumerate(PARTS))
    style = ("text{font:12px system-ui,sans-serif;fill:#444}.title{font-weight:600;font-size:13px}.grid{stroke:#8884;stroke-width:.6}"
             ".line{fill:none;stroke-width:1.8;stroke-linejoin:round}.dot{stroke:#fff;stroke-width:1}"
             "@media(prefers-color-scheme:dark){text{fill:#ccc}.dot{stroke:#111}}")
    body = panel(records, "loss", "loss (nats) by step: lines training, dots held out", 1, LEFT) + "\n" + \
        panel(records, "right", "masked positions right (%)", 100, LEFT + WIDTH + GAP)
    with open(out, "w") as f:
        f.write(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
                f"<style>{style}</style>\n{body}\n{legend}\n</svg>\n")


main()
