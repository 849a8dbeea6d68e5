"""Plots of what was swept: faults per second by threads, publishing by bytes, invalidation storms by nodes."""

from benchmarking import plots, rows


# --- faults per second -----------------------------------------------------------------------------------------


def faulting_threads(row):
    """Of all nodes; node 0 is the home of all."""
    return row["threads"] * (row["nodes"] - 1)


def rate_lines(data):
    """Faults per second, as measured and of the floor, against how many threads fault: two lines for each number of nodes."""
    lines = []
    for colour, nodes in enumerate(sorted({row["nodes"] for row in data})):
        some = sorted((row for row in data if row["nodes"] == nodes), key=faulting_threads)
        label, x = rows.counted(nodes - 1, "node faults", "nodes fault"), [faulting_threads(row) for row in some]
        lines.append(plots.Line(label, x, [row["faults_per_s"] for row in some], colour))
        lines.append(plots.Line(label + ", floor", x, [row["faults"] * 1e9 / row["floor_p50_ns"] for row in some], colour,
                                dashed=True))
    return lines


def split_fault_rates(data):
    """-> ({(name in the configuration, case, page size): rows}, the other rows): of faults with several numbers of threads."""
    groups, rest = {}, []
    for row in data:
        is_rate = row.get("means") == "fault" and row.get("faults_per_s") and row.get("floor_p50_ns") and row.get("threads")
        key = (rows.benchmark_of(row).replace(" ", "_"), row.get("case"), row.get("page_size_bytes")) if is_rate else None
        groups.setdefault(key, []).append(row)
    for key in list(groups):
        if not key or len({faulting_threads(row) for row in groups[key]}) < 2:
            rest += groups.pop(key)
    return groups, rest


def fault_rates(groups):
    return [plots.by_count("rate-%s-%s-%d" % key, "Faults per second: %s, %s" % (key[1], rows.name_of_pages(key[2])),
                           rate_lines(some), "threads that fault, of all nodes", "faults / s")
            for key, some in groups.items()]


# --- publishing, and storms ------------------------------------------------------------------------------------


def beside_baseline(label, x, points, colour):
    """A line of medians, and a dashed one of their baselines where all have one."""
    lines = [plots.Line(label, x, [row["p50_ns"] for row in points], colour)]
    if all(row.get("baseline_p50_ns") for row in points):
        lines.append(plots.Line(label + ", baseline", x, [row["baseline_p50_ns"] for row in points], colour, dashed=True))
    return lines


def publish_curves(data):
    """Releases with one changed page of another home, by how many of its bytes; None: fewer than three sizes."""
    lines = []
    some = [row for row in rows.of_numbers(data, "changed_bytes") if row.get("changed_pages") == 1 and row.get("home") == "there"
            and row["case"] in ("publish_line", "publish_bytes", "publish_page") and row.get("p50_ns")]
    for colour, size in enumerate(sorted({row["page_size_bytes"] for row in some})):
        points = sorted((row for row in some if row["page_size_bytes"] == size), key=lambda row: row["changed_bytes"])
        lines += beside_baseline(rows.name_of_pages(size), [row["changed_bytes"] for row in points], points, colour)
    return plots.curves("sync-publish", "Publishing a page, by how much of it has changed", lines, "bytes changed (log)",
                        "time (log)", plots.short_ns) if any(len(line.x) > 2 for line in lines) else None


def storm_curves(data, label_of):
    """How the largest storms grow with the number of nodes; None: there is one number only. @label_of: of a row."""
    storms = {}  # label: {nodes: row}
    for row in rows.of_numbers(data, "p50_ns"):
        if row["case"].startswith("storm_") and row.get("variant") in ("faults", "readahead"):
            storms.setdefault(label_of(row), {})[row["nodes"]] = row
    largest = {}
    for by_nodes in storms.values():
        case, pages = (next(iter(by_nodes.values()))[name] for name in ("case", "changed_pages"))
        largest[case] = max(largest.get(case, 0), pages)
    shown = {label: by_nodes for label, by_nodes in storms.items()
             if len(by_nodes) > 1 and all(row["changed_pages"] == largest[row["case"]] for row in by_nodes.values())}
    lines = []
    for colour, (label, by_nodes) in enumerate(shown.items()):
        lines += beside_baseline(label, sorted(by_nodes), [by_nodes[nodes] for nodes in sorted(by_nodes)], colour)
    return plots.by_count("sync-storms", "Invalidation storms, by nodes", lines, "nodes", "time (log)",
                          plots.short_ns) if lines else None
