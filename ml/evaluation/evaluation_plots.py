"""The plots of a judgement, as SVG that stands in a page: every axis labelled, every figure with its 95 % interval.

matplotlib draws without a screen and without its global state; what it writes is cut down to the picture itself.
"""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Interval = tuple[float, float, float]  # value, lower and upper bound
WIDE, NARROW, TALL = 8.6, 4.2, 3.7  # inches at 72 pixels
FEW, MANY = 6, 30  # groups that a narrow plot, and that an axis has room to name
LETTERS = 46  # of an axis' label before it goes on in another line
LINE, GOOD, BAD, GREY = "#0b6bcb", "#1a7f37", "#b42318", "#8a96a3"
STYLE: Any = {  # its keys are a type of their own
    "font.family": "sans-serif",
    "font.size": 9,
    "svg.fonttype": "none",  # letters stay letters
    "text.parse_math": False,  # a symbol's name is no formula
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_HEAD = re.compile(r"^.*?(?=<svg)|<metadata>.*?</metadata>|<!--.*?-->", re.DOTALL)
_NAMESPACE = re.compile(r' xmlns(:\w+)?="[^"]*"')


def reliability(points: Sequence[Sequence[float]], said: str, came: str) -> str:
    """Return what was said (x) against what came (y); points are [x, y, lower, upper], on the line where it is calibrated."""
    top = min(max(max(point[0], point[3]) for point in points) * 1.08, 1.0)

    def draw(axes: Axes) -> None:
        axes.plot([0, top], [0, top], color=GREY, linestyle="--", linewidth=1, label="calibrated")
        _errors(axes, [point[0] for point in points], [(point[1], point[2], point[3]) for point in points])
        axes.set(xlim=(0, top), ylim=(0, top), xlabel=_lines(f"{said} (%)"), ylabel=_lines(f"{came} (%)"))
        axes.legend(frameon=False, loc="upper left")
        _in_per_cent(axes, x=True)

    return _svg(draw, NARROW, TALL, f"{said}, against {came}")


def by(points: Mapping[str, Sequence[float]], along: str, saved: str) -> str:
    """Return a figure for each of some groups; above zero is better than the baseline. Many stand in order, unnamed."""
    are_many = len(points) > MANY
    figures = (
        sorted((one[0], one[1], one[2]) for one in points.values())
        if are_many
        else [(one[0], one[1], one[2]) for one in points.values()]
    )
    low, high = min(one[1] for one in figures), max(one[2] for one in figures)
    room = max(high - low, 1e-9) * 0.06

    def draw(axes: Axes) -> None:
        axes.axhline(0, color=GREY, linewidth=1)
        _errors(axes, list(range(len(figures))), figures)
        axes.set_xticks([] if are_many else range(len(points)), [] if are_many else list(points))
        axes.set(
            xlabel=f"{along}: {len(points)}, from the worst to the best" if are_many else along,
            ylabel=_lines(f"{saved} (%)"),
        )
        axes.set(xlim=(-0.6, len(points) - 0.4), ylim=(min(low - room, 0), max(high + room, 0)))
        _in_per_cent(axes)

    return _svg(draw, WIDE if len(points) > FEW else NARROW, TALL, f"{saved}, {along}")


def against(compared: Sequence[tuple[str, Interval]], loss: str) -> str:
    """Return by how much a loss lies above or below that of others, one line each, with intervals; left of zero is better."""
    names = [name for name, _ in compared][::-1]

    def draw(axes: Axes) -> None:
        axes.axvline(0, color=GREY, linewidth=1)
        for place, (_, (value, low, high)) in enumerate(reversed(compared)):
            colour = GOOD if high < 0 else BAD if low > 0 else LINE
            axes.errorbar(
                [value],
                [place],
                xerr=[[max(value - low, 0)], [max(high - value, 0)]],
                fmt="o",
                color=colour,
                capsize=3,
                markersize=5,
            )
        axes.set_yticks(range(len(names)), names)
        axes.set(
            ylim=(-0.6, len(names) - 0.4),
            xlabel=_lines(f"{loss}: difference from the other's (%; left of 0 is better)", 90),
        )
        _in_per_cent(axes, x=True, y=False)

    return _svg(draw, WIDE, 0.9 + 0.4 * len(names), f"{loss}, against others")


def coverage(months: Mapping[str, Mapping[str, Sequence[float]]], wanted: float) -> str:
    """Return the share of outcomes inside the interval, {symbol: {month: (value, lower, upper)}}; few symbols have names."""
    names = sorted({month for one in months.values() for month in one})
    step = 0.6 / max(len(months), 1)

    def draw(axes: Axes) -> None:
        axes.axhline(wanted, color=GREY, linestyle="--", linewidth=1, label=f"promised: {wanted * 100:g} %")
        for turn, (symbol, found) in enumerate(months.items()):
            places = [names.index(month) + (turn + 0.5) * step - 0.3 for month in found]
            label = symbol if len(months) <= FEW else None
            _errors(axes, places, [(one[0], one[1], one[2]) for one in found.values()], f"C{turn % 10}", label)
        axes.set_xticks(range(len(names)), names, rotation=0 if len(names) < 9 else 90)
        axes.set(xlabel="month (UTC)", ylabel="inside the 90 % interval (%)", xlim=(-0.5, len(names) - 0.5))
        axes.legend(frameon=False, fontsize=8)
        _in_per_cent(axes)

    return _svg(draw, WIDE if len(names) > 4 else NARROW, TALL, "Coverage by month")


def _errors(
    axes: Axes, places: Sequence[float], figures: Sequence[Interval], colour: str = LINE, label: str | None = None
) -> None:
    below = [max(value - low, 0.0) for value, low, _ in figures]
    above = [max(high - value, 0.0) for value, _, high in figures]
    values = [value for value, _, _ in figures]
    axes.errorbar(
        places, values, yerr=[below, above], fmt="o", color=colour, capsize=3, markersize=4, linewidth=1, label=label
    )


def _lines(label: str, letters: int = LETTERS) -> str:
    return "\n".join(textwrap.wrap(label, letters))


def _in_per_cent(axes: Axes, x: bool = False, y: bool = True) -> None:
    from matplotlib.ticker import FuncFormatter

    shown = FuncFormatter(lambda value, _: f"{value * 100:g}")
    if x:
        axes.xaxis.set_major_formatter(shown)
    if y:
        axes.yaxis.set_major_formatter(shown)


def _svg(draw: Any, width: float, height: float, title: str) -> str:
    """Draw and return the picture alone: no header, no metadata, no address of a namespace, which a page does not need."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE | {"svg.hashsalt": title}):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.subplots()
        axes.grid(True, color="#e6eaef", linewidth=0.8)
        axes.set_axisbelow(True)
        draw(axes)
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None})
    return _NAMESPACE.sub("", _HEAD.sub("", written.getvalue())).replace("<svg", '<svg role="img"', 1).strip()
