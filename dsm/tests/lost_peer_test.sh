#!/bin/bash
# A node dies; those that wait for it end with an error that names it, long before MINORCA_TIMEOUT, and end cleanly.
# What is checked of the calls is in lost_peer.c; here, that every survivor says so, and what was said to people.
#
# usage: lost_peer_test.sh LOST_PEER MPIRUN_SH
set -u

program=$1 mpirun=$2
shift 2
number=0 failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export MINORCA_TIMEOUT=6

# A job of three. NAME PATTERN ARGUMENT...: every survivor is content, and a message matches.
survives() {
	local name=$1 pattern=$2 problem='' content
	shift 2
	number=$((number + 1))
	timeout -s KILL 60 bash "$mpirun" --survive 3 "$program" "$@" >"$log" 2>&1
	content=$(grep -c '^survivor [0-9]*: ok$' "$log")
	[ "$content" = 2 ] || problem="$content of 2 survivors are content"
	[ -z "$pattern" ] || grep -Eq -- "$pattern" "$log" || problem="$problem; nothing matches '$pattern'"
	if [ -z "$problem" ]; then
		echo "ok $number - $name"
	else
		echo "not ok $number - $name"
		echo "# $problem"
		sed 's/^/# | /' "$log"
		failed=1
	fi
}

command -v mpirun >/dev/null || command -v mpiexec >/dev/null || {
	echo '1..0 # SKIP no mpirun'
	exit 0
}

lost='node 1 is lost: its process has ended, or its device does not answer'
survives 'a barrier' "dsm_barrier\(\): $lost" barrier
survives 'a barrier, without node 0' 'dsm_barrier\(\): node 0 is lost' barrier --dead=0
survives 'a reduction' "dsm_reduce\(\): $lost" reduce
survives 'a broadcast' "dsm_broadcast\(\): $lost" broadcast
survives 'a mutex that the dead node has' "dsm_lock\(\): $lost; node 1 has the lock at 0x.* in region subject" lock-held
survives 'a mutex that the dead node waited for' "dsm_lock\(\): $lost; node 1 has the lock .*, or was to have it" \
	lock-queued
survives 'a read lock' "dsm_write_lock\(\): $lost; threads of its may read" read-held
survives 'a write lock' "dsm_(write|read)_lock\(\): $lost; node 1 has the lock" write-held
survives 'an event' "dsm_event_await\(\): $lost; the event may never be advanced" event
survives 'a condition variable' "dsm_event_await\(\): $lost" cond
survives 'publishing' '' publish
survives 'a fault' '' fault
survives 'the heap' '' heap
survives 'atomics' '' atomics
survives 'making a region' 'dsm_region_create\(another\): node 1: lost' create
survives 'the end' 'dsm_finalize\(\): node 1: lost: .*not waited for' finalize
survives 'the end, without node 0' 'node 0 is lost: .*cannot agree' finalize --dead=0
export MINORCA_TIMEOUT=1
survives 'a node that hangs, in a barrier' 'node 1 did not arrive within 1 s' barrier --die=stop
survives 'a node that hangs with a mutex' 'dsm_lock\(\): node 1 has the lock, .* has not come within 1 s' \
	lock-held --die=stop
echo "1..$number"
exit $failed
