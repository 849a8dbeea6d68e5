"""A configuration (configs/*.toml) as the list of cases that scripts/bench runs. configs/README.md explains each key."""

import itertools
import os
import tomllib
from dataclasses import dataclass, field

REPETITIONS = 5
LIMIT_S = 300  # of a case that names no limit
TOP_KEYS = {"title", "repetitions", "limit_s", "launcher", "settings", "launch", "benchmark"}
LAUNCH_KEYS = {"command", "setting", "hostfile"}
BENCHMARK_KEYS = {"name", "program", "arguments", "nodes", "each", "repetitions", "seconds", "limit_s", "settings",
                  "trace", "key", "measure", "better"}
LOCAL = {"local": {"command": ["scripts/mpirun.sh", "{nodes}"]}}


class Invalid(Exception):
    """What is wrong with a configuration, in words."""


@dataclass
class Case:
    """One command line. Each repetition of it is a run."""
    id: str  # names its files
    benchmark: str
    program: str  # a Bazel label, or a path
    arguments: list
    nodes: int
    repetitions: int
    limit_s: float
    seconds: float  # what a run takes, for the time left; 0: not known
    settings: dict
    trace: bool = False  # of its faults; makes rows of fault_trace

    def passed_on(self):
        """The names of what a launcher must pass on."""
        return sorted(self.settings) + (["MINORCA_TRACE"] if self.trace else [])


@dataclass
class Launcher:
    name: str
    command: list
    setting: list = field(default_factory=list)  # words for each setting that the launcher must pass on
    hostfile: str = ""

    def command_of(self, nodes, settings, program, arguments):
        """@settings: their names."""
        values = {"nodes": nodes, "hostfile": self.hostfile}
        words = [fill(word, values, "launch.%s.command" % self.name) for word in self.command]
        for name in sorted(settings):
            words += [fill(word, {"name": name}, "launch.%s.setting" % self.name) for word in self.setting]
        return words + [program] + arguments


@dataclass
class Configuration:
    path: str
    title: str
    settings: dict
    launcher: Launcher
    cases: list
    rows: dict  # benchmark -> {"key": [...], "measure": ..., "better": ...}: of rows that rows.py does not know


def fill(word, values, where):
    try:
        return word.format(**values)
    except (KeyError, IndexError, ValueError) as error:
        raise Invalid("%s: cannot fill in \"%s\"; what can be named: %s" %
                      (where, word, ", ".join("{%s}" % name for name in values))) from error


def expect(condition, message, *arguments):
    if not condition:
        raise Invalid(message % arguments)


def check_keys(table, known, where):
    expect(isinstance(table, dict), "%s must be a table", where)
    unknown = sorted(set(table) - known)
    expect(not unknown, "%s: unknown key \"%s\"; there are: %s", where, ", ".join(unknown), ", ".join(sorted(known)))


def take(table, name, kind, default, where):
    value = table.get(name, default)
    right = isinstance(value, kind) and not (isinstance(value, bool) and kind is not bool)
    expect(right, "%s: %s = %r is not %s", where, name, value,
           {str: "a text", bool: "true or false", int: "a whole number", list: "a list", dict: "a table"}.get(kind, "a number"))
    return value


def take_positive(table, name, kind, default, where):
    value = take(table, name, kind, default, where)
    expect(value > 0, "%s: %s = %r must be more than 0", where, name, value)
    return value


def take_words(table, name, default, where):
    words = take(table, name, list, default, where)
    expect(all(isinstance(word, str) for word in words), "%s: %s must be a list of texts", where, name)
    return words


def take_settings(table, where):
    settings = take(table, "settings", dict, {}, where)
    for name, value in settings.items():
        expect(isinstance(value, (str, int)) and not isinstance(value, bool),
               "%s: settings: %s = %r is neither a text nor a number", where, name, value)
    return {name: str(value) for name, value in settings.items()}


def take_crossing(table, where):
    """-> [[(option, value), ...], ...]: every combination of the values of `each`."""
    each = take(table, "each", dict, {}, where)
    for name, values in each.items():
        expect(isinstance(values, list) and values, "%s: each.%s must be a list with a value or more", where, name)
    return list(itertools.product(*[[(name, value) for value in values] for name, values in each.items()]))


def take_nodes(table, where):
    nodes = table.get("nodes", [2])
    nodes = nodes if isinstance(nodes, list) else [nodes]
    expect(nodes and all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in nodes),
           "%s: nodes must be a number of nodes, or a list of such", where)
    return nodes


def id_of(name, nodes, options):
    words = [name, "n%d" % nodes] + ["%s=%s" % option for option in options]
    return "".join(c if c.isalnum() or c in "-=_." else "_" for c in ".".join(words))


def cases_of(table, top, index):
    where = "benchmark %s" % table.get("name", "number %d" % index) if isinstance(table, dict) else "benchmark"
    check_keys(table, BENCHMARK_KEYS, where)
    program = take(table, "program", str, "", where)
    expect(program, "%s: program is missing: a Bazel label as //bench:sync, or a path", where)
    name = take(table, "name", str, program.replace("/", ":").rsplit(":", 1)[-1], where)
    arguments = take_words(table, "arguments", ["--json"], where)
    expect(table.get("better", "lower") in ("lower", "higher"), "%s: better is \"lower\" or \"higher\"", where)
    for nodes in take_nodes(table, where):
        for options in take_crossing(table, where):
            yield Case(
                id=id_of(name, nodes, options), benchmark=name, program=program, nodes=nodes,
                arguments=arguments + ["--%s=%s" % option for option in options],
                repetitions=take_positive(table, "repetitions", int, top["repetitions"], where),
                limit_s=take_positive(table, "limit_s", (int, float), top["limit_s"], where),
                trace=take(table, "trace", bool, False, where),
                seconds=take(table, "seconds", (int, float), 0, where),
                settings={**top["settings"], **take_settings(table, where)})


def launcher_of(table, chosen, hostfile, directory):
    launchers = take(table, "launch", dict, LOCAL, "launch") or LOCAL
    name = chosen or take(table, "launcher", str, next(iter(launchers)), "the configuration")
    expect(name in launchers, "there is no launcher \"%s\"; there are: %s", name, ", ".join(launchers))
    where = "launch.%s" % name
    check_keys(launchers[name], LAUNCH_KEYS, where)
    command = take_words(launchers[name], "command", [], where)
    expect(command, "%s: command is missing", where)
    if not hostfile and "hostfile" in launchers[name]:
        hostfile = os.path.join(directory, take(launchers[name], "hostfile", str, "", where))
    needed = any("{hostfile}" in word for word in command)
    expect(hostfile or not needed, "%s needs a list of hosts: --hostfile FILE", where)
    expect(not needed or os.path.isfile(hostfile), "%s: there is no file %s", where, hostfile)
    launcher = Launcher(name, command, take_words(launchers[name], "setting", [], where),
                        os.path.abspath(hostfile) if hostfile else "")
    launcher.command_of(1, {"NAME": ""}, "", [])  # says now what is wrong with it
    return launcher


def settings_of(table):
    return take_settings(table, "the configuration")


def rows_of(tables):
    keys = ("key", "measure", "better")
    return {table["name"]: {key: table[key] for key in keys if key in table}
            for table in tables if "name" in table and any(key in table for key in keys)}


def interpret(table, path="", launcher="", hostfile=""):
    """-> Configuration. Raises Invalid."""
    check_keys(table, TOP_KEYS, "the configuration")
    where = "the configuration"
    top = {"repetitions": take_positive(table, "repetitions", int, REPETITIONS, where),
           "limit_s": take_positive(table, "limit_s", (int, float), LIMIT_S, where),
           "settings": settings_of(table)}
    tables = take(table, "benchmark", list, [], where)
    cases = [case for index, one in enumerate(tables, 1) for case in cases_of(one, top, index)]
    expect(cases, "it names no benchmark: [[benchmark]] is missing")
    ids = [case.id for case in cases]
    twice = sorted({one for one in ids if ids.count(one) > 1})
    expect(not twice, "two benchmarks would be called %s; give them names", ", ".join(twice))
    return Configuration(path, take(table, "title", str, os.path.basename(path), where), top["settings"],
                         launcher_of(table, launcher, hostfile, os.path.dirname(path)), cases, rows_of(tables))


def load(path):
    """The tables of a file. Raises Invalid."""
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise Invalid(str(error)) from error


def read(path, launcher="", hostfile=""):
    return interpret(load(path), path, launcher, hostfile)
