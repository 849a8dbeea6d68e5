"""The sections of a report, each from the rows that it knows: plots, and tables of all numbers behind them.

A section is made by a function of a rows.Directory. Without data it gives a sentence that says so.
"""

from benchmarking import migration, plots, rows, sweeps
from benchmarking.page import Section, Table
from benchmarking.tables import full_table, get, get_bytes, get_us, us

FORMS = {"serial": ("serial", 3), "threads": ("plain threads", 2), "mpi": ("MPI", 1), "dsm": ("Minorca", 0)}
# The same colour for a case in all plots.
CASES = ("fetch_new", "fetch_stale", "current", "fetch_blocks", "write_new", "write_upgrade")


def label_of(row, keys, names):
    return rows.describe([(key, value) for key, value in rows.key_of(row) if key in keys], names)


# --- latency of faults -----------------------------------------------------------------------------------------


def case_label(row):
    many = row.get("case") == "fetch_blocks"
    return "fetch_blocks, %s" % rows.counted(row["blocks"], "block", "blocks") if many else row.get("case", "?")


def main_slice(data):
    """The delivery and the number of threads that plots show: inline and 1, or else what comes first."""
    kinds = [(row.get("delivery"), row.get("threads"), row.get("nodes")) for row in data]
    fewest = min(kind[2] or 0 for kind in kinds)
    kinds = [kind for kind in kinds if (kind[2] or 0) == fewest]
    chosen = next((kind for kind in kinds if kind[:2] == ("inline", 1)), kinds[0])
    return chosen, [row for row in data if (row.get("delivery"), row.get("threads"), row.get("nodes")) == chosen]


def curve_of(row, quantiles, samples, prefix):
    """(ns, percent) as far as there are samples to tell; from percentiles where there are no quantiles."""
    points = row.get(quantiles) or [[p, row.get(prefix + name)] for p, name in
                                    ((50, "p50_ns"), (90, "p90_ns"), (99, "p99_ns"), (99.9, "p999_ns"))]
    most = 100 * (1 - 1 / max(row.get(samples) or 1000, 2))
    return [(ns, p) for p, ns in points if ns and p <= most]


def is_drawn(row):
    """Whether a row of fault_latency is one of those whose distribution is shown, if it is of the main slice."""
    # A sample of sweep_prefetch is a call.
    return row.get("case") != "sweep_prefetch" and (row.get("case") != "fetch_blocks" or row.get("blocks") == 1)


def cdf_lines(data):
    lines = []
    for row in data:
        colour = CASES.index(row["case"]) if row["case"] in CASES else len(CASES)
        for points, dashed in ((curve_of(row, "quantiles", "samples", ""), False),
                               (curve_of(row, "floor_quantiles", "floor_samples", "floor_"), True)):
            if len(points) > 1:
                lines.append(plots.Line(case_label(row), [ns for ns, _ in points], [p for _, p in points], colour,
                                        dashed))
    return lines


def cdf_table(title, lines):
    percents = sorted({p for line in lines for p in line.y})
    columns = [(line.label + (", floor" if line.dashed else ""), dict(zip(line.y, line.x))) for line in lines]
    return Table(title, ["percent"] + [name + " [µs]" for name, _ in columns],
                 [[p] + [us(values.get(p)) for _, values in columns] for p in percents])


FAULT_COLUMNS = [
    ("case", case_label), ("access", get("access")), ("delivery", get("delivery")), ("page", get_bytes("page_size_bytes")),
    ("threads", get("threads")), ("nodes", get("nodes")), ("transport", get("transport")), ("samples", get("samples")),
    ("p50 [µs]", get_us("p50_ns")), ("p90", get_us("p90_ns")), ("p99", get_us("p99_ns")), ("p99.9", get_us("p999_ns")),
    ("max", get_us("max_ns")), ("floor p50", get_us("floor_p50_ns")), ("floor p99", get_us("floor_p99_ns")),
    ("ratio", get("ratio")), ("READ p50", get_us("read_p50_ns")), ("map p50", get_us("map_p50_ns")),
    ("beyond READ", get("beyond_read_ratio")), ("runs", get("runs")),
]


def latency(directory):
    data = rows.merged(directory.of("fault_latency"), directory.known)
    if not data:
        return "The latency of faults: no result of fault_latency."
    (delivery, threads, nodes), main = main_slice(data)
    main = [row for row in main if is_drawn(row)]
    section = Section("latency", "Latency of faults",
                      "What part of all touches of a page was done within a time: %s delivery, %s, %s. The scale on the "
                      "left is stretched towards its end, where the slow ones are. Solid lines are Minorca, dashed lines "
                      "of the same colour the floor: the same kernel work and the same copy by the barest code. Of "
                      "several runs, the median of each point." %
                      (delivery, rows.counted(threads, "thread", "threads"), rows.counted(nodes, "node", "nodes")))
    for size in sorted({row["page_size_bytes"] for row in main}):
        for access, words in (("read", "loads"), ("write", "stores")):
            lines = cdf_lines([row for row in main if row["page_size_bytes"] == size and row["access"] == access])
            if lines:
                title = "%s, %s" % (rows.name_of_pages(size), words)
                section.plots.append(plots.cdf("cdf-%d-%s" % (size, access), title, lines))
                section.tables.append(cdf_table("Quantiles: " + title, lines))
    section.tables.insert(0, full_table("All cases of fault_latency", data, FAULT_COLUMNS))
    return section


# --- anatomy of a fault ----------------------------------------------------------------------------------------


# In the order in which they follow each other, and in words.
STAGES = {"trap_ns": "trap", "lock_ns": "lock", "prepare_ns": "memory", "ask_ns": "versions", "read_ns": "data",
          "ready_ns": "note, twin", "map_ns": "CONTINUE", "leave_ns": "leave", "return_ns": "return"}
SHORT_NS = 20000


def stages_of(row):
    return {words: row[name] for name, words in STAGES.items() if rows.is_number(row.get(name))}


def anatomy_label(row):
    words = [case_label(row), rows.name_of_pages(row["page_size_bytes"])]
    return ", ".join(words + (["store"] if row.get("access") == "write" else []))


ANATOMY_COLUMNS = [
    ("case", case_label), ("access", get("access")), ("delivery", get("delivery")), ("page", get_bytes("page_size_bytes")),
    ("threads", get("threads")), ("nodes", get("nodes")), ("samples", get("samples")),
] + [(words + " [ns]", get(name)) for name, words in STAGES.items()] + [
    ("sum", get("sum_ns")), ("whole", get("whole_ns")), ("sum / whole", get("sum_ratio")),
    ("untraced", get("untraced_ns")), ("cost of a moment", get("moment_cost_ns")), ("runs", get("runs")),
]


# Those of the kernel, by its tracepoints.
KERNEL_STAGES = {
    "exception_ns": "exception", "handle_ns": "kernel: page fault, userfaultfd", "signal_ns": "kernel: signal",
    "frame_ns": "kernel: signal frame", "handover_ns": "kernel: to the handler thread", "data_ns": "runtime: data",
    "runtime_ns": "runtime: all else", "ioctl_ns": "kernel: CONTINUE", "calls_ns": "kernel: other calls",
    "wake_ns": "kernel: waking", "sigreturn_ns": "kernel: sigreturn", "resume_ns": "return"}

KERNEL_COLUMNS = ANATOMY_COLUMNS[:7] + [(words + " [ns]", get(name)) for name, words in KERNEL_STAGES.items()] + [
    ("the kernel's together", get("kernel_ns")), ("sum", get("sum_ns")), ("untraced", get("untraced_ns")),
    ("sum / untraced", get("untraced_ratio")), ("cost of an event", get("event_cost_ns")), ("left out because", get("skipped")),
    ("runs", get("runs")),
]


def stage_plots(name, title, data, stages):
    """Short faults and long ones apart: one that takes a hundred times as long would hide the others."""
    bars = [(anatomy_label(row), {words: row[stage] for stage, words in stages.items() if rows.is_number(row.get(stage))})
            for row in main_slice(data)[1]]
    made = []
    for length, words, some in (
            ("short", "less than 20 µs", [bar for bar in bars if sum(bar[1].values()) < SHORT_NS]),
            ("long", "20 µs and more", [bar for bar in bars if sum(bar[1].values()) >= SHORT_NS])):
        parts = [part for part in stages.values() if any(values.get(part) for _, values in some)]
        if some:
            made.append(plots.stacked("%s-%s" % (name, length), "%s of %s" % (title, words), some, parts))
    return made


def anatomy(directory):
    data = [row for row in rows.merged(directory.of("fault_anatomy"), directory.known) if stages_of(row)]
    kernel = rows.merged(directory.of("fault_kernel"), directory.known)
    seen = [row for row in kernel if row.get("samples")]
    if not data and not seen:
        return "The anatomy of a fault, stage by stage: no result of fault_latency --anatomy." + "".join(
            " The kernel's part: %s." % why for why in sorted({row["skipped"] for row in kernel if row.get("skipped")}))
    (delivery, threads, _), _ = main_slice(data or seen)
    section = Section("anatomy", "Anatomy of a fault", "Where the time of one fault goes, stage by stage: %s delivery, %s." %
                      (delivery, rows.counted(threads, "thread", "threads")))
    if data:
        section.plots += stage_plots("anatomy", "Faults", data, STAGES)
        section.tables.append(full_table("All stages", data, ANATOMY_COLUMNS))
    if seen:
        section.plots += stage_plots("kernel", "The kernel's part: faults", seen, KERNEL_STAGES)
    if kernel:
        section.tables.append(full_table("The kernel's part, by its tracepoints", kernel, KERNEL_COLUMNS))
    return section


# --- bandwidth ---------------------------------------------------------------------------------------------------

BASELINES = ("baseline_bytes_per_s", "floor_bytes_per_s", "memcpy_bytes_per_s")
SIZES = ("bytes", "size_bytes", "fetch_bytes", "region_bytes")


def baseline_of(row):
    if row.get("floor_bandwidth_ratio"):
        return row["bytes_per_s"] / row["floor_bandwidth_ratio"]
    return next((row[name] for name in BASELINES if rows.is_number(row.get(name))), None)


def size_axis(data):
    """The name of a size of which there are enough values for a curve; None: of none."""
    return next((name for name in SIZES if len({row.get(name) for row in data if row.get(name)}) >= 3), None)


def bandwidth_curves(name, title, data, axis):
    names = rows.shared_names([rows.key_of(row) for row in data]) | {axis}
    lines = {}
    for row in sorted(rows.of_numbers(data, axis), key=lambda row: row[axis]):
        label = rows.describe(rows.key_of(row), names) or title
        x, y = lines.setdefault(label, ([], []))
        x.append(row[axis])
        y.append(row["bytes_per_s"] / 1e9)
    drawn = [plots.Line(label, x, y, index) for index, (label, (x, y)) in enumerate(lines.items())]
    return plots.curves(name, title, drawn[:plots.COLOURS], "size (log)", "GB/s (log)")


def labels_of(keys):
    """A label for each key: of its texts and workers if that is enough to tell them apart, else of all."""
    names = rows.shared_names(keys) if len(keys) > 1 else set()
    short = [rows.describe([(name, value) for name, value in key if isinstance(value, str) or name in ("threads", "nodes")],
                           names) for key in keys]
    return short if len(set(short)) == len(keys) else [rows.describe(key, names) for key in keys]


def bandwidth_rows(name, title, data):
    labels = labels_of([rows.key_of(row) for row in data])
    return plots.pairs(name, title + " [bytes/s]",
                       [(label or title, row["bytes_per_s"], baseline_of(row)) for label, row in zip(labels, data)],
                       plots.short, ("Minorca", "floor or baseline"))


def bandwidth_columns(data):
    keys = list(dict.fromkeys(name for row in data for name, _ in rows.key_of(row) if name != "case_id"))
    return [(name.replace("_", " "), get(name)) for name in keys] + [
        ("GB/s", lambda row: round(row["bytes_per_s"] / 1e9, 4)),
        ("baseline GB/s", lambda row: round(baseline_of(row) / 1e9, 4) if baseline_of(row) else None),
        ("ratio", lambda row: round(row["bytes_per_s"] / baseline_of(row), 3) if baseline_of(row) else None),
        ("of the copy's", get("copy_bandwidth_ratio")), ("faults", get("faults")), ("faults/s", get("faults_per_s")),
        ("read ahead", get("pages_read_ahead")), ("p50 [µs]", get_us("p50_ns")), ("p99 [µs]", get_us("p99_ns")),
        ("runs", get("runs"))]


def bandwidth(directory):
    names = list(dict.fromkeys(row["benchmark"] for row in directory.rows if "bandwidth" in str(row.get("benchmark"))))
    section = Section("bandwidth", "Bandwidth", "GB are 10^9 bytes; medians of all runs.")
    for name in names:
        data = rows.of_numbers(rows.merged(directory.of(name), directory.known), "bytes_per_s")
        rates, unrated = sweeps.split_fault_rates(data)
        section.plots += sweeps.fault_rates(rates)
        by_case = {}
        for row in unrated:
            by_case.setdefault(row.get("case") or name, []).append(row)
        rest = []
        for case, some in by_case.items():
            axis = size_axis(some)
            if axis:
                section.plots.append(bandwidth_curves("bandwidth-%s-%s" % (name, case), "%s: %s" % (name, case), some, axis))
            else:
                rest += some
        for size in sorted({row.get("page_size_bytes") or 0 for row in rest}):
            title = "%s, %s" % (name, rows.name_of_pages(size)) if size else name
            section.plots.append(bandwidth_rows("bandwidth-%s-%d" % (name, size), title,
                                                [row for row in rest if (row.get("page_size_bytes") or 0) == size]))
        if data:
            section.tables.append(full_table("All of " + name, data, bandwidth_columns(data)))
    return section if section.tables else "Bandwidth: no result of read_bandwidth or fetch_bandwidth."


# --- synchronisation -----------------------------------------------------------------------------------------------

FAMILIES = (("Acquire", ("acquire",)), ("Publish, and the stores before it", ("publish", "store", "diff")),
            ("False sharing, and invalidation storms", ("false_sharing", "storm")), ("Locks", ("lock", "trylock", "rwlock")),
            ("Barriers, atomics, events, collectives, allocation", ("barrier", "atomic", "event", "reduce", "broadcast",
                                                                    "malloc")))


def sync_label(row):
    words = [row["case"]] + [row[name] for name in ("variant", "home") if row.get(name)]
    if row.get("page_size_bytes"):
        words.append(rows.bytes_in_words(row["page_size_bytes"]))
    if row.get("region_bytes") and row["case"] == "acquire_nothing":
        words.append("of " + rows.bytes_in_words(row["region_bytes"]))
    if row.get("changed_pages"):
        words.append(rows.counted(row["changed_pages"], "page", "pages"))
    if row["case"] == "publish_bytes":
        words.append(rows.bytes_in_words(row["changed_bytes"]) + " of it")
    return " ".join(map(str, words))


SYNC_COLUMNS = [
    ("case", sync_label), ("threads", get("threads")), ("nodes", get("nodes")), ("transport", get("transport")),
    ("samples", get("samples")), ("p50 [µs]", get_us("p50_ns")), ("p90", get_us("p90_ns")), ("p99", get_us("p99_ns")),
    ("max", get_us("max_ns")), ("baseline p50", get_us("baseline_p50_ns")), ("ratio", get("ratio")),
    ("faults an interval", get("faults_per_interval")), ("bytes fetched", get("bytes_fetched_per_interval")),
    ("bytes published", get("bytes_published_per_interval")), ("baseline", get("baseline")), ("left out because", get("skipped")), ("runs", get("runs")),
]


def sync(directory):
    data = rows.merged(directory.of("sync"), directory.known)
    if not data:
        return "Synchronisation: no result of sync."
    section = Section("sync", "Synchronisation", "Medians, each beside what it is measured against in the same run; "
                      "the table names that baseline. The scale is logarithmic.")
    fewest = min(row.get("nodes") or 0 for row in data)
    for index, (title, prefixes) in enumerate(FAMILIES):
        some = [row for row in rows.of_numbers(data, "p50_ns") if row["case"].startswith(prefixes)
                and (row.get("nodes") or 0) == fewest]
        if some:
            section.plots.append(plots.pairs("sync-%d" % index, title,
                                             [(sync_label(row), row["p50_ns"], row.get("baseline_p50_ns") or None)
                                              for row in some]))
    curves = (sweeps.publish_curves([row for row in data if (row.get("nodes") or 0) == fewest]),
              sweeps.storm_curves(data, sync_label))
    section.plots += [plot for plot in curves if plot]
    section.tables.append(full_table("All cases of sync", data, SYNC_COLUMNS))
    return section


# --- applications ----------------------------------------------------------------------------------------------------


def workers_of(row):
    return row.get("workers") or (row.get("nodes") or 1) * (row.get("threads") or 1)


def app_name(row):
    """With what else tells its rows apart: variant and class."""
    rest = [(name, value) for name, value in rows.key_of(row)
            if name not in ("benchmark", "name", "form", "threads", "nodes", "workers", "transport", "case_id", "verified",
                            "parameters", "size", "page_size_bytes")]
    return ", ".join([str(row.get("name", "?"))] + ([rows.describe(rest)] if rest else []))


def with_speed_up(data):
    """Where a row has none: against the plain threads, else the same form, with the fewest workers."""
    for row in data:
        if rows.is_number(row.get("speed_up")) or not row.get("seconds"):
            continue
        base = [other for other in data if other.get("form") == "threads" and other.get("seconds")] or \
               [other for other in data if other.get("form") == row.get("form") and other.get("seconds")]
        first = min(base, key=workers_of)
        row["speed_up"] = first["seconds"] / row["seconds"] * workers_of(first)
    return data


APP_COLUMNS = [
    ("application", app_name), ("form", lambda row: FORMS.get(row.get("form"), (row.get("form"), 0))[0]),
    ("nodes", get("nodes")), ("threads", get("threads")), ("seconds", get("seconds")), ("speed-up", get("speed_up")),
    ("time by MPI's", get("to_mpi")), ("rate", get("rate")), ("", get("rate_unit")), ("faults", get("faults")),
    ("bytes fetched", get("bytes_fetched")), ("bytes published", get("bytes_published")),
    ("outside [s]", get("outside_seconds")), ("compute [s]", get("compute_seconds")), ("faults [s]", get("fault_seconds")),
    ("trap and return [s]", get("fault_trap_seconds")), ("data [s]", get("fault_data_seconds")),
    ("CONTINUE [s]", get("fault_map_seconds")), ("rest of faults [s]", get("fault_rest_seconds")),
    ("a load's fault [µs]", get_us("fault_read_mean_ns")), ("a store's", get_us("fault_write_mean_ns")),
    ("an upgrade", get_us("fault_upgrade_mean_ns")), ("lock [s]", get("lock_seconds")), ("unlock [s]", get("unlock_seconds")),
    ("atomics [s]", get("atomic_seconds")), ("barriers [s]", get("barrier_seconds")), ("other [s]", get("other_seconds")),
    ("of that prefetching [s]", get("prefetch_seconds")), ("publishing, un-mapping [s]", get("consistency_seconds")),
    ("traced run [s]", get("anatomy_seconds")), ("faults left out", get("faults_left_out")), ("problem", get("parameters")),
    ("runs", get("runs")),
]
# Where an application's time goes: in words, and the fields that add up to it.
PARTS = {
    "computing": ("compute_seconds",), "computing and faults": (),
    "faults: trap and return": ("fault_trap_seconds",), "faults: CONTINUE": ("fault_map_seconds",),
    "faults: data, twins": ("fault_data_seconds", "fault_rest_seconds"), "locks": ("lock_seconds", "unlock_seconds"),
    "atomics": ("atomic_seconds",), "barriers: waiting": ("barrier_seconds",), "prefetching": ("prefetch_seconds",),
    "publishing, un-mapping; messages": ("consistency_seconds",),
}


def parts_of(row):
    """{part: ns}. A run that was not taken apart (--anatomy) does not tell computing from faults, nor calls from others."""
    parts = {words: 1e9 * sum(row.get(name) or 0 for name in names) for words, names in PARTS.items()}
    if not rows.is_number(row.get("compute_seconds")):
        parts["computing and faults"] = 1e9 * (row.get("outside_seconds") or 0)
    if not rows.is_number(row.get("consistency_seconds")):
        parts["publishing, un-mapping; messages"] = 1e9 * (row.get("other_seconds") or 0)
    return parts


def parts_plot(plot, name, data):
    """Of the runs with the most workers, in each form; None: the parts are not told."""
    bars = []
    for variant in dict.fromkeys(app_name(row) for row in data):
        some = [row for row in data if app_name(row) == variant and row.get("form") in ("threads", "mpi", "dsm")
                and rows.is_number(row.get("barrier_seconds"))]
        most = max(map(workers_of, some), default=0)
        bars += [("%s, %s, %s" % (variant, FORMS[row["form"]][0], rows.counted(most, "worker", "workers")), parts_of(row))
                 for row in sorted(some, key=lambda row: -FORMS[row["form"]][1]) if workers_of(row) == most]
    return plots.stacked(plot, "Where the time goes: " + name, bars, list(PARTS)) if bars else None


def add_comparisons(data):
    """To rows of the Minorca form: their time by that of the other forms, with as many workers."""
    def alike(row):
        return row.get("name"), row.get("variant"), row.get("class"), workers_of(row)

    times = {(alike(row), row.get("form")): row["seconds"] for row in data if row.get("seconds")}
    for row in data:
        for form in ("mpi", "threads"):
            other = times.get((alike(row), form)) if row.get("form") == "dsm" else None
            row["to_" + form] = round(row["seconds"] / other, 4) if other and row.get("seconds") else None
    return data


def applications(directory):
    data = rows.merged([row for row in directory.of("app") if not row.get("traced")], directory.known)
    if not data:
        return "Applications, and their speed-up: no result of bench/apps."
    section = Section("applications", "Applications", "Speed-up of the same computation in three forms, over the serial program of the "
                      "same run; and where the time goes, a mean over workers. How the time of the Minorca form is split into "
                      "computing, faults and calls is known by a run more, in which faults were traced.")
    by_name = {}
    for row in data:
        by_name.setdefault(app_name(row), []).append(row)
    for index, (name, some) in enumerate(by_name.items()):
        add_comparisons(with_speed_up(some))
        lines = []
        for form in dict.fromkeys(row.get("form") for row in some):
            points = sorted({workers_of(row): row["speed_up"] for row in some
                             if row.get("form") == form and rows.is_number(row.get("speed_up"))}.items())
            label, colour = FORMS.get(form, (str(form), 3))
            if points and form != "serial":
                lines.append(plots.Line(label, [x for x, _ in points], [y for _, y in points], colour))
        if lines:
            section.plots.append(plots.speed_up("app-%d" % index, name, lines))
    for name in dict.fromkeys(str(row.get("name")) for row in data):
        section.plots.append(parts_plot("app-parts-" + name, name, [row for row in data if str(row.get("name")) == name]))
    section.plots = [plot for plot in section.plots if plot]
    section.tables.append(full_table("All applications", data, APP_COLUMNS))
    return section


def heat_cells(row):
    """A dense table of [page bin][time bin] of a fault_trace (bench/README.md)."""
    cells = [[0] * row["time_bins"] for _ in range(row["page_bins"])]
    for page, moment, count in row["faults"]:
        cells[page][moment] += count
    return cells


def heat_extent(row):
    """Of its axes: ms, pages."""
    return (0, row["time_bins"] * row["bin_ns"] / 1e6, 0, row["page_bins"] * row["pages_per_bin"])


def faults_by_page(directory):
    data = [row for row in directory.of("fault_trace") if row.get("faults")]
    if not data:
        return "A map of faults by page and time: no result with a trace."
    section = Section("heat", "Faults by page and time", "How many faults each part of the memory took, over time, in one "
                      "run. Darker (in the dark: brighter) is more.")
    first = {rows.key_of(row): row for row in reversed(data)}  # of repetitions the first
    for index, (key, row) in enumerate(reversed(list(first.items()))):
        title = ", ".join(str(row[name]) for name in ("name", "form") if row.get(name)) or rows.describe(key)
        title += "".join(", %s %s" % (name, row[name]) for name in ("node", "region") if row.get(name) is not None)
        section.plots.append(plots.heat("heat-%d" % index, title, heat_cells(row), heat_extent(row), "time [ms]",
                                        "page of the region"))
        section.tables.append(Table("Faults: " + title, ["pages from", "time from [ms]", "faults"],
                                    [[page * row["pages_per_bin"], round(moment * row["bin_ns"] / 1e6, 3), count]
                                     for page, moment, count in row["faults"]]))
    return section


# --- the rest --------------------------------------------------------------------------------------------------------

SHOWN = ("fault_latency", "fault_anatomy", "fault_kernel", "sync", "migration", "app", "fault_trace")


def others(directory):
    """What no section knows is shown all the same: as tables."""
    names = dict.fromkeys(str(row.get("benchmark")) for row in directory.rows)
    unknown = [name for name in names if name not in SHOWN and "bandwidth" not in name]
    if not unknown:
        return ""
    section = Section("others", "Other results")
    for name in unknown:
        data = rows.merged(directory.of(name), directory.known)
        columns = list(dict.fromkeys(key for row in data for key, value in row.items()
                                     if isinstance(value, (str, int, float)) and key not in ("host", "commit", "benchmark")))
        section.tables.append(full_table(name, data, [(column, get(column)) for column in columns]))
    return section


ALL = (latency, anatomy, bandwidth, sync, migration.migration, applications, faults_by_page, others)
