"""Charts as SVG: values in, markup out.

Colours come from the page's style sheet, so they follow light and dark.
"""

from collections.abc import Mapping, Sequence
from itertools import chain

from markupsafe import Markup

LEFT = 72
"""Pixels of the labels' column."""
WIDTH = 440
"""Pixels of a drawing."""
RIGHT = 60
"""Pixels at the end of a bar's row, where its figure has room."""
ROW = 26
"""Pixels of a bar's row, from top to bottom."""
LEGIBLE = 28
"""Pixels that a part of a bar needs for its count to stand in it."""
TALL = 180
"""Pixels of a chart of lines, from top to bottom, without what is written below it."""
AXIS = 40
"""Pixels of the column in which its vertical axis is labelled."""
SERIES = 6
"""Line styles that the style sheet knows, s0 to s5."""
Point = tuple[float, float]
Bar = tuple[str, float | None, float | None, float | None]
"""Label, value, and the ends of its interval."""
Drawing = tuple[str, Sequence[Bar], Sequence[float | None]]
"""Title, bars, and a mark for each of them: a second value of its row, drawn as a diamond."""


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
            path = f"M{_x(low):.1f} {y + 3}v10m0 -5H{_x(high):.1f}m0 -5v10"
            parts.append(Markup('<path class="interval" d="{}"/>').format(path))
        end = value if high is None else high
        parts.append(_text(_x(end) + 6, y + 13, f"{value:.3f}", "value"))
    return parts


def stacked(rows: Sequence[tuple[str, Mapping[str, int]]], title: str) -> Markup:
    """One bar per row whose parts, named like the style sheet's classes, fill it."""
    rect = Markup('<rect class="{}" x="{:.1f}" y="{}" width="{:.1f}" height="16">{}</rect>')
    parts = []
    for place, (label, counts) in enumerate(rows):
        y = place * ROW + 4
        x = float(LEFT)
        parts.append(_label(label, y))
        total = sum(counts.values())
        for name, count in counts.items():
            if not count:
                continue
            width = (WIDTH - LEFT - RIGHT) * count / total
            tip = Markup("<title>{}: {} of {}</title>").format(name, count, total)
            parts.append(rect.format(name, x, y, width, tip))
            if width > LEGIBLE:
                parts.append(_text(x + 4, y + 13, str(count), "inside"))
            x += width
    return _svg(parts, title, len(rows) * ROW + 8)


def lines(
    series: Mapping[str, Sequence[Point]], title: str, span: tuple[float, float] | None = None
) -> Markup:
    """Curves over training steps.

    `span` fixes the vertical axis. Series without points are left out.
    """
    drawn = {name: points for name, points in series.items() if points}
    every = list(chain.from_iterable(drawn.values()))
    values = [value for _, value in every]
    low, high = span or (min(values, default=0.0), max(values, default=1.0))
    if high <= low:
        high = low + 1.0
    last = max((step for step, _ in every), default=1.0) or 1.0

    def height(value: float) -> float:
        return 10 + (TALL - 20) * (high - value) / (high - low)

    def place(point: Point) -> str:
        step, value = point
        x = AXIS + (WIDTH - AXIS - 10) * step / last
        return f"{x:.1f} {height(value):.1f}"

    parts = []
    for quarter in range(5):
        value = low + (high - low) * quarter / 4
        y = height(value)
        parts.append(Markup('<path class="grid" d="M{} {:.1f}H{}"/>').format(AXIS, y, WIDTH - 10))
        parts.append(_text(AXIS - 6, y + 4, f"{value:.2f}", "end"))
    spoken = []
    for number, (name, points) in enumerate(drawn.items()):
        dots = "M" + "L".join(place(point) for point in points)
        parts.append(Markup('<path class="line s{}" d="{}"/>').format(number % SERIES, dots))
        parts += _key(number, name)
        spoken.append(f"{name} from {points[0][1]:.3f} to {points[-1][1]:.3f}")
    parts.append(_text(AXIS, TALL + 10, "step 0"))
    parts.append(_text(WIDTH - 10, TALL + 10, f"step {last:.0f}", "end"))
    return _svg(parts, f"{title}: {'; '.join(spoken)}", TALL + 40)


def _key(number: int, name: str) -> list[Markup]:
    """What the line of a series looks like, below the chart."""
    x = AXIS + number * 130
    line = Markup('<path class="line s{}" d="M{} {}h22"/>').format(number % SERIES, x, TALL + 28)
    return [line, _text(x + 28, TALL + 32, name)]


SHEET = (
    "svg{background:#fff}text{font:12px system-ui,sans-serif;fill:#1f2328}.end{text-anchor:end}\n"
    ".middle{text-anchor:middle}.value,.title{font-weight:600}.grid{stroke:#dcd9d0;fill:none}.bar{fill:#9cc3dd}\n"
    ".interval{stroke:#1f2328;stroke-width:1.5;fill:none}.mark{fill:#c4583c}"
)
"""The style of a file that stands alone, where no page has a style sheet."""
LETTER = 6.2
"""Pixels of a letter, roughly, in a label of that style."""


def sheet(drawings: Sequence[Drawing]) -> Markup:
    """Titled bars, one set below the other, as an SVG file that stands alone."""
    parts = [Markup("<style>{}</style>").format(Markup(SHEET))]
    y = 0
    left = _longest_label(drawings) * LETTER
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
    wide = left + WIDTH - LEFT + 32
    tall = max(y, 1)
    head = Markup('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {:.0f} {}">')
    return head.format(wide, tall) + Markup("").join(parts) + Markup("</svg>\n")


def _longest_label(drawings: Sequence[Drawing]) -> int:
    longest = 0
    for _, rows, _ in drawings:
        for label, *_ in rows:
            longest = max(longest, len(label))
    return longest


def _scale(rows: int) -> Markup:
    """Lines at 0, 0.25, 0.5, 0.75 and 1, with their numbers below."""
    parts = []
    for quarter in range(5):
        x = _x(quarter / 4)
        parts.append(Markup('<path class="grid" d="M{:.1f} 0V{}"/>').format(x, rows * ROW + 4))
        parts.append(_text(x, rows * ROW + 18, f"{quarter / 4:g}", "middle"))
    return Markup("").join(parts)


def _x(value: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * value


def _label(text: str, y: float) -> Markup:
    return _text(LEFT - 8, y + 13, text, "end")


def _text(x: float, y: float, text: str, kind: str = "") -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}">{}</text>').format(kind, x, y, text)


def _svg(parts: Sequence[Markup], title: str, height: float) -> Markup:
    head = Markup('<svg role="img" viewBox="0 0 {} {}" aria-label="{}">').format(
        WIDTH, height, title
    )
    return head + Markup("").join(parts) + Markup("</svg>")
