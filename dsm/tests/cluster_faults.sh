#!/bin/bash
# Faults on the virtual cluster, over verbs: what the nodes that are left make of a node that is killed, powered off, or
# out of reach. What is checked of the calls is in lost_peer.c; here, what was said to people. Prints TAP.
#
# usage: cluster_faults killed | powered-off | link-down | link-flaps
#   killed        one guest: a node kills itself, at one kind of waiting point after another
#   powered-off   two guests or more: the last one is powered off, while jobs wait at several points. It is gone then
#   link-down     two guests: the link of the last is down for longer than the fabric tries again
#   link-flaps    the same, down for shorter: nothing but time is lost
#
# To be run in guest 0. The jobs' messages go to files: mpirun may react to a lost guest whenever it likes.
set -u

bin=$(dirname "$0")
logs=$(mktemp -d)
number=0 failed=0
lost="node [0-9] is lost: its process has ended, or its device does not answer"
last_guest=vm$((VCLUSTER_GUESTS - 1))

# report NAME PROBLEM LOG
report() {
	number=$((number + 1))
	if [ -z "$2" ]; then
		echo "ok $number - $1"
		return
	fi
	echo "not ok $number - $1"
	echo "# $2"
	sed 's/^/# | /' "$3"
	failed=1
}

end() {
	rm -rf "$logs"
	echo "1..$number"
	exit $failed
}

# await SECONDS COMMAND...: until it succeeds. @return 1: it did not.
await() {
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.1
	done
}

job() { mpirun --enable-recovery "$@"; }

# Two of three nodes say what became of them.
both_spoke() { [ "$(grep -c '^survivor [0-9]*: ' "$1")" = 2 ]; }
all_ready() { [ "$(cat "$logs"/*.log | grep -c 'ready to die')" = "$1" ]; }

# judge NAME PATTERN LOG: both are content, and somebody said what matches.
judge() {
	local problem='' content
	content=$(grep -c '^survivor [0-9]*: ok$' "$3")
	[ "$content" = 2 ] || problem="$content of 2 survivors are content"
	grep -Eq -- "$2" "$3" || problem="$problem; nothing matches '$2'"
	report "$1" "$problem" "$3"
}

# --- a node is killed -------------------------------------------------------------------------------------------

# survives NAME PATTERN ARGUMENT...
survives() {
	local name=$1 pattern=$2
	shift 2
	timeout -s KILL 60 mpirun --enable-recovery -n 3 "$bin/lost_peer" "$@" --within="$MINORCA_TIMEOUT" >"$logs/log" 2>&1
	judge "killed: $name" "$pattern" "$logs/log"
}

# The time is for three nodes on two emulated processors; the fabric tries again for half of it.
killed() {
	export MINORCA_TIMEOUT=6
	survives 'a fault' 'node 1: .*lost|lost.*region theirs' fault
	survives 'a mutex that the dead node has' "dsm_lock\(\): $lost; node 1 has the lock at 0x.* in region subject" lock-held
	survives 'a barrier' "dsm_barrier\(\): $lost" barrier
	survives 'a barrier, without node 0' 'dsm_barrier\(\): node 0 is lost' barrier --dead=0
	survives 'publishing' 'node 1' publish
	survives 'an event' "dsm_event_await\(\): $lost; the event may never be advanced" event
	survives 'a reduction' "dsm_reduce\(\): $lost" reduce
	survives 'atomics' 'node 1' atomics
	survives 'making a region' 'dsm_region_create\(another\): node 1: lost' create
}

case ${1:-} in
killed) killed ;;
*) echo "1..0 # SKIP what is \"${1:-}\"?" ;;
esac
end
