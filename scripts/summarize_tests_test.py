"""Unit tests of summarize_tests.py: what counts as passed, failed and skipped."""

import contextlib
import io
import json
import os
import tempfile
import unittest

import summarize_tests


def counts(results):
    return results.passed, len(results.failures), len(results.skips)


class Tap(unittest.TestCase):
    def parse(self, text):
        return summarize_tests.parse_tap("here", text)

    def test_passed_and_failed_cases(self):
        results, is_tap = self.parse("1..3\nok 1 - a\nnot ok 2 - b\n# b.c:3: error\nok 3 - c\n")
        self.assertTrue(is_tap)
        self.assertEqual(counts(results), (2, 1, 0))
        self.assertEqual(results.failures[0][:2], ("here", "b"))

    def test_skip_with_its_reason(self):
        results, _ = self.parse("1..1\nok 1 - rdma # SKIP no device\n")
        self.assertEqual(counts(results), (0, 0, 1))
        self.assertEqual(results.skips[0], ("here", "rdma", "no device"))

    def test_skip_as_cmocka_prints_it(self):
        results, _ = self.parse("1..2\nok 1 - a\n# no hugepages\nnot ok 2 # SKIP b\n# ok - group\n")
        self.assertEqual(counts(results), (1, 0, 1))
        self.assertEqual(results.skips[0], ("here", "b", "no hugepages"))

    def test_skip_without_a_reason(self):
        results, _ = self.parse("1..1\nnot ok 1 # SKIP b\n")
        self.assertEqual(results.skips[0], ("here", "b", "no reason given"))

    def test_a_reason_belongs_to_one_case(self):
        results, _ = self.parse("1..2\n# no hugepages\nnot ok 1 # SKIP a\nnot ok 2 # SKIP b\n")
        self.assertEqual([skip[2] for skip in results.skips], ["no hugepages", "no reason given"])

    def test_whole_program_skipped(self):
        results, is_tap = self.parse("1..0 # SKIP no mpirun\n")
        self.assertTrue(is_tap)
        self.assertEqual(counts(results), (0, 0, 1))
        self.assertEqual(results.skips[0][2], "no mpirun")

    def test_cases_that_were_planned_and_did_not_run(self):
        results, _ = self.parse("1..3\nok 1 - a\n")
        self.assertEqual(counts(results), (1, 1, 0))
        self.assertIn("3 cases planned, 1 reported", results.failures[0][1])

    def test_bail_out(self):
        results, _ = self.parse("1..3\nok 1 - a\nBail out! no kernel\n")
        self.assertEqual(counts(results), (1, 1, 0))
        self.assertIn("no kernel", results.failures[0][1])

    def test_several_programs_in_one_log(self):
        results, _ = self.parse("1..1\nok 1 - a\n1..2\nok 1 - b\nok 2 - c\n")
        self.assertEqual(counts(results), (3, 0, 0))

    def test_numbers_and_dashes_are_optional(self):
        results, _ = self.parse("ok\nok a\nnot ok 3 b\n1..3\n")
        self.assertEqual(counts(results), (2, 1, 0))

    def test_words_that_only_begin_like_results(self):
        results, is_tap = self.parse("okay, starting\nnot okay\n")
        self.assertFalse(is_tap)
        self.assertEqual(counts(results), (0, 0, 0))


class Target(unittest.TestCase):
    def parse(self, status, text):
        return counts(summarize_tests.parse_target("//a:b", status, text))

    def test_without_tap_it_is_one_case(self):
        self.assertEqual(self.parse("PASSED", "all well\n"), (1, 0, 0))
        self.assertEqual(self.parse("FAILED", "oh\n"), (0, 1, 0))

    def test_failed_without_a_failing_case(self):
        self.assertEqual(self.parse("FAILED", "1..1\nok 1 - a\n"), (1, 1, 0))
        self.assertEqual(self.parse("TIMEOUT", "1..2\nok 1 - a\n"), (1, 1, 0))

    def test_a_failing_case_is_counted_once(self):
        self.assertEqual(self.parse("FAILED", "1..1\nnot ok 1 - a\n"), (0, 1, 0))

    def test_a_failing_case_in_a_program_that_exits_with_zero(self):
        self.assertEqual(self.parse("PASSED", "1..1\nnot ok 1 - a\n"), (0, 1, 0))

    def test_passed_with_nothing_but_skips(self):
        self.assertEqual(self.parse("PASSED", "1..0 # SKIP no device\n"), (0, 0, 1))

    def test_crash(self):
        self.assertEqual(self.parse("FAILED", ""), (0, 1, 0))


class Steps(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.directory = temporary.name

    def write(self, name, text):
        path = os.path.join(self.directory, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def ran(self, label, status, text, attempt=1):
        log = self.write("log %d" % len(os.listdir(self.directory)), text)
        return {"id": {"testResult": {"label": label, "run": 1, "shard": 1, "attempt": attempt}},
                "testResult": {"status": status,
                               "testActionOutput": [{"name": "test.xml", "uri": "file:///nowhere"},
                                                    {"name": "test.log", "uri": "file://" + log.replace(" ", "%20")}]}}

    def not_built(self, label):
        return {"id": {"targetCompleted": {"label": label}}, "completed": {"success": False}}

    def bazel(self, step, status, *events):
        self.write(step + ".events", "".join(json.dumps(event) + "\n" for event in events))
        self.write(step + ".log", "bazel's last words\n")
        self.write(step + ".status", "%d\n" % status)

    def summary(self):
        """-> (exit status, output)"""
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            status = summarize_tests.main([self.directory])
        return status, output.getvalue()

    def last_line(self):
        return self.summary()[1].splitlines()[-1]

    def test_all_steps_are_added_up(self):
        self.bazel("1-release", 0, self.ran("//a:b", "PASSED", "1..2\nok 1 - a\nok 2 - b # SKIP c\n"))
        self.bazel("3-asan", 0, self.ran("//a:b", "PASSED", "1..1\nok 1 - a\n"))
        self.write("7-lint.tap", "1..1\nok 1 - format\n")
        self.assertEqual(self.last_line(), "3 passed, 0 failed, 1 skipped")
        self.assertEqual(self.summary()[0], 0)

    def test_failing_output_is_shown_before_the_last_line(self):
        self.bazel("1-release", 3, self.ran("//a:b", "FAILED", "1..1\nnot ok 1 - shape\n# 1 != 2\n"))
        status, output = self.summary()
        self.assertEqual(status, 1)
        self.assertIn("# 1 != 2", output)
        self.assertIn("1-release //a:b: shape", output)
        self.assertEqual(output.splitlines()[-1], "0 passed, 1 failed, 0 skipped")

    def test_only_the_last_attempt_counts(self):
        self.bazel("1-release", 0, self.ran("//a:b", "FAILED", "1..1\nnot ok 1 - a\n", 1),
                   self.ran("//a:b", "PASSED", "1..1\nok 1 - a\n", 2))
        self.assertEqual(self.last_line(), "1 passed, 0 failed, 0 skipped")

    def test_a_target_that_was_not_built(self):
        self.bazel("1-release", 1, self.ran("//a:b", "PASSED", "fine"), self.not_built("//a:c"))
        status, output = self.summary()
        self.assertEqual(status, 1)
        self.assertIn("//a:c was not built", output)
        self.assertIn("bazel's last words", output)
        self.assertEqual(output.splitlines()[-1], "1 passed, 1 failed, 0 skipped")

    def test_what_is_skipped_for_one_reason_stands_in_one_line(self):
        self.bazel("1-release", 0, self.ran("//a:b", "PASSED", "1..3\nok 1 - a # SKIP no pool\n"
                                            "ok 2 - b # SKIP no pool\nok 3 - c # SKIP no NIC\n"))
        output = self.summary()[1]
        self.assertIn("  1-release //a:b: a, b: no pool\n  1-release //a:b: c: no NIC\n", output)

    def test_bazel_that_did_not_get_anywhere(self):
        self.bazel("1-release", 37)
        status, output = self.summary()
        self.assertEqual(status, 1)
        self.assertIn("bazel ended with exit status 37", output)
        self.assertEqual(output.splitlines()[-1], "0 passed, 1 failed, 0 skipped")

    def test_bazel_that_was_killed(self):
        self.bazel("1-release", 137, self.ran("//a:b", "PASSED", "fine"))
        with open(os.path.join(self.directory, "1-release.events"), "a", encoding="utf-8") as file:
            file.write('{"id": {"test')
        self.assertEqual(self.last_line(), "1 passed, 1 failed, 0 skipped")

    def test_failure_that_bazel_saw_and_we_did_not(self):
        self.bazel("1-release", 3, self.ran("//a:b", "PASSED", "fine"))
        self.assertEqual(self.last_line(), "1 passed, 1 failed, 0 skipped")

    def test_a_configuration_without_tests(self):
        self.bazel("5-tsan", 4)
        self.assertEqual(self.last_line(), "0 passed, 0 failed, 1 skipped")

    def test_nothing_passed_is_no_success(self):
        self.bazel("5-tsan", 4)
        self.assertEqual(self.summary()[0], 1)

    def test_a_check_that_reported_nothing(self):
        self.write("7-lint.tap", "scripts/lint: not found\n")
        self.assertEqual(self.last_line(), "0 passed, 1 failed, 0 skipped")

    def test_one_step(self):
        self.bazel("1-release", 0, self.ran("//a:b", "PASSED", "fine"))
        self.write("7-lint.tap", "1..1\nnot ok 1 - format\n")
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            self.assertEqual(summarize_tests.main(["--step", self.directory, "1-release"]), 0)
        self.assertEqual(output.getvalue(), "1 passed, 0 failed, 0 skipped\n")

    def test_cases_that_passed_are_not_shown_with_those_that_failed(self):
        shown = summarize_tests.excerpt("1..2\nok 1 - a\nnot ok 2 - b\n# why\n")
        self.assertEqual(shown, ["1..2", "not ok 2 - b", "# why"])

    def test_long_output_is_shown_in_parts(self):
        lines = ["line %d" % i for i in range(1000)]
        lines[500] = "not ok 7 - middle"
        shown = summarize_tests.excerpt("\n".join(lines))
        self.assertLess(len(shown), 100)
        for line in ("line 0", "not ok 7 - middle", "line 999"):
            self.assertIn(line, shown)


if __name__ == "__main__":
    unittest.main()
