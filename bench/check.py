"""What the tests of benchmarks share: they run one, read its JSON as a script would, check it, and print TAP."""

import json
import subprocess


def check_types(row, fields):
    for name, kind in fields.items():
        assert isinstance(row.get(name), kind), "%s is %r" % (name, row.get(name))


def each(check_row, *arguments):
    """A check of all rows that makes one of each."""

    def check(rows):
        assert rows, "no rows"
        for row in rows:
            try:
                check_row(row, *arguments)
            except (AssertionError, KeyError) as error:
                raise AssertionError("%r\n%s" % (error, json.dumps(row))) from error

    return check


def take_option(arguments, name):
    """The number of --NAME=NUMBER, if that comes first, and takes it away; else None."""
    prefix = "--%s=" % name
    return float(arguments.pop(0)[len(prefix):]) if arguments and arguments[0].startswith(prefix) else None


def why_skipped(done, reasons):
    if "# SKIP" in done.stdout:
        return done.stdout.split("# SKIP", 1)[1].strip()
    lines = [line for line in done.stderr.splitlines() if any(reason in line for reason in reasons)]
    return lines[0] if lines and done.returncode else ""


def failure_of(check, rows):
    try:
        check(rows)
    except (AssertionError, KeyError) as error:
        return str(error) or repr(error)
    return ""


def read_rows(done):
    """The rows, and what is wrong with them as JSON."""
    try:
        return [json.loads(line) for line in done.stdout.splitlines()], ""
    except ValueError as error:
        return [], "%s\n%s" % (error, done.stdout[:2000])


def tap(number, name, failure):
    print("%sok %d - %s" % ("not " if failure else "", number, name))
    if failure:
        print("# " + failure.replace("\n", "\n# "))


def run(command, reasons, checks, environment=None):
    """Runs @command; what it prints must pass @checks: pairs of a name and a function of rows that asserts.

    If it fails, and says one of @reasons or that it is skipped, so is the test. Returns the exit status.
    """
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=240,
                          env=environment)
    reason = why_skipped(done, reasons)
    if reason:
        print("1..0 # SKIP " + reason)
        return 0
    rows, malformed = read_rows(done)
    results = [("it runs", "" if done.returncode == 0 else "exit status %d\n%s" % (done.returncode, done.stderr)),
               ("there is JSON on stdout and nothing else", malformed)]
    results += [(name, failure_of(check, rows)) for name, check in checks]
    print("1..%d" % len(results))
    for number, (name, failure) in enumerate(results, 1):
        tap(number, name, failure)
    return 1 if any(failure for _, failure in results) else 0
