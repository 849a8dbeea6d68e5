"""The tables of the paper as LaTeX, from named numbers (paper_numbers.py)."""

FAULTS = (
    ("first load from a page", "fetch_new", ("4KiB", "2MiB")),
    ("load, page changed elsewhere", "fetch_stale", ("4KiB", "2MiB")),
    ("\\quad 1 of 64 blocks changed", "fetch_blocks/blocks=1", ("2MiB",)),
    ("\\quad 16 of 64 blocks changed", "fetch_blocks/blocks=16", ("2MiB",)),
    ("load, page still current", "current", ("4KiB", "2MiB")),
    ("first store, page not here", "write_new", ("4KiB", "2MiB")),
    ("first store, page loaded", "write_upgrade", ("4KiB", "2MiB")),
)
DELIVERIES = (("in the faulting thread", "inline"), ("handler thread, spinning", "thread-spin"),
              ("handler thread, sleeping", "thread-block"))
SYNC = (
    ("acquire, nothing changed, 16\\,MiB", "acquire_nothing/page=4KiB/region=16MiB", False),
    ("acquire, nothing changed, 8\\,GiB", "acquire_nothing/page=4KiB/region=8GiB", False),
    ("acquire, 16 pages changed", "acquire_changed/variant=neighbours/page=4KiB/pages=16", True),
    ("acquire, 256 pages changed", "acquire_changed/variant=neighbours/page=4KiB/pages=256", True),
    ("release, a line of a cold page", "publish_line/home=there/page=4KiB", False),
    ("release, a line of a hot page", "publish_line_hot/page=4KiB", False),
    ("release, a line of a 2\\,MiB page", "publish_line/home=there/page=2MiB", True),
    ("lock and unlock, uncontended", "lock_uncontended/home=there", True),
    ("lock handed to another node", "lock_handover/variant=between_nodes", True),
    ("barrier", "barrier", True),
    ("reduction of 8\\,bytes", "reduce", True),
    ("broadcast of 4\\,KiB", "broadcast", True),
    ("atomic add", "atomic_add/home=there", True),
    ("allocate and free 64\\,bytes", "malloc_free/home=there", True),
)
# What each is beside, in words.
BASELINES = {"acquire_changed": "madvise", "publish_line": "memcmp", "lock_uncontended": "two CAS",
             "lock_handover": "cache line", "barrier": "MPI", "reduce": "MPI", "broadcast": "MPI", "atomic_add": "CPU add",
             "malloc_free": "malloc"}
BANDWIDTH = (("sequential", "fault"), ("sequential", "readahead"), ("sequential", "prefetch"), ("strided", "fault"),
             ("strided", "readahead"), ("random", "fault"), ("random", "readahead"))
# Name, variant, whether there is a form by MPI.
APPLICATIONS = (
    ("Jacobi, edges shared", "jacobi/edges", True), ("Jacobi, grid shared", "jacobi/grid", False),
    ("matrix multiply", "matmul/-", True), ("LU", "lu/-", True), ("integer sort", "is/-", True), ("k-means", "kmeans/-", True), ("PageRank", "pagerank/-", True),
    ("BFS", "bfs/-", True), ("GUPS, exchange", "gups/exchange", True), ("GUPS, atomics", "gups/atomics", False),
    ("key-value store, A", "kv/a", True), ("key-value store, B", "kv/b", True), ("key-value store, C", "kv/c", True),
)


def tabular(columns, heads, lines):
    """@heads: lines above the rule, as texts; @lines: lists of cells."""
    body = [" & ".join(cells) + r" \\" for cells in lines]
    return "\n".join([r"\begin{tabular}{@{}%s@{}}" % columns, r"\toprule", *heads, r"\midrule", *body, r"\bottomrule",
                      r"\end{tabular}", ""])


def cells(text, name, measures):
    return [text("%s/%s" % (name, measure)) for measure in measures]


def faults(text):
    measures = ("us", "floor", "ratio")
    lines = []
    for words, case, sizes in FAULTS:
        name, _, rest = case.partition("/")
        line = [words]
        for size in ("4KiB", "2MiB"):
            given = "fault/%s/%s%s" % (name, size, "/" + rest if rest else "")
            line += cells(text, given, measures) if size in sizes else [""] * 3
        lines.append(line)
    heads = [r"& \multicolumn{3}{c}{4\,KiB page} & \multicolumn{3}{c}{2\,MiB page} \\",
             r"\cmidrule(lr){2-4}\cmidrule(l){5-7}", r"& Minorca & floor & ratio & Minorca & floor & ratio \\"]
    return tabular("lrrrrrr", heads, lines)


def deliveries(text):
    lines = [[words, *cells(text, "fault/fetch_stale/4KiB/delivery=" + delivery, ("us", "p99us", "floor", "ratio"))]
             for words, delivery in DELIVERIES]
    return tabular("lrrrr", [r"delivery & median & p99 & floor & ratio \\"], lines)


def sync(text):
    lines = []
    for words, case, beside in SYNC:
        line = [words, text("sync/%s/us" % case)]
        line += [BASELINES[case.split("/")[0]], *cells(text, "sync/" + case, ("baselineus", "ratio"))] if beside else [""] * 3
        lines.append(line)
    return tabular("lrlrr", [r"& \multicolumn{1}{c}{\textmu s} & beside & \multicolumn{1}{c}{\textmu s} & ratio \\"], lines)


def bandwidth(text):
    lines = [[order, means, *cells(text, "bandwidth/%s/%s/4KiB" % (order, means), ("nspage", "GBs", "floor", "copy"))]
             for order, means in BANDWIDTH]
    return tabular("llrrrr", [r"order & by & ns/page & GB/s & \% of floor & \% of copy \\"], lines)


def applications(text):
    lines = []
    for words, name, has_mpi in APPLICATIONS:
        lines.append([words, text("app/%s/threads/speedup" % name), text("app/%s/mpi/speedup" % name) if has_mpi else "",
                      text("app/%s/dsm/speedup" % name), text("app/%s/dsm/tompi" % name) if has_mpi else "",
                      text("app/%s/dsm/faults" % name), text("app/%s/dsm/fetchedMiB" % name)])
    heads = [r"& \multicolumn{3}{c}{speed-up over serial} & time & & MiB \\", r"\cmidrule(lr){2-4}",
             r"& threads & MPI & Minorca & / MPI's & faults & fetched \\"]
    return tabular("lrrrrrr", heads, lines)


ALL = {"faults": faults, "deliveries": deliveries, "sync": sync, "bandwidth": bandwidth, "applications": applications}
