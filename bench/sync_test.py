#!/usr/bin/env python3
"""Runs sync on a few nodes and reads its JSON as a script would. Prints TAP.

usage: sync_test.py NODES LAUNCHER BINARY [OPTION...]

LAUNCHER is scripts/mpirun.sh; the transport is that of MINORCA_TRANSPORT. Without MPI, or
over verbs without an RDMA device, the test is skipped, with the reason.
"""

import sys

from check import check_types, each, run

CASES = set("""
    acquire_nothing acquire_changed publish_line publish_line_hot publish_bytes publish_page publish_pages store_first store_hot diff
    lock_uncontended lock_publish trylock lock_handover rwlock_read rwlock_read_all rwlock_write false_sharing
    false_sharing_lock storm_one storm_all barrier
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
COUNTED = ("false_sharing", "storm")
# What a baseline over RDMA is not a request of its own for.
LOCAL = set("""
    store_first store_hot diff lock_publish false_sharing false_sharing_lock storm_one storm_all
    barrier barrier_publish reduce broadcast malloc_free
""".split())


def check_fields(row, nodes):
    check_types(row, FIELDS)
    assert row["benchmark"] == "sync"
    assert row["nodes"] == nodes
    assert row["home"] in ("here", "there", None)
    assert (row["changed_bytes"] is not None) == row["case"].startswith("publish_")


def check_times(row):
    if row["skipped"]:
        return
    check_types(row, MEASURED)
    assert row["samples"] > 0
    order = [row[name] for name in ("p50_ns", "p90_ns", "p99_ns", "max_ns")]
    assert order == sorted(order), "percentiles %r" % order


def check_baseline(row):
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


def check_counts(row):
    """What the runtime did in an interval, of those that are about that."""
    faults = row["faults_per_interval"]
    assert (faults is not None) == (row["case"].startswith(COUNTED) and not row["skipped"]), "%r faults" % faults
    if faults is not None:
        (check_sharing if row["case"].startswith("false_sharing") else check_storm)(row)


def check_storm(row):
    nodes = row["nodes"]
    readers = nodes * (nodes - 1) if row["case"] == "storm_all" else nodes - 1  # of each page that changes
    pages = row["changed_pages"] * readers
    # Each is un-mapped once for each storm; by which of two barriers differs, where the home presumes its pages changed.
    presumed = row["changed_pages"] >= 128 and row["page_size_bytes"] == 4096 and row["variant"] in ("faults", "readahead", None)
    off = abs(row["pages_invalidated_per_interval"] - pages)
    assert off <= (pages / row["samples"] if presumed else 0) + 1e-5 * pages, "expected %d pages un-mapped" % pages
    fetched = pages * row["page_size_bytes"]  # JSON has six digits
    assert abs(row["bytes_fetched_per_interval"] - fetched) <= 1e-5 * fetched, "expected %d bytes fetched" % fetched
    faults = row["faults_per_interval"]
    assert 8 * faults <= pages if row["variant"] == "readahead" else faults == pages, "%r faults in a storm" % faults


def check_sharing(row):
    faults = row["faults_per_interval"]
    assert 0 <= faults <= row["nodes"], "%r faults in an interval" % faults
    fetched, published = row["bytes_fetched_per_interval"], row["bytes_published_per_interval"]
    others = 0 if row["variant"] == "page_at_home" else row["nodes"] - 1  # who is not home of its page
    assert published == 8 * others, "%r bytes published in an interval" % published
    block = 4096 if row["page_size_bytes"] == 4096 else 32768
    most = block * others if row["variant"] == "one_page" else 0
    least = most / 2 if row["case"] == "false_sharing" else 0
    assert least <= fetched <= most, "%r bytes fetched in an interval" % fetched


def check_cases(rows):
    found = {row.get("case") for row in rows}
    assert found == CASES, "missing %s; unknown %s" % (sorted(CASES - found), sorted(found - CASES))


def main():
    nodes, launcher, binary = sys.argv[1:4]
    checks = [
        ("no case is missing", check_cases),
        ("every object has the fields that are promised", each(check_fields, int(nodes))),
        ("what was measured has percentiles, in order", each(check_times)),
        ("a ratio is that of the medians", each(check_baseline)),
        ("what the runtime did is what the case says", each(check_counts)),
        ("what was left out has a reason", each(check_skipped, int(nodes))),
    ]
    return run([launcher, nodes, binary, "--json"] + sys.argv[4:], ("no RDMA device",), checks)


if __name__ == "__main__":
    sys.exit(main())
