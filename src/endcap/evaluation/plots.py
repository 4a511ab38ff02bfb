"""Plots as inline SVG: dots with intervals, lines, bars. Text stays text, colours come from the page's style sheet."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

WIDTH = 720
ROW = 22
LEFT = 170  # room for names
RIGHT = 70  # room for values
N_COLOURS = 6  # classes s0 .. s5 of the style sheet


def nice_step(span: float, most: int = 5) -> float:
    """A step of 1, 2 or 5 times a power of ten that cuts ``span`` into at most ``most`` parts."""
    if span <= 0:
        return 1.0
    power = 10.0 ** len(str(int(span)))
    while power / 10 > span / most:
        power /= 10
    for factor in (0.1, 0.2, 0.5, 1.0):
        if power * factor >= span / most:
            return power * factor
    return power


def ticks(top: float) -> list[float]:
    """Round values from 0 up to ``top``."""
    step = nice_step(top)
    return [k * step for k in range(int(top / step + 1e-9) + 1)]


def svg(height: float, body: Sequence[str], label: str) -> str:
    """A picture of the common width with a text for readers that do not show it."""
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(label)}">'
        f"<title>{escape(label)}</title>{''.join(body)}</svg>"
    )


def text(x: float, y: float, content: str, anchor: str = "start", css: str = "") -> str:
    """A line of text."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{css}">{escape(content)}</text>'


def intervals(rows: Sequence[tuple[str, float, float, float]], label: str, strong: Sequence[str] = ()) -> str:
    """One row per name: a dot at the mean, a bar over the interval. Rows are (name, mean, low, high)."""
    top = max((high for *_, high in rows), default=0.0) or 1.0
    span = WIDTH - LEFT - RIGHT
    height = ROW * len(rows) + 28
    body = []
    for tick in ticks(top):
        x = LEFT + span * tick / top
        body.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height - 20}" class="grid"/>')
        body.append(text(x, height - 5, f"{tick:g}", "middle", "tick"))
    for k, (name, mean, low, high) in enumerate(rows):
        y = ROW * k + 14
        css = "s0" if name in strong else "s1"
        x0, x1, x = (LEFT + span * max(0.0, value) / top for value in (low, high, mean))
        body.append(text(LEFT - 8, y + 4, name, "end", "strong" if name in strong else ""))
        body.append(f'<line x1="{x0:.1f}" x2="{x1:.1f}" y1="{y}" y2="{y}" class="line {css}"/>')
        body.append(f'<circle cx="{x:.1f}" cy="{y}" r="4" class="dot {css}"/>')
        body.append(text(WIDTH - RIGHT + 8, y + 4, f"{mean:.4f}", "start", "tick"))
    return svg(height, body, label)


def lines(
    xs: Sequence[float], series: Sequence[tuple[str, Sequence[float]]], x_names: Sequence[str], label: str
) -> str:
    """Curves over common x positions, from zero; ``x_names`` are written under the first, middle and last."""
    top = max((value for _, values in series for value in values), default=0.0) or 1.0
    left, right, height, base = 50, 20, 260.0, 220.0
    first, span = min(xs), (max(xs) - min(xs)) or 1.0
    body = []
    for tick in ticks(top):
        y = base - (base - 12) * tick / top
        body.append(f'<line x1="{left}" x2="{WIDTH - right}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
        body.append(text(left - 6, y + 4, f"{tick:g}", "end", "tick"))

    def place(x: float, value: float) -> tuple[float, float]:
        return left + (WIDTH - left - right) * (x - first) / span, base - (base - 12) * value / top

    for k, (name, values) in enumerate(series):
        points = [place(x, value) for x, value in zip(xs, values, strict=True)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        body.append(f'<polyline points="{path}" class="curve s{k % N_COLOURS}"/>')
        body += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" class="dot s{k % N_COLOURS}"/>' for x, y in points]
        x = left + k * (WIDTH - left - right) / max(1, len(series))
        body.append(f'<rect x="{x:.1f}" y="{height - 12}" width="10" height="10" class="dot s{k % N_COLOURS}"/>')
        body.append(text(x + 14, height - 3, name))
    for k in sorted({0, len(xs) // 2, len(xs) - 1}):
        anchor = "start" if k == 0 else "end" if k == len(xs) - 1 else "middle"
        body.append(text(place(xs[k], 0)[0], base + 16, x_names[k], anchor, "tick"))
    return svg(height, body, label)


def bars(rows: Sequence[tuple[str, float]], label: str) -> str:
    """One bar per name, to the left of the middle when negative."""
    reach = max((abs(value) for _, value in rows), default=0.0) or 1.0
    middle, span = (LEFT + WIDTH - RIGHT) / 2, (WIDTH - RIGHT - LEFT) / 2
    height = ROW * len(rows) + 6
    body = [f'<line x1="{middle}" x2="{middle}" y1="0" y2="{height}" class="grid"/>']
    for k, (name, value) in enumerate(rows):
        y, width = ROW * k + 4, span * abs(value) / reach
        x = middle if value >= 0 else middle - width
        css = "s0" if value >= 0 else "s2"
        body.append(text(LEFT - 8, y + 12, name, "end"))
        body.append(f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="14" class="dot {css}"/>')
        body.append(text(WIDTH - RIGHT + 8, y + 12, f"{value:+.4f}", "start", "tick"))
    return svg(height, body, label)
