#!/usr/bin/env python3
"""Counts test cases and prints the ones that failed or were skipped.

usage: summarize_tests.py DIRECTORY
       summarize_tests.py --step DIRECTORY STEP

DIRECTORY holds one or two files for each step of scripts/test, named for the step:

  STEP.tap         what a check printed, in TAP
  STEP.events      what `bazel test` did: its build event protocol, as JSON lines
  STEP.log         what it said meanwhile
  STEP.status      its exit status

Every test program prints TAP (https://testanything.org): "1..N", "ok 1 - name", "not ok 2 - name",
"ok 3 - name # SKIP reason", "1..0 # SKIP reason". cmocka 1.1.5 prints skips as "not ok 3 # SKIP name", with no reason:
then the comment line before it is the reason. A target that does not print TAP counts as one case.

Ends with the line "N passed, N failed, N skipped". Exit status: 0 if nothing failed and something passed, else 1.
With --step, prints that line of one step, and always exits with 0: for progress.
"""

import json
import os
import re
import sys
import urllib.parse

PLAN = re.compile(r"^1\.\.(\d+)\s*(?:#\s*skip\S*\s*(.*))?$", re.IGNORECASE)
RESULT = re.compile(r"^(not )?ok\b\s*(\d+)?\s*(?:-\s*)?(.*)$")
SKIP = re.compile(r"^(.*?)\s*#\s*skip\S*\s*(.*)$", re.IGNORECASE)
PASSED = re.compile(r"^ok\b[^#]*$")
BAIL_OUT = re.compile(r"^Bail out!\s*(.*)$")

# Exit statuses of `bazel test` that its events tell more of: all passed, some failed, no tests.
STATUSES_TOLD = {0, 3, 4}

# A failed target's output is shown whole up to so many lines; of more, the ends and what surrounds failures.
WHOLE_OUTPUT_LINES = 120
CONTEXT_LINES = 25


class Results:
    """What came of one or more targets."""

    def __init__(self):
        self.passed = 0
        self.failures = []  # (where, what, output)
        self.skips = []  # (where, what, reason)

    def add(self, other):
        self.passed += other.passed
        self.failures += other.failures
        self.skips += other.skips

    def line(self):
        return "%d passed, %d failed, %d skipped" % (self.passed, len(self.failures), len(self.skips))


def parse_tap(where, text):
    """-> (Results, whether there was any TAP in it)"""
    results = Results()
    lines = text.splitlines()
    planned = seen = 0
    has_plan = False
    comment = ""
    for line in lines:
        plan, result, bail_out = PLAN.match(line), RESULT.match(line), BAIL_OUT.match(line)
        if plan:
            has_plan = True
            planned += int(plan[1])
            if int(plan[1]) == 0:
                results.skips.append((where, "all of it", plan[2] or comment or "no reason given"))
        elif bail_out:
            results.failures.append((where, "gave up: " + bail_out[1], text))
        elif result:
            seen += 1
            add_result(results, where, result, comment, text)
            comment = ""
        elif line.startswith("#"):
            comment = line.lstrip("# ").strip()
    if has_plan and seen != planned and not any(f[1].startswith("gave up") for f in results.failures):
        results.failures.append((where, "%d cases planned, %d reported" % (planned, seen), text))
    return results, has_plan or seen > 0


def add_result(results, where, match, comment, text):
    failed, name = bool(match[1]), match[3].strip()
    skip = SKIP.match(name)
    if skip and failed:  # cmocka: what follows is the name
        results.skips.append((where, skip[2] or skip[1], comment or "no reason given"))
    elif skip:
        results.skips.append((where, skip[1], skip[2] or comment or "no reason given"))
    elif failed:
        results.failures.append((where, name, text))
    else:
        results.passed += 1


def parse_target(where, status, text):
    """A target that Bazel ran: its log, and what Bazel thinks of it."""
    results, is_tap = parse_tap(where, text)
    if status in ("PASSED", "FLAKY"):
        if not is_tap:
            results.passed += 1
    elif not results.failures:
        results.failures.append((where, "%s without a failing case" % status.lower().replace("_", " "), text))
    return results


def read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def read_events(path):
    for line in read(path).splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            return  # bazel was killed in the middle of a line


def log_of(test_result):
    for output in test_result.get("testActionOutput", []):
        if output.get("name") == "test.log":
            return urllib.parse.unquote(urllib.parse.urlparse(output.get("uri", "")).path)
    return ""


def parse_bazel(step, path, log, exit_status):
    """One run of `bazel test`."""
    results = Results()
    latest = {}  # (label, shard, run) -> the last attempt's result
    not_built = []
    for event in read_events(path):
        identity = event.get("id", {})
        if "testResult" in identity and "testResult" in event:
            key = identity["testResult"]
            latest[key.get("label"), key.get("shard", 0), key.get("run", 0)] = event["testResult"]
        elif "targetCompleted" in identity and not event.get("completed", {}).get("success"):
            not_built.append(identity["targetCompleted"].get("label"))
    for (label, shard, run), result in sorted(latest.items()):
        where = "%s %s" % (step, label)
        if shard > 1 or run > 1:
            where += " (shard %d, run %d)" % (shard, run)
        results.add(parse_target(where, result.get("status", "NO_STATUS"), read(log_of(result))))
    tested = {label for label, _, _ in latest}
    for label in sorted(set(not_built) - tested):
        results.failures.append((step, "%s was not built" % label, log))
    if exit_status not in STATUSES_TOLD and not results.failures:
        results.failures.append((step, "bazel ended with exit status %s" % exit_status, log))
    if exit_status == 3 and not results.failures:
        results.failures.append((step, "bazel says that a test failed, and none of those seen did", log))
    if exit_status == 4 and not latest:
        results.skips.append((step, "all of it", "no test is meant for this configuration"))
    return results


def parse_step(directory, step):
    path = os.path.join(directory, step)
    results = Results()
    if os.path.exists(path + ".tap"):
        text = read(path + ".tap")
        results, is_tap = parse_tap(step, text)
        if not is_tap:
            results.failures.append((step, "reported nothing", text))
    if os.path.exists(path + ".status"):
        status = read(path + ".status").strip()
        status = int(status) if status.isdigit() else -1
        results.add(parse_bazel(step, path + ".events", read(path + ".log"), status))
    return results


def steps_of(directory):
    names = os.listdir(directory)
    return sorted({name.rsplit(".", 1)[0] for name in names if name.endswith((".tap", ".status"))})


def excerpt(text):
    """What one needs to see of a failing target's output."""
    lines = text.splitlines()
    if lines[:1] and lines[0].startswith("exec ${PAGER"):  # Bazel's head of a test log
        lines = lines[3:]
    lines = [line for line in lines if not PASSED.match(line)]
    if len(lines) <= WHOLE_OUTPUT_LINES:
        return lines
    wanted = set(range(5)) | set(range(len(lines) - CONTEXT_LINES, len(lines)))
    for i, line in enumerate(lines):
        if line.startswith("not ok") or "error:" in line or line.startswith("ERROR"):
            wanted |= set(range(max(0, i - 5), min(len(lines), i + CONTEXT_LINES)))
    shown, last = [], -1
    for i in sorted(wanted):
        if i != last + 1:
            shown.append("[%d lines left out]" % (i - last - 1))
        shown.append(lines[i])
        last = i
    return shown


def grouped_skips(skips):
    """{(where, reason): [case, ...]}: many cases are skipped for one reason."""
    groups = {}
    for where, what, reason in skips:
        groups.setdefault((where, reason), []).append(what)
    return groups


def print_details(results):
    if results.skips:
        print("Skipped:")
        for (where, reason), names in grouped_skips(results.skips).items():
            print("  %s: %s: %s" % (where, ", ".join(names), reason))
    shown = set()
    for where, what, output in results.failures:
        if where not in shown:
            print("\n---- %s" % where)
            print("\n".join("  " + line for line in excerpt(output)))
            shown.add(where)
    if results.failures:
        print("\nFailed:")
        for where, what, _ in results.failures:
            print("  %s: %s" % (where, what))
        print()


def main(arguments):
    if len(arguments) == 3 and arguments[0] == "--step":
        print(parse_step(arguments[1], arguments[2]).line())
        return 0
    if len(arguments) != 1 or arguments[0].startswith("-"):
        sys.stderr.write(__doc__)
        return 2
    results = Results()
    for step in steps_of(arguments[0]):
        results.add(parse_step(arguments[0], step))
    print_details(results)
    print(results.line())
    return 0 if results.passed and not results.failures else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
