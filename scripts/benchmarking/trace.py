"""The faults that MINORCA_TRACE has written (PATH.NODE.csv), counted by page and time: rows of the benchmark "fault_trace".

A trace of a million faults is no picture; counts in bins are, and fit in results.jsonl.
"""

import csv
import glob
import re

PAGE_BINS, TIME_BINS = 64, 96
REGIONS = 3  # of a node: those with the most faults


def read(path):
    """-> {region: [(ns, page)]}"""
    regions = {}
    with open(path, newline="", encoding="utf-8", errors="replace") as file:
        for fault in csv.DictReader(file):
            regions.setdefault(fault["region"], []).append((float(fault["time_ns"]), int(fault["page"])))
    return regions


def count(faults, begin_ns, end_ns):
    """-> what a row says of one region."""
    bin_ns = max(1, int((end_ns - begin_ns) // TIME_BINS + 1))
    pages_per_bin = max(page for _, page in faults) // PAGE_BINS + 1
    counts = {}
    for ns, page in faults:
        place = page // pages_per_bin, int((ns - begin_ns) // bin_ns)
        counts[place] = counts.get(place, 0) + 1
    return {"page_bins": max(place[0] for place in counts) + 1, "pages_per_bin": pages_per_bin,
            "time_bins": max(place[1] for place in counts) + 1, "bin_ns": bin_ns,
            "faults": [[page, moment, n] for (page, moment), n in sorted(counts.items())]}


def rows(prefix, name, nodes):
    """Rows of all nodes' files, with one clock for the regions of a node."""
    made = []
    for path in sorted(glob.glob(glob.escape(prefix) + ".*.csv")):
        node = re.search(r"\.(\d+)\.csv$", path)
        regions = read(path)
        times = [ns for faults in regions.values() for ns, _ in faults]
        if not node or not times:
            continue
        for region in sorted(regions, key=lambda one: -len(regions[one]))[:REGIONS]:
            made.append({"benchmark": "fault_trace", "name": name, "nodes": nodes, "node": int(node[1]), "region": region,
                         **count(regions[region], min(times), max(times))})
    return made
