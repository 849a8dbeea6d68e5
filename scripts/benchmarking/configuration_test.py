"""Unit tests of configuration.py: what is read, and what is said of what is wrong. The kept configurations are read too."""

import glob
import os
import tempfile
import tomllib
import unittest

from benchmarking import configuration
from benchmarking.configuration import Invalid, interpret

CONFIGS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "configs")


def read(text, **arguments):
    return interpret(tomllib.loads(text), "some.toml", **arguments)


class Cases(unittest.TestCase):
    def test_defaults(self):
        case, = read('[[benchmark]]\nprogram = "//bench:sync"').cases
        self.assertEqual((case.id, case.nodes, case.repetitions, case.limit_s), ("sync.n2", 2, 5, 300))
        self.assertEqual(case.arguments, ["--json"])

    def test_crossing(self):
        config = read('[[benchmark]]\nprogram = "//bench/apps:app_gups"\nnodes = [2, 4]\n'
                      'each = { form = ["mpi", "dsm"], table-bytes = ["1MiB"] }')
        self.assertEqual([case.id for case in config.cases],
                         ["app_gups.n%d.form=%s.table-bytes=1MiB" % (n, form) for n in (2, 4) for form in ("mpi", "dsm")])
        self.assertEqual(config.cases[0].arguments, ["--json", "--form=mpi", "--table-bytes=1MiB"])

    def test_settings_and_limits_of_a_benchmark_outrank_those_of_all(self):
        case, = read('limit_s = 9\n[settings]\nA = 1\nB = "x"\n[[benchmark]]\nprogram = "p"\nlimit_s = 0.5\n'
                     'settings = { A = "2" }').cases
        self.assertEqual((case.settings, case.limit_s), ({"A": "2", "B": "x"}, 0.5))

    def test_names_of_files_are_harmless(self):
        case, = read('[[benchmark]]\nprogram = "p"\nname = "../a b"\n').cases
        self.assertEqual(case.id, ".._a_b.n2")

    def test_how_rows_are_compared(self):
        config = read('[[benchmark]]\nprogram = "p"\nkey = ["stride"]\nmeasure = "rate"\nbetter = "higher"\nname = "n"')
        self.assertEqual(config.rows, {"n": {"key": ["stride"], "measure": "rate", "better": "higher"}})


class Launchers(unittest.TestCase):
    TEXT = ('[launch.srun]\ncommand = ["srun", "-N{nodes}"]\n'
            '[launch.mpirun]\ncommand = ["mpirun", "--hostfile", "{hostfile}"]\nsetting = ["-x", "{name}"]\n'
            '[[benchmark]]\nprogram = "p"\n')

    def test_the_first_is_taken(self):
        self.assertEqual(read(self.TEXT).launcher.command_of(3, {"A": "1"}, "/p", ["-v"]), ["srun", "-N3", "/p", "-v"])

    def test_another_by_name(self):
        with tempfile.NamedTemporaryFile() as hosts:
            launcher = read(self.TEXT, launcher="mpirun", hostfile=hosts.name).launcher
        self.assertEqual(launcher.command_of(3, {"B": "", "A": ""}, "/p", []),
                         ["mpirun", "--hostfile", hosts.name, "-x", "A", "-x", "B", "/p"])

    def test_without_any_it_is_this_machine(self):
        command = read('[[benchmark]]\nprogram = "p"').launcher.command_of(2, {}, "/p", [])
        self.assertEqual(command, ["scripts/mpirun.sh", "2", "/p"])


class Wrong(unittest.TestCase):
    def check(self, text, words, **arguments):
        with self.assertRaises(Invalid) as caught:
            read(text, **arguments)
        for word in words.split():
            self.assertIn(word, str(caught.exception))

    def test_each_is_named(self):
        one = '[[benchmark]]\nprogram = "p"\n'
        self.check("", "benchmark")
        self.check("repetition = 3\n" + one, "repetition repetitions")
        self.check("repetitions = 0\n" + one, "repetitions more 0")
        self.check('repetitions = "3"\n' + one, "repetitions whole number")
        self.check('[[benchmark]]\nname = "x"', "x program missing")
        self.check(one + "nodes = [0]", "benchmark nodes")
        self.check(one + "nodes = []", "benchmark nodes")
        self.check(one + 'arguments = "--json"', "arguments list")
        self.check(one + 'each = { a = 3 }', "each.a list")
        self.check(one + 'better = "more"', "better lower higher")
        self.check(one + 'settings = { A = [1] }', "A neither")
        self.check(one + one, "two p.n2 names")
        self.check("benchmark = 3", "benchmark list")
        self.check("benchmark = [3]", "benchmark table")

    def test_launchers(self):
        self.check(Launchers.TEXT, "lsf srun mpirun", launcher="lsf")
        self.check(Launchers.TEXT, "hostfile", launcher="mpirun")
        self.check(Launchers.TEXT, "no file", launcher="mpirun", hostfile="/nowhere")
        self.check(Launchers.TEXT.replace("{nodes}", "{node}"), "{node} {nodes} {hostfile}")
        self.check(Launchers.TEXT.replace("{nodes}", "{"), "launch.srun.command")

    def test_files(self):
        with self.assertRaises(Invalid):
            configuration.read("/nowhere.toml")


class Kept(unittest.TestCase):
    def test_all_are_right(self):
        paths = glob.glob(os.path.join(CONFIGS, "*.toml"))
        self.assertGreaterEqual(len(paths), 3)
        for path in paths:
            self.assertTrue(configuration.read(path).cases, path)


if __name__ == "__main__":
    unittest.main()
