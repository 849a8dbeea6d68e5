r"""From a LaTeX source and results to a PDF: what the source asks for is computed, and no more.

The source asks by \val{NAME} for a number, by \tableof{NAME} for a table and by \plot{NAME} for a figure. \claim{NAME < VALUE}
prints nothing: it stands by a sentence that rests on results, and is looked at here each time.
"""

import glob
import os
import re
import shutil
import subprocess
import tempfile

from benchmarking import paper_figures, paper_tables
from benchmarking.paper_numbers import Missing, Wrong

ASKED = re.compile(r"\\(val|tableof|plot|claim)\{([^{}]*)\}")
OVERFULL_PT = 1.0  # less is not seen
LIMIT_S = 300


class Failed(Exception):
    """What is wrong, as texts: one a line."""

    def __init__(self, problems):
        super().__init__("\n".join(problems))
        self.problems = problems


def without_comments(source):
    return re.sub(r"(?<!\\)%.*", "", source)


def asked(source):
    """(line number, what, name), in order. The lines that define the commands are not of them."""
    for number, line in enumerate(without_comments(source).splitlines(), 1):
        for what, name in ASKED.findall(line):
            if "#1" not in name:
                yield number, what, name


# --- what LaTeX reads ------------------------------------------------------------------------------------------------


def made(what, name, numbers):
    """-> {file: bytes} for one thing that the source asks for."""
    if what == "val":
        numbers.text(name)
        return {}
    known = paper_tables.ALL if what == "tableof" else paper_figures.ALL
    if name not in known:
        raise Wrong("there is no %s \"%s\"; there are: %s" % ("table" if what == "tableof" else "plot", name, ", ".join(known)))
    if what == "tableof":
        return {"table-%s.tex" % name: known[name](numbers.text).encode()}
    return {"plot-%s.pdf" % name: known[name](numbers).image}


def check_claim(name, numbers):
    instead = numbers.claim(name)
    if instead:
        raise Wrong("the text rests on \"%s\", and these results say %s: change the text, or measure on a quiet machine" %
                    (name, instead))


def inputs(source, source_name, numbers):
    """-> {file: bytes}; Failed with all that is missing at once."""
    files, problems = {}, []
    for number, what, name in asked(source):
        try:
            if what != "claim":
                files.update(made(what, name, numbers))
        except (Missing, Wrong) as error:
            problems.append("%s:%d: \\%s{%s}: %s" % (source_name, number, what, name, error))
    if problems:
        raise Failed(list(dict.fromkeys(problems)))
    files["numbers.tex"] = macros(numbers.used).encode()
    return files


def macros(used):
    r"""TeX that makes \val{NAME} each of the numbers."""
    return "".join("\\expandafter\\def\\csname val@%s\\endcsname{%s}%%\n" % (name, text) for name, text in sorted(used.items()))


def false_claims(source, source_name, numbers):
    problems = []
    for number, what, name in asked(source):
        try:
            if what == "claim":
                check_claim(name, numbers)
        except (Missing, Wrong) as error:
            problems.append("%s:%d: %s" % (source_name, number, error))
    return problems


# --- LaTeX -----------------------------------------------------------------------------------------------------------


def complaints(log, bibliography_log):
    """What a reader would see, or miss, of what LaTeX and BibTeX have remarked."""
    problems = []
    for box, points in re.findall(r"(Overfull \\[hv]box \(([\d.]+)pt too (?:wide|high)\)[^\n]*)", log):
        if float(points) > OVERFULL_PT:
            problems.append(box)
    problems += re.findall(r"LaTeX Warning: ((?:Reference|Citation|Label)[^.]*\.)", log.replace("\n", " "))
    problems += re.findall(r"Warning--[^\n]*", bibliography_log)
    return list(dict.fromkeys(problems))


def errors(log):
    """The errors in a log that -file-line-error made, with the line after each."""
    lines = log.splitlines()
    found = [" ".join(lines[i:i + 2]) for i, line in enumerate(lines) if re.match(r"(\./)?\S+:\d+: ", line)]
    return found or lines[-15:]


def read(path):
    if not os.path.exists(path):
        return ""
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def run_latex(folder, name, epoch):
    """@folder has the source and its inputs. -> path of the PDF."""
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch), "FORCE_SOURCE_DATE": "1", "max_print_line": "1000"}
    try:
        done = subprocess.run(["latexmk", "-pdf", "-interaction=nonstopmode", "-halt-on-error", "-file-line-error",
                               name + ".tex"], cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=LIMIT_S, check=False)
    except FileNotFoundError as error:
        raise Failed(["latexmk is not installed; scripts/setup --paper"]) from error
    except subprocess.TimeoutExpired as error:
        raise Failed(["LaTeX was not done after %d s" % LIMIT_S]) from error
    log = read(os.path.join(folder, name + ".log"))
    if done.returncode:
        raise Failed(errors(log or done.stdout.decode(errors="replace")))
    problems = complaints(log, read(os.path.join(folder, name + ".blg")))
    if problems:
        raise Failed(problems)
    return os.path.join(folder, name + ".pdf")


def paper(source_path, numbers, output, epoch=0):
    """Makes @output of the source, and of bibliographies beside it. -> texts: claims that the results do not bear out."""
    name = os.path.splitext(os.path.basename(source_path))[0]
    source = read(source_path)
    files = inputs(source, os.path.relpath(source_path), numbers)
    with tempfile.TemporaryDirectory(prefix="minorca-paper.") as folder:
        for path in [source_path] + glob.glob(os.path.join(os.path.dirname(source_path), "*.bib")):
            shutil.copy(path, folder)
        for file_name, content in files.items():
            with open(os.path.join(folder, file_name), "wb") as file:
                file.write(content)
        pdf = run_latex(folder, name, epoch)
        shutil.copyfile(pdf, output)
    return false_claims(source, os.path.relpath(source_path), numbers)
