#!/usr/bin/python3
"""Takes the README's figure out of a report: drawings with their experts, the best five guesses for each caption's first word, and
the curves of losses and accuracies.

usage: compose.py REPORT.html OUT.html light|dark
"""
import re
import sys

WIDTH = 1120


def parts(pattern, text):
    return re.findall(pattern, text, flags=re.S)


def main():
    if len(sys.argv) != 4 or sys.argv[3] not in ("light", "dark"):
        sys.exit(__doc__.split("\n\n")[1])
    page = open(sys.argv[1], encoding="utf-8").read()
    style = parts(r"<style>.*?</style>", page)[0]
    pictures = parts(r'<svg class="defs".*?</svg>', page)[0]
    charts = parts(r'<figure class="chart">.*?</figure>', page)[:2]
    routed = parts(r'<figure>.*?</figure>', parts(r'<div class="routed">\n(.*?)\n</div>', page)[0])
    guesses = [parts(r'<div class="place">(.*?)</div>', card)[0] for card in parts(r'<div class="card ex">.*?(?=<div class="card ex|</section>)', page)]
    columns = "".join(f'<div>{figure}<div class="place">{guess}</div></div>' for figure, guess in zip(routed, guesses))
    with open(sys.argv[2], "w", encoding="utf-8") as out:
        out.write(f"""<!DOCTYPE html><html lang="en" data-theme="{sys.argv[3]}"><head><meta charset="utf-8">{style}<style>
body{{width:{WIDTH}px;padding:20px 22px;font-size:14px}}.columns{{display:grid;grid-template-columns:repeat({len(routed)},1fr);gap:20px;
padding:16px 18px;margin-bottom:14px}}.columns svg{{width:100%;height:auto;display:block;border-radius:8px;background:#fff}}
.columns figcaption{{font-size:12px;color:var(--soft);margin:5px 0 10px}}.place li{{grid-template-columns:minmax(0,1fr) 36px 36px}}</style></head><body>{pictures}
<div class="card columns">{columns}</div><div class="two">{''.join(charts)}</div></body></html>
""")


if __name__ == "__main__":
    main()
