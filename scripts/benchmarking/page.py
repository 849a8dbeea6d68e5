"""One HTML page that stands by itself: no script, no font, no picture from elsewhere."""

import re
from dataclasses import dataclass, field
from html import escape

from benchmarking import rows

STYLE = """
:root { color-scheme: light dark; --surface: #ffffff; --page: #f5f5f2; --ink: #14140f; --muted: #6b6a64; --grid: #e2e1db;
  --line: #dddcd5; --link: #1c5cab; --bad: #b3261e; --good: #0a7a3c;
  --series-0: #2a6fcb; --series-1: #d4551f; --series-2: #0f8f63; --series-3: #6a4bc4; --series-4: #c93a58;
  --series-5: #9a6b00; --series-6: #0e8296; --series-7: #6f6f68; --series-8: #8a4b2a; --series-9: #5f7414; }
@media (prefers-color-scheme: dark) { :root { --surface: #1b1b19; --page: #111110; --ink: #f3f2ec; --muted: #a5a49b;
  --grid: #33322f; --line: #3a3936; --link: #8ab8f5; --bad: #ff8a80; --good: #6fd39b;
  --series-0: #5b9bef; --series-1: #f0834f; --series-2: #38b98a; --series-3: #a48df2; --series-4: #ee7a92;
  --series-5: #cf9c2d; --series-6: #3fb3c6; --series-7: #a3a29a; --series-8: #cf9468; --series-9: #a8bd4e; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
main, header { max-width: 1180px; margin: 0 auto; padding: 0 16px; }
header { padding-top: 28px; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 4px; }
h2 { font-size: 1.25rem; margin: 44px 0 4px; }
h3 { font-size: 1rem; margin: 0 0 8px; }
p { margin: 4px 0 12px; max-width: 75ch; }
a { color: var(--link); }
.quiet { color: var(--muted); }
nav { display: flex; flex-wrap: wrap; gap: 4px 16px; margin: 12px 0 0; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 420px), 1fr)); gap: 16px; align-items: start; }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 12px; margin: 16px 0; }
.tile, figure, details, .box { background: var(--surface); border: 1px solid var(--line); border-radius: 8px; }
.tile { padding: 12px 14px; }
.tile b { display: block; font-size: 1.5rem; line-height: 1.25; font-weight: 650; }
.tile span { display: block; font-size: .875rem; }
figure { margin: 0; padding: 14px 14px 10px; min-width: 0; }
figure svg { display: block; width: 100%; height: auto; max-width: 450px; margin: 0 auto; overflow: visible; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 2px 14px; padding: 0; margin: 8px 0 0; font-size: .875rem; }
.legend svg { display: inline-block; width: 22px; height: 12px; margin: 0 6px 0 0; vertical-align: -1px; }
details { margin: 12px 0; padding: 8px 14px; min-width: 0; }
.grid details { margin: 0; }
summary { cursor: pointer; }
.scroll { overflow-x: auto; margin: 8px -14px 0; padding: 0 14px; max-height: 70vh; overflow-y: auto; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th, td { padding: 3px 10px 3px 0; text-align: left; border-bottom: 1px solid var(--grid); white-space: nowrap; }
th { position: sticky; top: 0; background: var(--surface); font-weight: 600; }
td.number, th.number { text-align: right; }
.box { padding: 10px 14px; margin: 16px 0; }
.bad { border-color: var(--bad); }
.bad b { color: var(--bad); }
dl { display: grid; grid-template-columns: minmax(90px, max-content) 1fr; gap: 2px 14px; margin: 12px 0; font-size: .9rem; }
dt { color: var(--muted); }
dd { margin: 0; min-width: 0; }
footer { margin: 44px 0 28px; font-size: .9rem; }
"""

COLOURS = 10  # --series-0 and on


def light_theme():
    """{name: colour}, of what is defined first in STYLE."""
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", STYLE[:STYLE.index("@media")]))


MARKS = {
    "line": '<path d="M1 6H21" stroke="{c}" stroke-width="3" stroke-linecap="round"/>',
    "dashed": '<path d="M1 6H21" stroke="{c}" stroke-width="2" stroke-dasharray="5 3"/>',
    "box": '<rect x="4" y="0" width="12" height="12" rx="2" fill="{c}"/>',
    "dot": '<circle cx="11" cy="6" r="5" fill="{c}"/>',
    "diamond": '<path d="M11 1l5 5-5 5-5-5z" fill="none" stroke="{c}" stroke-width="2"/>',
    "square": '<rect x="6" y="1" width="10" height="10" fill="none" stroke="{c}" stroke-width="2"/>',
    "heat": '<rect x="0" y="1" width="7" height="10" fill="#2a78d6" fill-opacity=".25"/>'
            '<rect x="7" y="1" width="7" height="10" fill="#2a78d6" fill-opacity=".6"/>'
            '<rect x="14" y="1" width="7" height="10" fill="#2a78d6"/>',
}


@dataclass
class Table:
    title: str
    head: list
    rows: list  # of texts and numbers; numbers stand to the right


@dataclass
class Section:
    id: str
    title: str
    lead: str = ""
    plots: list = field(default_factory=list)
    tables: list = field(default_factory=list)


def cell(value, tag="td", number=False):
    text = "" if value is None else "%.4g" % value if isinstance(value, float) else str(value)
    number = number or isinstance(value, (int, float))
    return "<%s%s>%s</%s>" % (tag, ' class="number"' if number else "", escape(text), tag)


def table(one):
    numeric = [any(isinstance(row[i], (int, float)) for row in one.rows) for i in range(len(one.head))]
    head = "".join(cell(name, "th", right) for name, right in zip(one.head, numeric))
    body = "".join("<tr>%s</tr>" % "".join(cell(value, number=right) for value, right in zip(row, numeric))
                   for row in one.rows)
    return "<table><thead><tr>%s</tr></thead><tbody>%s</tbody></table>" % (head, body)


def hidden_table(one):
    return '<details><summary>%s (%s)</summary><div class="scroll" tabindex="0">%s</div></details>' % (
        escape(one.title), rows.counted(len(one.rows), "row", "rows"), table(one))


def legend(entries):
    if not entries:
        return ""
    items = []
    for colour, mark, label in entries:
        drawn = MARKS[mark].format(c="var(--muted)" if colour is None else "var(--series-%d)" % (colour % COLOURS))
        drawn = re.sub(r'(fill|stroke)="(var[^"]+)"', r'style="\1:\2"', drawn)
        items.append('<li><svg viewBox="0 0 22 12" aria-hidden="true">%s</svg>%s</li>' % (drawn, escape(label)))
    return '<ul class="legend">%s</ul>' % "".join(items)


def figure(plot):
    return '<figure class="plot" id="%s"><h3 id="%s-title">%s</h3>%s%s</figure>' % (
        plot.name, plot.name, escape(plot.title), plot.image, legend(plot.legend))


def section(one):
    parts = ['<section id="%s"><h2>%s</h2>' % (one.id, escape(one.title))]
    if one.lead:
        parts.append("<p>%s</p>" % escape(one.lead))
    if one.plots:
        parts.append('<div class="grid">%s</div>' % "".join(map(figure, one.plots)))
    parts += map(hidden_table, one.tables)
    return "".join(parts) + "</section>"


def tiles(entries):
    """Of (value, what, beside)."""
    return '<div class="tiles">%s</div>' % "".join(
        '<div class="tile"><span>%s</span><b>%s</b><span class="quiet">%s</span></div>' %
        (escape(what), escape(value), escape(beside)) for value, what, beside in entries) if entries else ""


def facts(pairs):
    return "<dl>%s</dl>" % "".join("<dt>%s</dt><dd>%s</dd>" % (escape(name), escape(str(value)))
                                   for name, value in pairs if value not in (None, ""))


def failures(runs, shown=12):
    if not runs:
        return ""
    items = ["<li>%s, repetition %s: %s%s</li>" % (
        escape(run["case_id"]), run["repetition"], escape(run["failure"]),
        ' (<a href="%s">its log</a>)' % escape(run["stderr"]) if run.get("stderr") else "") for run in runs[:shown]]
    more = "<li>and %d more: runs.jsonl</li>" % (len(runs) - shown) if len(runs) > shown else ""
    return '<div class="box bad"><b>%d of the runs failed</b><ul>%s%s</ul></div>' % (len(runs), "".join(items), more)


def page(title, subtitle, summary, sections, absent, links):
    """@summary: HTML; @absent: sentences on what is not there; @links: (file, what)."""
    nav = "".join('<a href="#%s">%s</a>' % (one.id, escape(one.title)) for one in sections)
    left_out = '<section id="absent"><h2>Left out</h2><ul>%s</ul></section>' % "".join(
        "<li>%s</li>" % escape(text) for text in absent) if absent else ""
    raw = "Raw data: " + ", ".join('<a href="%s">%s</a> (%s)' % (escape(name), escape(name), escape(what))
                                   for name, what in links)
    return """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,"><title>%s</title><style>%s</style></head>
<body><header><h1>%s</h1><div class="quiet">%s</div><nav>%s</nav></header>
<main>%s%s%s<footer>%s</footer></main></body></html>
""" % (escape(title), STYLE, escape(title), escape(subtitle), nav, summary, "".join(map(section, sections)), left_out, raw)
