"""Pictures of numbers as SVG, drawn here: no script, no style of its own, colours by class. Pure."""

from collections.abc import Sequence

from markupsafe import Markup, escape

_BAR = Markup('<rect class="{tone}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{rx:g}"></rect>')


def bars(values: Sequence[int], title: str, tone: str = "busy", height: int = 48) -> Markup:
    """Return one bar for each value, the highest as high as the picture; ``title`` says in words what it shows."""
    step, most = 10, max([*values, 1])
    width = max(1, step * len(values))
    parts = []
    for number, value in enumerate(values):
        tall = max(2.0, value / most * height) if value else 1.0
        parts.append(
            _BAR.format(
                tone=f"bar {tone}" if value else "bar none",
                x=number * step + 1,
                y=height - tall,
                width=8,
                height=tall,
                rx=1,
            )
        )
    return _picture(width, height, title, parts)


def line(values: Sequence[int], title: str, height: int = 48) -> Markup:
    """Return a curve over the values with the area below it."""
    step, most = 4, max([*values, 1])
    width = max(1, step * (len(values) - 1))
    points = [(at * step, height - 2 - value / most * (height - 4)) for at, value in enumerate(values)]
    curve = " ".join(f"{x:g},{y:.1f}" for x, y in points)
    area = f"0,{height} {curve} {width},{height}"
    parts = [
        Markup('<polygon class="area" points="{}"></polygon>').format(area),
        Markup('<polyline class="curve" points="{}"></polyline>').format(curve),
    ]
    return _picture(width, height, title, parts)


def shares(parts: Sequence[tuple[str, int, str]], title: str, height: int = 12) -> Markup:
    """Return one bar of (name, value, tone) side by side; parts that are nothing are left out."""
    whole = sum(value for _, value, _ in parts) or 1
    x, drawn = 0.0, []
    for _, value, tone in parts:
        wide = value / whole * 400
        if value:
            gap = 2 if wide > 6 else 0
            drawn.append(_BAR.format(tone=f"bar {tone}", x=x, y=0, width=max(2.0, wide - gap), height=height, rx=2))
        x += wide
    return _picture(400, height, title, drawn)


def _picture(width: float, height: int, title: str, parts: Sequence[Markup]) -> Markup:
    head = Markup('<svg class="chart" viewBox="0 0 {:g} {:g}" preserveAspectRatio="none" role="img" aria-label="{}">')
    return head.format(width, height, escape(title)) + Markup("").join(parts) + Markup("</svg>")
