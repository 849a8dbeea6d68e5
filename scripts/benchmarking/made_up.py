"""Results that nobody has measured, for tests: rows of every benchmark that a report shows, with noise as one asks for."""

import json
import math
import os
import random

PAGES = (4096, 2 << 20)
FAULTS = (("fetch_new", "read", 1), ("fetch_stale", "read", 1), ("fetch_blocks", "read", 1), ("current", "read", 0),
          ("write_new", "write", 1), ("write_upgrade", "write", 0))
PERCENTS = [0.1] + list(range(1, 100)) + [99.5, 99.9, 99.99, 100]


def quantiles(rng, median):
    values = sorted(median * math.exp(abs(rng.gauss(0, 0.1)) + (3 if p > 99.8 else 0)) for p in PERCENTS)
    return [[p, int(ns)] for p, ns in zip(PERCENTS, values)]


def fault_rows(rng):
    for size in PAGES:
        for index, (case, access, blocks) in enumerate(FAULTS):
            median = 4000 * (index + 1) * (1 if size == 4096 or case == "current" else 30)
            points, floor = quantiles(rng, median), quantiles(rng, median * 0.95)
            yield {"benchmark": "fault_latency", "case": case, "blocks": blocks, "page_size_bytes": size,
                   "delivery": "inline", "access": access, "threads": 1, "nodes": 2, "transport": "shm", "samples": 20000,
                   "p50_ns": points[50][1], "p90_ns": points[90][1], "p99_ns": points[99][1], "p999_ns": points[101][1],
                   "max_ns": points[-1][1], "floor_p50_ns": floor[50][1], "floor_p99_ns": floor[99][1],
                   "floor_samples": 20000, "ratio": points[50][1] / floor[50][1], "quantiles": points,
                   "floor_quantiles": floor, "host": "nowhere", "commit": "0"}


def anatomy_rows(rng):
    for size, copy in ((4096, 500), (2 << 20, 100000)):
        for case in ("fetch_new", "fetch_stale", "current"):
            stages = {"trap_ns": 2000, "lock_ns": 60, "prepare_ns": 50, "ask_ns": 90, "read_ns": 0 if case == "current" else copy,
                      "ready_ns": 40, "map_ns": 800, "leave_ns": 30, "return_ns": 500}
            stages = {name: int(ns * rng.uniform(0.95, 1.05)) for name, ns in stages.items()}
            total = sum(stages.values())
            for delivery in ("inline", "thread-spin"):
                yield {"benchmark": "fault_anatomy", "case": case, "blocks": 1, "page_size_bytes": size, "delivery": delivery,
                       "access": "read", "threads": 1, "nodes": 2, "transport": "shm", "samples": 9999, **stages,
                       "sum_ns": total, "whole_ns": total, "sum_ratio": 1.0, "moment_cost_ns": 20, "invariant_tsc": "yes"}


def kernel_rows(rng):
    for size, copy in ((4096, 500), (2 << 20, 100000)):
        for case in ("fetch_stale", "current"):
            stages = {"exception_ns": 400, "handle_ns": 1100, "signal_ns": 200, "frame_ns": 500, "handover_ns": 0,
                      "data_ns": copy if case == "fetch_stale" else 80, "runtime_ns": 300, "ioctl_ns": 700, "calls_ns": 0,
                      "wake_ns": 0, "sigreturn_ns": 350, "resume_ns": 60}
            stages = {name: int(ns * rng.uniform(0.95, 1.05)) for name, ns in stages.items()}
            total = sum(stages.values())
            yield {"benchmark": "fault_kernel", "case": case, "blocks": 1, "page_size_bytes": size, "delivery": "inline",
                   "access": "read", "threads": 1, "nodes": 2, "transport": "shm", "samples": 9999, **stages,
                   "kernel_ns": total - stages["data_ns"] - stages["runtime_ns"], "sum_ns": total, "whole_ns": total,
                   "untraced_ns": total, "untraced_ratio": 1.0, "event_cost_ns": 150, "skipped": None}


def bandwidth_rows(rng):
    for outstanding in (1, 4, 16):
        for bytes_ in (8 << shift for shift in range(0, 20, 2)):
            speed = 12e9 / (1 + 40000 / (bytes_ * outstanding)) * rng.uniform(0.95, 1.05)
            yield {"benchmark": "read_bandwidth", "case": "read", "bytes": bytes_, "outstanding": outstanding, "nodes": 2,
                   "transport": "verbs", "samples": 100, "bytes_per_s": int(speed), "p50_ns": int(bytes_ / speed * 1e9) + 1}
    for nodes in (2, 3, 5):
        for threads in (1, 2, 4):
            rate = 250e3 * (threads * (nodes - 1)) ** 0.9 * rng.uniform(0.95, 1.05)
            ns = int(8192 * (nodes - 1) / rate * 1e9)
            yield {"benchmark": "fetch_bandwidth", "case": "random", "means": "fault", "page_size_bytes": 4096, "bytes": 1 << 25,
                   "stride_pages": 1, "window_pages": 1, "threads": threads, "nodes": nodes, "transport": "shm", "samples": 3,
                   "bytes_per_s": int(rate * 4096), "p50_ns": ns, "faults": 8192 * (nodes - 1), "faults_per_s": int(rate),
                   "floor_p50_ns": int(ns * 0.95), "floor_bandwidth_ratio": 0.95}
    for order in ("sequential", "strided", "random"):
        for means in ("fault", "readahead"):
            for size in PAGES:
                strided = order == "strided"
                yield {"benchmark": "fetch_bandwidth", "case": order, "means": means, "page_size_bytes": size,
                       "bytes": 1 << (28 if strided else 30), "stride_pages": 4 if strided else 1,
                       "window_pages": 1 if means == "fault" else 256,
                       "threads": 1, "nodes": 2, "p50_ns": 250000000, "bytes_per_s": int(4e9 * rng.uniform(0.5, 1)),
                       "floor_bandwidth_ratio": 0.7 * rng.uniform(0.95, 1.05), "copy_bandwidth_ratio": 0.6}


def sync_rows(rng):
    for case, variant, ns in (("acquire_nothing", None, 15), ("publish_line", "cold", 1800), ("lock_uncontended", None, 140),
                              ("lock_handover", "between_nodes", 150), ("barrier", None, 130), ("event_pingpong", None, 90),
                              ("atomic_compare_swap", None, 30)):
        for home in ("here", "there"):
            yield {"benchmark": "sync", "case": case, "variant": variant, "home": home, "page_size_bytes": 4096, "nodes": 2,
                   "threads": 1, "samples": 1000, "p50_ns": int(ns * rng.uniform(0.95, 1.05)),
                   "baseline": None if case == "acquire_nothing" else "the CPU's own",
                   "baseline_p50_ns": None if case == "acquire_nothing" else ns // 2 + 1,
                   "ratio": None if case == "acquire_nothing" else ns / (ns // 2 + 1), "skipped": None}
    for size, sweep in ((4096, (8, 64, 512, 4096)), (2 << 20, (8, 64, 512, 4096, 65536, 2 << 20))):
        for bytes_ in sweep:
            ns = (1000 if size == 4096 else 90000) + bytes_ / 10 * rng.uniform(0.95, 1.05)
            case = {64: "publish_line", size: "publish_page"}.get(bytes_, "publish_bytes")
            yield {"benchmark": "sync", "case": case, "variant": None, "home": "there", "page_size_bytes": size, "nodes": 2,
                   "threads": 1, "changed_pages": 1, "changed_bytes": bytes_, "samples": 1000, "p50_ns": int(ns),
                   "baseline": "memcpy, memcmp", "baseline_p50_ns": int(ns / 2), "ratio": 2.0, "skipped": None}
    for nodes in (2, 3, 4):
        for case, pages in (("storm_one", 4096), ("storm_all", 1024)):
            for variant in ("faults", "readahead"):
                ns = pages * nodes * (3000 if variant == "faults" else 500) * rng.uniform(0.95, 1.05)
                yield {"benchmark": "sync", "case": case, "variant": variant, "home": None, "page_size_bytes": 4096,
                       "nodes": nodes, "threads": 1, "changed_pages": pages, "samples": 20, "p50_ns": int(ns),
                       "baseline": "the barest code", "baseline_p50_ns": int(ns / 1.1), "ratio": 1.1, "skipped": None,
                       "faults_per_interval": pages * (nodes - 1.0), "bytes_fetched_per_interval": 4096.0 * pages}
        for variant in ("one_page", "page_each"):
            yield {"benchmark": "sync", "case": "false_sharing", "variant": variant, "home": "here", "page_size_bytes": 4096,
                   "nodes": nodes, "threads": 1, "changed_pages": 0, "samples": 1000, "p50_ns": 9000 * nodes,
                   "baseline": "lines, MPI_Barrier", "baseline_p50_ns": 700, "ratio": 13.0, "skipped": None,
                   "faults_per_interval": float(nodes), "bytes_fetched_per_interval": 4096.0 * (nodes - 1)}
    yield {"benchmark": "sync", "case": "lock_with_a_name_that_is_much_longer_than_a_phone_is_wide", "variant": "between_nodes",
           "home": "there", "page_size_bytes": 4096, "nodes": 2, "p50_ns": 140, "baseline_p50_ns": 100, "ratio": 1.4}
    yield {"benchmark": "sync", "case": "rwlock_read_all", "nodes": 2, "p50_ns": None, "skipped": "needs 4 nodes"}


def migration_rows(rng):
    for size in PAGES:
        for mode, down_ms in (("stop-and-copy", 35), ("pre-copy", 1.2), ("post-copy", 0.2), ("minor", 0.2)):
            usual = 5000 * rng.uniform(0.95, 1.05)
            dip = 150 if mode == "post-copy" else 8
            curve = [[float(ms), 0.0 if 0 <= ms < down_ms else round(usual * (min(1, (ms + 1) / dip) if ms >= 0 else 1))]
                     for ms in range(-50, 200)]
            faults = {"post-copy": 3000, "minor": 12}.get(mode, 0)
            yield {"benchmark": "migration", "mode": mode, "page_size_bytes": size, "memory_bytes": 1 << 28,
                   "write_percent": 10, "write_pages_per_s": (1 << 28) // size // 10, "nodes": 2, "transport": "shm",
                   "delivery": "thread-block", "clock": "common", "downtime_ns": int(down_ms * 1e6 * rng.uniform(0.9, 1.1)),
                   "empty_switch_ns": 150000, "downtime_ratio": down_ms / 0.15, "first_step_ns": int(down_ms * 1e6) + 90000,
                   "total_ns": 400000000, "last_page_ns": 900000, "map_ns": 60000, "rounds": 3, "bytes_moved": 1 << 28,
                   "bytes_fetched": 1 << 20, "postcopy_faults": faults, "fault_p50_ns": 13000 if faults else None,
                   "fault_p99_ns": 90000 if faults else None, "usual_steps_per_ms": int(usual), "recovered_ns": dip * 1000000,
                   "raw_copy_ns": 100000, "recovered_ratio": dip * 10.0, "fault_current_p50_ns": 13000,
                   "floor_current_p50_ns": 12000, "fault_partial_p50_ns": 14000 if size > 4096 else None,
                   "fault_whole_p50_ns": 300000, "floor_whole_p50_ns": 290000, "intact": True, "throughput": curve}


def anatomy_parts(outside, other, locks):
    """As of --anatomy, which splits what is outside of calls, and what other calls take."""
    return {"compute_seconds": outside * 0.4, "fault_seconds": outside * (0.3 if locks else 0.6),
            "fault_trap_seconds": outside * 0.15, "fault_data_seconds": outside * 0.05,
            "fault_map_seconds": outside * 0.05, "fault_rest_seconds": outside * (0.05 if locks else 0.35),
            "lock_seconds": outside * (0.2 if locks else 0), "unlock_seconds": outside * (0.1 if locks else 0),
            "atomic_seconds": 0.0, "prefetch_seconds": other * 0.5, "consistency_seconds": other * 0.5,
            "anatomy_seconds": (outside + other) * 1.1, "faults_left_out": 0, "moment_cost_ns": 20,
            "fault_read_mean_ns": 4000, "fault_write_mean_ns": None, "fault_upgrade_mean_ns": 5000}


def app_rows(rng):
    for name in ("jacobi", "matrix_multiply", "integer_sort", "key_value_store"):
        for form, efficiency in (("threads", 0.97), ("mpi", 0.93), ("dsm", 0.85)):
            for workers in (1, 2, 4, 8):
                speed_up = workers ** efficiency * rng.uniform(0.97, 1.03)
                parts = {"compute_seconds": None, "outside_seconds": 9 / speed_up, "barrier_seconds": 0.7 / speed_up,
                         "other_seconds": 0.3 / speed_up}
                if form != "dsm":
                    parts["compute_seconds"] = parts["outside_seconds"]
                elif name != "integer_sort":
                    parts.update(anatomy_parts(9 / speed_up, 0.3 / speed_up, name == "key_value_store"))
                yield {"benchmark": "app", "name": name, "form": form, **parts, "class": "W", "nodes": 1 if form == "threads" else workers,
                       "threads": workers if form == "threads" else 1, "seconds": 10 / speed_up, "speed_up": speed_up,
                       "faults": int(1000 * workers) if form == "dsm" else None,
                       "bytes_fetched": int(1e6 * workers) if form == "dsm" else None, "verified": True}


def trace_rows(rng):
    faults = [[page, moment, rng.randint(1, 200)] for page in range(64) for moment in range(96)
              if (page + moment) % 16 < 3 or page == moment % 64]
    yield {"benchmark": "fault_trace", "name": "jacobi", "form": "dsm", "nodes": 2, "node": 1, "page_size_bytes": 4096,
           "page_bins": 64, "pages_per_bin": 128, "time_bins": 96, "bin_ns": 5000000, "faults": faults}


def other_rows(_rng):
    yield {"benchmark": "connection_memory", "count": 512, "depth": 64, "device": "rxe0", "process_bytes": 150000}


ALL = (fault_rows, anatomy_rows, kernel_rows, bandwidth_rows, sync_rows, migration_rows, app_rows, trace_rows, other_rows)


def write_lines(path, objects):
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(one) + "\n" for one in objects)


def make(directory, repetitions=3, kinds=ALL, seed=1):
    """A results directory as of scripts/bench, one of whose runs has failed."""
    os.makedirs(os.path.join(directory, "logs"), exist_ok=True)
    results, runs = [], []
    for repetition in range(1, repetitions + 1):
        rng = random.Random(seed * 1000 + repetition)
        results += [{**row, "case_id": row["benchmark"] + ".n2", "repetition": repetition}
                    for kind in kinds for row in kind(rng)]
        runs.append({"case_id": "all.n2", "repetition": repetition, "failure": None, "seconds": 1})
    runs.append({"case_id": "sync.n4", "repetition": 1, "failure": "was not done after 120 s", "stderr": "logs/sync.n4.1.err"})
    write_lines(os.path.join(directory, "results.jsonl"), results)
    write_lines(os.path.join(directory, "runs.jsonl"), runs)
    open(os.path.join(directory, "logs", "sync.n4.1.err"), "w", encoding="utf-8").close()
    with open(os.path.join(directory, "environment.json"), "w", encoding="utf-8") as file:
        json.dump({"title": "Made up", "host": "nowhere", "kernel": "6.18.0", "cpu": "A processor with a rather long name @ 9 GHz",
                   "cpus": 8, "cpus_usable": 8, "date": "2025-01-01T00:00:00+00:00", "commit": "0123456",
                   "settings": {"MINORCA_TRANSPORT": "shm"},
                   "hugepages": [{"page_size_bytes": 2 << 20, "total": 512, "free": 500}]}, file)
