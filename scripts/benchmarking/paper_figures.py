"""The figures of the paper, by the plots and the selection of rows that the report has (plots.py, sections.py)."""

from benchmarking import paper_tables, plots, rows, sections
from benchmarking.paper_numbers import FAMILIES, Missing
from benchmarking.plots import PAPER

PARTS = list(sections.PARTS)


def rows_of(numbers, family):
    if not numbers.data[family]:
        raise Missing("no row of benchmark %s; %s measures it" % (
            FAMILIES[family].benchmark, numbers.how_to_get(FAMILIES[family].program)))
    return numbers.data[family]


def latency(numbers, page_size):
    _, main = sections.main_slice(rows_of(numbers, "fault"))
    some = [row for row in main if row["page_size_bytes"] == page_size and row["access"] == "read" and sections.is_drawn(row)]
    numbers.touch(some)
    lines = sections.cdf_lines(some)
    if not lines:
        raise Missing("no distribution of fault_latency with pages of %s; %s measures it" % (
            rows.bytes_in_words(page_size), numbers.how_to_get("fault_latency")))
    return plots.cdf("latency-%d" % page_size, "", lines, PAPER)


def anatomy(numbers, short):
    _, main = sections.main_slice([row for row in rows_of(numbers, "anatomy") if sections.stages_of(row)])
    main = [row for row in main if (sum(sections.stages_of(row).values()) < sections.SHORT_NS) == short
            and (row["case"] != "fetch_blocks" or row.get("blocks") in (1, 16))]
    numbers.touch(main)
    bars = [(sections.anatomy_label(row), sections.stages_of(row)) for row in main]
    if not bars:
        raise Missing("no fault of %s 20 us is in the results of fault_latency --anatomy; %s measures it" % (
            "less than" if short else "more than", numbers.how_to_get("anatomy")))
    return plots.stacked("anatomy-" + ("short" if short else "long"), "", bars, list(sections.STAGES.values()), medium=PAPER)


def bandwidth(numbers):
    bars = []
    for order, means in paper_tables.BANDWIDTH:
        row = numbers.row("bandwidth", [order, means, "4KiB"])
        copy = row["bytes_per_s"] / row["copy_bandwidth_ratio"] if row.get("copy_bandwidth_ratio") else None
        bars.append(("%s, %s" % (order, means), row["bytes_per_s"], sections.baseline_of(row), copy))
    return plots.pairs("bandwidth", "", bars, plots.short, ("Minorca [bytes/s]", "floor", "copy alone"), PAPER)


def applications(numbers):
    bars = []
    for words, name, has_mpi in paper_tables.APPLICATIONS:
        speed_ups = [numbers.row("app", name.split("/") + [form])["speed_up"] if form != "mpi" or has_mpi else None
                     for form in ("dsm", "mpi", "threads")]
        bars.append((words, *speed_ups))
    return plots.pairs("applications", "", bars, lambda value, _=None: "%g" % value, ("Minorca", "MPI", "threads"), PAPER)


def parts(numbers):
    """Shares of the time, in Minorca's form."""
    bars = []
    for words, name, _ in paper_tables.APPLICATIONS:
        shares = sections.parts_of(numbers.row("app", name.split("/") + ["dsm"]))
        whole = sum(shares.values())
        bars.append((words, {part: value / whole for part, value in shares.items()}))
    kept = [part for part in PARTS if any(shares[part] for _, shares in bars)]
    return plots.stacked("parts", "", bars, kept, lambda value, _=None: "%d %%" % round(100 * value), PAPER)


def faults_by_page(numbers):
    data = [row for row in numbers.directory.of("fault_trace") if row.get("faults")]
    if not data:
        raise Missing("no row of benchmark fault_trace; %s measures it" % numbers.how_to_get("jacobi_faults"))
    row = max(data, key=lambda row: sum(count for _, _, count in row["faults"]))
    numbers.touch([row])
    return plots.heat("trace", "", sections.heat_cells(row), sections.heat_extent(row), "time [ms]", "page of the region",
                      PAPER)


ALL = {
    "latency-small": lambda numbers: latency(numbers, 4096), "latency-large": lambda numbers: latency(numbers, 2 << 20),
    "anatomy-short": lambda numbers: anatomy(numbers, True), "anatomy-long": lambda numbers: anatomy(numbers, False),
    "bandwidth": bandwidth, "applications": applications, "parts": parts, "trace": faults_by_page,
}
