"""Unit tests of run_listed.py."""

import io
import os
import stat
import tempfile
import unittest
from contextlib import redirect_stdout

import run_listed
from run_listed import Case, Run, cases_of, judge, name_of, parse_line


class ParseLine(unittest.TestCase):
    def test_nothing(self):
        self.assertIsNone(parse_line("  # a remark"))
        self.assertIsNone(parse_line(""))

    def test_all_columns(self):
        run = parse_line("2 4 60 A=1 B=x=y dsm/tests/sync --effort=5 # why")
        self.assertEqual(run, Run(2, 4, 60, {"A": "1", "B": "x=y"}, "dsm/tests/sync", ["--effort=5"]))
        self.assertEqual(name_of(run), "sync --effort=5 A=1 B=x=y (4 nodes in 2 guests)")

    def test_without_mpirun(self):
        run = parse_line("1 - 60 kernel/uffd_test")
        self.assertIsNone(run.nodes)
        self.assertEqual(run_listed.command_of(run, "/bin"), ["/bin/kernel/uffd_test"])

    def test_settings_reach_other_guests(self):
        run = parse_line("2 4 60 B=2 A=1 dsm/tests/sync --effort=5")
        self.assertEqual(run_listed.command_of(run, "/bin"),
                         ["mpirun", "-n", "4", "-x", "A", "-x", "B", "/bin/dsm/tests/sync", "--effort=5"])

    def test_what_makes_no_sense(self):
        for line in "1 2 60", "1 2 60 A=1", "one 2 60 x":
            with self.assertRaises(ValueError):
                parse_line(line)


class Judge(unittest.TestCase):
    def test_passed(self):
        self.assertEqual(judge("ok 1 - a\n1..1\n", 0, 9), [Case(True, "a", None)])

    def test_no_tap_is_one_case(self):
        self.assertEqual(judge("hello", 0, 9), [Case(True, "ends with 0", None)])
        self.assertEqual(judge("hello", 3, 9), [Case(False, "ends with 3", None)])

    def test_time_is_up(self):
        self.assertEqual(judge("ok 1 - a\n", None, 9)[-1], Case(False, "was not done after 9 s", None))

    def test_dies_after_its_cases(self):
        self.assertFalse(judge("ok 1 - a\n1..1\n", 139, 9)[-1].passed)

    def test_cases_are_missing(self):
        self.assertFalse(judge("1..2\nok 1 - a\n", 0, 9)[-1].passed)

    def test_skips(self):
        cases, planned = cases_of("ok 1 - a # SKIP no room\n# no device\nnot ok 2 # SKIP b\n1..2\n")
        self.assertEqual(cases, [Case(True, "a", "no room"), Case(True, "b", "no device")])
        self.assertEqual(planned, 2)
        self.assertEqual(judge("1..0 # SKIP no mpirun\n", 0, 9), [Case(True, "all of it", "no mpirun")])


class Main(unittest.TestCase):
    def run_list(self, line, script):
        with tempfile.TemporaryDirectory() as directory:
            program = os.path.join(directory, "program")
            with open(program, "w", encoding="utf-8") as file:
                file.write("#!/bin/sh\n" + script)
            os.chmod(program, stat.S_IRWXU)
            listed = os.path.join(directory, "list")
            with open(listed, "w", encoding="utf-8") as file:
                file.write(line)
            output = io.StringIO()
            with redirect_stdout(output):
                status = run_listed.main(["--list", listed, "--guests", "1", "--directory", directory])
        return status, output.getvalue()

    def test_passes(self):
        status, output = self.run_list("1 - 9 X=5 program\n2 - 9 program\n", 'echo "ok 1 - $X"; echo 1..1')
        self.assertEqual(status, 0)
        self.assertIn("ok 1 - program X=5: 5\n", output)
        self.assertTrue(output.endswith("1..1\n"))

    def test_shows_what_a_failing_program_said(self):
        status, output = self.run_list("1 - 9 program", "echo why; exit 4")
        self.assertEqual(status, 1)
        self.assertIn("not ok 1 - program: ends with 4\n#   why\n", output)

    def test_ends_what_hangs(self):
        status, output = self.run_list("1 - 1 program", "echo begun; exec sleep 30")
        self.assertEqual(status, 1)
        self.assertIn("was not done after 1 s\n#   begun\n", output)


if __name__ == "__main__":
    unittest.main()
