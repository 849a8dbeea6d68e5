r"""The numbers of a paper, each by the name that its text uses: \val{fault/fetch_stale/4KiB/ratio}.

A name is a family, what tells the family's rows apart (values in order, then any of the others as field=value), and a
measure. What a name does not say has the family's default. Numbers are medians over repetitions. A name that no row answers to
is an error that says which benchmark to run; so is one to which several rows answer.
"""

import operator
import re
from dataclasses import dataclass, field

from benchmarking import rows, sections

# Short words for fields.
FIELDS = {"page": "page_size_bytes", "region": "region_bytes", "pages": "changed_pages"}
UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
COMPARISONS = {"<": operator.lt, ">": operator.gt}
CLASSES = "SWAB"  # sizes of applications, the smallest first


class Wrong(Exception):
    """A name that makes no sense, in words."""


class Missing(Exception):
    """What the results lack, in words."""


@dataclass
class Family:
    benchmark: str  # of the rows
    program: str  # what scripts/bench --only finds it by
    parts: tuple  # fields that a name gives, in this order
    defaults: dict  # of other fields
    others: tuple  # fields that a name may give
    measures: dict = field(default_factory=dict)  # name -> (function of a row, function of its value that makes text)


# --- texts ---------------------------------------------------------------------------------------------------------


def escape(value):
    """Text of anywhere, for LaTeX."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(special.get(c, "\\" + c if c in "&%$#_{}" else c) for c in str(value))


def significant(value):
    """Three digits, below 1 two, and never an exponent."""
    if abs(value) < 1:
        return "%.2g" % value if abs(value) >= 0.001 or not value else "%.4f" % value
    return thin("{:,.{}f}".format(value, max(0, 3 - len(str(int(abs(value)))))))


def thin(text):
    return text.replace(",", r"\,")


def hundredths(value):
    return "%.2f" % value if abs(value) < 10 else significant(value)


def whole(value):
    return thin("{:,.0f}".format(value))


def percent(value):
    return "%.0f" % (100 * value)


# --- families --------------------------------------------------------------------------------------------------------


def scaled(name, factor):
    def measure(row):
        return row[name] * factor if rows.is_number(row.get(name)) else None
    return measure


def quotient(name, other):
    def measure(row):
        return row[name] / row[other] if row.get(other) and rows.is_number(row.get(name)) else None
    return measure


def as_it_is(name):
    return lambda row: row.get(name)


def us(name):
    return scaled(name, 1e-3), significant


FAULT_PARTS = ("case", "page_size_bytes")
FAULT_OTHERS = ("access", "delivery", "threads", "blocks")
FAULT_DEFAULTS = {"delivery": "inline", "threads": 1}
FAMILIES = {
    "fault": Family("fault_latency", "fault_latency", FAULT_PARTS, FAULT_DEFAULTS, FAULT_OTHERS, {
        "us": us("p50_ns"), "p99us": us("p99_ns"), "floor": us("floor_p50_ns"), "ratio": (scaled("ratio", 1), hundredths)}),
    "anatomy": Family("fault_anatomy", "anatomy", FAULT_PARTS, FAULT_DEFAULTS, FAULT_OTHERS, {
        **{name[:-3]: us(name) for name in sections.STAGES}, "sum": (scaled("sum_ratio", 1), hundredths),
        "share": (lambda row: (row["trap_ns"] + row["map_ns"] + row["return_ns"]) / row["sum_ns"], percent),
        "own": us("own_ns")}),
    "sync": Family("sync", "sync", ("case",), {"threads": 1},
                   ("variant", "home", "page_size_bytes", "region_bytes", "changed_pages", "threads"), {
        "ns": (scaled("p50_ns", 1), significant), "us": us("p50_ns"), "baseline": (scaled("baseline_p50_ns", 1), significant),
        "baselineus": us("baseline_p50_ns"), "ratio": (scaled("ratio", 1), hundredths)}),
    "bandwidth": Family("fetch_bandwidth", "fetch_bandwidth", ("case", "means", "page_size_bytes"), {"threads": 1},
                        ("threads",), {
        "GBs": (scaled("bytes_per_s", 1e-9), hundredths), "floor": (scaled("floor_bandwidth_ratio", 1), percent),
        "copy": (scaled("copy_bandwidth_ratio", 1), percent), "nspage": (scaled("ns_per_page", 1), whole)}),
    "app": Family("app", "app_", ("name", "variant", "form"), {}, ("class", "workers"), {
        "ms": (scaled("seconds", 1e3), significant), "speedup": (scaled("speed_up", 1), hundredths),
        "tompi": (scaled("to_mpi", 1), hundredths), "tothreads": (scaled("to_threads", 1), hundredths),
        "faults": (scaled("faults", 1), whole), "upgrades": (scaled("faults_upgrade", 1), whole),
        "fetchedMiB": (scaled("bytes_fetched", 1 / (1 << 20)), significant),
        "barriers": (quotient("barrier_seconds", "parts_seconds"), percent),
        "calls": (quotient("other_seconds", "parts_seconds"), percent),
        "class": (as_it_is("class"), escape)}),
}


def add_stages(row):
    """What of a fault is neither the kernel's part nor the data's."""
    own = ("lock_ns", "ask_ns", "ready_ns", "leave_ns")
    row["own_ns"] = sum(row[name] for name in own) if all(rows.is_number(row.get(name)) for name in own) else None


def add_parts(row):
    """The time of an application as the sum of its parts."""
    parts = [row.get(name) for name in ("outside_seconds", "barrier_seconds", "other_seconds")]
    row["parts_seconds"] = sum(parts) if all(map(rows.is_number, parts)) else None


# --- finding ---------------------------------------------------------------------------------------------------------


def value_of(word):
    """4KiB -> 4096, 2 -> 2, - -> None, else the word."""
    if word == "-":
        return None
    number = re.fullmatch(r"(\d+)(KiB|MiB|GiB)?", word)
    return int(number.group(1)) * UNITS.get(number.group(2), 1) if number else word


def in_words(wanted):
    return ", ".join("%s %s" % (name, rows.value_in_words(name, value) if name.endswith("bytes") else value)
                     for name, value in wanted.items())


def is_of(family, row):
    """Of the configuration's entry for the family: others run the same program for something else. (Each application has
    an entry of its own.)"""
    entry = str(row.get("case_id", family.program)).split(".")[0]
    return not row.get("traced") and (family.benchmark == "app" or entry == family.program)


def differing_repetitions(data):
    """Of cases that were not run as often as most others. -> texts"""
    times = {}
    for row in data:
        times.setdefault(row.get("case_id"), set()).add(row.get("repetition"))
    counts = [len(repetitions) for repetitions in times.values()]
    usual = max(counts, key=counts.count, default=0)
    return ["%s was run %d times, most others %d" % (case, len(repetitions), usual)
            for case, repetitions in times.items() if len(repetitions) != usual]


def foreign_commits(commits, commit):
    """Of rows of another commit than the environment's, or of one that was changed. -> texts"""
    problems = ["results are of commit %s, environment.json of %s" % (other, commit)
                for other in sorted(commits - {commit}, key=str)]
    return problems + ["what was measured is no commit: %s" % one
                       for one in sorted(commits | {commit}, key=str) if not one or one.endswith("-dirty")]


class Numbers:
    """Of a results directory. `used`: {name: text} of all that were asked for; `touched`: the keys of their rows."""

    def __init__(self, directory, config="configs/laptop.toml"):
        self.directory = directory
        self.config = config
        self.used = {}
        self.touched = set()
        self.data = {}
        for name, family in FAMILIES.items():
            self.data[name] = rows.merged([row for row in directory.of(family.benchmark) if is_of(family, row)],
                                          directory.known)
        for row in self.data["anatomy"]:
            add_stages(row)
        for row in sections.add_comparisons(self.data["app"]):
            add_parts(row)

    def how_to_get(self, program):
        return "scripts/bench --only %s %s" % (program, self.config)

    def row(self, family_name, words):
        """The row that @words (all of a name but its family and measure) tell of."""
        family = FAMILIES[family_name]
        wanted = self.wanted(family_name, words)
        found = [row for row in self.data[family_name] if all(row.get(name) == value for name, value in wanted.items())]
        if family_name == "app" and found:
            found = self.largest(found, wanted)
        if not found:
            raise Missing("no row of benchmark %s with %s; %s measures it" %
                          (family.benchmark, in_words(wanted), self.how_to_get(family.program)))
        if len(found) > 1:
            differ = sorted({name for row in found for name, _ in rows.key_of(row)} -
                            rows.shared_names([rows.key_of(row) for row in found]))
            raise Wrong("%d rows of benchmark %s have %s; they differ in: %s" %
                        (len(found), family.benchmark, in_words(wanted), ", ".join(differ)))
        self.touch(found)
        return found[0]

    def touch(self, data):
        """Rows that something was made of."""
        self.touched.update(rows.key_of(row) for row in data)

    def kept(self):
        """Of the directory's rows those that something was made of; distributions only of those that are drawn."""
        for row in self.directory.rows:
            if rows.key_of(row) in self.touched:
                yield row if sections.is_drawn(row) else {name: value for name, value in row.items() if "quantiles" not in name}

    @staticmethod
    def wanted(family_name, words):
        family = FAMILIES[family_name]
        given = [word for word in words if "=" not in word]
        if len(given) != len(family.parts):
            raise Wrong("%s wants %s" % (family_name, "/".join(family.parts)))
        wanted = {**family.defaults, **{name: value_of(word) for name, word in zip(family.parts, given)}}
        for word in words[len(given):]:
            name, _, value = word.partition("=")
            name = FIELDS.get(name, name)
            if name not in family.others:
                raise Wrong("%s has no %s; there are: %s" % (family_name, name, ", ".join(family.others)))
            wanted[name] = value_of(value)
        if "access" in family.others and "access" not in wanted:
            wanted["access"] = "write" if str(wanted["case"]).startswith("write") else "read"
        return wanted

    @staticmethod
    def largest(found, wanted):
        """Of an application: of the largest problem, with the most workers, on the most nodes."""
        if "class" not in wanted:
            most = max(CLASSES.find(row.get("class") or "") for row in found)
            found = [row for row in found if CLASSES.find(row.get("class") or "") == most]
        if "workers" not in wanted:
            most = max(map(sections.workers_of, found))
            found = [row for row in found if sections.workers_of(row) == most]
        return found

    def look_up(self, name):
        """-> (value, function that makes text of it)"""
        family, *words = name.split("/")
        if family == "env":
            return self.environment(words), escape
        if family not in FAMILIES:
            raise Wrong("there is no family \"%s\"; there are: env, %s" % (family, ", ".join(FAMILIES)))
        if not words or words[-1] not in FAMILIES[family].measures:
            raise Wrong("%s has no measure \"%s\"; there are: %s" % (
                family, words[-1] if words else "", ", ".join(FAMILIES[family].measures)))
        measure, form = FAMILIES[family].measures[words[-1]]
        value = measure(self.row(family, words[:-1]))
        if value is None:
            raise Missing("the row of benchmark %s with %s says nothing of %s; %s measures it anew" % (
                FAMILIES[family].benchmark, in_words(self.wanted(family, words[:-1])), words[-1],
                self.how_to_get(FAMILIES[family].program)))
        return value, form

    def environment(self, words):
        value = self.directory.environment
        for word in words:
            value = value.get(word) if isinstance(value, dict) else None
        if words == ["repetitions"]:
            value = min(self.repetitions().values(), default=None)
        if words == ["day"]:
            value = str(self.directory.environment.get("date") or "")[:10] or None
        if value is None:
            raise Missing("environment.json has no %s; scripts/bench writes it" % "/".join(words))
        return value

    def repetitions(self):
        """{case: how many times it was run}; one that was traced is for its trace alone."""
        times = {}
        for row in self.directory.rows:
            if not row.get("traced") and row["benchmark"] != "fault_trace":
                case = row.get("case_id")
                times[case] = max(times.get(case, 0), row.get("repetition") or 1)
        return times

    def not_of_one_run(self):
        """What says that the rows that something was made of are not of one run of one commit. -> texts"""
        kept = [row for row in self.kept() if not row.get("traced") and row["benchmark"] != "fault_trace"]
        commit = self.directory.environment.get("commit")
        return differing_repetitions(kept) + foreign_commits({row.get("commit") for row in kept}, commit)

    def text(self, name):
        if name not in self.used:
            value, form = self.look_up(name)
            self.used[name] = form(value)
        return self.used[name]

    def claim(self, words):
        """Whether "NAME < NAME or number" holds. -> "" or what is the case instead."""
        parts = words.split()
        if len(parts) != 3 or parts[1] not in COMPARISONS:
            raise Wrong("a claim is NAME < VALUE or NAME > VALUE, where VALUE is a number or a name")
        values = [float(part) if re.fullmatch(r"[\d.]+", part) else self.look_up(part)[0] for part in (parts[0], parts[2])]
        return "" if COMPARISONS[parts[1]](*values) else "%.4g, %.4g" % tuple(values)
