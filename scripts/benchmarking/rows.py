"""Reads a results directory, and says of a row what it is about and what it measures.

A row is told from others by its texts and by the numbers that are parameters (PARAMETERS, and `key` of its
configuration), and is compared by one measure. Rows of the same key are repetitions of one another.
"""

import json
import os
import statistics

# Numbers that say what was measured; all others are results.
PARAMETERS = ("nodes", "threads", "page_size_bytes", "blocks", "changed_pages", "changed_bytes", "region_bytes", "bytes", "outstanding",
              "stride_pages", "window_pages", "memory_bytes", "write_percent", "workers", "node", "size", "size_bytes", "scale", "count", "depth")
# Texts that are no part of what was measured.
REMARKS = ("host", "commit", "floor_source", "baseline", "skipped", "device", "date", "error", "invariant_tsc", "rate_unit")
# What is compared, the first that a row has, and whether less of it is better.
MEASURES = (("p50_ns", "lower"), ("downtime_ns", "lower"), ("seconds", "lower"), ("whole_ns", "lower"), ("ns", "lower"), ("bytes_per_s", "higher"),
            ("faults_per_s", "higher"), ("operations_per_s", "higher"), ("process_bytes", "lower"))
UNITS = {4096: "4 KiB", 2 << 20: "2 MiB", 1 << 30: "1 GiB"}


class NoResults(Exception):
    """Why a directory cannot be read, in words."""


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def read_lines(path):
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        try:
            return [json.loads(line) for line in file if line.strip()]
        except ValueError as error:
            raise NoResults("%s: %s" % (path, error)) from error


class Directory:
    """What scripts/bench has left: rows, runs, environment."""

    def __init__(self, path):
        self.path = path
        if not os.path.isdir(path):
            raise NoResults("%s: there is no such directory" % path)
        self.rows = read_lines(os.path.join(path, "results.jsonl"))
        self.runs = read_lines(os.path.join(path, "runs.jsonl"))
        if not self.rows and not self.runs:
            raise NoResults("%s: no results.jsonl in it; scripts/bench --output makes one" % path)
        self.environment = {}
        if os.path.exists(os.path.join(path, "environment.json")):
            with open(os.path.join(path, "environment.json"), encoding="utf-8") as file:
                self.environment = json.load(file)
        self.known = self.environment.get("rows") or {}

    def failures(self):
        return [run for run in self.runs if run.get("failure")]

    def of(self, benchmark):
        return [row for row in self.rows if row.get("benchmark") == benchmark]


def benchmark_of(row):
    """What the configuration calls it."""
    return str(row.get("case_id", row.get("benchmark", "?"))).split(".")[0]


def key_of(row, known=None):
    """What tells a row from others, as ((name, value), ...)."""
    parameters = PARAMETERS + tuple((known or {}).get(benchmark_of(row), {}).get("key", ()))
    return tuple((name, value) for name, value in row.items()
                 if (isinstance(value, (str, bool)) and name not in REMARKS) or (is_number(value) and name in parameters))


def measure_of(row, known=None):
    """-> (name, "lower" or "higher"), or None: the row has nothing to compare."""
    told = (known or {}).get(benchmark_of(row), {})
    if "measure" in told:
        default = dict(MEASURES).get(told["measure"], "lower")
        return (told["measure"], told.get("better", default)) if is_number(row.get(told["measure"])) else None
    return next(((name, better) for name, better in MEASURES if is_number(row.get(name))), None)


def group(rows, known=None):
    """-> {key: rows}, in the order in which keys come."""
    groups = {}
    for row in rows:
        groups.setdefault(key_of(row, known), []).append(row)
    return groups


def middle(values):
    """The median of those that are numbers; None: there are none."""
    numbers = [value for value in values if is_number(value)]
    if len(set(numbers)) == 1:  # 2 nodes, not 2.0
        return numbers[0]
    return statistics.median(numbers) if numbers else None


def middle_row(rows):
    """One row for all repetitions: of numbers the median. Quantiles: of each."""
    merged = dict(rows[0])
    for name, value in rows[0].items():
        if is_number(value):
            merged[name] = middle(row.get(name) for row in rows)
        elif isinstance(value, dict) and value and all(is_number(v) for v in value.values()):
            merged[name] = {key: middle((row.get(name) or {}).get(key) for row in rows) for key in value}
        elif is_curve(value):
            points = [dict(map(tuple, row.get(name) or [])) for row in rows]
            merged[name] = [[x, middle(one.get(x) for one in points)] for x, _ in value]
    merged["runs"] = len(rows)
    return merged


def is_curve(value):
    return isinstance(value, list) and bool(value) and all(
        isinstance(point, list) and len(point) == 2 and all(map(is_number, point)) for point in value)


def merged(rows, known=None):
    return [middle_row(same) for same in group(rows, known).values()]


def of_numbers(data, name):
    return [row for row in data if is_number(row.get(name)) and row[name] > 0]


# --- words -----------------------------------------------------------------------------------------------------


def bytes_in_words(value):
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if value >= size and value % size == 0:
            return "%d %s" % (value // size, unit)
    return "%d B" % value


def name_of_pages(size):
    return UNITS.get(size, bytes_in_words(size)) + " pages"


def counted(count, one, many):
    return "%d %s" % (count, one if count == 1 else many)


def value_in_words(name, value):
    if name.endswith("bytes") and is_number(value):
        return bytes_in_words(value)
    if name in ("threads", "nodes", "blocks", "repetitions"):
        return counted(value, name[:-1], name)
    if name == "changed_pages":
        return counted(value, "page changed", "pages changed")
    if name in ("outstanding",):
        return "%d %s" % (value, name)
    if isinstance(value, bool) or name in PARAMETERS:
        return "%s %s" % (name.replace("_", " "), str(value).lower())
    return str(value)


def describe(key, without=()):
    """A key in words, less what is in @without (names)."""
    words = [value_in_words(name, value) for name, value in key if name not in without and name != "case_id"]
    return ", ".join(words)


def shared_names(keys):
    """The names whose value is the same in all keys, and so tell nothing."""
    keys = [dict(key) for key in keys]
    names = {name for key in keys for name in key}
    return {name for name in names if all(name in key for key in keys) and len({key[name] for key in keys}) == 1}
