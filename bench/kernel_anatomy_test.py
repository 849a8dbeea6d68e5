#!/usr/bin/env python3
"""Runs fault_latency --anatomy --kernel and reads its JSON as a script would. Prints TAP.

usage: kernel_anatomy_test.py NODES LAUNCHER BINARY [OPTION...]

LAUNCHER is scripts/mpirun.sh. Where the kernel cannot be traced (no root, no tracefs) the rows say so, and no more is
asked of them; the test is skipped, with the reason. Rows that are left out for another reason, as that no fault was
seen whole, are a failure.
"""

import json
import subprocess
import sys

import check

PATH = ("exception_ns", "handle_ns", "ioctl_ns", "resume_ns")
INLINE, THREAD = ("signal_ns", "frame_ns", "sigreturn_ns"), ("handover_ns", "wake_ns")
STAGES = PATH + INLINE + THREAD + ("data_ns", "runtime_ns", "calls_ns")
REASONS = ("kernel tracing needs root", "it needs root", "no tracefs", "this kernel lacks a tracepoint",
           "this kernel's traces have no x86-tsc clock", "no event of this process is seen")
FIELDS = {
    "case": str, "page_size_bytes": int, "delivery": str, "access": str, "threads": int, "nodes": int, "samples": int,
    "sum_ns": int, "kernel_ns": int, "untraced_ns": int, "event_cost_ns": int, "moment_cost_ns": int,
    "untraced_ratio": float, **{stage: int for stage in STAGES},
}


def check_row(row, nodes):
    assert row["benchmark"] == "fault_kernel" and row["nodes"] == nodes and row["threads"] == 1
    assert row["samples"] > 0 and row["skipped"] is None, "left out: %s" % row["skipped"]
    check.check_types(row, FIELDS)
    assert row["sum_ns"] == sum(row[stage] for stage in STAGES)
    assert row["kernel_ns"] == row["sum_ns"] - row["data_ns"] - row["runtime_ns"]
    others = THREAD if row["delivery"] == "inline" else INLINE
    assert row["handle_ns"] > 0 and row["ioctl_ns"] > 0 and not any(row[stage] for stage in others)
    if row["delivery"] == "inline":
        assert all(row[stage] > 0 for stage in INLINE)
    else:
        assert row["wake_ns"] > 0
    # What tracing costs is known by a system call and taken off: the rest is what a fault takes without it.
    if row["samples"] >= 200 and row["delivery"] == "inline":
        assert 0.6 < row["untraced_ratio"] < 1.6, "the stages come to %d ns of %d" % (row["sum_ns"], row["untraced_ns"])


def is_untraceable(row):
    return any(reason in (row.get("skipped") or "") for reason in REASONS)


def check_skipped(row):
    assert row["benchmark"] == "fault_kernel" and row["skipped"] and row["samples"] == 0
    assert all(row[stage] is None for stage in STAGES)


def main():
    nodes, command = int(sys.argv[1]), [sys.argv[2], sys.argv[1], sys.argv[3], "--anatomy", "--kernel", "--json"] + sys.argv[4:]
    probe = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=240, check=False)
    try:
        rows = [json.loads(line) for line in probe.stdout.splitlines()]
    except ValueError:
        rows = []  # which is said below
    if probe.returncode == 0 and rows and all(is_untraceable(row) for row in rows):
        failure = check.failure_of(check.each(check_skipped), rows)
        if failure:
            print("1..1\nnot ok 1 - rows that are left out say so\n# " + failure.replace("\n", "\n# "))
            return 1
        print("1..0 # SKIP " + rows[0]["skipped"])
        return 0
    return check.run(command, (), [("the kernel's stages add up", check.each(check_row, nodes))])


if __name__ == "__main__":
    sys.exit(main())
