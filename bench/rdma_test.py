#!/usr/bin/env python3
"""Runs a benchmark that needs an RDMA device and reads its JSON as a script would. Prints TAP.

usage: rdma_test.py [--fetch-at-least=RATIO] COMMAND [ARG...]

--fetch-at-least: the least that bandwidth_ratio of fetches may be. For a machine that does nothing else.

COMMAND runs read_bandwidth or connection_memory; --json is added, and MINORCA_TRANSPORT=verbs set. Without a device
(or MPI, or with too few hugepages) the test is skipped, with the reason.
"""

import os
import sys

from check import check_types, each, run, take_option

REASONS = ("no RDMA device", "hugepages are needed", "is down;", "serves no atomics")

READ = {
    "case": str, "bytes": int, "outstanding": int, "nodes": int, "transport": str, "samples": int, "p50_ns": int,
    "p90_ns": int, "p99_ns": int, "max_ns": int, "bytes_per_s": int, "mb_per_s": int, "host": str, "commit": str,
}
MEMORY = {
    "object": str, "device": str, "count": int, "depth": int, "process_bytes": int, "slab_bytes": int,
    "vmalloc_bytes": int, "percpu_bytes": int, "machine_bytes": int, "commit": str,
}


def check_read(row):
    check_types(row, READ)
    order = [row[name] for name in ("p50_ns", "p90_ns", "p99_ns", "max_ns")]
    assert row["samples"] > 0 and order == sorted(order), "percentiles %r" % order
    fetch = row["case"].startswith("fetch_")
    moved = row["bytes"] * (1 if fetch else row["outstanding"])
    assert abs(row["bytes_per_s"] - moved * 1e9 / row["p50_ns"]) <= 1 + 0.001 * row["bytes_per_s"]
    if not fetch:
        assert row["bandwidth_ratio"] is None and row["baseline_p50_ns"] is None
        return
    assert abs(row["bandwidth_ratio"] - row["baseline_p50_ns"] / row["p50_ns"]) <= 0.01 * row["bandwidth_ratio"]


def check_memory(row):
    check_types(row, MEMORY)
    assert row["count"] > 0 and row["depth"] > 0


def check_read_rows(rows):
    cases = {row["case"] for row in rows}
    assert cases == {"read", "split_read", "fetch_fault", "fetch_prefetch"}, "cases %r" % sorted(cases)
    split = [row for row in rows if row["case"] == "split_read"]
    assert [row["outstanding"] for row in split] == [1, 2, 4, 8, 16]
    assert all(row["bytes"] * row["outstanding"] == 2 << 20 for row in split)


def check_memory_rows(rows):
    objects = [row["object"] for row in rows]
    assert objects == ["completion queue", "queue pair", "queue pair, connected"], "objects %r" % objects


BENCHMARKS = {
    "read_bandwidth": (check_read, check_read_rows),
    "connection_memory": (check_memory, check_memory_rows),
}


def check(rows):
    assert rows, "no rows"
    check_row, check_rows = BENCHMARKS[rows[0]["benchmark"]]
    each(check_row)(rows)
    check_rows(rows)


def check_fetches(rows, least):
    ratios = {row["case"]: row["bandwidth_ratio"] for row in rows if row["case"].startswith("fetch_")}
    assert ratios and min(ratios.values()) >= least, "bandwidth_ratio is %r, expected %g at least" % (ratios, least)


def main():
    arguments = sys.argv[1:]
    least = take_option(arguments, "fetch-at-least")
    checks = [("its rows are those that are promised, and their figures agree", check)]
    if least is not None:
        checks.append(("fetches get the bandwidth of bare READs", lambda rows: check_fetches(rows, least)))
    environment = dict(os.environ, MINORCA_TRANSPORT="verbs", MINORCA_HEAP_BYTES="64MiB")
    return run(arguments + ["--json"], REASONS, checks, environment)


if __name__ == "__main__":
    sys.exit(main())
