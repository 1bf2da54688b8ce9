"""Figures of an ablation as SVG: lines with bands, and groups of bars. Plain text, no library, the same bytes for the same numbers."""
import html
import math

WIDTH, HEIGHT = 760, 460
LEFT, RIGHT, TOP, BOTTOM = 70, 210, 44, 54
COLOURS = ("#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#0891b2", "#be185d", "#4d7c0f", "#475569", "#92400e", "#1e3a8a", "#881337")


def ticks(low, high, count=6):
    """Round numbers that span [low, high]."""
    span = high - low or abs(high) or 1.0
    step = 10 ** math.floor(math.log10(span / count))
    step *= next(m for m in (1, 2, 5, 10) if span / (step * m) <= count)
    first = math.ceil(low / step - 1e-9)
    return [n * step for n in range(first, math.floor(high / step + 1e-9) + 1)]


def number(value):
    return f"{value:.4g}"


class Figure:
    def __init__(self, title, x_title, y_title):
        self.title, self.x_title, self.y_title = title, x_title, y_title
        self.parts, self.legend = [], []

    def scale(self, xs, ys):
        margin = 0.04 * (max(ys) - min(ys) or 1.0)
        self.x0, self.x1 = min(xs), max(xs) if max(xs) > min(xs) else min(xs) + 1
        self.y0, self.y1 = min(ys) - margin, max(ys) + margin

    def x(self, value):
        return LEFT + (value - self.x0) / (self.x1 - self.x0) * (WIDTH - LEFT - RIGHT)

    def y(self, value):
        return HEIGHT - BOTTOM - (value - self.y0) / (self.y1 - self.y0) * (HEIGHT - TOP - BOTTOM)

    def text(self, x, y, text, extra=""):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" {extra}>{html.escape(str(text))}</text>')

    def axes(self, with_x=True):
        for value in ticks(self.y0, self.y1):
            y = self.y(value)
            self.parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
            self.text(LEFT - 6, y + 4, number(value), 'text-anchor="end"')
        for value in ticks(self.x0, self.x1) if with_x else ():
            self.text(self.x(value), HEIGHT - BOTTOM + 18, number(value), 'text-anchor="middle"')
        self.parts.append(f'<path d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}" stroke="#333" fill="none"/>')

    def line(self, name, colour, points, low=None, high=None):
        """points [(x, y)]; low and high [(x, y)] bound a band."""
        if low:
            edge = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in high + low[::-1])
            self.parts.append(f'<polygon points="{edge}" fill="{colour}" opacity="0.15"/>')
        path = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        self.legend.append((name, colour))

    def bar(self, x, width, value, colour):
        top, zero = self.y(value), self.y(0)
        self.parts.append(f'<rect x="{x:.1f}" y="{top:.1f}" width="{width:.1f}" height="{max(zero - top, 0):.1f}" fill="{colour}"/>')

    def svg(self):
        for row, (name, colour) in enumerate(self.legend):
            y = TOP + 8 + 18 * row
            self.parts.append(f'<rect x="{WIDTH - RIGHT + 14}" y="{y - 5}" width="12" height="4" fill="{colour}"/>')
            self.text(WIDTH - RIGHT + 32, y, name)
        self.text(LEFT, 24, self.title, 'font-size="15" font-weight="bold"')
        self.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, self.x_title, 'text-anchor="middle"')
        middle = (TOP + HEIGHT - BOTTOM) / 2
        self.text(16, middle, self.y_title, f'text-anchor="middle" transform="rotate(-90 16 {middle:.1f})"')
        return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">\n'
                f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>\n' + "\n".join(self.parts) + "\n</svg>\n")


def lines(title, x_title, y_title, series):
    """series: name -> curves [(x, y), ...], one a seed; drawn as their mean with the band from lowest to highest."""
    drawn = {name: [c for c in curves if c] for name, curves in series.items()}
    points = [p for curves in drawn.values() for curve in curves for p in curve]
    if not points:
        return None
    figure = Figure(title, x_title, y_title)
    figure.scale([x for x, _ in points], [y for _, y in points])
    figure.axes()
    for row, (name, curves) in enumerate(drawn.items()):
        steps = list(zip(*curves))  # seeds are cut at the shortest
        if steps:
            at = [step[0][0] for step in steps]
            ys = [[y for _, y in step] for step in steps]
            figure.line(name, COLOURS[row % len(COLOURS)], [(x, sum(y) / len(y)) for x, y in zip(at, ys)],
                        [(x, min(y)) for x, y in zip(at, ys)], [(x, max(y)) for x, y in zip(at, ys)])
    return figure.svg()


def bars(title, y_title, groups):
    """groups: cell -> {name: value}; one colour a name."""
    names = sorted({name for values in groups.values() for name in values})
    heights = [value for values in groups.values() for value in values.values()]
    if not heights:
        return None
    figure = Figure(title, "", y_title)
    figure.scale([0, len(groups)], [0] + heights)
    figure.y0 = 0
    figure.axes(with_x=False)
    for column, (cell, values) in enumerate(groups.items()):
        room = figure.x(column + 1) - figure.x(column)
        for row, name in enumerate(names):
            if name in values:
                width = 0.8 * room / len(names)
                figure.bar(figure.x(column) + 0.1 * room + row * width, width * 0.9, values[name], COLOURS[row % len(COLOURS)])
        figure.text(figure.x(column) + room / 2, HEIGHT - BOTTOM + 18 + 13 * (column % 2), cell, 'text-anchor="middle"')
    figure.legend = [(name, COLOURS[row % len(COLOURS)]) for row, name in enumerate(names)]
    return figure.svg()
