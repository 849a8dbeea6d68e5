#!/usr/bin/env python3
"""Runs migration on two nodes and reads its JSON as a script would. Prints TAP.

usage: migration_test.py NODES LAUNCHER BINARY [OPTION...]

LAUNCHER is scripts/mpirun.sh; the transport is that of MINORCA_TRANSPORT. Without MPI, or over verbs without an RDMA
device, the test is skipped, with the reason.
"""

import os
import sys

import check

FIELDS = {
    "benchmark": str, "mode": str, "page_size_bytes": int, "memory_bytes": int, "write_percent": int,
    "write_pages_per_s": int, "written_pages_per_s": int, "nodes": int, "transport": str, "delivery": str, "clock": str,
    "downtime_ns": int, "empty_switch_ns": int, "downtime_ratio": float, "first_step_ns": int, "total_ns": int, "last_page_ns": int,
    "map_ns": int, "rounds": int, "bytes_moved": int, "bytes_precopied": int, "bytes_switched": int, "bytes_mapped": int,
    "bytes_fetched": int, "blocks_fetched": int, "pages_out_of_date": int, "postcopy_faults": int,
    "postcopy_faults_current": int, "postcopy_faults_early": int, "usual_steps_per_ms": int, "raw_copy_ns": int,
    "copy_bytes_per_s": int, "fault_current_p50_ns": int, "floor_current_p50_ns": int, "fault_current_ratio": float,
    "fault_whole_p50_ns": int, "floor_whole_p50_ns": int, "steps": int, "stores": int, "intact": bool,
    "throughput": list, "host": str, "commit": str,
}
MODES = {"stop-and-copy", "pre-copy", "post-copy", "minor"}
REASONS = ("no RDMA device",)
FEW_FAULTS = 3


def check_row(row, nodes):
    check.check_types(row, FIELDS)
    assert row["benchmark"] == "migration" and row["nodes"] == nodes and row["intact"] and row["clock"] == "common"
    assert row["bytes_moved"] >= row["memory_bytes"], "not all of it was moved"
    assert 0 < row["downtime_ns"] <= row["first_step_ns"] and 0 < row["last_page_ns"]
    large = row["page_size_bytes"] > 4096
    # The runtime counts blocks, the migration bytes.
    assert row["bytes_fetched"] == row["blocks_fetched"] * (row["page_size_bytes"] // 64 if large else 4096)
    assert row["postcopy_faults_current"] + row["postcopy_faults_early"] <= row["postcopy_faults"]
    check_stores(row)
    assert isinstance(row["fault_partial_p50_ns"], int) == large
    # A thread that the background's mapping wakes goes on before its fault is counted, and sees none.
    if isinstance(row["fault_p50_ns"], int):
        assert row["postcopy_faults"] > 0
    else:
        assert row["postcopy_faults"] <= FEW_FAULTS
    check_throughput(row["throughput"], row)
    MODE_CHECKS[row["mode"]](row)


def check_stores(row):
    """What was asked for, and what its user came to in the tenth of a second and more before the pause: one store at once, and
    no more in a second than was asked; fewer if somebody else had the processor."""
    asked, written = row["write_pages_per_s"], row["written_pages_per_s"]
    assert asked == row["memory_bytes"] // row["page_size_bytes"] * row["write_percent"] // 100
    assert 0 < written <= 1.05 * asked + 10, "%d stores a second of %d" % (written, asked)
    assert asked < 1000 or written > asked / 20, "%d stores a second of %d" % (written, asked)
    assert row["stores"] >= written / 10, "%d stores in all" % row["stores"]


def check_throughput(points, row):
    """Points are at the beginnings of their bins, of a ms here, by the ms since the user was told to pause."""
    before, after = [[steps for x, steps in points if sign * x > 0] for sign in (-1, 1)]
    # Where others had the processors, nothing was usual either.
    assert sum(before) > 0 or row["usual_steps_per_ms"] == 0, "no step before the pause"
    assert sum(after) > 0 and sum(before) + sum(after) <= row["steps"]
    paused = [steps for x, steps in points if x >= 1 and (x + 1) * 1e6 < row["downtime_ns"]]
    # The step that was under way may end late, if its thread was not run: the pause waits for it.
    assert sum(paused) <= 1, "%g steps in the pause" % sum(paused)


def check_that_all_was_there(row):
    assert row["postcopy_faults"] == row["bytes_fetched"] == row["pages_out_of_date"] == 0


def check_stop_and_copy(row):
    assert row["bytes_precopied"] == 0 and row["bytes_switched"] >= row["memory_bytes"]
    check_that_all_was_there(row)


def check_pre_copy(row):
    assert row["bytes_precopied"] >= row["memory_bytes"]
    check_that_all_was_there(row)


def check_post_copy(row):
    assert row["bytes_precopied"] == 0 and row["bytes_fetched"] == row["memory_bytes"]
    assert row["pages_out_of_date"] * row["page_size_bytes"] == row["memory_bytes"]
    # Unless the user was not run for so long that the background had brought all.
    assert row["last_page_ns"] > row["downtime_ns"] or row["postcopy_faults"] <= FEW_FAULTS, "all was there before its user went on"


def check_minor(row):
    assert row["bytes_precopied"] >= row["memory_bytes"] and row["bytes_mapped"] > 0
    assert row["bytes_switched"] < 4096, "the pause has copied more than the state"


MODE_CHECKS = {"stop-and-copy": check_stop_and_copy, "pre-copy": check_pre_copy, "post-copy": check_post_copy,
               "minor": check_minor}


def check_rows(rows):
    sizes = {row["page_size_bytes"] for row in rows}
    found = {(row["mode"], row["page_size_bytes"]) for row in rows}
    assert sizes and found == {(mode, size) for mode in MODES for size in sizes}, "rows %r" % sorted(found)


def main():
    nodes, launcher, binary = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    checks = [("each row agrees with itself and with what was asked for", check.each(check_row, nodes)),
              ("all modes are there", check_rows)]
    return check.run([launcher, str(nodes), binary, "--json"] + sys.argv[4:], REASONS, checks, dict(os.environ))


if __name__ == "__main__":
    sys.exit(main())
