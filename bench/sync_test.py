#!/usr/bin/env python3
"""Runs sync on a few nodes and reads its JSON as a script would. Prints TAP.

usage: sync_test.py NODES LAUNCHER BINARY [OPTION...]

LAUNCHER is scripts/mpirun.sh; the transport is that of MINORCA_TRANSPORT. Without MPI, or
over verbs without an RDMA device, the test is skipped, with the reason.
"""

import json
import subprocess
import sys

CASES = set("""
    acquire_nothing acquire_changed publish_line publish_line_hot publish_page publish_pages store_first store_hot diff
    lock_uncontended lock_publish trylock lock_handover rwlock_read rwlock_read_all rwlock_write barrier
    barrier_publish atomic_add atomic_load atomic_compare_swap atomic_add_contended event_pingpong reduce broadcast
    malloc_free
""".split())
FIELDS = {
    "benchmark": str, "case": str, "changed_pages": int, "nodes": int, "threads": int, "transport": str, "samples": int,
}
MEASURED = {"calls_per_sample": int, "p50_ns": int, "p90_ns": int, "p99_ns": int, "max_ns": int}
BASELINE = {"baseline": str, "baseline_samples": int, "baseline_p50_ns": int}
# What a machine may lack. On one node there is more, of course.
REASONS = ("hugepages of", "a region of", "needs 2 cores", "it did not happen")
ON_VERBS = ("this transport has no pages that stay writable", "needs nodes on one host")
REQUESTS = ("READ", "WRITE", "CMP_SWP", "FETCH_ADD")
# What a baseline over RDMA is not a request of its own for.
LOCAL = set("""
    store_first store_hot diff lock_publish barrier barrier_publish reduce broadcast malloc_free
""".split())


def check_types(row, fields):
    for name, kind in fields.items():
        assert isinstance(row.get(name), kind), "%s is %r" % (name, row.get(name))


def check_fields(row, nodes):
    check_types(row, FIELDS)
    assert row["benchmark"] == "sync"
    assert row["nodes"] == nodes
    assert row["home"] in ("here", "there", None)


def check_times(row, nodes):
    if row["skipped"]:
        return
    check_types(row, MEASURED)
    assert row["samples"] > 0
    order = [row[name] for name in ("p50_ns", "p90_ns", "p99_ns", "max_ns")]
    assert order == sorted(order), "percentiles %r" % order


def check_baseline(row, nodes):
    if row["baseline"] is None:
        assert row["ratio"] is None and row["baseline_p50_ns"] is None
        return
    check_types(row, BASELINE)
    if row["transport"] == "verbs":
        requests = any(request in row["baseline"] for request in REQUESTS)
        assert requests == (row["case"] not in LOCAL), row["baseline"]
    if row["baseline_p50_ns"]:
        assert abs(row["ratio"] - row["p50_ns"] / row["baseline_p50_ns"]) <= 0.01 * row["ratio"]


def check_skipped(row, nodes):
    if not row["skipped"]:
        return
    assert row["samples"] == 0 and row["p50_ns"] is None
    expected = REASONS + (("needs 2 nodes",) if nodes == 1 else ())
    expected += ON_VERBS if row["transport"] == "verbs" else ()
    assert any(reason in row["skipped"] for reason in expected), row["skipped"]


CHECKS = [
    ("every object has the fields that are promised", check_fields),
    ("what was measured has percentiles, in order", check_times),
    ("a ratio is that of the medians", check_baseline),
    ("what was left out has a reason", check_skipped),
]


def tap(number, name, failure):
    print("%sok %d - %s" % ("not " if failure else "", number, name))
    if failure:
        print("# " + failure.replace("\n", "\n# "))


def failure_of(check, rows, nodes):
    for row in rows:
        try:
            check(row, nodes)
        except (AssertionError, KeyError) as error:
            return "%r\n%s" % (error, json.dumps(row))
    return "" if rows else "no rows"


def missing(rows):
    found = {row.get("case") for row in rows}
    return "" if found == CASES else "missing %s; unknown %s" % (sorted(CASES - found), sorted(found - CASES))


def why_skipped(done):
    if "# SKIP" in done.stdout:
        return done.stdout.split("# SKIP", 1)[1].strip()
    lines = [line for line in done.stderr.splitlines() if "no RDMA device" in line]
    return lines[0] if lines and done.returncode else ""


def main():
    nodes, launcher, binary = sys.argv[1:4]
    command = [launcher, nodes, binary, "--json"] + sys.argv[4:]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=240)
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
    failures.append(missing(rows))
    failures += [failure_of(check, rows, int(nodes)) for _, check in CHECKS]

    names = ["it runs on %s nodes" % nodes, "there is JSON on stdout and nothing else", "no case is missing"]
    names += [name for name, _ in CHECKS]
    print("1..%d" % len(names))
    for number, (name, failure) in enumerate(zip(names, failures), 1):
        tap(number, name, failure)
    return 1 if any(failures) else 0


if __name__ == "__main__":
    sys.exit(main())
