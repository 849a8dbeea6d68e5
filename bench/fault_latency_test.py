#!/usr/bin/env python3
"""Runs fault_latency on a few nodes and reads its JSON as a script would. Prints TAP.

usage: fault_latency_test.py [--beyond-at-most=RATIO] NODES LAUNCHER BINARY [OPTION...]

--beyond-at-most: over verbs, of loads that fetch a page of 4 KiB, the most that beyond_read_ratio may be. For a machine
that does nothing else.

LAUNCHER is scripts/mpirun.sh; the transport is that of MINORCA_TRANSPORT. Without MPI, with too few hugepages,
or over verbs without an RDMA device, the test is skipped, with the reason.
"""

import json
import subprocess
import sys

FIELDS = {
    "benchmark": str, "case": str, "blocks": int, "page_size_bytes": int, "delivery": str, "access": str,
    "threads": int, "nodes": int, "transport": str, "samples": int, "p50_ns": int, "p90_ns": int,
    "p99_ns": int, "p999_ns": int, "max_ns": int, "floor_p50_ns": int, "ratio": float, "bytes_moved": int,
}
BLOCKS = {4096: 1, 2 << 20: 64, 1 << 30: 64}


def check_fields(row, nodes):
    for name, kind in FIELDS.items():
        assert isinstance(row.get(name), kind), "%s is %r" % (name, row.get(name))
    assert row["benchmark"] == "fault_latency"
    assert row["nodes"] == nodes
    assert row["samples"] > 0


def check_percentiles(row, nodes):
    order = [row[name] for name in ("p50_ns", "p90_ns", "p99_ns", "p999_ns", "max_ns")]
    assert order == sorted(order), "percentiles %r" % order
    assert row["floor_p50_ns"] > 0
    assert abs(row["ratio"] - row["p50_ns"] / row["floor_p50_ns"]) < 0.01 * row["ratio"]


def check_bytes(row, nodes):
    block_bytes = row["page_size_bytes"] // BLOCKS[row["page_size_bytes"]]
    if row["case"] in ("current", "write_upgrade"):
        assert row["bytes_moved"] == 0, "%s moved %d bytes" % (row["case"], row["bytes_moved"])
    elif row["case"] != "sweep_prefetch":  # whose samples are calls, of many pages
        assert row["bytes_moved"] == row["samples"] * row["blocks"] * block_bytes, "moved %d" % row["bytes_moved"]


def check_parts(row, nodes):
    rdma = row["transport"] == "verbs"
    assert row["floor_source"] == ("read" if rdma else "memcpy"), row["floor_source"]
    parts = [row[name] for name in ("read_p50_ns", "map_p50_ns", "beyond_read_ratio")]
    if not rdma or row["access"] == "write" or row["case"] == "sweep_prefetch":
        assert parts == [None] * 3, "parts %r" % parts
        return
    read, mapping, ratio = parts
    assert read > 0 and mapping > 0
    assert abs(ratio - (row["p50_ns"] - read) / mapping) <= 0.01 * abs(ratio) + 0.001, "parts %r" % parts


CHECKS = [
    ("every object has the fields that are promised", check_fields),
    ("percentiles are in order, and the ratio is theirs to the floor's", check_percentiles),
    ("the bytes moved are those of the blocks that were out of date", check_bytes),
    ("over RDMA the floor's parts are told, and what a fault costs beyond the read", check_parts),
]


def tap(number, name, failure):
    print("%sok %d - %s" % ("not " if failure else "", number, name))
    if failure:
        print("# " + failure.replace("\n", "\n# "))


def run(nodes, launcher, binary, options):
    command = [launcher, nodes, binary, "--json"] + options
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=240)


def failure_of(check, rows, nodes):
    for row in rows:
        try:
            check(row, nodes)
        except AssertionError as error:
            return "%s\n%s" % (error, json.dumps(row))
    return "" if rows else "no rows"


def why_skipped(done):
    if "# SKIP" in done.stdout:
        return done.stdout.split("# SKIP", 1)[1].strip()
    reasons = ("hugepages are needed", "no RDMA device")
    lines = [line for line in done.stderr.splitlines() if any(reason in line for reason in reasons)]
    return lines[0] if lines and done.returncode else ""


def check_beyond(rows, limit):
    fetches = [row for row in rows if row["case"] in ("fetch_new", "fetch_stale") and row["page_size_bytes"] == 4096]
    ratios = {row["case"]: row["beyond_read_ratio"] for row in fetches if row["access"] == "read"}
    right = ratios and all(ratio is not None and ratio <= limit for ratio in ratios.values())
    return "" if right else "beyond_read_ratio is %r, expected %g at most" % (ratios, limit)


def main():
    arguments, limit = sys.argv[1:], None
    if arguments and arguments[0].startswith("--beyond-at-most="):
        limit = float(arguments.pop(0).split("=", 1)[1])
    nodes, launcher, binary = arguments[:3]
    done = run(nodes, launcher, binary, arguments[3:])
    reason = why_skipped(done)
    if reason:
        print("1..0 # SKIP " + reason)
        return 0
    failures = ["" if done.returncode == 0 else "exit status %d\n%s" % (done.returncode, done.stderr)]
    rows = []
    try:
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        failures.append("")
    except ValueError as error:
        failures.append("%s\n%s" % (error, done.stdout[:2000]))
    failures += [failure_of(check, rows, int(nodes)) for _, check in CHECKS]
    if limit is not None:
        failures.append(check_beyond(rows, limit))

    names = ["it runs on %s nodes" % nodes, "there is JSON on stdout and nothing else"] + [name for name, _ in CHECKS]
    names += ["a fetch of 4 KiB costs little beyond its READ"] if limit is not None else []
    print("1..%d" % len(names))
    for number, (name, failure) in enumerate(zip(names, failures), 1):
        tap(number, name, failure)
    return 1 if any(failures) else 0


if __name__ == "__main__":
    sys.exit(main())
