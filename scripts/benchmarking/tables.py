"""Tables of a report: columns are a heading and a function of a row."""

from benchmarking import rows
from benchmarking.page import Table


def us(ns):
    return None if ns is None else round(ns / 1000, 3 if ns < 1e5 else 1)


def full_table(title, data, columns):
    """@columns: (heading, function of a row); those with no value in any row are left out."""
    values = [[of(row) for row in data] for _, of in columns]
    kept = [i for i, column in enumerate(values) if any(value is not None for value in column)]
    return Table(title, [columns[i][0] for i in kept], [[values[i][n] for i in kept] for n in range(len(data))])


def get(name):
    return lambda row: row.get(name)


def get_us(name):
    return lambda row: us(row.get(name))


def get_bytes(name):
    return lambda row: rows.bytes_in_words(row[name]) if row.get(name) else None
