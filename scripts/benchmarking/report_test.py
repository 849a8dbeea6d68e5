"""Tests of scripts/report by what it writes. scripts/report_browser_test.py looks at it as a person would."""

import json
import os
import random
import re
import subprocess
import tempfile
import unittest

from benchmarking import made_up

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "report")
HAS_MATPLOTLIB = subprocess.run(["/usr/bin/python3", "-c", "import matplotlib"], stderr=subprocess.DEVNULL,
                                check=False).returncode == 0


@unittest.skipUnless(HAS_MATPLOTLIB, "python3-matplotlib is not installed; scripts/setup --report")
class Report(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.directory = holder.name

    def run_report(self):
        done = subprocess.run([SCRIPT, self.directory], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              check=False)
        return done.returncode, done.stderr

    def page(self):
        status, err = self.run_report()
        self.assertEqual(status, 0, err)
        with open(os.path.join(self.directory, "report.html"), encoding="utf-8") as file:
            return file.read()

    def add(self, *results):
        with open(os.path.join(self.directory, "results.jsonl"), "a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in results)

    def test_all_sections_are_there(self):
        made_up.make(self.directory)
        page = self.page()
        for section in "latency anatomy bandwidth sync migration applications heat others".split():
            self.assertIn('<section id="%s">' % section, page)
        self.assertNotIn('id="absent"', page)
        self.assertNotIn("does not know", page)
        self.assertIn("was not done after 120 s", page)

    def test_what_is_swept_is_a_curve(self):
        made_up.make(self.directory)
        page = self.page()
        for plot in ("sync-publish", "sync-storms", "rate-fetch_bandwidth-random-4096"):
            self.assertIn('id="%s-title"' % plot, page)
        self.assertIn("2 nodes fault, floor", page)
        self.assertIn("False sharing, and invalidation storms", page)

    def test_a_migration_shows_its_downtime_and_its_dip(self):
        made_up.make(self.directory, kinds=(made_up.migration_rows,))
        page = self.page()
        for plot in ("migration-downtime-4096", "migration-downtime-2097152", "migration-throughput-0", "migration-throughput-1"):
            self.assertIn('id="%s-title"' % plot, page)
        self.assertIn("256 MiB, 2 MiB pages, stores to 10 % of the pages a second", page)
        self.assertIn("stop-and-copy</li>", page)

    def test_a_migration_between_hosts_has_no_curve(self):
        for row in made_up.migration_rows(random.Random(1)):
            self.add({**row, "throughput": None, "recovered_ns": None, "case_id": "migration.n2", "repetition": 1})
        page = self.page()
        self.assertNotIn("migration-throughput", page)
        self.assertIn('id="migration-downtime-4096-title"', page)

    def test_faults_of_one_number_of_threads_are_no_curve(self):
        for row in made_up.bandwidth_rows(random.Random(1)):
            if row.get("means") == "fault" and row.get("threads") == 1 and row.get("nodes") == 2:
                self.add({**row, "case_id": "fetch_bandwidth.n2", "repetition": 1})
        page = self.page()
        self.assertNotIn("rate-fetch_bandwidth", page)
        self.assertIn('<section id="bandwidth">', page)

    def test_it_needs_nothing_from_elsewhere(self):
        made_up.make(self.directory)
        page = self.page()
        self.assertNotIn("<script", page)
        # Names of namespaces are no addresses.
        self.assertEqual(set(re.findall(r'https?://[^"\s<]*', page)),
                         {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"})

    def test_no_colour_is_fixed_in_plots(self):
        made_up.make(self.directory)
        for svg in re.findall(r"<svg.*?</svg>", self.page(), re.S):
            svg = svg.replace("#2a78d6", "")  # of the map of faults, in its legend
            self.assertNotRegex(svg, r"(stroke|fill): ?#")

    def test_what_is_missing_is_said(self):
        made_up.make(self.directory, kinds=(made_up.sync_rows,))
        page = self.page()
        self.assertNotIn('<section id="latency">', page)
        for words in "latency of faults", "anatomy of a fault", "Bandwidth", "Applications", "map of faults":
            self.assertIn(words, page[page.index('id="absent"'):])

    def test_medians_of_repetitions(self):
        for repetition, ns in enumerate((5000, 900000, 7000), 1):
            self.add({"benchmark": "sync", "case": "barrier", "nodes": 2, "p50_ns": ns, "baseline_p50_ns": 1000, "ratio": ns / 1000,
                      "case_id": "sync.n2", "repetition": repetition})
        page = self.page()
        self.assertIn("<b>7 µs</b>", page)
        self.assertIn("7.00 × the baseline", page)

    def test_what_was_traced_is_no_measure(self):
        row = {"benchmark": "app", "name": "jacobi", "form": "dsm", "nodes": 2, "workers": 2, "speed_up": 1.5, "seconds": 1}
        self.add({**row, "case_id": "jacobi.n2", "repetition": 1})
        self.add({**row, "speed_up": 1.9, "traced": True, "case_id": "trace.n2", "repetition": 1})
        page = self.page()
        self.assertIn("1.50 ×", page)
        self.assertNotIn("1.9", page[page.index("<body>"):])

    def test_headlines_are_of_the_most_workers(self):
        for workers, form, speed_up in ((1, "dsm", 9.1), (2, "dsm", 1.7), (2, "threads", 1.8), (1, "threads", 1.0)):
            self.add({"benchmark": "app", "name": "lu", "form": form, "nodes": 1, "workers": workers, "speed_up": speed_up,
                      "seconds": 1, "case_id": "lu.n%d" % workers, "repetition": 1})
        page = self.page()
        self.assertIn("<b>1.70 ×</b>", page)
        self.assertIn("1.80 × by plain threads", page)

    def test_the_kernels_part_is_shown_or_why_it_is_not(self):
        made_up.make(self.directory, kinds=(made_up.kernel_rows,))
        page = self.page()
        self.assertIn('id="kernel-short"', page)
        self.assertIn('id="kernel-long"', page)
        self.assertIn("kernel: sigreturn", page)
        self.assertNotIn("kernel: waking</li>", page)
        made_up.make(self.directory, kinds=())
        self.add({"benchmark": "fault_kernel", "case": "current", "samples": 0, "skipped": "no tracefs here", "delivery": "inline",
                  "threads": 1, "nodes": 2, "page_size_bytes": 4096, "case_id": "k.n2", "repetition": 1})
        self.assertIn("no tracefs here", self.page())

    def test_where_the_time_of_applications_goes(self):
        for form, parts in (("mpi", {"compute_seconds": 0.6}), ("dsm", {"compute_seconds": None})):
            self.add({"benchmark": "app", "name": "kv", "form": form, "nodes": 2, "workers": 2, "seconds": 1, "outside_seconds": 0.6,
                      "barrier_seconds": 0.3, "other_seconds": 0.1, **parts, "case_id": "kv.n2", "repetition": 1})
        page = self.page()
        self.assertIn('id="app-parts-kv"', page)
        self.assertIn("computing and faults", page)
        self.assertNotIn("faults: trap and return", page)
        self.add({"benchmark": "app", "name": "kv", "form": "dsm", "nodes": 2, "workers": 2, "seconds": 1, "outside_seconds": 0.6,
                  "barrier_seconds": 0.3, "other_seconds": 0.1, "variant": "taken apart",
                  **made_up.anatomy_parts(0.6, 0.1, True), "case_id": "kv.n2", "repetition": 1})
        page = self.page()
        for part in "faults: trap and return", "faults: CONTINUE", "locks", "prefetching":
            self.assertIn(part, page)
        self.assertIn("locks</li>", page)
        self.assertNotIn("atomics</li>", page)  # nothing took time in them

    def test_texts_are_escaped(self):
        self.add({"benchmark": "<script>x</script>", "note": "a&b<i>", "case_id": "x", "repetition": 1})
        page = self.page()
        self.assertNotIn("<script", page)
        self.assertIn("a&amp;b&lt;i&gt;", page)

    def test_rows_of_an_unknown_form_do_not_take_the_others_with_them(self):
        made_up.make(self.directory, kinds=(made_up.sync_rows,))
        self.add({"benchmark": "fault_trace", "faults": [3], "case_id": "x", "repetition": 1})
        page = self.page()
        self.assertIn("Faults by page: there are results in a form that this report does not know", page)
        self.assertIn('<section id="sync">', page)

    def test_percentiles_do_where_there_are_no_quantiles(self):
        rows = list(made_up.fault_rows(random.Random(1)))
        for row in rows:
            del row["quantiles"], row["floor_quantiles"]
            self.add({**row, "case_id": "f.n2", "repetition": 1})
        self.assertIn('id="cdf-4096-read"', self.page())

    def test_floors_alone(self):
        rows = list(made_up.fault_rows(random.Random(1)))
        for row in rows:
            row.update(quantiles=None, p50_ns=None, p90_ns=None, p99_ns=None, p999_ns=None, ratio=None, samples=0)
            self.add({**row, "case_id": "f.n2", "repetition": 1})
        self.assertIn('id="cdf-4096-read"', self.page())

    def test_only_failures(self):
        made_up.make(self.directory, kinds=())
        page = self.page()
        self.assertIn("1 of the runs failed", page)

    def test_nothing_to_show(self):
        self.assertEqual(self.run_report()[0], 1)


if __name__ == "__main__":
    unittest.main()
