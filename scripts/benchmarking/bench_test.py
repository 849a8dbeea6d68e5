"""Tests of scripts/bench: it runs programs that succeed, fail, hang and print nonsense, without Bazel and without MPI."""

import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
import unittest

from benchmarking import runner

SCRIPTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
BENCH = os.path.join(SCRIPTS, "bench")
GOOD = 'echo \'{"benchmark": "good", "p50_ns": 7}\'; echo "$@ $MINORCA_X" >&2'
# A rank that ignores the signal, in a session of its own, as ranks of mpirun are.
HANGS = 'trap "" TERM; setsid sh -c \'trap "" TERM; echo $$ > "$0.pid"; while :; do sleep 0.1; done\' "$0" & sleep 60'
# A launcher that does not end, and a process of its group that sees to its ranks when it has.
WATCHED = 'trap "" TERM; (while kill -0 $$; do sleep 0.05; done; echo > "$0.seen") 2>/dev/null & while :; do sleep 0.1; done'
# What srun says of task 1, whose words come in between.
OF_SRUN = """echo "srun: error: n2: task 1: Exited with exit code 3
srun: launch/slurm: _step_signal: Terminating StepId=1.2
no device
slurmstepd-n1: error: *** STEP 1.2 ON n1 CANCELLED AT 2026-11-26T22:14:44 ***
srun: error: n1: task 0: Terminated
srun: Force Terminated StepId=1.2" >&2
exit 143"""


class Bench(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.directory = holder.name
        self.config = '[launch.plain]\ncommand = ["env", "NODES={nodes}"]\n'
        self.output = os.path.join(self.directory, "results")

    def program(self, name, text):
        path = os.path.join(self.directory, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\n" + text + "\n")
        os.chmod(path, stat.S_IRWXU)
        return path

    def add(self, name, text, rest=""):
        self.config += '[[benchmark]]\nprogram = "%s"\nrepetitions = 2\n%s\n' % (self.program(name, text), rest)

    def start(self, *arguments):
        path = os.path.join(self.directory, "some.toml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(self.config)
        return subprocess.Popen([sys.executable, BENCH, path, "--output", self.output, *arguments], text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ, BENCH_GRACE_S="1"))

    def run_bench(self, *arguments):
        process = self.start(*arguments)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def lines(self, name):
        with open(os.path.join(self.output, name), encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def test_all_is_well(self):
        self.add("good", GOOD, 'settings = { MINORCA_X = "set" }\narguments = ["--json", "-v"]')
        status, _, err = self.run_bench()
        self.assertEqual(status, 0, err)
        self.assertEqual(self.lines("results.jsonl"), [
            {"benchmark": "good", "p50_ns": 7, "case_id": "good.n2", "repetition": n} for n in (1, 2)])
        run = self.lines("runs.jsonl")[0]
        self.assertEqual((run["failure"], run["rows"], run["settings"]["MINORCA_X"]), (None, 1, "set"))
        with open(os.path.join(self.output, run["stderr"]), encoding="utf-8") as file:
            self.assertEqual(file.read(), "--json -v set\n")
        with open(os.path.join(self.output, "environment.json"), encoding="utf-8") as file:
            environment = json.load(file)
        for name in "host kernel cpu cpus hugepages network rdma slurm_nodes date versions settings title launcher".split():
            self.assertIn(name, environment)
        self.assertFalse(os.path.exists(os.path.join(self.output, "programs")))

    def test_what_fails_is_told_and_the_rest_is_run(self):
        self.add("bad", 'echo \'{"benchmark": "bad"}\'; echo "no device" >&2; echo ------ >&2; echo mpirun >&2; exit 3')
        self.add("nonsense", "echo '{\"benchmark\": \"n\"}'; echo Hello")
        self.add("silent", "exit 0")
        self.add("killed", "kill -SEGV $$")
        self.config += '[[benchmark]]\nprogram = "/nowhere"\n'
        self.add("good", GOOD)
        status, _, err = self.run_bench()
        self.assertEqual(status, 1)
        self.assertEqual({row["benchmark"] for row in self.lines("results.jsonl")}, {"good"})
        failures = {run["benchmark"]: run["failure"] for run in self.lines("runs.jsonl")}
        self.assertEqual(failures["bad"], "ended with exit status 3: no device")
        self.assertIn("line 2 of its output is not a JSON object: Hello", failures["nonsense"])
        self.assertIn("printed no result", failures["silent"])
        self.assertTrue(failures["killed"].startswith(("ended by signal 11", "ended with exit status 139")))
        self.assertIn("there is no file", failures["nowhere"])
        self.assertIsNone(failures["good"])
        self.assertIn("11 runs, 9 failed", err)

    def test_what_hangs_is_ended_with_all_that_it_started(self):
        self.add("hangs", HANGS, "limit_s = 1")
        self.add("good", GOOD)
        start = time.monotonic()
        status, _, _ = self.run_bench()
        self.assertEqual(status, 1)
        self.assertLess(time.monotonic() - start, 30)
        runs = self.lines("runs.jsonl")
        self.assertEqual([run["failure"] for run in runs if run["benchmark"] == "hangs"], ["was not done after 1 s"])
        self.assertEqual(sum(run["failure"] is None for run in runs), 2)
        with open(os.path.join(self.directory, "hangs.pid"), encoding="utf-8") as file:
            pid = int(file.read())
        self.assertFalse(os.path.exists("/proc/%d/environ" % pid) and self.is_alive(pid), "a rank was left behind")

    def test_who_watches_over_a_launcher_outlives_it(self):
        self.add("watched", WATCHED, "limit_s = 1")
        self.assertEqual(self.run_bench()[0], 1)
        self.assertTrue(os.path.exists(os.path.join(self.directory, "watched.seen")))

    def test_a_failure_by_srun_is_told_by_the_task_that_was_first(self):
        self.add("bad", OF_SRUN)
        self.assertEqual(self.run_bench()[0], 1)
        self.assertEqual(self.lines("runs.jsonl")[0]["failure"],
                         "ended with exit status 143: no device; srun: error: n2: task 1: Exited with exit code 3")

    def test_a_setting_of_the_command_line_outranks_all(self):
        self.config = '[settings]\nMINORCA_X = "of all"\n' + self.config
        self.add("good", GOOD, 'settings = { MINORCA_X = "of one" }')
        self.assertEqual(self.run_bench("--set", "MINORCA_X=a=b", "--set", "MINORCA_Y=")[0], 0)
        self.assertEqual(self.lines("runs.jsonl")[0]["settings"]["MINORCA_X"], "a=b")
        _, out, _ = self.run_bench("--settings", "--set", "MINORCA_X=c d")
        self.assertEqual(out, "MINORCA_X='c d'\n")

    @staticmethod
    def is_alive(pid):
        try:
            with open("/proc/%d/stat" % pid, encoding="utf-8") as file:
                return file.read().rsplit(")", 1)[1].split()[0] != "Z"
        except OSError:
            return False

    def test_a_trace_becomes_rows(self):
        self.add("good", GOOD + '\nprintf "time_ns,duration_ns,region,page,access,pages\\n5,1,grid,7,read,1\\n" > $MINORCA_TRACE.1.csv',
                 "trace = true")
        self.assertEqual(self.run_bench()[0], 0)
        row = self.lines("results.jsonl")[1]
        self.assertEqual((row["benchmark"], row["name"], row["node"], row["faults"]), ("fault_trace", "good", 1, [[7, 0, 1]]))
        self.assertFalse([name for name in os.listdir(os.path.join(self.output, "logs")) if "csv" in name])

    def test_interrupted(self):
        self.add("good", GOOD)
        self.add("slow", "exec sleep 30")
        process = self.start()
        for line in process.stderr:
            if "slow.n2" in line:
                break
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        self.assertEqual(process.returncode, 130)
        self.assertEqual(len(self.lines("results.jsonl")), 1)

    def test_results_are_not_mixed(self):
        self.add("good", GOOD)
        self.assertEqual(self.run_bench()[0], 0)
        status, _, err = self.run_bench()
        self.assertEqual(status, 2)
        self.assertIn("not empty", err)

    def test_only_repetitions_list_and_settings(self):
        self.config = '[settings]\nMINORCA_A = "b c"\n' + self.config
        self.add("good", GOOD, "nodes = [1, 2]\nseconds = 5")
        self.assertEqual(self.run_bench("--settings")[1], "MINORCA_A='b c'\n")
        _, out, _ = self.run_bench("--list", "--only", "n1", "--repetitions", "3")
        self.assertIn("good.n1", out)
        self.assertNotIn("good.n2", out)
        self.assertIn("3 runs; 15 s left", out)
        self.assertEqual(self.run_bench("--only", "nothing")[0], 2)
        self.assertEqual(self.run_bench("--only", "n1", "--repetitions", "3")[0], 0)
        self.assertEqual(len(self.lines("results.jsonl")), 3)

    def test_what_makes_no_sense(self):
        self.assertEqual(self.run_bench()[0], 2)
        self.assertEqual(self.run_bench("--repetitions", "0")[0], 2)
        self.add("good", GOOD)
        self.assertEqual(self.run_bench("--set", "MINORCA_X")[0], 2)
        self.assertEqual(self.run_bench("--set", "=3")[0], 2)


class Left(unittest.TestCase):
    def test_known_and_unknown(self):
        class Case:
            def __init__(self, name, seconds):
                self.id, self.seconds = name, seconds

        a, b = Case("a", 60), Case("b", 0)
        self.assertEqual(runner.in_words(runner.seconds_left([(a, 1), (a, 2)], {})), "2 min left")
        self.assertEqual(runner.in_words(runner.seconds_left([(a, 1), (b, 1)], {"a": 7})), "more than 7 s left")
        self.assertEqual(runner.in_words(runner.seconds_left([(a, 1), (b, 1)], {"a": 7, "b": 3})), "10 s left")

    def test_repetitions_go_round(self):
        class Case:
            def __init__(self, name, repetitions):
                self.id, self.repetitions = name, repetitions

        runs = runner.runs_of([Case("a", 2), Case("b", 1)])
        self.assertEqual([(case.id, n) for case, n in runs], [("a", 1), ("b", 1), ("a", 2)])


if __name__ == "__main__":
    unittest.main()
