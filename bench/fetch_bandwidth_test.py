#!/usr/bin/env python3
"""Runs fetch_bandwidth on a few nodes and reads its JSON as a script would. Prints TAP.

usage: fetch_bandwidth_test.py [--of-floor-at-least=RATIO] NODES LAUNCHER BINARY [OPTION...]

--of-floor-at-least: the least share of the floor's bandwidth that sequential reading with readahead may get. For a
machine that does nothing else.

LAUNCHER is scripts/mpirun.sh; the transport is that of MINORCA_TRANSPORT. Without MPI, or over verbs without an RDMA
device, the test is skipped, with the reason.
"""

import os
import sys

import check

FIELDS = {
    "benchmark": str, "case": str, "means": str, "page_size_bytes": int, "bytes": int, "threads": int, "nodes": int,
    "transport": str, "stride_pages": int, "window_pages": int, "samples": int, "p50_ns": int, "min_ns": int,
    "max_ns": int, "ns_per_page": int, "bytes_per_s": int, "mb_per_s": int, "faults": int, "faults_per_s": int, "pages_read_ahead": int,
    "bytes_fetched": int, "floor_p50_ns": int, "floor_bandwidth_ratio": float, "copy_p50_ns": int,
    "copy_bandwidth_ratio": float, "host": str, "commit": str,
}
REASONS = ("no RDMA device",)


def check_row(row, nodes):
    check.check_types(row, FIELDS)
    assert row["benchmark"] == "fetch_bandwidth" and row["nodes"] == nodes and row["samples"] > 0
    assert 0 < row["min_ns"] <= row["p50_ns"] <= row["max_ns"]
    assert abs(row["floor_bandwidth_ratio"] - row["floor_p50_ns"] / row["p50_ns"]) <= 0.01 * row["floor_bandwidth_ratio"]
    measuring = nodes - 1
    pages = row["bytes"] // row["page_size_bytes"] * measuring
    assert row["bytes_fetched"] >= pages * row["page_size_bytes"]
    if row["means"] == "prefetch":
        assert row["faults"] == 0
    elif row["means"] == "fault":
        assert row["faults"] == pages and row["pages_read_ahead"] == 0
    else:
        check_readahead(row, pages)


def check_readahead(row, pages):
    if row["case"] == "random":
        assert row["pages_read_ahead"] * 50 <= pages, "a random reader was given pages that it did not ask for"
        return
    assert row["faults"] + row["pages_read_ahead"] >= pages - 1  # they are means, rounded down
    assert row["faults"] * 8 <= pages, "a walk was not read ahead"
    beyond = (row["nodes"] - 1) * row["threads"] * row["window_pages"]  # each ends with a window, perhaps not its own
    most = (pages + beyond) * row["page_size_bytes"]
    assert row["bytes_fetched"] <= most, "%d bytes, %d walked over" % (row["bytes_fetched"], most)


def check_rows(rows):
    found = {(row["case"], row["means"]) for row in rows if row["page_size_bytes"] == 4096}
    expected = {(case, means) for case in ("sequential", "backward", "strided", "random")
                for means in ("fault", "readahead")} | {("sequential", "prefetch")}
    assert found == expected, "rows %r" % sorted(found)


def check_floor(rows, least):
    ratios = [row["floor_bandwidth_ratio"] for row in rows
              if row["case"] == "sequential" and row["means"] == "readahead"]
    assert ratios and min(ratios) >= least, "floor_bandwidth_ratio is %r, expected %g at least" % (ratios, least)


def main():
    arguments = sys.argv[1:]
    least = check.take_option(arguments, "of-floor-at-least")
    nodes, launcher, binary = int(arguments[0]), arguments[1], arguments[2]
    checks = [("each row agrees with itself and with what was asked for", check.each(check_row, nodes)),
              ("all rows are there", check_rows)]
    if least is not None:
        checks.append(("reading ahead gets the floor's bandwidth", lambda rows: check_floor(rows, least)))
    return check.run([launcher, str(nodes), binary, "--json"] + arguments[3:], REASONS, checks, dict(os.environ))


if __name__ == "__main__":
    sys.exit(main())
