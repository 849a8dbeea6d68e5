"""Plots, for a page (PAGE) or for a paper (PAPER).

For a page they are SVG: text stays text, colours are the page's variables, and so follow its theme. Matplotlib draws with
colours that stand for variables (#b00001 for var(--ink), ...); theme() puts the variables in. What shows data has an id with
"data-" in it, by which the test in a browser finds it. The page makes the legend. For a paper they are PDF, in the colours of
the page's light theme, and have their legend above them. Plots are made for the width of a phone, or of a column.
"""

import io
import math
import re
from dataclasses import dataclass, field

import matplotlib

from benchmarking.page import COLOURS, light_theme

matplotlib.use("svg")
from matplotlib import lines as drawn_lines, patches, pyplot, ticker  # noqa: E402  the backend is chosen before

WIDTH_IN = 4.3  # at 72 units an inch: 310, what a phone is wide, less margins
HEAT = (0.165, 0.470, 0.839)  # over either surface; how much of it says how many
FAINTEST = 0.2
LABEL_MAX = 52  # characters above a row
FONT = "system-ui, sans-serif"
LEGEND_LINE_IN = 0.19  # what a line of a legend adds to a plot of a paper
LEGEND_WIDE = 24  # characters of an entry, more than which do not fit two to a line


@dataclass(frozen=True)
class Medium:
    """What a plot is made for: the colours by their names on the page, and a format of Matplotlib's."""
    format: str
    colours: dict
    has_legend: bool  # in the plot

    def colour(self, index):
        return self.colours["series-%d" % (index % COLOURS)]

    def style(self):
        ink, muted, grid = (self.colours[name] for name in ("ink", "muted", "grid"))
        return {
            "svg.fonttype": "none", "pdf.fonttype": 42, "font.size": 9.5, "font.family": "DejaVu Sans",
            "figure.facecolor": "none", "axes.facecolor": "none", "axes.edgecolor": muted, "axes.labelcolor": ink,
            "text.color": ink, "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.8,
            "axes.axisbelow": True, "xtick.color": muted, "ytick.color": muted, "xtick.labelcolor": ink,
            "ytick.labelcolor": ink, "axes.grid": True, "grid.color": grid, "grid.linewidth": 0.7, "lines.linewidth": 1.7,
            "lines.markersize": 5,
        }


PAGE = Medium("svg", {"ink": "#b00001", "muted": "#b00002", "grid": "#b00003", "surface": "#b00004",
                      **{"series-%d" % i: "#a0000%d" % i for i in range(COLOURS)}}, False)
PAPER = Medium("pdf", light_theme(), True)


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
    image: object  # SVG as text, or PDF as bytes
    legend: list = field(default_factory=list)  # (colour or None, "line", "dashed" or "box", label)


def theme(svg, name):
    """What Matplotlib wrote, fit to stand in a page beside others."""
    svg = svg[svg.index("<svg"):]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    for variable, colour in PAGE.colours.items():
        svg = svg.replace(colour, "var(--%s)" % variable)
    svg = re.sub(r"'DejaVu Sans'", FONT, svg)
    svg = re.sub(r'\bid="([^"]+)"', r'id="%s-\1"' % name, svg)
    svg = re.sub(r'href="#', 'href="#%s-' % name, svg)
    svg = re.sub(r"url\(#", "url(#%s-" % name, svg)
    return re.sub(r'<svg [^>]*?viewBox="([^"]+)"[^>]*>',
                  r'<svg viewBox="\1" role="img" aria-labelledby="%s-title" xmlns="http://www.w3.org/2000/svg" '
                  r'xmlns:xlink="http://www.w3.org/1999/xlink">' % name, svg, count=1, flags=re.S)


def sample(medium, colour, mark):
    """What stands for an entry in the legend of a paper's plot. @colour None: what is no data."""
    colour = HEAT if mark == "heat" else medium.colours["muted"] if colour is None else medium.colour(colour)
    if mark in ("box", "heat"):
        return patches.Patch(facecolor=colour)
    looks = {"line": {"linewidth": 1.7}, "dashed": {"linewidth": 1.1, "linestyle": (0, (4, 2))},
             "dot": {"marker": "o", "linestyle": "none"},
             "diamond": {"marker": "D", "linestyle": "none", "markerfacecolor": "none", "markeredgewidth": 1.5},
             "square": {"marker": "s", "linestyle": "none", "markerfacecolor": "none", "markeredgewidth": 1.5}}
    return drawn_lines.Line2D([], [], color=colour, **looks[mark])


def legend_columns(legend):
    longest = max(len(label) for _, _, label in legend)
    return min(len(legend), 3 if longest <= LEGEND_WIDE / 2 else 2 if longest <= LEGEND_WIDE else 1)


class Drawing:
    """A figure with one set of axes; plot() gives what it looks like."""

    def __init__(self, name, height_in, medium):
        self.name = name
        self.medium = medium
        with matplotlib.rc_context(self.context()):
            self.figure, self.axes = pyplot.subplots(figsize=(WIDTH_IN, height_in), layout="constrained")

    def context(self):
        return {**self.medium.style(), "svg.hashsalt": self.name}

    def colour(self, name_or_index):
        return self.medium.colours[name_or_index] if isinstance(name_or_index, str) else self.medium.colour(name_or_index)

    def plot(self, title, legend):
        """@legend: (colour or None, mark, label); the marks are those of page.MARKS."""
        out = io.BytesIO()
        with matplotlib.rc_context(self.context()):
            if self.medium.has_legend and legend:
                self.draw_legend(legend)
            self.figure.savefig(out, format=self.medium.format,
                                metadata={"Date": None} if self.medium is PAGE else {"CreationDate": None})
        pyplot.close(self.figure)
        image = theme(out.getvalue().decode(), self.name) if self.medium is PAGE else out.getvalue()
        return Plot(self.name, title, image, legend)

    def draw_legend(self, legend):
        columns = legend_columns(legend)
        width, height = self.figure.get_size_inches()
        self.figure.set_size_inches(width, height + LEGEND_LINE_IN * math.ceil(len(legend) / columns))
        self.axes.legend([sample(self.medium, colour, mark) for colour, mark, _ in legend], [label for _, _, label in legend],
                         loc="lower center", bbox_to_anchor=(0.5, 1.0), ncol=columns, frameon=False, fontsize=8.5,
                         handlelength=1.6, columnspacing=1.2, borderaxespad=0.2, labelspacing=0.3)


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


def draw_lines(drawing, lines, marker):
    for index, line in enumerate(lines):
        colour = drawing.colour("muted" if line.quiet else line.colour)
        drawn, = drawing.axes.plot(line.x, line.y, color=colour, linestyle=(0, (4, 2)) if line.dashed else "-",
                           linewidth=1.1 if line.dashed else 1.7, marker=None if line.dashed or line.quiet else marker,
                           solid_capstyle="round")
        drawn.set_gid("%s-%d" % ("compare" if line.quiet else "data", index))


# --- the kinds -------------------------------------------------------------------------------------------------


def nines(percent):
    """Where a percent stands on an axis on which 90, 99, 99.9 are as far from each other as 0 from 90."""
    return -math.log10(1 - min(percent, 99.9995) / 100)


def cdf(name, title, lines, medium=PAGE):
    """Lines of (ns, percent): what part of all touches is done by then."""
    drawing = Drawing(name, 3.1, medium)
    axes = drawing.axes
    draw_lines(drawing, [Line(line.label, line.x, [nines(p) for p in line.y], line.colour, line.dashed)
                         for line in lines], None)
    log_axis(axes.xaxis, short_ns, [x for line in lines for x in line.x])
    ticks = [0, 50, 90, 99, 99.9, 99.99, 99.999]
    highest = max(p for line in lines for p in line.y)
    ticks = [tick for tick in ticks if tick <= highest]
    axes.set_yticks([nines(tick) for tick in ticks], ["%g %%" % tick for tick in ticks])
    axes.set_ylim(0, None)
    axes.set_xlabel("done within (log)")
    return drawing.plot(title, legend_of([line for line in lines if not line.dashed]) + [(None, "dashed", "the floor of each")])


def curves(name, title, lines, x_label, y_label, y_formatter=short, medium=PAGE):
    """Both axes logarithmic: bandwidth, or time, against size."""
    drawing = Drawing(name, 3.0, medium)
    axes = drawing.axes
    draw_lines(drawing, lines, "o")
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(ticker.LogLocator(base=2, numticks=7))
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(short_bytes))
    log_axis(axes.yaxis, y_formatter, [y for line in lines for y in line.y])
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    return drawing.plot(title, legend_of(lines))


def by_count(name, title, lines, x_label, y_label, y_formatter=None, beside=None, medium=PAGE):
    """Against how many there are of something, and @beside a line to compare with. With @y_formatter the other axis is
    logarithmic."""
    drawing = Drawing(name, 2.8, medium)
    axes = drawing.axes
    counts = [x for line in lines + [beside] * bool(beside) for x in line.x]
    draw_lines(drawing, lines + [beside] * bool(beside), "o")
    axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True, nbins=8))
    if y_formatter:
        log_axis(axes.yaxis, y_formatter, [y for line in lines for y in line.y])
    else:
        axes.yaxis.set_major_formatter(ticker.FuncFormatter(short))
        axes.set_ylim(0, None)
    axes.set_xlim(min(counts) - 0.2, max(counts) + 0.2)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    legend = legend_of(lines)
    if beside:
        legend.append((None, "dashed", beside.label))
    return drawing.plot(title, legend)


def over_time(name, title, lines, x_label, y_label, mark, medium=PAGE):
    """Lines against time, with a mark where that is 0."""
    drawing = Drawing(name, 2.8, medium)
    axes = drawing.axes
    draw_lines(drawing, lines, None)
    axes.axvline(0, color=drawing.colour("muted"), linewidth=0.8)
    axes.xaxis.set_major_locator(ticker.MaxNLocator(6))
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(short))
    axes.set_ylim(0, None)
    axes.set_xlim(min(x for line in lines for x in line.x), max(x for line in lines for x in line.x))
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    return drawing.plot(title, legend_of(lines) + [(None, "line", mark)])


def speed_up(name, title, lines, medium=PAGE):
    most = max(x for line in lines for x in line.x)
    ideal = Line("ideal: as many times as fast as workers", [1, most], [1, most], dashed=True, quiet=True)
    return by_count(name, title, lines, "workers (threads of all nodes)", "speed-up", beside=ideal, medium=medium)


def rows_axes(drawing, labels, below=0.62):
    """A row for each label, which stands above what is drawn in it: no width is lost to it on a phone."""
    axes = drawing.axes
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(axis="y", visible=False)
    axes.set_ylim(len(labels) - 1 + below, -0.75)
    for row, label in enumerate(labels):
        label = label if len(label) <= LABEL_MAX else label[:LABEL_MAX - 1] + "…"  # the table has all of it
        axes.text(0, row - 0.24, label, transform=axes.get_yaxis_transform(), color=drawing.colour("ink"), va="bottom",
                  bbox={"facecolor": drawing.colour("surface"), "edgecolor": "none", "pad": 0.6}, zorder=1)


# Of the values of a row: the mark in the legend, and in the plot.
ROW_MARKS = (("dot", "o"), ("diamond", "D"), ("square", "s"))


def draw_mark(drawing, value, row, index):
    hollow = {"color": drawing.colour("surface"), "markeredgecolor": drawing.colour(index), "markeredgewidth": 1.5}
    look = hollow if index else {"color": drawing.colour(0)}
    dot, = drawing.axes.plot([value], [row], ROW_MARKS[index][1], linestyle="none", **look)
    dot.set_gid("data-%s%d" % ("baseline-" * bool(index), row) + "-%d" % index * (index > 1))


def pairs(name, title, rows, log_formatter=short_ns, names=("Minorca", "baseline"), medium=PAGE):
    """Rows of (label, value, what it is compared with, ...), of which each but the first may be None: marks, joined."""
    drawing = Drawing(name, 0.6 + 0.33 * len(rows), medium)
    axes = drawing.axes
    for row, (_, *values) in enumerate(rows):
        there = [value for value in values if value is not None]
        if len(there) > 1:
            axes.plot([min(there), max(there)], [row, row], color=drawing.colour("muted"), linewidth=1)
        for index, value in reversed(list(enumerate(values))):
            if value is not None:
                draw_mark(drawing, value, row, index)
    log_axis(axes.xaxis, log_formatter, [v for row in rows for v in row[1:] if v is not None])
    rows_axes(drawing, [row[0] for row in rows])
    return drawing.plot(title, [(index, ROW_MARKS[index][0], words) for index, words in enumerate(names)
                                if any(row[1 + index] is not None for row in rows)])


def stacked(name, title, bars, parts, formatter=short_ns, medium=PAGE):
    """Bars of (label, {part: value}), in ns unless @formatter says more; @parts in their order, each with its colour
    whether or not a bar has it."""
    drawing = Drawing(name, 0.6 + 0.45 * len(bars), medium)
    axes = drawing.axes
    for row, (_, values) in enumerate(bars):
        left = 0
        for index, part in enumerate(parts):
            value = values.get(part) or 0
            if value <= 0:
                continue
            box, = axes.barh(row + 0.06, value, left=left, height=0.46, color=drawing.colour(index),
                             edgecolor=drawing.colour("surface"), linewidth=1)
            box.set_gid("data-%d-%d" % (row, index))
            left += value
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(formatter))
    axes.xaxis.set_major_locator(ticker.MaxNLocator(6))
    rows_axes(drawing, [label for label, _ in bars])
    return drawing.plot(title, [(index, "box", part) for index, part in enumerate(parts)
                                if any(values.get(part) for _, values in bars)])


def heat(name, title, cells, extent, x_label, y_label, medium=PAGE):
    """@cells[y][x] counts; how strong a cell is goes with the logarithm. @extent: x0, x1, y0, y1."""
    drawing = Drawing(name, 3.4, medium)
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
    return drawing.plot(title, [(None, "heat", "1 to %d faults (log)" % most)])
