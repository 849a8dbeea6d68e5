#!/usr/bin/env python3
"""Runs a benchmark that needs an RDMA device and reads its JSON as a script would. Prints TAP.

usage: rdma_test.py [--fetch-at-least=RATIO] COMMAND [ARG...]

--fetch-at-least: the least that bandwidth_ratio of fetches may be. For a machine that does nothing else.

COMMAND runs read_bandwidth or connection_memory; --json is added, and MINORCA_TRANSPORT=verbs set. Without a device
(or MPI, or with too few hugepages) the test is skipped, with the reason.
"""

import json
import os
import subprocess
import sys

REASONS = ("no RDMA device", "hugepages are needed", "is down;", "serves no atomics")

READ = {
    "case": str, "bytes": int, "outstanding": int, "nodes": int, "transport": str, "samples": int, "p50_ns": int,
    "p90_ns": int, "p99_ns": int, "max_ns": int, "bytes_per_s": int, "mb_per_s": int, "host": str, "commit": str,
}
MEMORY = {
    "object": str, "device": str, "count": int, "depth": int, "process_bytes": int, "slab_bytes": int,
    "vmalloc_bytes": int, "percpu_bytes": int, "machine_bytes": int, "commit": str,
}


def check_types(row, fields):
    for name, kind in fields.items():
        assert isinstance(row.get(name), kind), "%s is %r" % (name, row.get(name))


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


def check(done):
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert rows, "no rows"
    check_row, check_rows = BENCHMARKS[rows[0]["benchmark"]]
    for row in rows:
        try:
            check_row(row)
        except AssertionError as error:
            raise AssertionError("%s\n%s" % (error, json.dumps(row))) from error
    check_rows(rows)


def check_fetches(done, least):
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    ratios = {row["case"]: row["bandwidth_ratio"] for row in rows if row["case"].startswith("fetch_")}
    assert ratios and min(ratios.values()) >= least, "bandwidth_ratio is %r, expected %g at least" % (ratios, least)


def why_skipped(done):
    if "# SKIP" in done.stdout:
        return done.stdout.split("# SKIP", 1)[1].strip()
    lines = [line for line in done.stderr.splitlines() if any(reason in line for reason in REASONS)]
    return lines[0] if lines and done.returncode else ""


def tap(number, name, failure):
    print("%sok %d - %s" % ("not " if failure else "", number, name))
    if failure:
        print("# " + failure.replace("\n", "\n# "))


def main():
    arguments, least = sys.argv[1:], None
    if arguments and arguments[0].startswith("--fetch-at-least="):
        least = float(arguments.pop(0).split("=", 1)[1])
    environment = dict(os.environ, MINORCA_TRANSPORT="verbs", MINORCA_HEAP_BYTES="64MiB")
    done = subprocess.run(arguments + ["--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=240, env=environment)
    reason = why_skipped(done)
    if reason:
        print("1..0 # SKIP " + reason)
        return 0
    names = ["it runs", "its rows are those that are promised, and their figures agree"]
    failures = ["" if done.returncode == 0 else "exit status %d\n%s" % (done.returncode, done.stderr)]
    checks = [lambda: check(done)]
    if least is not None:
        names.append("fetches get the bandwidth of bare READs")
        checks.append(lambda: check_fetches(done, least))
    for function in checks:
        try:
            function()
            failures.append("")
        except (AssertionError, KeyError, ValueError) as error:
            failures.append("%r\n%s" % (error, done.stdout[:2000]))
    print("1..%d" % len(names))
    for number, (name, failure) in enumerate(zip(names, failures), 1):
        tap(number, name, failure)
    return 1 if any(failures) else 0


if __name__ == "__main__":
    sys.exit(main())
