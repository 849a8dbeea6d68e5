#!/usr/bin/python3
"""Typesets the technical report, and one that lacks results. Prints TAP.

usage: paper_pdf_test.py

scripts/paper fails if a line reaches out of its column, or a citation leads nowhere. Skipped, with the reason, without LaTeX:
scripts/setup --checks installs it.
"""

import filecmp
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
RESULTS = os.path.join(HERE, "..", "papers", "results")


def why_not():
    """Why it cannot be made; "": it can."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        return "%s; scripts/setup --checks" % error
    missing = [name for name in ("latexmk", "pdflatex", "bibtex", "kpsewhich") if not shutil.which(name)]
    missing = missing or [name for name in ("booktabs.sty", "microtype.sty", "utmr8a.pfb")
                          if subprocess.run(["kpsewhich", name], stdout=subprocess.DEVNULL, check=False).returncode]
    return "%s is not installed; scripts/setup --checks" % missing[0] if missing else ""


def paper(*arguments):
    done = subprocess.run([os.path.join(HERE, "paper"), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          check=False)
    return done.returncode, done.stdout, done.stderr


def is_made(directory):
    """-> what is wrong, as a text."""
    output = os.path.join(directory, "first.pdf")
    status, out, err = paper("--output", output, RESULTS)
    if status or out.strip() != output:
        return "status %d: %s" % (status, err)
    with open(output, "rb") as file:
        return "" if file.read(5) == b"%PDF-" else "it is no PDF"


def is_the_same_again(directory):
    again = os.path.join(directory, "again.pdf")
    paper("--output", again, RESULTS)
    same = filecmp.cmp(os.path.join(directory, "first.pdf"), again, shallow=False)
    return "" if same else "two PDFs of the same results differ"


def says_what_is_missing(directory):
    with open(os.path.join(RESULTS, "results.jsonl"), encoding="utf-8") as file:
        lines = [line for line in file if '"acquire_changed"' not in line]
    with open(os.path.join(directory, "results.jsonl"), "w", encoding="utf-8") as file:
        file.writelines(lines)
    shutil.copy(os.path.join(RESULTS, "environment.json"), directory)
    status, out, err = paper(directory)
    if status != 1 or out or os.path.exists(os.path.join(directory, "minorca.pdf")):
        return "it was made without results of acquire_changed: status %d, %s" % (status, out)
    wanted = ("case acquire_changed", "scripts/bench --only sync configs/")
    return "" if all(words in err for words in wanted) else "it does not say what is missing: " + err


def main():
    reason = why_not()
    if reason:
        print("1..0 # SKIP " + reason)
        return 0
    checks = (("the report is made of the results that are kept", is_made), ("and the same each time", is_the_same_again),
              ("a result that is missing is named", says_what_is_missing))
    print("1..%d" % len(checks))
    failed = 0
    with tempfile.TemporaryDirectory() as directory:
        for number, (what, check) in enumerate(checks, 1):
            wrong = check(directory)
            failed += bool(wrong)
            print("%sok %d - %s" % ("not " if wrong else "", number, what))
            for line in wrong.splitlines():
                print("#   " + line)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
