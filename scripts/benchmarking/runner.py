"""Runs the cases of a configuration, one after the other, and keeps what they print. The program is scripts/bench.

Repetitions go round and round, all cases once, then all again: what drifts on the machine meets them all alike.
"""

import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid

from benchmarking import trace

GRACE_S = float(os.environ.get("BENCH_GRACE_S", "10"))  # from SIGTERM to SIGKILL: mpirun ends its ranks meanwhile
MARK = "BENCH_RUN_ID"  # in the environment of whatever a run starts


class Interrupted(Exception):
    """By ^C or SIGTERM; the run that was under way is ended."""


# --- processes -----------------------------------------------------------------------------------------------


def marked(mark):
    """The processes of this machine that were started with @mark in their environment, this one excepted."""
    wanted = ("%s=%s" % (MARK, mark)).encode()
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open("/proc/%s/environ" % name, "rb") as file:
                if wanted in file.read().split(b"\0"):
                    yield int(name)
        except OSError:
            pass  # it has ended, or is not ours


def end_marked(mark):
    """Ends what a launcher has left behind (ranks are not in its process group), and waits until it is gone: what is
    still ending would disturb the next run, and what forks meanwhile is found the next time round."""
    deadline = time.monotonic() + GRACE_S
    while time.monotonic() < deadline:
        left = list(marked(mark))
        if not left:
            return
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        time.sleep(0.02)


def group_is_gone(group, mark):
    for pid in marked(mark):
        try:
            if os.getpgid(pid) == group:
                return False
        except OSError:
            pass
    return True


def end_launcher(process, mark):
    """One that does not heed SIGTERM is killed alone first: srun is watched over by a process of its group, which then ends
    the ranks on other machines. If that died with it, they would live on and keep the nodes from the next run. The caller
    ends what is left."""
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(GRACE_S)
    except ProcessLookupError:
        pass
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        deadline = time.monotonic() + GRACE_S
        while not group_is_gone(process.pid, mark) and time.monotonic() < deadline:
            time.sleep(0.05)
        try:  # what bears no mark; while it is there, nobody else gets the group's number
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    process.wait()


def execute(command, settings, limit_s, out, err):
    """-> the exit status, or None if the time was up. Files, not pipes: a rank that is left would keep a pipe open."""
    mark = uuid.uuid4().hex
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True,
                               env=dict(os.environ, **settings, **{MARK: mark}))
    try:
        return process.wait(limit_s)
    except subprocess.TimeoutExpired:
        return None
    finally:  # also when interrupted
        if process.poll() is None:
            end_launcher(process, mark)
        end_marked(mark)


# --- one run -------------------------------------------------------------------------------------------------


def rows_of(path):
    """-> (objects, what is wrong with the file or "")"""
    rows, wrong = [], ""
    with open(path, encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            if isinstance(row, dict):
                rows.append(row)
            elif line.strip() and not wrong:
                wrong = "line %d of its output is not a JSON object: %s" % (number, line.strip()[:80])
    return rows, wrong


SLURM = re.compile(r"(srun|salloc|slurmstepd[^ :]*): ")
# The first task that ended badly; srun ends the others after it, and its own exit status is theirs.
SLURM_TASK = re.compile(r"srun: error: .*\btasks? ")


def last_words(path):
    """Of the program: what mpirun has to say of its end follows between lines of dashes, and srun's words, which are mixed
    with the program's, tell which task was the first to end."""
    with open(path, encoding="utf-8", errors="replace") as file:
        lines = [line.strip() for line in file if line.strip()]
    frame = next((index for index, line in enumerate(lines) if set(line) == {"-"}), len(lines))
    said = lines[:frame] or [line for line in lines if set(line) != {"-"}]
    task = [line for line in said if SLURM_TASK.match(line)][:1]
    own = [line for line in said if not SLURM.match(line)]
    return "; ".join(own[-2:] + task if own or task else said[-2:])[:300]


def judge(status, limit_s, rows, wrong, said):
    """Why a run has failed; "": it has not."""
    if status is None:
        return "was not done after %g s" % limit_s
    if status:
        how = "by signal %d" % -status if status < 0 else "with exit status %d" % status
        return "ended %s%s" % (how, ": " + said if said else "")
    if wrong:
        return wrong
    return "" if rows else "printed no result" + (": " + said if said else "")


class Results:
    """The directory. Lines are written as runs end: what is there is right whatever happens next."""

    def __init__(self, directory):
        self.directory = directory
        os.makedirs(os.path.join(directory, "logs"), exist_ok=True)

    def path(self, *names):
        return os.path.join(self.directory, *names)

    def append(self, name, objects):
        with open(self.path(name), "a", encoding="utf-8") as file:
            for one in objects:
                file.write(json.dumps(one) + "\n")

    def write(self, name, value):
        with open(self.path(name), "w", encoding="utf-8") as file:
            json.dump(value, file, indent=2)
            file.write("\n")


def traced_rows(case, prefix):
    """Of what the runtime has written of its faults, if it was asked to; the files are large and go."""
    if not case.trace:
        return []
    rows = trace.rows(prefix, case.benchmark, case.nodes)
    for path in glob.glob(glob.escape(prefix) + ".*.csv"):
        os.remove(path)
    return rows


def run_once(case, repetition, command, results):
    """Runs a case and records it. -> its line of runs.jsonl"""
    name = os.path.join("logs", "%s.%d" % (case.id, repetition))
    out_path, err_path = results.path(name + ".out"), results.path(name + ".err")
    start = time.monotonic()
    with open(out_path, "wb") as out, open(err_path, "wb") as err:
        try:
            settings = {**case.settings, "MINORCA_TRACE": results.path(name)} if case.trace else case.settings
            status, refused = execute(command, settings, case.limit_s, out, err), ""
        except OSError as error:
            status, refused = 127, "cannot be started: %s" % error
    rows, wrong = rows_of(out_path)
    rows += traced_rows(case, results.path(name))
    failure = refused or judge(status, case.limit_s, rows, wrong, last_words(err_path))
    record = {"case_id": case.id, "benchmark": case.benchmark, "repetition": repetition, "nodes": case.nodes,
              "failure": failure or None, "exit_status": status, "seconds": round(time.monotonic() - start, 3),
              "rows": 0 if failure else len(rows), "command": command, "settings": case.settings,
              "stdout": name + ".out", "stderr": name + ".err"}
    mark = {"traced": True} if case.trace else {}  # costs time: not to be mixed with those that are not
    if not failure:  # what a run has printed before it failed is in its log, and no result
        results.append("results.jsonl", [{**row, **mark, "case_id": case.id, "repetition": repetition} for row in rows])
    results.append("runs.jsonl", [record])
    return record


# --- all of them ---------------------------------------------------------------------------------------------


def runs_of(cases):
    last = max(case.repetitions for case in cases)
    return [(case, repetition) for repetition in range(1, last + 1) for case in cases
            if repetition <= case.repetitions]


def seconds_left(runs, took):
    """Of the runs to come: as long as the case took last, or as the configuration says. -> (seconds, all are known)"""
    expected = [took.get(case.id, case.seconds) for case, _ in runs]
    return sum(expected), all(expected)


def in_words(left):
    seconds, known = left
    words = "%d s left" % seconds if seconds < 90 else "%d min left" % round(seconds / 60)
    return words if known else "more than " + words


def run_all(cases, command_of, results, say):
    """-> [line of runs.jsonl]. @command_of: of a case; None if it could not be built. A case whose time was up is not
    tried again: its other repetitions would take as long."""
    runs, records, took, hopeless = runs_of(cases), [], {}, set()
    for index, (case, repetition) in enumerate(runs):
        command = command_of(case)
        if command is None or case.id in hopeless:
            continue
        say("%d/%d %s, repetition %d of %d (%s)" % (index + 1, len(runs), case.id, repetition, case.repetitions,
                                                    in_words(seconds_left(runs[index:], took))))
        record = run_once(case, repetition, command, results)
        took[case.id] = max(record["seconds"], 0.001)
        records.append(record)
        if record["failure"]:
            say("    FAILED: %s; see %s" % (record["failure"], results.path(record["stderr"])))
        if record["exit_status"] is None:
            hopeless.add(case.id)
    return records


# --- programs ------------------------------------------------------------------------------------------------


class Programs:
    """Builds what the cases run, and copies it to the results: what is built meanwhile changes nothing, and on a
    cluster it lies where the results do, on a file system that all hosts see."""

    def __init__(self, root, results, bazel, say):
        self.root, self.results, self.bazel, self.say = root, results, bazel, say
        self.paths = {}

    def build(self, labels):
        options = ["--config=release", "--show_result=0", "--ui_event_filters=-info", "--noshow_progress"]
        return subprocess.run(self.bazel + ["build"] + options + sorted(labels), cwd=self.root,
                              stdout=sys.stderr, check=False).returncode == 0

    def outputs(self):
        command = self.bazel + ["info", "--config=release", "--ui_event_filters=-info", "bazel-bin"]
        return subprocess.run(command, cwd=self.root, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                              check=False).stdout.strip()

    def prepare(self, programs):
        """-> {program: why there is none}"""
        labels = {program for program in programs if program.startswith("//")}
        failures = {program: "there is no file " + program
                    for program in programs - labels if not os.path.isfile(self.absolute(program))}
        self.paths = {program: self.absolute(program) for program in programs - labels - set(failures)}
        if labels and not self.build(labels):  # one by one, to learn which
            bad = {label for label in labels if not self.build([label])}
            failures.update((label, "cannot be built") for label in bad)
            labels -= bad
        outputs = self.outputs() if labels else ""
        for label in labels:
            self.paths[label] = self.keep(outputs, label[2:].replace(":", "/"))
        return failures

    def absolute(self, program):
        return os.path.join(self.root, program)

    def keep(self, outputs, name):
        copy = self.results.path("programs", name)
        os.makedirs(os.path.dirname(copy), exist_ok=True)
        shutil.copyfile(os.path.join(outputs, name), copy)
        os.chmod(copy, 0o755)
        return copy

    def forget(self):
        shutil.rmtree(self.results.path("programs"), ignore_errors=True)
