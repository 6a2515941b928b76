"""Drawings of figures over steps, as SVG that takes the page's own text colour. The same figures, the same bytes."""

import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#2f7ed8", "#d9822b", "#2ca25f", "#c2497b", "#8a63d2", "#7a8288", "#b5a21d", "#1aa3b8", "#a0522d")
"""To be told apart on white and on black."""
MARKERS = "os^Dv<>ph"
INK = "#010203"
"""Stands for the page's text colour until the drawing is done."""
POINTS_MARKED = 40
BINS = 30

STYLE: dict[str, Any] = {
    "svg.hashsalt": "sparkcli", "svg.fonttype": "none", "text.parse_math": False, "font.size": 9,
    "font.family": "sans-serif", "figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none",
    "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "axes.axisbelow": True,
    "grid.color": INK, "grid.alpha": 0.12,
    "legend.frameon": False, "legend.fontsize": 8, "lines.linewidth": 1.5, "lines.markersize": 3.5}


class Point(NamedTuple):
    """A value at a step, with its standard error where it has one."""

    step: float
    value: float
    error: float = 0.0


@dataclass(frozen=True)
class Series:
    """A named line."""

    name: str
    points: Sequence[Point]


@dataclass(frozen=True)
class Panel:
    """One drawing: `series` as lines, or `stacked` on each other."""

    name: str
    title: str
    series: Sequence[Series]
    unit: str = ""
    stacked: bool = False


def draw(panel: Panel) -> str:
    """A panel over steps."""
    return _drawn(panel.name, lambda axes: (_stack if panel.stacked else _lines)(axes, panel))


def histogram(name: str, lengths: dict[str, Counter[int]]) -> str:
    """How often each completion length occurs, the kinds stacked on each other."""
    def plot(axes: "Axes") -> None:
        values = [list(counts) for counts in lengths.values()]
        weights = [list(counts.values()) for counts in lengths.values()]
        axes.hist(values, bins=BINS, weights=weights, stacked=True, label=[_label(kind) for kind in lengths],
                  color=COLOURS[:len(lengths)])
        axes.set(xlabel="tokens", ylabel="completions")
        if len(lengths) > 1:
            axes.legend()

    return _drawn(name, plot)


def _lines(axes: "Axes", panel: Panel) -> None:
    for number, series in enumerate(panel.series):
        steps, values, errors = zip(*series.points, strict=True)
        marker = MARKERS[number % len(MARKERS)] if len(steps) <= POINTS_MARKED else ""
        axes.errorbar(steps, values, yerr=errors if any(errors) else None, label=_label(series.name), marker=marker,
                      color=COLOURS[number % len(COLOURS)], capsize=2, elinewidth=0.8)
    _dress(axes, panel)


def _stack(axes: "Axes", panel: Panel) -> None:
    steps = [point.step for point in panel.series[0].points]
    if len(steps) > POINTS_MARKED:
        axes.stackplot(steps, [[point.value for point in series.points] for series in panel.series],
                       labels=[_label(series.name) for series in panel.series], colors=COLOURS)
        _dress(axes, panel)
        return
    below = [0.0] * len(steps)
    for number, series in enumerate(panel.series):
        heights = [point.value for point in series.points]
        axes.bar(steps, heights, bottom=below, width=1.0, label=_label(series.name),
                 color=COLOURS[number % len(COLOURS)])
        below = [base + height for base, height in zip(below, heights, strict=True)]
    _dress(axes, panel)


def _dress(axes: "Axes", panel: Panel) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="step", ylabel=panel.unit)
    if any(series.name for series in panel.series):
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3)


def _drawn(name: str, plot: Any) -> str:
    """The SVG element that `plot` makes. Names within it begin with `name`, so that a page may hold several."""
    import matplotlib.style
    from matplotlib.figure import Figure

    stream = io.StringIO()
    with matplotlib.style.context(["default", STYLE]):
        figure = Figure(figsize=(4.8, 3.0), layout="constrained")
        plot(figure.subplots())
        figure.savefig(stream, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = stream.getvalue()
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg[svg.index("<svg"):])
    return svg.replace(INK, "currentColor")


def _label(text: str) -> str:
    """A name that the drawing's font has, without what would end or hide it."""
    return text[:40].encode("ascii", "backslashreplace").decode().replace("\0", "")
