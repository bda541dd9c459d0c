"""Charts as SVG: values in, markup out. Colours come from the page's style sheet, so they follow
light and dark."""

from collections.abc import Mapping, Sequence

from markupsafe import Markup

LEFT, WIDTH, ROW = 72, 440, 26
"""Pixels: the labels' column, the drawing's width, and the height of a bar's row."""
SERIES = 6
"""Line styles that the style sheet knows, s0 to s5."""
Point = tuple[float, float]


Bar = tuple[str, float | None, float | None, float | None]
"""Label, value, and the ends of its interval."""


def bars(rows: Sequence[Bar], title: str) -> Markup:
    """Horizontal bars from 0 to 1 with intervals."""
    return _svg(_bars(rows), title, len(rows) * ROW + 22)


def _bars(rows: Sequence[Bar]) -> list[Markup]:
    parts = [_scale(len(rows))]
    for place, (label, value, low, high) in enumerate(rows):
        y = place * ROW + 4
        parts.append(_label(label, y))
        if value is None:
            parts.append(_text(LEFT + 4, y + 13, "no verdict"))
            continue
        parts.append(
            Markup('<rect class="bar" x="{}" y="{}" width="{:.1f}" height="16"/>').format(
                LEFT, y, _x(value) - LEFT
            )
        )
        if low is not None and high is not None:
            ends = _x(low), _x(high)
            path = f"M{ends[0]:.1f} {y + 3}v10m0 -5H{ends[1]:.1f}m0 -5v10"
            parts.append(Markup('<path class="interval" d="{}"/>').format(path))
        at = _x(high if high is not None else value) + 6
        parts.append(_text(at, y + 13, f"{value:.3f}", "value"))
    return parts


def stacked(rows: Sequence[tuple[str, Mapping[str, int]]], title: str) -> Markup:
    """One bar per row whose parts, named like the style sheet's classes, fill it."""
    parts = []
    for place, (label, counts) in enumerate(rows):
        y, x, total = place * ROW + 4, float(LEFT), sum(counts.values())
        parts.append(_label(label, y))
        for name, count in counts.items():
            width = (WIDTH - LEFT - 60) * count / total if total else 0.0
            if width:
                tip = Markup("<title>{}: {} of {}</title>").format(name, count, total)
                parts.append(
                    Markup(
                        '<rect class="{}" x="{:.1f}" y="{}" width="{:.1f}" height="16">{}</rect>'
                    ).format(name, x, y, width, tip)
                )
            if width > 28:
                parts.append(_text(x + 4, y + 13, str(count), "inside"))
            x += width
    return _svg(parts, title, len(rows) * ROW + 8)


def lines(
    series: Mapping[str, Sequence[Point]], title: str, span: tuple[float, float] | None = None
) -> Markup:
    """Curves over training steps; `span` fixes the vertical axis. Series without points are left
    out."""
    drawn = {name: points for name, points in series.items() if points}
    values = [y for points in drawn.values() for _, y in points]
    low, high = span or (min(values, default=0.0), max(values, default=1.0))
    high = high if high > low else low + 1.0
    last = max((x for points in drawn.values() for x, _ in points), default=1.0) or 1.0
    tall, left = 180, 40

    def place(point: Point) -> str:
        x = left + (WIDTH - left - 10) * point[0] / last
        return f"{x:.1f} {10 + (tall - 20) * (high - point[1]) / (high - low):.1f}"

    parts = []
    for step in range(5):
        value = low + (high - low) * step / 4
        y = 10 + (tall - 20) * (high - value) / (high - low)
        parts.append(Markup('<path class="grid" d="M{} {:.1f}H{}"/>').format(left, y, WIDTH - 10))
        parts.append(_text(left - 6, y + 4, f"{value:.2f}", "end"))
    for number, (name, points) in enumerate(drawn.items()):
        dots = "M" + "L".join(place(point) for point in points)
        parts.append(Markup('<path class="line s{}" d="{}"/>').format(number % SERIES, dots))
        parts.append(
            Markup('<path class="line s{}" d="M{} {}h22"/>').format(
                number % SERIES, left + number * 130, tall + 28
            )
        )
        parts.append(_text(left + 28 + number * 130, tall + 32, name))
    parts.append(_text(left, tall + 10, "step 0"))
    parts.append(_text(WIDTH - 10, tall + 10, f"step {last:.0f}", "end"))
    spoken = "; ".join(
        f"{name} from {points[0][1]:.3f} to {points[-1][1]:.3f}" for name, points in drawn.items()
    )
    return _svg(parts, f"{title}: {spoken}", tall + 40)


SHEET = """svg{background:#fff}text{font:12px system-ui,sans-serif;fill:#1f2328}.end{text-anchor:end}
.middle{text-anchor:middle}.value,.title{font-weight:600}.grid{stroke:#dcd9d0;fill:none}.bar{fill:#9cc3dd}
.interval{stroke:#1f2328;stroke-width:1.5;fill:none}.mark{fill:#c4583c}"""


def sheet(drawings: Sequence[tuple[str, Sequence[Bar], Sequence[float | None]]]) -> Markup:
    """Titled bars, one set below the other, as an SVG file that stands alone.

    A mark is a second value of its row, drawn as a diamond.
    """
    parts, y = [Markup("<style>{}</style>").format(Markup(SHEET))], 0
    left = max((len(row[0]) for _, rows, _ in drawings for row in rows), default=0) * 6.2
    for title, rows, marks in drawings:
        parts.append(_text(8, y + 22, title, "title"))
        inside = _bars(rows)
        for place, mark in enumerate(marks):
            if mark is not None:
                diamond = f"M{_x(mark):.1f} {place * ROW + 5}l7 7l-7 7l-7 -7z"
                inside.append(Markup('<path class="mark" d="{}"/>').format(diamond))
        moved = Markup('<g transform="translate({:.0f} {})">{}</g>')
        parts.append(moved.format(left - LEFT + 16, y + 34, Markup("").join(inside)))
        y += len(rows) * ROW + 76
    tall, wide = max(y, 1), left + WIDTH - LEFT + 32
    head = Markup('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {:.0f} {}">').format(
        wide, tall
    )
    return head + Markup("").join(parts) + Markup("</svg>\n")


def _scale(rows: int) -> Markup:
    """Lines at 0, 0.25, 0.5, 0.75 and 1, with their numbers below."""
    parts = []
    for quarter in range(5):
        x = _x(quarter / 4)
        parts.append(Markup('<path class="grid" d="M{:.1f} 0V{}"/>').format(x, rows * ROW + 4))
        parts.append(_text(x, rows * ROW + 18, f"{quarter / 4:g}", "middle"))
    return Markup("").join(parts)


def _x(value: float) -> float:
    return LEFT + (WIDTH - LEFT - 60) * value


def _label(text: str, y: float) -> Markup:
    return _text(LEFT - 8, y + 13, text, "end")


def _text(x: float, y: float, text: str, kind: str = "") -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}">{}</text>').format(kind, x, y, text)


def _svg(parts: Sequence[Markup], title: str, height: float) -> Markup:
    head = Markup('<svg role="img" viewBox="0 0 {} {}" aria-label="{}">').format(
        WIDTH, height, title
    )
    return head + Markup("").join(parts) + Markup("</svg>")
