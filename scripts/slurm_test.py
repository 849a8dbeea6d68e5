#!/usr/bin/env python3
"""Runs scripts/bench by srun, on two nodes of a Slurm of its own (scripts/slurm). Prints TAP.

usage: slurm_test.py FAULT_LATENCY     the program

Looks at what differs from mpirun: how MPI finds its ranks, whose exit status and words a failed run has, and that nothing of
a run that was ended is left on the nodes, whatever became of srun. Skipped, with the reason, where there can be no Slurm.
"""

import itertools
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
CONFIG = os.path.join(HERE, "..", "configs", "cluster.toml")
CANNOT_RUN = 77

# A rank that ends at signals only that cannot be ignored, and one that it has started in a session of its own. Neither
# carries the mark by which scripts/bench finds processes of its own machine: they stand for those of others.
RANK = """#!/bin/sh
[ -z "$BENCH_RUN_ID" ] || exec env -u BENCH_RUN_ID "$0"
trap "" TERM INT HUP
echo $$ >> "$0.pids"
setsid sh -c 'trap "" TERM INT HUP; echo $$ >> "$0.pids"; while :; do sleep 0.1; done' "$0" &
while :; do sleep 0.1; done
"""
BAD = """#!/bin/sh
[ "$SLURM_PROCID" = 0 ] || { echo "no device" >&2; exit 3; }
exec sleep 60
"""
CRASHED = """#!/bin/sh
[ "$SLURM_PROCID" = 0 ] || kill -SEGV $$
exec sleep 60
"""
# srun that no longer listens.
STOPPED = """#!/bin/sh
{ sleep 4; kill -STOP $$; } &
exec "$@"
"""
SMALL = '["--json", "--iterations=50", "--case=fetch_new", "--page-size=4KiB", "--threads=1", "--delivery=inline"]'


class Trial:
    """A configuration with the launcher of configs/cluster.toml, and what came of it."""

    def __init__(self, directory, program):
        self.directory, self.program = directory, program

    def path(self, name):
        return os.path.join(self.directory, name)

    def script(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(self.path(name), stat.S_IRWXU)
        return self.path(name)

    def configure(self):
        with open(CONFIG, encoding="utf-8") as file:
            config = file.read().partition("[[benchmark]]")[0]
        # A second launcher, the same but for a shell around it.
        config += '\n[launch.stopped]\n' + launch_command(config).replace('[', '["%s", ' % self.script("stops", STOPPED), 1)
        for name, text, limit_s in (("hangs", RANK, 6), ("bad", BAD, 50), ("crashed", CRASHED, 50)):
            config += '\n[[benchmark]]\nprogram = "%s"\nlimit_s = %d\n' % (self.script(name, text), limit_s)
        config += '\n[[benchmark]]\nname = "good"\nprogram = "%s"\narguments = %s\n' % (self.program, SMALL)
        with open(self.path("trial.toml"), "w", encoding="utf-8") as file:
            file.write(config)

    def bench(self, name, *options):
        """-> (exit status, what was said)"""
        command = [os.path.join(HERE, "slurm"), os.path.join(HERE, "bench"), self.path("trial.toml"), "--repetitions", "1",
                   "--set", "MINORCA_TRANSPORT=shm", "--output", self.path(name), *options]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
                              env=dict(os.environ, BENCH_GRACE_S="3"))
        return done.returncode, done.stdout

    def lines(self, *names):
        try:
            with open(os.path.join(self.directory, *names), encoding="utf-8") as file:
                return [json.loads(line) for line in file]
        except FileNotFoundError:
            return []

    def failures(self, name):
        return {run["benchmark"]: run["failure"] for run in self.lines(name, "runs.jsonl")}

    def left(self):
        """-> (how many ranks and others there were, those that have not ended); these are ended"""
        if not os.path.exists(self.path("hangs.pids")):
            return 0, []
        with open(self.path("hangs.pids"), encoding="utf-8") as file:
            pids = [int(line) for line in file]
        os.remove(self.path("hangs.pids"))
        alive = [pid for pid in pids if is_alive(pid)]
        for pid in alive:
            os.kill(pid, signal.SIGKILL)
        return len(pids), alive


def launch_command(config):
    """The lines `command = [...]` of launch.srun."""
    rest = config.partition("[launch.srun]")[2]
    return rest[rest.index("command"):rest.index("]") + 1] + "\n"


def is_alive(pid):
    try:
        with open("/proc/%d/stat" % pid, encoding="utf-8") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def expect(what, holds, seen):
    """-> (what, what is wrong)"""
    return what, [] if holds else ["it is: %s" % (seen,)]


def check_runs(trial):
    status, said = trial.bench("plain", "--launcher", "srun")
    left = trial.left()
    failures = trial.failures("plain")
    yield expect("what fails by srun is told in the exit status", status == 1, said)
    rows = [row for row in trial.lines("plain", "results.jsonl") if row["benchmark"] == "fault_latency"]
    yield expect("MPI finds its ranks: a benchmark of 2 nodes has rows, whatever failed before it",
                 rows and "good" in failures and failures["good"] is None, said)
    yield expect("a failure is told in the words of the task that failed first",
                 "no device" in str(failures.get("bad")) and "exit code 3" in str(failures.get("bad")), failures.get("bad"))
    yield expect("a crash is told from the end of the other task",
                 "Segmentation fault" in str(failures.get("crashed")), failures.get("crashed"))
    yield expect("a run past its limit has failed", failures.get("hangs") == "was not done after 6 s", failures.get("hangs"))
    yield expect("its ranks, and what they had started, are ended on both nodes", left == (4, []), (left, said))


def check_stopped(trial):
    """One run after the other: the nodes must be free again."""
    start = time.monotonic()
    _, said = trial.bench("stopped", "--launcher", "stopped", "--only", "hangs")
    left = trial.left()
    yield expect("ranks end although srun does not listen and must be killed", left == (4, []), (left, said))
    yield expect("that takes no longer than it must", time.monotonic() - start < 30, "%.1f s" % (time.monotonic() - start))


def check_end(trial):
    """A command that ends before its ranks do."""
    text = 'echo "$SLURM_CONF"; srun --nodes=2 --ntasks=2 "$0" & sleep 4; kill -KILL -$$'
    done = subprocess.run([os.path.join(HERE, "slurm"), "setsid", "--wait", "sh", "-c", text, trial.path("hangs")],
                          stdout=subprocess.PIPE, text=True, check=False)
    left, directory = trial.left(), os.path.dirname(done.stdout.strip())
    yield expect("scripts/slurm has ended the ranks that a command has left", left == (4, []), left)
    yield expect("and leaves no directory behind", directory and not os.path.exists(directory), directory)
    done = subprocess.run([os.path.join(HERE, "slurm"), "-n", "1", "sh", "-c", "exit 5"], check=False)
    yield expect("it returns the exit status of the command", done.returncode == 5, done.returncode)
    done = subprocess.run([os.path.join(HERE, "slurm"), "-n", "1", "sh", "-c", "kill -KILL $$"], stderr=subprocess.DEVNULL,
                          check=False)
    yield expect("and does not say that one went well that was killed", done.returncode == 137, done.returncode)
    began = time.monotonic()
    slurm = subprocess.Popen([os.path.join(HERE, "slurm"), "-n", "1", "sh", "-c", "trap '' TERM; echo; sleep 600 & wait; wait"],
                             stdout=subprocess.PIPE, text=True)
    slurm.stdout.readline()
    slurm.terminate()
    slurm.wait()
    yield expect("it ends one that does not heed SIGTERM", time.monotonic() - began < 60, time.monotonic() - began)


def why_not():
    done = subprocess.run([os.path.join(HERE, "slurm"), "true"], stderr=subprocess.PIPE, text=True, check=False)
    return (done.stderr.strip().split("\n")[-1] or "no reason was given") if done.returncode == CANNOT_RUN else ""


def main(arguments):
    reason = why_not()
    if reason:
        print("1..0 # SKIP " + reason)
        return 0
    failed = number = 0
    with tempfile.TemporaryDirectory() as directory:
        trial = Trial(directory, os.path.abspath(arguments[0]))
        trial.configure()
        checks = itertools.chain(check_runs(trial), check_stopped(trial), check_end(trial))
        for number, (what, wrong) in enumerate(checks, 1):
            failed += bool(wrong)
            print("%sok %d - %s" % ("not " if wrong else "", number, what))
            for line in wrong:
                print("#   " + line.replace("\n", "\n#   "))
    print("1..%d" % number)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
