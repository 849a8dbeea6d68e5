"""The section on moving memory: downtime by mode, throughput over time, and a table of all numbers."""

from benchmarking import plots, rows
from benchmarking.page import Section, Table
from benchmarking.tables import full_table, get, get_bytes, get_us

# The same colour for a mode in all plots.
MODES = ("minor", "pre-copy", "post-copy", "stop-and-copy")

COLUMNS = [
    ("mode", get("mode")), ("page", get_bytes("page_size_bytes")), ("memory", get_bytes("memory_bytes")),
    ("stores [% of pages/s]", get("write_percent")), ("transport", get("transport")), ("delivery", get("delivery")),
    ("downtime [µs]", get_us("downtime_ns")), ("empty switch", get_us("empty_switch_ns")), ("ratio", get("downtime_ratio")),
    ("first step", get_us("first_step_ns")), ("total", get_us("total_ns")), ("last page", get_us("last_page_ns")),
    ("map", get_us("map_ns")), ("rounds", get("rounds")), ("bytes moved", get("bytes_moved")),
    ("fetched", get("bytes_fetched")), ("faults", get("postcopy_faults")), ("fault p50 [µs]", get_us("fault_p50_ns")),
    ("fault p99", get_us("fault_p99_ns")), ("recovered [µs]", get_us("recovered_ns")), ("raw copy", get_us("raw_copy_ns")),
    ("recovered / raw copy", get("recovered_ratio")), ("steps/ms before", get("usual_steps_per_ms")),
    ("fault, up to date [µs]", get_us("fault_current_p50_ns")), ("its floor", get_us("floor_current_p50_ns")),
    ("one block changed", get_us("fault_partial_p50_ns")), ("whole page", get_us("fault_whole_p50_ns")),
    ("its floor", get_us("floor_whole_p50_ns")), ("intact", get("intact")), ("runs", get("runs")),
]


def kind_of(row):
    """What one plot of throughput is about: all but the mode."""
    return row["page_size_bytes"], row["memory_bytes"], row["write_percent"], row.get("transport") or ""


def title_of(kind):
    size, memory, percent, _ = kind
    return "%s, %s, stores to %g %% of the pages a second" % (rows.bytes_in_words(memory), rows.name_of_pages(size), percent)


def by_mode(data):
    known = [row for row in data if row.get("mode") in MODES]
    return sorted(known, key=lambda row: MODES.index(row["mode"]))


def downtime_label(row):
    return "%s, %s of %s, %g %%" % (row["mode"], rows.bytes_in_words(row["memory_bytes"]),
                                    rows.name_of_pages(row["page_size_bytes"]), row["write_percent"])


def downtime_plots(data):
    """One for each page size: a row for each mode, size and rate, beside an empty switch."""
    made = []
    for size in sorted({row["page_size_bytes"] for row in data}):
        some = [row for row in by_mode(data) if row["page_size_bytes"] == size and row.get("downtime_ns")]
        if some:
            made.append(plots.pairs("migration-downtime-%d" % size, "Downtime: " + rows.name_of_pages(size),
                                    [(downtime_label(row), row["downtime_ns"], row.get("empty_switch_ns")) for row in some],
                                    names=("downtime", "switch of one page, nothing stored")))
    return made


def throughput_plots(data):
    made, tables = [], []
    for index, kind in enumerate(dict.fromkeys(map(kind_of, data))):
        some = [row for row in by_mode(data) if kind_of(row) == kind and row.get("throughput")]
        lines = [plots.Line(row["mode"], [x for x, _ in row["throughput"]], [y for _, y in row["throughput"]],
                            MODES.index(row["mode"])) for row in some]
        if not lines:
            continue
        made.append(plots.over_time("migration-throughput-%d" % index, "Throughput: " + title_of(kind), lines,
                                    "time from the pause on [ms]", "steps / ms", "the user is paused"))
        curves = [dict(map(tuple, row["throughput"])) for row in some]
        times = sorted({x for curve in curves for x in curve})
        tables.append(Table("Throughput: " + title_of(kind), ["ms"] + [row["mode"] for row in some],
                            [[x] + [curve.get(x) for curve in curves] for x in times]))
    return made, tables


def migration(directory):
    data = rows.merged(directory.of("migration"), directory.known)
    if not data:
        return "Moving memory while it is used: no result of migration."
    section = Section("migration", "Migration", "Memory moves from one node to another while a thread uses it. Downtime is "
                      "from when the thread is told to pause until it goes on; throughput is what it gets done. Medians of "
                      "all runs; before 0 it runs where the memory was, later where it is.")
    section.plots = downtime_plots(data)
    made, tables = throughput_plots(data)
    section.plots += made
    section.tables = [full_table("All of migration", data, COLUMNS)] + tables
    return section
