#!/usr/bin/env python3
"""Runs fault_latency --anatomy on a few nodes and reads its JSON as a script would. Prints TAP.

usage: anatomy_test.py NODES LAUNCHER BINARY [OPTION...]

LAUNCHER is scripts/mpirun.sh; the transport is that of MINORCA_TRANSPORT. Without MPI, or with too few hugepages, the
test is skipped, with the reason.
"""

import os
import sys

import check

STAGES = ("trap_ns", "lock_ns", "prepare_ns", "ask_ns", "read_ns", "ready_ns", "map_ns", "leave_ns", "return_ns")
FIELDS = {
    "benchmark": str, "case": str, "blocks": int, "page_size_bytes": int, "delivery": str, "access": str, "threads": int,
    "nodes": int, "transport": str, "samples": int, "sum_ns": int, "whole_ns": int, "sum_ratio": float,
    "untraced_ns": int, "moment_cost_ns": int, "idle_moment_cost_ps": int, "invariant_tsc": str,
}
REASONS = ("hugepages are needed", "no RDMA device")
MOMENTS = 8


def check_row(row, nodes):
    check.check_types(row, dict(FIELDS, **{stage: int for stage in STAGES}))
    assert row["benchmark"] == "fault_anatomy" and row["nodes"] == nodes and row["samples"] > 0
    assert row["sum_ns"] == sum(row[stage] for stage in STAGES)
    # On a quiet machine, within 5 %. A fifth of a few samples on a busy one is nothing to go by, nor are threads that take
    # turns on a processor: some faults have another's slice in them, and which stage that falls into differs.
    if row["samples"] >= 200 and (nodes - 1) * row["threads"] <= len(os.sched_getaffinity(0)):
        assert abs(row["sum_ratio"] - 1) <= 0.1, "the stages come to %d ns of %d" % (row["sum_ns"], row["whole_ns"])
    # The kernel is asked, by a signal or a message, and maps the page.
    assert row["trap_ns"] > 0 and row["map_ns"] > 0 and row["return_ns"] > 0
    reads = row["case"].startswith("fetch_") or row["case"] == "write_new"
    assert row["read_ns"] > 50 or not reads, "data in %d ns" % row["read_ns"]


def check_idle_cost(rows):
    fault = min(row["untraced_ns"] for row in rows)
    cost = rows[0]["idle_moment_cost_ps"] * MOMENTS / 1000
    assert cost <= 0.01 * fault, "moments cost %g ns when nothing is traced, a fault %d ns" % (cost, fault)


def main():
    nodes, launcher, binary = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    checks = [("the stages add up to the whole", check.each(check_row, nodes)),
              ("tracing costs less than 1 % when it is off", check_idle_cost)]
    return check.run([launcher, str(nodes), binary, "--anatomy", "--json"] + sys.argv[4:], REASONS, checks)


if __name__ == "__main__":
    sys.exit(main())
