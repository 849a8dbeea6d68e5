"""Unit tests of trace.py."""

import os
import tempfile
import unittest

from benchmarking import trace

HEAD = "time_ns,duration_ns,region,page,access,pages\n"


class Trace(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.prefix = os.path.join(holder.name, "app[1].trace")

    def write(self, node, lines):
        with open("%s.%d.csv" % (self.prefix, node), "w", encoding="utf-8") as file:
            file.write(HEAD + "".join("%d,100,%s,%d,read,1\n" % line for line in lines))

    def test_every_fault_is_counted_once(self):
        self.write(0, [])
        self.write(1, [(1000 + i * 7919, "grid", i * 37 % 5000) for i in range(20000)] + [(500, "other", 3)])
        grid, other = trace.rows(self.prefix, "jacobi", 2)
        self.assertEqual((grid["node"], grid["region"], other["region"], grid["name"]), (1, "grid", "other", "jacobi"))
        self.assertEqual(sum(n for _, _, n in grid["faults"]), 20000)
        self.assertLessEqual(max(page for page, _, _ in grid["faults"]), grid["page_bins"] - 1)
        self.assertLessEqual(max(moment for _, moment, _ in grid["faults"]), grid["time_bins"] - 1)
        self.assertLessEqual(grid["page_bins"], trace.PAGE_BINS)
        self.assertLessEqual(grid["time_bins"], trace.TIME_BINS)
        self.assertGreaterEqual(grid["page_bins"] * grid["pages_per_bin"], 5000)
        self.assertEqual(other["faults"], [[3, 0, 1]])

    def test_places(self):
        self.write(0, [(0, "a", 0), (950, "a", 127), (960, "a", 126)])
        row, = trace.rows(self.prefix, "x", 1)
        self.assertEqual((row["pages_per_bin"], row["bin_ns"]), (2, 11))
        self.assertEqual(row["faults"], [[0, 0, 1], [63, 86, 1], [63, 87, 1]])

    def test_only_the_busiest_regions(self):
        self.write(0, [(i, "r%d" % n, i) for n in range(6) for i in range(n + 1)])
        self.assertEqual([row["region"] for row in trace.rows(self.prefix, "x", 1)], ["r5", "r4", "r3"])

    def test_none(self):
        self.assertEqual(trace.rows(self.prefix, "x", 1), [])


if __name__ == "__main__":
    unittest.main()
