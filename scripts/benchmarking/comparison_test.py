"""Tests of comparison.py and scripts/bench-compare with noise that is made up: what is found, and how often by mistake."""

import contextlib
import importlib.util
import io
import json
import math
import os
import random
import tempfile
import unittest
from importlib.machinery import SourceFileLoader

from benchmarking import comparison, rows

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "bench-compare")
NOISE = 0.05


def load_script():
    loader = SourceFileLoader("bench_compare", SCRIPT)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("bench_compare", loader))
    loader.exec_module(module)
    return module


def even(rng):
    return rng.gauss(0, NOISE)


def with_outliers(rng):
    """One run in ten was disturbed, and takes up to twice as long."""
    return rng.gauss(0, NOISE) + (rng.uniform(0, 0.7) if rng.random() < 0.1 else 0)


def values(rng, median, count, noise=even):
    return [max(1, round(median * math.exp(noise(rng)))) for _ in range(count)]


def changes_of(rng, row_count, repetitions, factors, noise=even):
    """@factors: {row: how many times as long it takes in b}"""
    changes = []
    for row in range(row_count):
        median = 10 ** rng.uniform(1.2, 6)
        changes.append(comparison.change_of((("case", row),), values(rng, median, repetitions, noise),
                                            values(rng, median * factors.get(row, 1), repetitions, noise), "p50_ns", "lower"))
    comparison.judge(changes)
    return changes


@unittest.skipUnless(importlib.util.find_spec("scipy"), "python3-scipy is not installed; scripts/setup --report")
class Statistics(unittest.TestCase):
    def test_finds_ten_percent_in_five_percent_noise(self):
        rng, found = random.Random(1), 0
        for _ in range(50):
            changes = changes_of(rng, 40, 15, {3: 1.10, 4: 1 / 1.10})
            found += (changes[3].verdict == "slower") + (changes[4].verdict == "faster")
        self.assertGreater(found, 80, "of 100")

    def test_finds_a_doubling_with_five_repetitions(self):
        rng = random.Random(2)
        found = sum(changes_of(rng, 40, 5, {0: 2.0})[0].verdict == "slower" for _ in range(50))
        self.assertGreater(found, 45)

    def false_alarms(self, noise, repetitions, trials=200):
        """The part of comparisons of equals in which anything at all is reported."""
        rng = random.Random(3)
        return sum(any(change.verdict in ("slower", "faster") for change in changes_of(rng, 40, repetitions, {}, noise))
                   for _ in range(trials)) / trials

    def test_reports_nothing_in_pure_noise(self):
        for repetitions in (3, 5, 15):  # 0.05 is what is promised; of 200 trials 0.09 is two and a half deviations more
            self.assertLessEqual(self.false_alarms(even, repetitions), 0.09, repetitions)

    def test_outliers_do_not_alarm(self):
        for repetitions in (5, 15):
            self.assertLessEqual(self.false_alarms(with_outliers, repetitions), 0.09, repetitions)

    def test_reported_changes_are_mostly_true(self):
        rng, true, false = random.Random(4), 0, 0
        for _ in range(60):
            for row, change in enumerate(changes_of(rng, 40, 10, {row: 1.15 for row in range(10)})):
                if change.verdict in ("slower", "faster"):
                    true, false = true + (row < 10), false + (row >= 10)
        self.assertGreater(true, 400)
        self.assertLessEqual(false / (true + false), 0.06)

    def test_values_that_happen_to_be_equal_are_not_certain(self):
        change = comparison.change_of((), [15, 15, 15], [16, 16, 16], "p50_ns", "lower")
        self.assertGreater(change.p, 1e-3)
        self.assertTrue(change.low < 16 / 15 < change.high)
        same = comparison.change_of((), [15, 15, 15], [15, 15, 15], "p50_ns", "lower")
        self.assertEqual(round(same.p, 6), 1)

    def test_small_changes_do_not_count(self):
        change = comparison.change_of((), [10000, 10001, 10002], [10100, 10101, 10102], "p50_ns", "lower")
        comparison.judge([change])
        self.assertLess(change.p, 1e-6)
        self.assertEqual(change.verdict, "same")
        comparison.judge([change], least=0.005)
        self.assertEqual(change.verdict, "slower")

    def test_more_is_better_where_it_is(self):
        change = comparison.change_of((), [100, 101, 102], [200, 201, 202], "bytes_per_s", "higher")
        comparison.judge([change])
        self.assertEqual(change.verdict, "faster")

    def test_the_interval_covers_the_truth(self):
        rng, covered = random.Random(5), 0
        for _ in range(300):
            change = comparison.change_of((), values(rng, 1e5, 6), values(rng, 1.2e5, 6), "p50_ns", "lower")
            covered += change.low <= 1.2 <= change.high
        self.assertGreater(covered, 300 * 0.92)

    def test_two_repetitions_are_too_few(self):
        change = comparison.change_of((), [1, 1], [9, 9, 9], "p50_ns", "lower")
        comparison.judge([change])
        self.assertEqual(change.verdict, "too few")

    def test_step_up(self):
        self.assertEqual(comparison.step_up([0.01, 0.02, 0.03, 0.9], 0.05), 0.03)
        self.assertEqual(comparison.step_up([0.04, 0.9], 0.05), -1)
        self.assertEqual(comparison.step_up([], 0.05), -1)


@unittest.skipUnless(importlib.util.find_spec("scipy"), "python3-scipy is not installed; scripts/setup --report")
class Script(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.directory = holder.name

    def make(self, name, factor, cases=("x", "y"), repetitions=6):
        path, rng = os.path.join(self.directory, name), random.Random(name)
        os.mkdir(path)
        with open(os.path.join(path, "results.jsonl"), "w", encoding="utf-8") as file:
            for repetition in range(1, repetitions + 1):
                for case in cases:
                    ns = 5000 * math.exp(rng.gauss(0, 0.02)) * (factor if case == "x" else 1)
                    file.write(json.dumps({"benchmark": "b", "case": case, "case_id": "b.n2", "repetition": repetition,
                                           "host": name, "samples": rng.randint(1, 99), "p50_ns": int(ns)}) + "\n")
        return path

    def run_script(self, *arguments):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = load_script().main(list(arguments))
        return status, out.getvalue(), err.getvalue()

    def test_a_regression_fails_only_if_asked(self):
        a, b = self.make("a", 1), self.make("b", 1.5)
        status, out, _ = self.run_script(a, b)
        self.assertEqual(status, 0)
        self.assertRegex(out, r"slower +\+\d\d\.\d %")
        self.assertIn("1 slower, 0 faster, 1 the same", out)
        self.assertEqual(self.run_script("--fail-on-regression", a, b)[0], 1)
        self.assertEqual(self.run_script("--fail-on-regression", b, a)[0], 0)
        self.assertEqual(self.run_script("--fail-on-regression", "--least", "90", a, b)[0], 0)

    def test_what_is_gone_is_a_regression(self):
        a, b = self.make("a", 1), self.make("b", 1, cases=("x",))
        status, out, _ = self.run_script("--fail-on-regression", a, b)
        self.assertEqual(status, 1)
        self.assertIn("only in A:\n  b, y", out)

    def test_all_shows_what_is_the_same(self):
        a, b = self.make("a", 1), self.make("b", 1)
        self.assertIn("same", self.run_script("--all", a, b)[1].split("\n\n")[1])

    def test_nothing_to_compare(self):
        self.assertEqual(self.run_script(self.directory, "/nowhere")[0], 2)
        a, b = self.make("a", 1, repetitions=2), self.make("b", 1)
        status, out, _ = self.run_script(a, b)
        self.assertEqual(status, 2)
        self.assertIn("2 not compared", out)


class Rows(unittest.TestCase):
    def test_a_key_is_texts_and_parameters(self):
        row = {"benchmark": "b", "case": "c", "variant": None, "page_size_bytes": 4096, "p50_ns": 3, "samples": 9,
               "host": "h", "commit": "1", "case_id": "b.n2", "repetition": 4, "verified": True, "stride": 8}
        key = dict(rows.key_of(row))
        self.assertEqual(key, {"benchmark": "b", "case": "c", "page_size_bytes": 4096, "case_id": "b.n2", "verified": True})
        self.assertIn("stride", dict(rows.key_of(row, {"b": {"key": ["stride"]}})))

    def test_measures(self):
        self.assertEqual(rows.measure_of({"p50_ns": 3, "bytes_per_s": 4}), ("p50_ns", "lower"))
        self.assertEqual(rows.measure_of({"p50_ns": None, "bytes_per_s": 4}), ("bytes_per_s", "higher"))
        self.assertIsNone(rows.measure_of({"p50_ns": None}))
        known = {"b": {"measure": "rate", "better": "higher"}}
        self.assertEqual(rows.measure_of({"case_id": "b.n2", "rate": 1, "p50_ns": 2}, known), ("rate", "higher"))

    def test_medians_of_repetitions(self):
        merged, = rows.merged([{"case": "c", "p50_ns": n, "ratio": None, "quantiles": [[50, n], [99, 10 * n]],
                                "stages": {"trap_ns": n}} for n in (1, 9, 2)])
        self.assertEqual(merged, {"case": "c", "p50_ns": 2, "ratio": None, "quantiles": [[50, 2], [99, 20]],
                                  "stages": {"trap_ns": 2}, "runs": 3})

    def test_words(self):
        key = rows.key_of({"case": "c", "page_size_bytes": 2 << 20, "threads": 1, "nodes": 2, "outstanding": 4})
        self.assertEqual(rows.describe(key), "c, 2 MiB, 1 thread, 2 nodes, 4 outstanding")
        self.assertEqual(rows.describe(key, {"nodes", "case"}), "2 MiB, 1 thread, 4 outstanding")


if __name__ == "__main__":
    unittest.main()
