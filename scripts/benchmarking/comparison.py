"""What got faster or slower between two results directories, the noise taken into account. For scripts/bench-compare.

The samples are one value for each repetition: what differs between runs is noise too, and what varies within a run says
nothing of it. For each row that both have:

* Welch's t test on the logarithms of both sides' values, since noise is a matter of percent; it does not ask that both
  are equally noisy. Outliers make it more careful, not less: they raise the variance that it measures.
* Values are whole (nanoseconds): half a unit on either side is not seen, so 1/12 square unit is added to the variance.
  Without it, values that happen to be equal would look certain.
* Many rows are tested at once: Benjamini and Hochberg's step-up keeps the expected part of false ones among those
  reported below ALPHA. If nothing has changed, anything at all is reported in at most ALPHA of comparisons.
* A change must also be at least LEAST: a difference may be real and of no interest.

Repetitions that were made one after the other share the state of the machine, which no test can know. Compare A with
another run of A first, or let A and B take turns.
"""

import math
import statistics
from dataclasses import dataclass

from benchmarking import rows

ALPHA = 0.05
LEAST = 0.03
FEWEST = 3  # repetitions on each side


@dataclass
class Change:
    key: tuple
    measure: str
    better: str
    a: float  # medians
    b: float
    a_count: int
    b_count: int
    low: float = math.nan  # 95 % interval of b / a
    high: float = math.nan
    p: float = math.nan  # of the row by itself
    verdict: str = "too few"  # faster, slower, same, too few

    @property
    def ratio(self):
        return self.b / self.a


def moments(values, whole):
    """-> (mean, variance) of the logarithms."""
    logs = [math.log(value) for value in values]
    quantum = 1 / statistics.median(values) if whole else 1e-9
    return statistics.fmean(logs), statistics.variance(logs) + quantum ** 2 / 12


def welch(a, b):
    """-> (p, low, high): of equal means of the logarithms, and the 95 % interval of their difference, as a ratio."""
    from scipy import stats  # here, so that what does not compare needs no SciPy

    whole = all(float(value).is_integer() for value in a + b)
    (mean_a, var_a), (mean_b, var_b) = moments(a, whole), moments(b, whole)
    share_a, share_b = var_a / len(a), var_b / len(b)
    error = math.sqrt(share_a + share_b)
    freedom = (share_a + share_b) ** 2 / (share_a ** 2 / (len(a) - 1) + share_b ** 2 / (len(b) - 1))
    difference = mean_b - mean_a
    reach = float(stats.t.ppf(0.975, freedom)) * error
    return (2 * float(stats.t.sf(abs(difference) / error, freedom)), math.exp(difference - reach),
            math.exp(difference + reach))


def step_up(ps, alpha):
    """Benjamini and Hochberg: the largest p that counts; below 0 if none does."""
    limit = -1.0
    for rank, p in enumerate(sorted(ps), 1):
        if p <= alpha * rank / len(ps):
            limit = p
    return limit


def change_of(key, a, b, measure, better):
    change = Change(key, measure, better, statistics.median(a), statistics.median(b), len(a), len(b))
    if min(len(a), len(b)) >= FEWEST:
        change.p, change.low, change.high = welch(a, b)
    return change


def judge(changes, alpha=ALPHA, least=LEAST):
    """Fills in the verdicts."""
    limit = step_up([change.p for change in changes if not math.isnan(change.p)], alpha)
    for change in changes:
        if math.isnan(change.p):
            continue
        # What is the same in both directions: 3 % more, or 1 / 1.03.
        if change.p > limit or abs(math.log(change.ratio)) < math.log1p(least):
            change.verdict = "same"
        else:
            change.verdict = "slower" if (change.b > change.a) == (change.better == "lower") else "faster"


def values_of(same, measure):
    return [row[measure] for row in same if rows.is_number(row.get(measure)) and row[measure] > 0]


def compare(a, b, alpha=ALPHA, least=LEAST):
    """Of two rows.Directory -> ([Change], keys that only a has, keys that only b has)."""
    groups_a, groups_b = rows.group(a.rows, a.known), rows.group(b.rows, b.known)
    changes = []
    for key, same in groups_a.items():
        told = rows.measure_of(same[0], a.known)
        if not told or key not in groups_b:
            continue
        values = values_of(same, told[0]), values_of(groups_b[key], told[0])
        if all(values):
            changes.append(change_of(key, *values, *told))
    judge(changes, alpha, least)
    measured = [key for key in groups_a if rows.measure_of(groups_a[key][0], a.known)]
    other = [key for key in groups_b if rows.measure_of(groups_b[key][0], b.known)]
    return changes, [key for key in measured if key not in groups_b], [key for key in other if key not in groups_a]


# --- in words ------------------------------------------------------------------------------------------------


def value_in_words(measure, value):
    if measure.endswith("_ns") or measure == "ns":
        return "%.4g µs" % (value / 1000)
    if measure.endswith("_per_s"):
        return "%.4g M%s" % (value / 1e6, measure[:-6].rsplit("_", 1)[-1][:1] + "/s")
    return "%.4g%s" % (value, " s" if measure == "seconds" else "")


def percent(ratio):
    return "%+.1f %%" % (100 * (ratio - 1))


def line_of(change, names):
    interval = "" if math.isnan(change.low) else "%s .. %s" % (percent(change.low), percent(change.high))
    return (change.verdict, percent(change.ratio), interval, value_in_words(change.measure, change.a),
            value_in_words(change.measure, change.b), "%d, %d" % (change.a_count, change.b_count),
            rows.describe(change.key, names))


def table(changes):
    """The changes as text, the largest first."""
    names = rows.shared_names([change.key for change in changes]) if len(changes) > 1 else set()
    ordered = sorted(changes, key=lambda change: -abs(math.log(change.ratio)))
    lines = [("", "change", "95 % interval", "A", "B", "runs", "what")] + [line_of(one, names) for one in ordered]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)
