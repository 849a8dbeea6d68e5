#!/usr/bin/env python3
"""Runs the programs of a list, most of them by mpirun, and prints what all of them report as one TAP.

usage: run_listed.py --list FILE --guests N --directory DIRECTORY [--only TEXT]

FILE has a line for each run; empty lines, and what follows a #, are not read:

  GUESTS NODES SECONDS [NAME=VALUE...] PROGRAM [ARGUMENT...]

Those with GUESTS = N are run, in order. NODES nodes are started by mpirun; "-": PROGRAM is run as it is. It is killed
after SECONDS, which is a failure. PROGRAM is a path in DIRECTORY. With --only: lines that contain TEXT.

A program prints TAP, or is one case. Exit status: 0 if none failed, 1 otherwise.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from collections import namedtuple

from summarize_tests import BAIL_OUT, PLAN, RESULT, SKIP

GRACE_S = 10  # from SIGTERM to SIGKILL: mpirun ends its ranks meanwhile
ASSIGNMENT = re.compile(r"^[A-Z_][A-Z0-9_]*=")

Run = namedtuple("Run", "guests nodes seconds environment program arguments")
Case = namedtuple("Case", "passed name skip")  # skip: the reason, or None


def parse_line(line):
    """-> Run, or None for a line that says nothing. Raises ValueError."""
    words = line.split("#")[0].split()
    if not words:
        return None
    if len(words) < 4:
        raise ValueError("GUESTS NODES SECONDS PROGRAM are needed: " + line.strip())
    nodes = None if words[1] == "-" else int(words[1])
    environment, rest = {}, words[3:]
    while rest and ASSIGNMENT.match(rest[0]):
        name, value = rest.pop(0).split("=", 1)
        environment[name] = value
    if not rest:
        raise ValueError("no program: " + line.strip())
    return Run(int(words[0]), nodes, int(words[2]), environment, rest[0], rest[1:])


def name_of(run):
    """How its cases are told from those of other runs."""
    words = [os.path.basename(run.program)] + run.arguments
    words += ["%s=%s" % item for item in sorted(run.environment.items())]
    if run.nodes:
        words.append("(%d nodes in %d guest%s)" % (run.nodes, run.guests, "" if run.guests == 1 else "s"))
    return " ".join(words)


def cases_of(text):
    """-> ([Case], how many its plan promised or None)"""
    cases, planned, comment = [], None, ""
    for line in text.splitlines():
        plan, result, bail_out = PLAN.match(line), RESULT.match(line), BAIL_OUT.match(line)
        if plan:
            planned = (planned or 0) + int(plan[1])
            if int(plan[1]) == 0:
                cases.append(Case(True, "all of it", plan[2] or comment or "no reason given"))
                planned += 1
        elif bail_out:
            cases.append(Case(False, "gave up: " + bail_out[1], None))
        elif result:
            cases.append(case_of(result, comment))
            comment = ""
        elif line.startswith("#"):
            comment = line.lstrip("# ").strip()
    return cases, planned


def case_of(match, comment):
    failed, name = bool(match[1]), match[3].strip()
    skip = SKIP.match(name)
    if skip and failed:  # cmocka: what follows is the name, and the comment before it the reason
        return Case(True, skip[2] or skip[1], comment or "no reason given")
    if skip:
        return Case(True, skip[1], skip[2] or comment or "no reason given")
    return Case(not failed, name, None)


def judge(text, status, seconds):
    """What came of a run that printed @text and ended with @status (None: its time was up). -> [Case]"""
    cases, planned = cases_of(text)
    if status is None:
        cases.append(Case(False, "was not done after %d s" % seconds, None))
    elif not cases:
        cases.append(Case(status == 0, "ends with 0" if status == 0 else "ends with %d" % status, None))
    elif status != 0 and all(case.passed for case in cases):
        cases.append(Case(False, "ended with %d without a failing case" % status, None))
    elif planned is not None and planned != len(cases) and all(case.passed for case in cases):
        cases.append(Case(False, "planned %d cases and reported %d" % (planned, len(cases)), None))
    return cases


def command_of(run, directory):
    program = os.path.join(directory, run.program)
    if run.nodes is None:
        return [program] + run.arguments
    exports = [word for name in sorted(run.environment) for word in ("-x", name)]  # to other guests, too
    return ["mpirun", "-n", str(run.nodes)] + exports + [program] + run.arguments


def execute(run, directory):
    """-> (what it printed, its exit status or None if its time was up)"""
    environment = dict(os.environ, CMOCKA_MESSAGE_OUTPUT="TAP", **run.environment)
    process = subprocess.Popen(command_of(run, directory), env=environment, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, start_new_session=True)
    try:
        text = process.communicate(timeout=run.seconds)[0]
        status = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            text = process.communicate(timeout=GRACE_S)[0]
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            text = process.communicate()[0]
        status = None
    return text.decode("utf-8", "replace"), status


class Report:
    """One TAP of many."""

    def __init__(self):
        self.number = 0
        self.failed = 0

    def add(self, run, cases, text, took_s):
        for case in cases:
            self.number += 1
            self.failed += not case.passed
            print("%s %d - %s: %s%s" % ("ok" if case.passed else "not ok", self.number, name_of(run), case.name,
                                        " # SKIP " + case.skip if case.skip else ""))
        if not all(case.passed for case in cases):
            for line in text.splitlines():
                print("#   " + line)
        print("# %s: %d cases, %.1f s" % (name_of(run), len(cases), took_s))
        sys.stdout.flush()

    def end(self):
        print("1..%d" % self.number)
        return 1 if self.failed else 0


def main(arguments):
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1])
    parser.add_argument("--list", required=True)
    parser.add_argument("--guests", required=True, type=int)
    parser.add_argument("--directory", required=True)
    parser.add_argument("--only", default="")
    options = parser.parse_args(arguments)
    report = Report()
    with open(options.list, encoding="utf-8") as file:
        lines = [line for line in file if options.only in line]
    for run in filter(None, map(parse_line, lines)):
        if run.guests != options.guests:
            continue
        start = time.monotonic()
        text, status = execute(run, options.directory)
        report.add(run, judge(text, status, run.seconds), text, time.monotonic() - start)
    return report.end()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
