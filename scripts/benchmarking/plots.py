"""Plots as SVG for a page: text stays text, colours are the page's variables, and so follow its theme.

Matplotlib draws with colours that stand for variables (INK for var(--ink), ...); theme() puts the variables in. What shows
data has an id with "data-" in it, by which the test in a browser finds it. Plots are made for the width of a phone.
"""

import io
import math
import re
from dataclasses import dataclass, field

import matplotlib

from benchmarking.page import COLOURS

matplotlib.use("svg")
from matplotlib import pyplot, ticker  # noqa: E402  the backend is chosen before

WIDTH_IN = 4.3  # at 72 units an inch: 310, what a phone is wide, less margins
INK, MUTED, GRID, SURFACE = "#b00001", "#b00002", "#b00003", "#b00004"
VARIABLES = {INK: "ink", MUTED: "muted", GRID: "grid", SURFACE: "surface"}
HEAT = (0.165, 0.470, 0.839)  # over either surface; how much of it says how many
FAINTEST = 0.2
LABEL_MAX = 52  # characters above a row
FONT = "system-ui, sans-serif"
STYLE = {
    "svg.fonttype": "none", "font.size": 9.5, "font.family": "DejaVu Sans", "figure.facecolor": "none",
    "axes.facecolor": "none", "axes.edgecolor": MUTED, "axes.labelcolor": INK, "text.color": INK,
    "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.8, "axes.axisbelow": True,
    "xtick.color": MUTED, "ytick.color": MUTED, "xtick.labelcolor": INK, "ytick.labelcolor": INK,
    "axes.grid": True, "grid.color": GRID, "grid.linewidth": 0.7, "lines.linewidth": 1.7, "lines.markersize": 5,
}


@dataclass
class Line:
    label: str
    x: list
    y: list
    colour: int = 0  # which of COLOURS
    dashed: bool = False
    quiet: bool = False  # no data: what to compare with


@dataclass
class Plot:
    name: str
    title: str
    svg: str
    legend: list = field(default_factory=list)  # (colour or None, "line", "dashed" or "box", label)


def colour_of(index):
    return "#a0000%d" % (index % COLOURS)


def theme(svg, name):
    """What Matplotlib wrote, fit to stand in a page beside others."""
    svg = svg[svg.index("<svg"):]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = re.sub(r"#a0000(\d)", r"var(--series-\1)", svg)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, "var(--%s)" % variable)
    svg = re.sub(r"'DejaVu Sans'", FONT, svg)
    svg = re.sub(r'\bid="([^"]+)"', r'id="%s-\1"' % name, svg)
    svg = re.sub(r'href="#', 'href="#%s-' % name, svg)
    svg = re.sub(r"url\(#", "url(#%s-" % name, svg)
    return re.sub(r'<svg [^>]*?viewBox="([^"]+)"[^>]*>',
                  r'<svg viewBox="\1" role="img" aria-labelledby="%s-title" xmlns="http://www.w3.org/2000/svg" '
                  r'xmlns:xlink="http://www.w3.org/1999/xlink">' % name, svg, count=1, flags=re.S)


class Drawing:
    """A figure with one set of axes; write() gives its SVG."""

    def __init__(self, name, height_in):
        self.name = name
        with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}):
            self.figure, self.axes = pyplot.subplots(figsize=(WIDTH_IN, height_in), layout="constrained")

    def write(self):
        out = io.StringIO()
        with matplotlib.rc_context({**STYLE, "svg.hashsalt": self.name}):
            self.figure.savefig(out, format="svg", metadata={"Date": None})
        pyplot.close(self.figure)
        return theme(out.getvalue(), self.name)


def short(value, _position=None):
    """1500 -> 1.5k: what fits below a tick."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return "%g%s" % (value / size, unit)
    return "%g" % value


def short_ns(value, _position=None):
    for size, unit in ((1e9, "s"), (1e6, "ms"), (1e3, "µs")):
        if abs(value) >= size:
            return "%g %s" % (value / size, unit)
    return "%g ns" % value


def short_bytes(value, _position=None):
    for size, unit in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if value >= size:
            return "%g %s" % (value / size, unit)
    return "%g B" % value


def steps(low, high):
    """1, 2, 5, 10, ... from the last that is less than @low to the first that is more than @high."""
    numbers = [m * 10.0 ** e for e in range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
               for m in (1, 2, 5)]
    first = max(i for i, number in enumerate(numbers) if number <= low * 0.95)
    last = min(i for i, number in enumerate(numbers) if number >= high * 1.05)
    return numbers[first:last + 1]


def log_axis(axis, formatter, values):
    """A logarithmic scale with few ticks: at 1, 2, 5 of each decade, or at powers of ten, or at some of those."""
    ticks = steps(min(values), max(values))
    axis.axes.set(**{axis.axis_name + "scale": "log"})
    axis.axes.set(**{axis.axis_name + "lim": (ticks[0], ticks[-1])})
    if len(ticks) > 6:
        ticks = [tick for tick in ticks if "%e" % tick == "1.000000" + ("%e" % tick)[8:]]
    ticks = ticks[::math.ceil(len(ticks) / 7)]
    axis.set_major_locator(ticker.FixedLocator(ticks))
    axis.set_major_formatter(ticker.FuncFormatter(formatter))
    axis.set_minor_locator(ticker.NullLocator())


def legend_of(lines):
    return [(line.colour, "dashed" if line.dashed else "line", line.label) for line in lines]


def draw_lines(axes, lines, marker):
    for index, line in enumerate(lines):
        colour = MUTED if line.quiet else colour_of(line.colour)
        drawn, = axes.plot(line.x, line.y, color=colour, linestyle=(0, (4, 2)) if line.dashed else "-",
                           linewidth=1.1 if line.dashed else 1.7, marker=None if line.dashed or line.quiet else marker,
                           solid_capstyle="round")
        drawn.set_gid("%s-%d" % ("compare" if line.quiet else "data", index))


# --- the kinds -------------------------------------------------------------------------------------------------


def nines(percent):
    """Where a percent stands on an axis on which 90, 99, 99.9 are as far from each other as 0 from 90."""
    return -math.log10(1 - min(percent, 99.9995) / 100)


def cdf(name, title, lines):
    """Lines of (ns, percent): what part of all touches is done by then."""
    drawing = Drawing(name, 3.1)
    axes = drawing.axes
    draw_lines(axes, [Line(line.label, line.x, [nines(p) for p in line.y], line.colour, line.dashed)
                      for line in lines], None)
    log_axis(axes.xaxis, short_ns, [x for line in lines for x in line.x])
    ticks = [0, 50, 90, 99, 99.9, 99.99, 99.999]
    highest = max(p for line in lines for p in line.y)
    ticks = [tick for tick in ticks if tick <= highest]
    axes.set_yticks([nines(tick) for tick in ticks], ["%g %%" % tick for tick in ticks])
    axes.set_ylim(0, None)
    axes.set_xlabel("done within (log)")
    return Plot(name, title, drawing.write(),
                legend_of([line for line in lines if not line.dashed]) + [(None, "dashed", "the floor of each")])


def curves(name, title, lines, x_label, y_label, y_formatter=short):
    """Both axes logarithmic: bandwidth, or time, against size."""
    drawing = Drawing(name, 3.0)
    axes = drawing.axes
    draw_lines(axes, lines, "o")
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(ticker.LogLocator(base=2, numticks=7))
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(short_bytes))
    log_axis(axes.yaxis, y_formatter, [y for line in lines for y in line.y])
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    return Plot(name, title, drawing.write(), legend_of(lines))


def by_count(name, title, lines, x_label, y_label, y_formatter=None):
    """Against how many there are of something. With @y_formatter the other axis is logarithmic."""
    drawing = Drawing(name, 2.8)
    axes = drawing.axes
    counts = [x for line in lines for x in line.x]
    draw_lines(axes, lines, "o")
    axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True, nbins=8))
    if y_formatter:
        log_axis(axes.yaxis, y_formatter, [y for line in lines for y in line.y])
    else:
        axes.yaxis.set_major_formatter(ticker.FuncFormatter(short))
        axes.set_ylim(0, None)
    axes.set_xlim(min(counts) - 0.2, max(counts) + 0.2)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    return Plot(name, title, drawing.write(), legend_of(lines))


def over_time(name, title, lines, x_label, y_label, mark):
    """Lines against time, with a mark where that is 0."""
    drawing = Drawing(name, 2.8)
    axes = drawing.axes
    draw_lines(axes, lines, None)
    axes.axvline(0, color=MUTED, linewidth=0.8)
    axes.xaxis.set_major_locator(ticker.MaxNLocator(6))
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(short))
    axes.set_ylim(0, None)
    axes.set_xlim(min(x for line in lines for x in line.x), max(x for line in lines for x in line.x))
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    return Plot(name, title, drawing.write(), legend_of(lines) + [(None, "line", mark)])


def speed_up(name, title, lines):
    most = max(x for line in lines for x in line.x)
    ideal = Line("ideal: as many times as fast as workers", [1, most], [1, most], dashed=True, quiet=True)
    plot = by_count(name, title, lines + [ideal], "workers (threads of all nodes)", "speed-up")
    plot.legend[-1] = (None, "dashed", ideal.label)
    return plot


def rows_axes(drawing, labels, below=0.62):
    """A row for each label, which stands above what is drawn in it: no width is lost to it on a phone."""
    axes = drawing.axes
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(axis="y", visible=False)
    axes.set_ylim(len(labels) - 1 + below, -0.75)
    for row, label in enumerate(labels):
        label = label if len(label) <= LABEL_MAX else label[:LABEL_MAX - 1] + "…"  # the table has all of it
        axes.text(0, row - 0.24, label, transform=axes.get_yaxis_transform(), color=INK, va="bottom",
                  bbox={"facecolor": SURFACE, "edgecolor": "none", "pad": 0.6}, zorder=1)


def pairs(name, title, rows, log_formatter=short_ns, names=("Minorca", "baseline")):
    """Rows of (label, value, baseline or None): a dot each, joined."""
    drawing = Drawing(name, 0.6 + 0.33 * len(rows))
    axes = drawing.axes
    for index, (_, value, other) in enumerate(rows):
        if other is not None:
            axes.plot([value, other], [index, index], color=MUTED, linewidth=1)
            dot, = axes.plot([other], [index], "D", color=SURFACE, markeredgecolor=colour_of(1), markeredgewidth=1.5,
                             linestyle="none")
            dot.set_gid("data-baseline-%d" % index)
        dot, = axes.plot([value], [index], "o", color=colour_of(0), linestyle="none")
        dot.set_gid("data-%d" % index)
    log_axis(axes.xaxis, log_formatter, [v for row in rows for v in row[1:] if v is not None])
    rows_axes(drawing, [row[0] for row in rows])
    beside = [(1, "diamond", names[1])] if any(row[2] is not None for row in rows) else []
    return Plot(name, title, drawing.write(), [(0, "dot", names[0])] + beside)


def stacked(name, title, bars, parts):
    """Bars of (label, {part: ns}); @parts in their order, each with its colour whether or not a bar has it."""
    drawing = Drawing(name, 0.6 + 0.45 * len(bars))
    axes = drawing.axes
    for row, (_, values) in enumerate(bars):
        left = 0
        for index, part in enumerate(parts):
            value = values.get(part) or 0
            if value <= 0:
                continue
            box, = axes.barh(row + 0.06, value, left=left, height=0.46, color=colour_of(index), edgecolor=SURFACE,
                             linewidth=1)
            box.set_gid("data-%d-%d" % (row, index))
            left += value
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(short_ns))
    axes.xaxis.set_major_locator(ticker.MaxNLocator(6))
    rows_axes(drawing, [label for label, _ in bars])
    return Plot(name, title, drawing.write(), [(index, "box", part) for index, part in enumerate(parts)
                                                 if any(values.get(part) for _, values in bars)])


def heat(name, title, cells, extent, x_label, y_label):
    """@cells[y][x] counts; how strong a cell is goes with the logarithm. @extent: x0, x1, y0, y1."""
    drawing = Drawing(name, 3.4)
    axes = drawing.axes
    most = max(max(row) for row in cells)
    scale = math.log1p(most) or 1
    image = [[HEAT + ((FAINTEST + (1 - FAINTEST) * math.log1p(n) / scale) if n else 0.0,) for n in row]
             for row in cells]
    drawn = axes.imshow(image, aspect="auto", interpolation="none", origin="lower", extent=extent)
    drawn.set_gid("data-0")
    axes.grid(visible=False)
    axes.xaxis.set_major_locator(ticker.MaxNLocator(6))
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(short))
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    return Plot(name, title, drawing.write(), [(None, "heat", "1 to %d faults (log)" % most)])
