#!/usr/bin/env python3
"""Runs fault_latency on a few nodes and reads its JSON as a script would. Prints TAP.

usage: fault_latency_test.py [--beyond-at-most=RATIO] NODES LAUNCHER BINARY [OPTION...]

--beyond-at-most: over verbs, of loads that fetch a page of 4 KiB, the most that beyond_read_ratio may be. For a machine
that does nothing else.

LAUNCHER is scripts/mpirun.sh; the transport is that of MINORCA_TRANSPORT. Without MPI, with too few hugepages,
or over verbs without an RDMA device, the test is skipped, with the reason.
"""

import sys

import check

FIELDS = {
    "benchmark": str, "case": str, "blocks": int, "page_size_bytes": int, "delivery": str, "access": str,
    "threads": int, "nodes": int, "transport": str, "samples": int, "p50_ns": int, "p90_ns": int,
    "p99_ns": int, "p999_ns": int, "max_ns": int, "floor_p50_ns": int, "ratio": float, "bytes_moved": int,
}
BLOCKS = {4096: 1, 2 << 20: 64, 1 << 30: 64}


def check_fields(row, nodes):
    check.check_types(row, FIELDS)
    assert row["benchmark"] == "fault_latency"
    assert row["nodes"] == nodes
    assert row["samples"] > 0


def check_percentiles(row):
    order = [row[name] for name in ("p50_ns", "p90_ns", "p99_ns", "p999_ns", "max_ns")]
    assert order == sorted(order), "percentiles %r" % order
    assert row["floor_p50_ns"] > 0
    assert abs(row["ratio"] - row["p50_ns"] / row["floor_p50_ns"]) < 0.01 * row["ratio"]


def check_bytes(row):
    block_bytes = row["page_size_bytes"] // BLOCKS[row["page_size_bytes"]]
    if row["case"] in ("current", "write_upgrade"):
        assert row["bytes_moved"] == 0, "%s moved %d bytes" % (row["case"], row["bytes_moved"])
    elif row["case"] != "sweep_prefetch":  # whose samples are calls, of many pages
        assert row["bytes_moved"] == row["samples"] * row["blocks"] * block_bytes, "moved %d" % row["bytes_moved"]


def check_parts(row):
    rdma = row["transport"] == "verbs"
    assert row["floor_source"] == ("read" if rdma else "memcpy"), row["floor_source"]
    parts = [row[name] for name in ("read_p50_ns", "map_p50_ns", "beyond_read_ratio")]
    if not rdma or row["access"] == "write" or row["case"] == "sweep_prefetch":
        assert parts == [None] * 3, "parts %r" % parts
        return
    read, mapping, ratio = parts
    assert read > 0 and mapping > 0
    assert abs(ratio - (row["p50_ns"] - read) / mapping) <= 0.01 * abs(ratio) + 0.001, "parts %r" % parts


def check_quantiles(row, wanted):
    if not wanted:
        assert "quantiles" not in row and "floor_quantiles" not in row
        return
    for side in ("", "floor_"):
        points = row[side + "quantiles"]
        assert points == sorted(points) and points[-1][0] == 100
        at = dict(map(tuple, points))
        assert at[50] == row[side + "p50_ns"] and at[99] == row[side + "p99_ns"], points
        assert [ns for _, ns in points] == sorted(ns for _, ns in points)
    assert at[100] >= at[99.9] and dict(map(tuple, row["quantiles"]))[100] == row["max_ns"]


def check_beyond(rows, limit):
    fetches = [row for row in rows if row["case"] in ("fetch_new", "fetch_stale") and row["page_size_bytes"] == 4096]
    ratios = {row["case"]: row["beyond_read_ratio"] for row in fetches if row["access"] == "read"}
    right = ratios and all(ratio is not None and ratio <= limit for ratio in ratios.values())
    assert right, "beyond_read_ratio is %r, expected %g at most" % (ratios, limit)


def main():
    arguments = sys.argv[1:]
    limit = check.take_option(arguments, "beyond-at-most")
    nodes, launcher, binary = arguments[:3]
    checks = [
        ("every object has the fields that are promised", check.each(check_fields, int(nodes))),
        ("percentiles are in order, and the ratio is theirs to the floor's", check.each(check_percentiles)),
        ("the bytes moved are those of the blocks that were out of date", check.each(check_bytes)),
        ("over RDMA the floor's parts are told, and what a fault costs beyond the read", check.each(check_parts)),
    ]
    checks.append(("quantiles are there if asked for, and agree with the percentiles",
                   check.each(check_quantiles, "--distribution" in arguments)))
    if limit is not None:
        checks.append(("a fetch of 4 KiB costs little beyond its READ", lambda rows: check_beyond(rows, limit)))
    return check.run([launcher, nodes, binary, "--json"] + arguments[3:],
                     ("hugepages are needed", "no RDMA device"), checks)


if __name__ == "__main__":
    sys.exit(main())
