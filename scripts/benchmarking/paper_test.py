"""Tests of the paper: its numbers, what is said when one is missing, its text, its bibliography.

scripts/paper_pdf_test.py typesets it.
"""

import os
import re
import subprocess
import tempfile
import unittest

from benchmarking import made_up, rows

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
PAPERS = os.path.join(ROOT, "papers")
HAS_MATPLOTLIB = subprocess.run(["/usr/bin/python3", "-c", "import matplotlib"], stderr=subprocess.DEVNULL,
                                check=False).returncode == 0
if HAS_MATPLOTLIB:
    from benchmarking import paper_numbers, typeset

# What a result looks like: a number with a unit of time, of bandwidth, or of comparison, and any decimal number.
MEASURED = re.compile(r"\d(\s|~|\\,|\\ )*(\\us\b|\\textmu|ns\b|ms\b|s\b|GB/s|MB/s|\\%|times\b|\\times)|\d\.\d")
LARGE = re.compile(r"(?<![\w.])\d{3,}")
DESIGN = {"512", "256", "1024", "2021"}  # KiB of a stretch of stores at home; pages of an entry of the log, of the longest step; a year
VERSIONS = re.compile(r"Linux\s+\d\.\d+")
FIELDS = {"article": ("author", "title", "journal", "year"), "inproceedings": ("author", "title", "booktitle", "year"),
          "misc": ("author", "title", "howpublished")}


def read(name):
    with open(os.path.join(PAPERS, name), encoding="utf-8") as file:
        return file.read()


def body(source):
    """What is printed: no comments, no preamble, and no names of results."""
    source = re.sub(r"(?<!\\)%.*", "", source).split(r"\begin{document}")[1]
    return re.sub(r"\\(val|tableof|plot|claim|cite|ref|label)\{[^{}]*\}", "", source)


def without_pictures(text):
    return re.sub(r"\\begin\{picture\}.*?\\end\{picture\}", "", text, flags=re.S)


class Text(unittest.TestCase):
    def test_no_measured_number_stands_in_the_source(self):
        text = VERSIONS.sub("", without_pictures(body(read("minorca.tex"))))
        text = re.sub(r"\\(setlength|vspace|emergencystretch)[^\n]*", "", text)
        self.assertEqual([text[max(0, hit.start() - 30):hit.end() + 10] for hit in MEASURED.finditer(text)], [])
        self.assertEqual(set(LARGE.findall(text)) - DESIGN, set())

    def test_the_test_finds_measured_numbers(self):
        for text in "takes 3\\us.", "12\\,ns", "80\\,\\% of it", "is 1.04", "3 times", "2 GB/s", "7~ms":
            self.assertRegex(text, MEASURED)
        for text in "pages of 4\\,KiB", "Linux", "8 streams", "2+2W", "up to 256 pages", "two cores":
            self.assertNotRegex(text, MEASURED)

    def test_figures_and_tables_are_referred_to(self):
        source = read("minorca.tex")
        self.assertEqual(set(re.findall(r"\\label\{([^}]*)\}", source)), set(re.findall(r"\\ref\{([^}]*)\}", source)))


class Bibliography(unittest.TestCase):
    def entries(self):
        found = re.findall(r"^@(\w+)\{([^,\s]+),\n(.*?)^\}", read("references.bib"), re.S | re.M)
        self.assertEqual(len(found), read("references.bib").count("\n@") + 1)
        return found

    def test_all_entries_are_cited_and_all_citations_are_there(self):
        cited = {key.strip() for keys in re.findall(r"\\cite\{([^}]*)\}", read("minorca.tex")) for key in keys.split(",")}
        keys = [key for _, key, _ in self.entries()]
        self.assertEqual(len(set(keys)), len(keys))
        self.assertEqual(cited, set(keys))

    def test_entries_are_complete(self):
        for kind, key, fields in self.entries():
            names = re.findall(r"^\s*(\w+)\s*=", fields, re.M)
            self.assertEqual([name for name in FIELDS[kind] if name not in names], [], key)
            self.assertEqual(len(names), len(set(names)), key)
            for year in re.findall(r"^\s*year\s*=\s*\{(.*?)\}", fields, re.M):
                self.assertRegex(year, r"^(19|20)\d\d$", key)

    def test_it_is_told_how_each_was_checked(self):
        told = read("README.md")
        self.assertEqual([key for _, key, _ in self.entries() if "`%s`" % key not in told], [])


@unittest.skipUnless(HAS_MATPLOTLIB, "python3-matplotlib is not installed; scripts/setup --paper")
class Numbers(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.directory = holder.name
        self.results = []

    def add(self, **row):
        self.results.append({"case_id": row["benchmark"] + ".n2", "repetition": 1, **row})

    def add_barriers(self, *ns):
        for repetition, one in enumerate(ns, 1):
            self.add(benchmark="sync", case="barrier", threads=1, nodes=2, p50_ns=one, baseline_p50_ns=200, ratio=one / 200,
                     repetition=repetition)

    def add_app(self, form, seconds, **more):
        self.add(**{"benchmark": "app", "name": "lu", "variant": None, "form": form, "workers": 2, "nodes": 2, "seconds": seconds,
                    "speed_up": 1 / seconds, "class": "W", "verified": True, **more})

    def numbers(self):
        made_up.write_lines(os.path.join(self.directory, "results.jsonl"), self.results)
        return paper_numbers.Numbers(rows.Directory(self.directory))

    def test_medians_of_repetitions(self):
        self.add_barriers(100, 9000, 140)
        self.assertEqual(self.numbers().text("sync/barrier/ns"), "140")
        self.assertEqual(self.numbers().text("sync/barrier/ratio"), "0.70")

    def test_what_a_name_does_not_say(self):
        for delivery, threads, access, ns in (("inline", 1, "read", 3980), ("inline", 2, "read", 7000), ("inline", 1, "write", 8000),
                                              ("thread-spin", 1, "read", 15000)):
            self.add(benchmark="fault_latency", case="fetch_stale", page_size_bytes=4096, delivery=delivery, threads=threads,
                     access=access, nodes=2, p50_ns=ns)
        numbers = self.numbers()
        self.assertEqual(numbers.text("fault/fetch_stale/4KiB/us"), "3.98")
        self.assertEqual(numbers.text("fault/fetch_stale/4KiB/delivery=thread-spin/us"), "15.0")
        self.assertEqual(numbers.text("fault/fetch_stale/4KiB/access=write/us"), "8.00")
        self.assertEqual(numbers.text("fault/fetch_stale/4KiB/threads=2/us"), "7.00")

    def test_a_missing_row_is_named_with_what_measures_it(self):
        with self.assertRaisesRegex(paper_numbers.Missing, r"no row of benchmark fault_latency with .*case fetch_new, page_size_bytes "
                                                           r"2 MiB.*scripts/bench --only fault_latency configs/laptop.toml"):
            self.add_barriers(100)
            self.numbers().text("fault/fetch_new/2MiB/us")

    def test_a_row_without_the_measure(self):
        self.add(benchmark="sync", case="barrier", threads=1, nodes=2, p50_ns=None)
        with self.assertRaisesRegex(paper_numbers.Missing, "says nothing of ns"):
            self.numbers().text("sync/barrier/ns")

    def test_several_rows(self):
        for home in ("here", "there"):
            self.add(benchmark="sync", case="atomic_add", home=home, threads=1, nodes=2, p50_ns=30)
        with self.assertRaisesRegex(paper_numbers.Wrong, "2 rows .* differ in: home"):
            self.numbers().text("sync/atomic_add/ns")
        self.assertEqual(self.numbers().text("sync/atomic_add/home=here/ns"), "30.0")

    def test_names_that_make_no_sense(self):
        self.add_barriers(100)
        for name, words in (("nothing/x/us", "no family"), ("sync/barrier/colour", "no measure"), ("sync/ns", "wants case"),
                            ("sync/barrier/colour=red/ns", "has no colour")):
            with self.assertRaisesRegex(paper_numbers.Wrong, words):
                self.numbers().text(name)

    def test_applications_are_compared_with_those_alike(self):
        self.add_app("dsm", 3.0)
        self.add_app("mpi", 2.0)
        self.add_app("mpi", 1.0, workers=1, nodes=1)
        self.add_app("dsm", 9.0, traced=True)
        numbers = self.numbers()
        self.assertEqual(numbers.text("app/lu/-/dsm/tompi"), "1.50")
        self.assertEqual(numbers.text("app/lu/-/dsm/speedup"), "0.33")

    def test_of_several_classes_the_largest(self):
        self.add_app("dsm", 3.0)
        self.add_app("dsm", 40.0, **{"class": "A"})
        self.assertEqual(self.numbers().text("app/lu/-/dsm/ms"), r"40\,000")
        self.assertEqual(self.numbers().text("app/lu/-/dsm/class=W/ms"), r"3\,000")

    def test_claims(self):
        self.add_barriers(100)
        numbers = self.numbers()
        self.assertEqual(numbers.claim("sync/barrier/ns < 101"), "")
        self.assertEqual(numbers.claim("sync/barrier/ns < sync/barrier/baseline"), "")
        self.assertEqual(numbers.claim("sync/barrier/ns > 101"), "100, 101")
        with self.assertRaises(paper_numbers.Wrong):
            numbers.claim("sync/barrier/ns")

    def test_texts(self):
        texts = [paper_numbers.significant(value) for value in (0, 0.0151, 0.47, 3.975, 38.04, 203.4, 1233, 65093.2)]
        self.assertEqual(texts, ["0", "0.015", "0.47", "3.98", "38.0", "203", r"1\,233", r"65\,093"])
        self.assertEqual(paper_numbers.escape("a_b 5% {c}"), r"a\_b 5\% \{c\}")

    def test_only_what_was_used_is_kept(self):
        self.add_barriers(100, 120)
        self.add(benchmark="sync", case="reduce", threads=1, nodes=2, p50_ns=300)
        numbers = self.numbers()
        numbers.text("sync/barrier/ns")
        self.assertEqual([row["p50_ns"] for row in numbers.kept()], [100, 120])

    def add_run(self, commit, *cases):
        """Of each case (name, repetitions) rows of a run; and a trace, which is of one repetition."""
        for case, repetitions in cases:
            for repetition in range(1, repetitions + 1):
                self.add(benchmark="sync", case=case, case_id="sync." + case, threads=1, nodes=2, p50_ns=100, commit=commit,
                         repetition=repetition)
        self.add_app("dsm", 9.0, traced=True)

    def not_of_one_run(self, environment_commit):
        made_up.write_lines(os.path.join(self.directory, "environment.json"), [{"commit": environment_commit}])
        numbers = self.numbers()
        for case in {row["case"] for row in self.results if "case" in row}:
            numbers.text("sync/%s/ns" % case)
        return numbers.not_of_one_run()

    def test_results_of_one_run(self):
        self.add_run("1234abc", ("barrier", 3), ("reduce", 3))
        self.assertEqual(self.not_of_one_run("1234abc"), [])

    def test_cases_that_were_not_run_as_often_are_told(self):
        self.add_run("1234abc", ("barrier", 3), ("reduce", 2), ("malloc_free", 3))
        self.assertEqual(self.not_of_one_run("1234abc"), ["sync.reduce was run 2 times, most others 3"])

    def test_results_of_another_commit_are_told(self):
        self.add_run("1234abc", ("barrier", 1))
        self.add_run("5678def", ("reduce", 1))
        self.assertEqual(self.not_of_one_run("1234abc"), ["results are of commit 5678def, environment.json of 1234abc"])

    def test_results_of_no_commit_are_told(self):
        self.add_run("1234abc-dirty", ("barrier", 1))
        self.assertEqual(self.not_of_one_run("1234abc-dirty"), ["what was measured is no commit: 1234abc-dirty"])

    def test_all_that_is_missing_is_said_at_once(self):
        self.add_barriers(100)
        source = "\\val{sync/barrier/ns}\n\\val{sync/reduce/ns} % \\val{sync/broadcast/ns}\n\\tableof{faults}\n\\plot{none}\n"
        with self.assertRaises(typeset.Failed) as caught:
            typeset.inputs(source, "a.tex", self.numbers())
        problems = caught.exception.problems
        self.assertEqual([problem.split(": ")[0] for problem in problems], ["a.tex:2", "a.tex:3", "a.tex:4"])
        self.assertIn("case reduce", problems[0])
        self.assertIn("case fetch_new", problems[1])
        self.assertIn("there is no plot", problems[2])

    def test_a_claim_that_does_not_hold_is_said(self):
        self.add_barriers(100)
        source = "x\\claim{sync/barrier/ns < 50}\n\\claim{sync/barrier/ns > 50}\n"
        problems = typeset.false_claims(source, "a.tex", self.numbers())
        self.assertEqual(len(problems), 1)
        self.assertRegex(problems[0], r"^a.tex:1: the text rests on .* results say 100, 50")

    def test_the_results_that_are_kept_have_all_that_the_text_asks_for(self):
        numbers = paper_numbers.Numbers(rows.Directory(os.path.join(PAPERS, "results")))
        files = typeset.inputs(read("minorca.tex"), "minorca.tex", numbers)
        self.assertEqual(typeset.false_claims(read("minorca.tex"), "minorca.tex", numbers), [])
        self.assertEqual(numbers.not_of_one_run(), [])
        for name, content in files.items():
            self.assertTrue(content.startswith(b"%PDF") if name.endswith(".pdf") else content, name)


@unittest.skipUnless(HAS_MATPLOTLIB, "python3-matplotlib is not installed; scripts/setup --paper")
class Complaints(unittest.TestCase):
    def test_what_a_reader_would_see(self):
        log = ("Overfull \\hbox (12.3pt too wide) in paragraph at lines 4--9\nOverfull \\hbox (0.4pt too wide) in x\n"
               "LaTeX Warning: Citation `nobody' on page 1 undefined on input line 3.\n")
        self.assertEqual(typeset.complaints(log, "Warning--empty year in x\n"),
                         ["Overfull \\hbox (12.3pt too wide) in paragraph at lines 4--9",
                          "Citation `nobody' on page 1 undefined on input line 3.", "Warning--empty year in x"])
        self.assertEqual(typeset.complaints("Underfull \\hbox (badness 1000)\n", ""), [])

    def test_errors_of_latex(self):
        self.assertEqual(typeset.errors("a\n./x.tex:7: Undefined control sequence.\nl.7 \\foo\nb"),
                         ["./x.tex:7: Undefined control sequence. l.7 \\foo"])


if __name__ == "__main__":
    unittest.main()
