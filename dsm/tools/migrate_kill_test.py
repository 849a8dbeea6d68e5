#!/usr/bin/env python3
"""`minorca migrate` when one of its two nodes is killed at any time, or stopped for longer than nodes wait. Prints TAP.

usage: migrate_kill_test.py MINORCA MPIRUN.SH [SEED [ROUNDS]]

The times are random; the same seed, which is printed, chooses the same ones. Of each job: the node that is left ends soon, with
exit status 1 and words that are true of where the other was killed; what works on exactly one node goes on there, and its
memory is right.
"""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

TIMEOUT_S = 4  # MINORCA_TIMEOUT
GRACE_S = 6  # a loaded machine's
ROUNDS = 9
ENOUGH_S = 20  # no further round is begun after this
SOURCE, DESTINATION = 0, 1
NAMES = ("source", "destination")
MODES = ("minor", "post-copy", "pre-copy")
# With what is copied in half a second, before the switch or after it.
OPTIONS = ("--memory=16MiB", "--bandwidth=32MiB", "--seconds=0.4", "--write-rate=1000")
KILLED_S = (0.2, 1.3)  # after the first heartbeat

# A node, as a child of what the launcher knows: leaves its process number, its exit status and what it says in files.
NODE = 'files=$1; shift; "$0" "$@" >"$files.out" 2>"$files.err" & echo $! >"$files.pid"; wait $!; echo $? >"$files.status"'

WORKS = "it works here all the same"
NOT_HERE = "it is not here"
WRONG = re.compile(r"^(?:\[\d\] BAD .*|.* failed \d+|.*(?:memory is wrong|instead of|did not follow|own checks failed|was visited).*)$", re.M)


class Job:
    """Two nodes, each of which can be told to end."""

    def __init__(self, minorca, mpirun, *options):
        self.directory = tempfile.mkdtemp(prefix="migrate-kill.")
        commands = []
        for node in (SOURCE, DESTINATION):
            commands += [":"] if commands else []
            commands += ["sh", "-c", NODE, minorca, self.path(node, ""), "migrate", *OPTIONS, *options]
        self.launcher = subprocess.Popen(
            ["bash", mpirun, "--survive", "--contexts", *commands],
            env={**os.environ, "MINORCA_TIMEOUT": str(TIMEOUT_S)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def path(self, node, name):
        return os.path.join(self.directory, f"node{node}{'.' + name if name else ''}")

    def read(self, node, name):
        try:
            with open(self.path(node, name), encoding="utf-8") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def says(self, node, text, within_s=30.0):
        until = time.monotonic() + within_s
        while text not in self.read(node, "out"):
            if time.monotonic() > until or self.status(node) is not None:
                return False
            time.sleep(0.005)
        return True

    def status(self, node):
        text = self.read(node, "status").strip()
        return int(text) if text else None

    def signal(self, node, number):
        """False: it has ended before."""
        try:
            os.kill(int(self.read(node, "pid")), number)
        except ProcessLookupError:
            return False
        return True

    def ends(self, node, within_s):
        """In how many seconds, or None."""
        begun = time.monotonic()
        while self.status(node) is None:
            if time.monotonic() > begun + within_s:
                return None
            time.sleep(0.01)
        return time.monotonic() - begun

    def beats(self, node):
        return len(re.findall(rf"^\[{node}\] beat ", self.read(node, "out"), re.M))

    def last_step(self, node):
        steps = re.findall(rf"^\[{node}\] -- (.*)$", self.read(node, "out"), re.M)
        return steps[-1] if steps else "nothing moved yet"

    def close(self):
        for node in (SOURCE, DESTINATION):
            if self.read(node, "pid").strip() and self.status(node) is None:
                self.signal(node, signal.SIGKILL)
        try:
            self.launcher.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.launcher.pid, signal.SIGKILL)
            self.launcher.wait()
        shutil.rmtree(self.directory)

    def log(self):
        for node in (SOURCE, DESTINATION):
            for name in ("out", "err"):
                for line in self.read(node, name).splitlines()[-12:]:
                    print(f"# | node {node} {name}: {line}")


def has_switched(job, left):
    """Whether the destination holds the memory, by what was printed. (After a copy while it was paused a destination says
    "done" before the source knows that it may go on: then it may have died in between.)"""
    steps = "|-- (what|done)" if left == DESTINATION else ""
    return "-- switched" in job.read(SOURCE, "out") or bool(re.search(rf"^\[1\] (beat{steps})", job.read(DESTINATION, "out"), re.M))


def is_over(job, left):
    """Whether all nodes knew already that it went well: then a node can only be missed in the end."""
    return has_switched(job, left) and all("dsm_finalize()" in line for line in job.read(left, "err").splitlines())


def problems_of_survivor(job, left):
    """What is wrong with how it ended, whichever node was killed when."""
    err = job.read(left, "err")
    if job.status(left) != 1:
        yield f"its exit status is {job.status(left)}, and not 1"
    if (WORKS in err) + (NOT_HERE in err) != 1:
        yield "it does not say, once, whether it is here"
    switched = has_switched(job, left)
    if (WORKS in err) != (switched == (left == DESTINATION)):
        yield f"{'it is' if WORKS in err else 'nothing is'} on this node, and {'a' if switched else 'no'} switch was seen"
    if "lost" not in err:
        yield "it does not say that a node is lost"
    # By shared memory, what a source has had can be read to the end.
    if "lost pages:" in err or "pages were lost" in err:
        yield "it says that pages are lost, and none is"
    for node in (SOURCE, DESTINATION):
        for name in ("out", "err"):
            wrong = WRONG.search(job.read(node, name))
            if wrong:
                yield f"node {node}: {wrong[0]}"


def kill(job, victim, after_s):
    """(where the victim was, problems)"""
    left = 1 - victim
    if not job.says(SOURCE, "[0] beat 1 "):
        return "nowhere", ["it has not begun"]
    time.sleep(after_s)
    if not job.signal(victim, signal.SIGKILL):
        return "over", []
    before = job.beats(left)
    took = job.ends(left, TIMEOUT_S + GRACE_S)
    where = job.last_step(victim)
    if took is None:
        return where, [f"node {left} has not ended {TIMEOUT_S + GRACE_S} s later"]
    if where == "done" and is_over(job, left):
        return "over", []
    problems = list(problems_of_survivor(job, left))
    # After the last move there may be no time left for another heartbeat.
    if WORKS in job.read(left, "err") and where != "done" and job.beats(left) < before + 2:
        problems.append("what is left has not gone on")
    return where, problems


def stop_source(job):
    """For longer than the destination waits, which asks to call it off; the source hears of that when it goes on."""
    if not job.says(SOURCE, "-- copying") or not job.signal(SOURCE, signal.SIGSTOP):
        return ["it has not begun to move"]
    time.sleep(TIMEOUT_S + 1)
    before = job.beats(SOURCE)
    job.signal(SOURCE, signal.SIGCONT)
    problems = []
    for node in (SOURCE, DESTINATION):
        if job.ends(node, TIMEOUT_S + GRACE_S) is None:
            problems.append(f"node {node} does not end")
        elif job.status(node) != 1:
            problems.append(f"node {node} has exit status {job.status(node)}, and not 1")
    if "has not come, and is called off" not in job.read(DESTINATION, "err"):
        problems.append("the destination does not say that it has called it off")
    if WORKS not in job.read(SOURCE, "err") or job.beats(SOURCE) < before + 2 or has_switched(job, SOURCE):
        problems.append("what was at the source has not gone on there")
    return problems


def verdict(number, name, problems, job):
    print(f"{'not ok' if problems else 'ok'} {number} - {name}", flush=True)
    for problem in problems:
        print(f"# {problem}")
    if problems:
        job.log()
    job.close()
    return bool(problems)


def main():
    minorca, mpirun = sys.argv[1:3]
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else random.randrange(1 << 32)
    rounds = int(sys.argv[4]) if len(sys.argv) > 4 else ROUNDS
    if not shutil.which("mpirun") and not shutil.which("mpiexec"):
        print("1..0 # SKIP there is no mpirun")
        return 0
    print(f"# seed {seed}")
    dice = random.Random(seed)
    begun, number, failed = time.monotonic(), 1, False
    job = Job(minorca, mpirun)
    failed |= verdict(number, "a source that is stopped for too long is called off, and goes on", stop_source(job), job)
    for i in range(rounds):
        mode, victim, after_s = dice.choice(MODES), i % 2, dice.uniform(*KILLED_S)
        if rounds == ROUNDS and time.monotonic() > begun + ENOUGH_S:
            break
        job = Job(minorca, mpirun, f"--mode={mode}")
        where, problems = kill(job, victim, after_s)
        number += 1
        failed |= verdict(number, f"{mode}: the {NAMES[victim]} is killed after {after_s:.3f} s: {where}", problems, job)
    print(f"1..{number}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
