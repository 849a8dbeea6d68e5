#!/usr/bin/env python3
"""Runs an application in all forms on a few nodes and reads its JSON as a script would. Prints TAP.

usage: app_test.py NODES LAUNCHER BINARY [OPTION...]

LAUNCHER is scripts/mpirun.sh. --json is added. Whether the results are right the application itself finds out, and
fails if not.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))

from check import check_types, each, run  # noqa: E402

FORMS = ["serial", "threads", "mpi", "dsm"]
FIELDS = {
    "benchmark": str, "name": str, "form": str, "nodes": int, "threads": int, "workers": int, "class": str,
    "size": int, "parameters": str, "repetitions": int, "seconds": float, "serial_seconds": float, "speed_up": float,
    "rate": float, "rate_unit": str, "verified": bool, "errors": int, "outside_seconds": float,
    "barrier_seconds": float, "other_seconds": float, "host": str, "commit": str,
}
COUNTERS = {
    "page_size_bytes": int, "transport": str, "faults": int, "faults_read": int, "faults_write": int,
    "faults_upgrade": int, "pages_prefetched": int, "pages_read_ahead": int, "bytes_fetched": int, "bytes_published": int,
}

# With --anatomy.
ANATOMY = {
    "fault_seconds": float, "fault_trap_seconds": float, "fault_data_seconds": float, "fault_map_seconds": float,
    "fault_rest_seconds": float, "lock_seconds": float, "unlock_seconds": float, "atomic_seconds": float,
    "prefetch_seconds": float, "consistency_seconds": float, "anatomy_seconds": float, "accounted_ratio": float, "faults_left_out": int,
    "moment_cost_ns": int,
}


def check_fields(row, name):
    check_types(row, FIELDS)
    assert row["benchmark"] == "app" and row["name"] == name
    assert row["verified"] is True


def check_workers(row, nodes, threads):
    form = row["form"]
    expected = 1 if form == "serial" else nodes * threads
    assert row["workers"] == expected == row["nodes"] * row["threads"], "workers of %s" % form
    assert row["nodes"] == (nodes if form in ("mpi", "dsm") else 1)


def check_times(row):
    assert row["seconds"] > 0 and row["rate"] > 0
    assert abs(row["speed_up"] - row["serial_seconds"] / row["seconds"]) <= 0.01 * row["speed_up"]
    if row["form"] == "serial":
        assert row["seconds"] == row["serial_seconds"]
    parts = row["outside_seconds"] + row["barrier_seconds"] + row["other_seconds"]
    assert parts <= 1.2 * row["seconds"] + 0.002, "the parts are %g s of %g s" % (parts, row["seconds"])


def check_anatomy(row, asked):
    if row["form"] != "dsm" or not asked:
        assert all(row[name] is None for name in ANATOMY), "an anatomy of what was not taken apart"
        assert (row["compute_seconds"] is None) == (row["form"] == "dsm")
        return
    check_types(row, ANATOMY)
    outside = sum(row[name] for name in ("compute_seconds", "fault_seconds", "lock_seconds", "unlock_seconds",
                                         "atomic_seconds"))
    assert abs(outside - row["outside_seconds"]) <= 1e-4, "%g s of %g s outside" % (outside, row["outside_seconds"])
    calls = row["prefetch_seconds"] + row["consistency_seconds"]
    assert abs(calls - row["other_seconds"]) <= 1e-4, "%g s of %g s of other calls" % (calls, row["other_seconds"])
    stages = sum(row["fault_%s_seconds" % name] for name in ("trap", "data", "map", "rest"))
    assert abs(stages - row["fault_seconds"]) <= 1e-4, "stages of %g s in faults of %g s" % (stages, row["fault_seconds"])
    assert (row["fault_seconds"] > 0) == (row["faults"] > 0) or row["faults"] < 5, "%d faults" % row["faults"]
    # Those add up however wrong they are: computing is the rest. What was counted may not be more than there was.
    assert 0 < row["accounted_ratio"] <= 1.15, "%g of the time was accounted for" % row["accounted_ratio"]
    assert row["faults_left_out"] == 0 and row["anatomy_seconds"] > 0
    for kind in "read", "write", "upgrade":
        assert row["faults_" + kind] == 0 or row["fault_%s_mean_ns" % kind] is None \
            or 200 < row["fault_%s_mean_ns" % kind] < 1e8
    assert (row["lock_seconds"] > 0) == (row["name"] == "kv")
    assert (row["atomic_seconds"] > 0) == (row["variant"] == "atomics")


def check_counters(row, nodes):
    if row["form"] != "dsm":
        assert all(row[name] is None for name in COUNTERS), "counters of a form that has none"
        return
    shares = row["name"] != "kmeans"  # that one only reduces
    check_types(row, {name: kind for name, kind in COUNTERS.items() if shares or name != "page_size_bytes"})
    # Those that another thread of the node had resolved meanwhile are of none of these kinds.
    kinds = row["faults_read"] + row["faults_write"] + row["faults_upgrade"]
    assert kinds == row["faults"] or (kinds < row["faults"] and row["threads"] > 1), "%d faults of a kind" % kinds
    moved = row["bytes_fetched"] + row["bytes_published"]
    assert moved or nodes == 1 or not shares or row["variant"] == "atomics", "nothing went from node to node"


def check_forms(rows, threads):
    expected = [form for form in FORMS if form != "mpi" or threads == 1]
    found = {}
    for row in rows:
        found.setdefault(row["variant"], []).append(row["form"])
    assert expected in found.values(), "no variant has all forms: %r" % found
    without_mpi = [form for form in expected if form != "mpi"]
    assert all(forms in (expected, without_mpi) for forms in found.values()), "forms %r" % found


def main():
    nodes, launcher, binary = sys.argv[1:4]
    options = sys.argv[4:]
    threads = max([int(option.split("=")[1]) for option in options if option.startswith("--threads=")] + [1])
    name = os.path.basename(binary).replace("app_", "", 1)
    checks = [
        ("no form is missing", lambda rows: check_forms(rows, threads)),
        ("every object has the fields that are promised, and is verified", each(check_fields, name)),
        ("each form has its workers", each(check_workers, int(nodes), threads)),
        ("times agree with each other", each(check_times)),
        ("where the time went adds up", each(check_anatomy, "--anatomy" in options)),
        ("counters are those of the Minorca form, and agree", each(check_counters, int(nodes))),
    ]
    return run([launcher, nodes, binary, "--json"] + options, (), checks)


if __name__ == "__main__":
    sys.exit(main())
