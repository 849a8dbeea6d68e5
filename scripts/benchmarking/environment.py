"""Where and with what something was measured: environment.json of a results directory."""

import datetime
import glob
import json
import os
import platform
import socket
import subprocess


def first_line(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.readline().strip()
    except OSError:
        return None


def output_of(command, timeout_s=20):
    """What a command prints, or None if it cannot be run."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=timeout_s,
                              check=True)
        return done.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def first_line_of(command):
    text = output_of(command)
    return text.splitlines()[0] if text else None


def from_proc(path, name):
    try:
        with open(path, encoding="utf-8") as file:
            for line in file:
                if line.split(":")[0].strip() == name:
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return None


def operating_system():
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME")
    except OSError:
        return None


def hugepages():
    pools = []
    for directory in sorted(glob.glob("/sys/kernel/mm/hugepages/hugepages-*kB")):
        kib = int(directory.rsplit("-", 1)[1][:-2])
        pools.append({"page_size_bytes": kib * 1024, "total": int(first_line(directory + "/nr_hugepages") or 0),
                      "free": int(first_line(directory + "/free_hugepages") or 0)})
    return pools


def network_interfaces():
    found = []
    for directory in sorted(glob.glob("/sys/class/net/*")):
        name = os.path.basename(directory)
        driver = os.path.realpath(directory + "/device/driver")
        if os.path.exists(directory + "/device"):
            found.append({"name": name, "driver": os.path.basename(driver), "speed_mbit_s": first_line(directory + "/speed")})
    return found


def rdma_devices():
    return [{"name": os.path.basename(directory), "board": first_line(directory + "/board_id"),
             "firmware": first_line(directory + "/fw_ver"), "rate": first_line(directory + "/ports/1/rate")}
            for directory in sorted(glob.glob("/sys/class/infiniband/*"))]


def commit(root):
    return output_of(["git", "-C", root, "describe", "--always", "--dirty", "--exclude", "*"])


def describe(root):
    """Of this machine: in a job on others, what `minorca info` says there is beside it (minorca_info)."""
    memory = from_proc("/proc/meminfo", "MemTotal")
    return {
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "host": socket.gethostname(),
        "kernel": platform.release(),
        "system": operating_system(),
        "cpu": from_proc("/proc/cpuinfo", "model name"),
        "cpus": os.cpu_count(),
        "cpus_usable": len(os.sched_getaffinity(0)),
        "numa_nodes": len(glob.glob("/sys/devices/system/node/node[0-9]*")),
        "governor": first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "virtual_machine": output_of(["systemd-detect-virt"]),
        "memory_bytes": int(memory.split()[0]) * 1024 if memory else None,
        "load_before": os.getloadavg()[0],
        "hugepages": hugepages(),
        "network": network_interfaces(),
        "rdma": rdma_devices(),
        "slurm_nodes": os.environ.get("SLURM_JOB_NODELIST"),
        "commit": commit(root),
        "versions": {
            "mpirun": first_line_of(["mpirun", "--version"]),
            "srun": first_line_of(["srun", "--version"]),
            "compiler": first_line_of(["cc", "--version"]),
            "python": platform.python_version(),
        },
    }


def minorca_info(command):
    """What `minorca info --json` says, by @command, which may start it on another machine; else why there is none."""
    text = output_of(command, 120)
    try:
        return json.loads(text) if text else {"error": "no answer from: " + " ".join(command)}
    except ValueError:
        return {"error": "no JSON from: " + " ".join(command)}
