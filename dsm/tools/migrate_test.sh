#!/bin/bash
# `minorca migrate` on two nodes: what runs goes on elsewhere, in every mode, there and back; and what is refused.
# usage: migrate_test.sh MINORCA MPIRUN.SH
set -u
minorca=./$1 mpirun=./$2
scratch=${TEST_TMPDIR:-$(mktemp -d)}
number=0 failed=0

# job STATUS NODES ARG...: runs `minorca migrate ARG...` into $scratch/{out,err}; fails if it exits otherwise.
job() {
	local expected=$1 nodes=$2 status=0
	shift 2
	timeout 120 "$mpirun" "$nodes" "$minorca" migrate "$@" >"$scratch/out" 2>"$scratch/err" || status=$?
	[ "$status" = "$expected" ] && return
	echo "# minorca migrate $* on $nodes nodes: exit status $status, expected $expected"
	tail -n 20 "$scratch/out" "$scratch/err" | sed 's/^/# /'
	return 1
}

out_has() { grep -qE -- "$1" "$scratch/out"; }
err_has() { grep -qF -- "$1" "$scratch/err"; }

# Every beat follows the one before, whichever node it was on, and both nodes had it.
beats_follow_each_other() {
	python3 -c 'import re, sys
beats = [(int(n), int(node)) for node, n in re.findall(r"^\[(\d)\] beat (\d+) steps \d+ ok$", open(sys.argv[1]).read(), re.M)]
assert [n for n, _ in sorted(beats)] == list(range(1, len(beats) + 1)), beats
assert {node for _, node in beats} == {0, 1}, beats' "$scratch/out"
}

# json EXPRESSION: of the object "top" that was printed, and nothing else.
json() {
	python3 -c 'import json, sys
top = json.load(open(sys.argv[1]))
sys.exit(not eval(sys.argv[2]))' "$scratch/out" "$1" || { echo "# not so: $1"; sed 's/^/# /' "$scratch/out"; return 1; }
}

small=(--memory 32MiB --seconds 0.3)
healthy='top["ok"] and top["intact"] and top["beats"] > 2 and not top["beats_back"] and not top["checks_failed"]'

what_runs_goes_on_elsewhere() {
	job 0 2 "${small[@]}" && beats_follow_each_other && out_has '^heartbeat never went back' &&
		out_has ' checks, none failed$' && out_has '^memory: every byte is right$' && out_has '^\[1\] -- done'
}
there_and_back_ten_times() {
	job 0 2 --memory 32MiB --seconds 0.05 --times 20 --json && json "$healthy"' and len(top["moves"]) == 20'
}
each_mode_moves_it() {
	local mode
	for mode in minor pre-copy post-copy stop-and-copy; do
		job 0 2 "${small[@]}" --mode "$mode" --times 2 --json && json "$healthy and top['mode'] == '$mode'" || return 1
	done
}
nothing_is_fetched_after_a_copy_while_paused() {
	job 0 2 "${small[@]}" --mode stop-and-copy --json && json 'top["moves"][0]["bytes_fetched"] == 0' &&
		json 'top["moves"][0]["bytes_switched"] >= 32 << 20'
}
everything_is_fetched_without_a_copy_before() {
	job 0 2 "${small[@]}" --mode post-copy --json && json 'top["moves"][0]["bytes_fetched"] >= 32 << 20' &&
		json 'top["moves"][0]["bytes_precopied"] == 0'
}
as_fast_as_it_can() { job 0 2 "${small[@]}" --write-rate 0 --times 4 --json && json "$healthy"; }
process_moves_too() {
	job 0 2 "${small[@]}" --workload process --times 4 && beats_follow_each_other && out_has '^a hash table' &&
		job 0 2 "${small[@]}" --workload process --write-rate 0 --times 4 --json && json "$healthy"
}
# It moves for longer than nodes wait for each other that get nothing done.
third_node_waits_as_long_as_it_takes() {
	MINORCA_TIMEOUT=4 job 0 3 "${small[@]}" --bandwidth 5MiB --write-rate 100 --json &&
		json "$healthy and top['moves'][0]['total_ns'] > 5e9"
}
parts_of_the_downtime_add_up() {
	job 0 2 "${small[@]}" --times 4 && python3 -c 'import re, sys
moves = re.findall(r"downtime ([\d.]+) ms \(pause ([\d.]+), switch ([\d.]+), restore ([\d.]+)\)", open(sys.argv[1]).read())
assert len(moves) == 4, moves
assert all(round(float(m[0]) * 100) == sum(round(float(part) * 100) for part in m[1:]) for m in moves), moves' "$scratch/out" &&
		job 0 2 "${small[@]}" --times 4 --json &&
		json 'all(m["downtime_ns"] == m["pause_ns"] + m["switch_ns"] + m["restore_ns"] for m in top["moves"])'
}
third_node_looks_on() { job 0 3 "${small[@]}" --times 2 && out_has '^memory: every byte is right$'; }

hugepages_move_too() {
	local free
	free=$(cat /sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages 2>/dev/null || echo 0)
	[ "$free" -ge 64 ] || { skipped='too few free hugepages'; return; }
	job 0 2 --memory 64MiB --seconds 0.3 --page-size 2MiB --times 4 --json && json "$healthy"
}

# Says that it is not a virtual machine, and why.
without_kvm_a_process_moves() {
	[ -e /dev/kvm ] || { job 0 2 "${small[@]}" && out_has '^no virtual machine here \(/dev/kvm: '; return; }
	unshare -m true 2>/dev/null || { skipped='no mount namespaces for this user'; return; }
	unshare -m sh -c 'mount --bind /dev/null /dev/kvm && exec timeout 60 "$@"' sh "$mpirun" 2 "$minorca" migrate \
		"${small[@]}" >"$scratch/out" 2>"$scratch/err" || return 1
	out_has '^no virtual machine here \(.*\); instead: a hash table' && out_has '^memory: every byte is right$' &&
		! unshare -m sh -c 'mount --bind /dev/null /dev/kvm && exec timeout 60 "$@"' sh "$mpirun" 2 "$minorca" \
			migrate --workload vm >"$scratch/out" 2>"$scratch/err" && err_has 'no virtual machine: '
}

one_node_is_too_few() { job 2 1 && err_has 'needs two nodes'; }
no_such_mode() { job 2 2 --mode magic && err_has 'there is no "magic"'; }
memory_of_part_of_a_page() { job 2 2 --page-size 2MiB --memory 5MiB && err_has 'whole pages'; }
page_size_that_is_none() { job 2 2 --page-size 8KiB && err_has 'pages have 4KiB, 2MiB or 1GiB'; }
no_moves() { job 2 2 --times 0 && err_has 'is not a number from 1'; }

tests=(
	what_runs_goes_on_elsewhere there_and_back_ten_times each_mode_moves_it
	nothing_is_fetched_after_a_copy_while_paused everything_is_fetched_without_a_copy_before as_fast_as_it_can
	process_moves_too third_node_looks_on third_node_waits_as_long_as_it_takes parts_of_the_downtime_add_up
	hugepages_move_too without_kvm_a_process_moves one_node_is_too_few no_such_mode memory_of_part_of_a_page page_size_that_is_none no_moves
)
if ! command -v mpirun >/dev/null && ! command -v mpiexec >/dev/null; then
	echo '1..0 # SKIP there is no mpirun'
	exit
fi
echo "1..${#tests[@]}"
for test in "${tests[@]}"; do
	number=$((number + 1)) skipped=
	if "$test"; then
		echo "ok $number - ${test//_/ }${skipped:+ # SKIP $skipped}"
	else
		echo "not ok $number - ${test//_/ }"
		failed=1
	fi
done
exit $failed
