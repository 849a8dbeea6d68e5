#!/bin/bash
# Faults on the virtual cluster, over verbs: what the nodes that are left make of a node that is killed, powered off, or
# out of reach. What is checked of the calls is in lost_peer.c; here, what was said to people. Prints TAP.
#
# usage: cluster_faults killed | killed-moving | powered-off | silenced | interrupted | undisturbed
#   killed        one guest: a node kills itself, at one kind of waiting point after another
#   killed-moving one guest: a node kills itself while memory moves from one to the other
#   powered-off   two guests: the last one is powered off, while jobs wait at several points. It is gone then
#   silenced      two guests: nothing comes from the last one, for longer than the fabric tries again
#   interrupted   the same, for shorter: nothing but time is lost
#   undisturbed   two guests: no fault, and none is made by the network: long reads need no second try
#
# To be run in guest 0. The jobs' messages go to files: mpirun may react to a lost guest whenever it likes.
# shellcheck disable=SC2317 # functions that are arguments of another
set -u

bin=$(dirname "$0")
logs=$(mktemp -d)
number=0 failed=0
trap 'sed "s/^/# | /" "$logs"/*; exit 1' TERM # the time is up
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

# await SECONDS COMMAND...: until it succeeds. @return 1: it did not. Not more often than this: each look forks, on a processor
# that the jobs need.
await() {
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.5
	done
}

# For await(). Two of three nodes say what became of them.
both_spoke() { [ "$(grep -c '^survivor [0-9]*: ' "$1")" = 2 ]; }
all_ready() { [ "$(cat "$logs"/*.log | grep -c 'ready to die')" = "$1" ]; }

# judge NAME SURVIVORS PATTERN LOG: so many are content, and somebody said what matches.
judge() {
	local problem='' content
	content=$(grep -c '^survivor [0-9]*: ok$' "$4")
	[ "$content" = "$2" ] || problem="$content of $2 survivors are content"
	grep -Eq -- "$3" "$4" || problem="$problem; nothing matches '$3'"
	report "$1" "$problem" "$4"
}

# --- a node is killed -------------------------------------------------------------------------------------------

# survives NAME PATTERN ARGUMENT...
survives() {
	local name=$1 pattern=$2
	shift 2
	timeout -s KILL 60 mpirun --enable-recovery -n 3 "$bin/lost_peer" "$@" --within="$MINORCA_TIMEOUT" >"$logs/log" 2>&1
	judge "killed: $name" 2 "$pattern" "$logs/log"
}

# The time is for three nodes on two emulated processors; the fabric tries again for half of it.
killed() {
	export MINORCA_TIMEOUT=6
	survives 'a fault' 'the fault on page 0 .home: node 1. of region theirs .*is lost.*SIGBUS' fault
	survives 'a mutex that the dead node has' "dsm_lock\(\): $lost; node 1 has the lock at 0x.* in region subject" lock-held
	survives 'a barrier, without node 0' 'dsm_barrier\(\): node 0 is lost' barrier --dead=0
	survives 'publishing' "dsm_release\(\): $lost" publish
	survives 'an event' "dsm_event_await\(\): $lost; the event may never be advanced" event
	survives 'a reduction' "dsm_reduce\(\): $lost" reduce
}

# goes_on WHO STEP PATTERN [ARGUMENT...]: the other side does. What it is told of the memory, lost_migration.c checks.
goes_on() {
	timeout -s KILL 60 mpirun --enable-recovery -n 2 "$bin/lost_migration" "$1" "$2" "${@:4}" >"$logs/log" 2>&1
	judge "killed while memory moves: the $1, $2" 1 "$3" "$logs/log"
}

# Unlike over shm, the memory of a dead source is gone: after the switch, pages are lost.
killed_moving() {
	export MINORCA_TIMEOUT=6
	goes_on source copied "dsm_migrate_await\(\): $lost"
	goes_on source switched '^node 1: [0-9]+ ranges of pages are lost'
	goes_on source told '^node 1: [1-9][0-9]* ranges of pages are lost'
	goes_on source mapping '^node 1: [0-9]+ ranges of pages are lost'
	goes_on source outlined '^node 1: 0 ranges of pages are lost' --page-size=2097152
	goes_on destination copying "dsm_migrate_[a-z]*\(\): $lost"
	goes_on destination resumed "dsm_migrate_finish\(\): $lost"
}

# --- a guest is powered off, or cannot be reached -----------------------------------------------------------------

jobs=() pids=() # the lost_peer cases that are under way; each logs to its own file

# start CASE: a job of which the last guest has the last node.
start() {
	mpirun --enable-recovery -n 3 "$bin/lost_peer" "$1" --dead=2 --die=outside --after="$logs/gone" \
		--within="$MINORCA_TIMEOUT" >"$logs/$1.log" 2>&1 &
	pids+=($!)
	jobs+=("$1")
	await 60 all_ready ${#jobs[@]} || report "the job $1 starts" 'it was not ready after 60 s' "$logs/$1.log"
}

# judge_jobs HOW: when the node that they share is out of reach. They may take as long as a few calls.
judge_jobs() {
	local case pattern end=$((SECONDS + 3 * MINORCA_TIMEOUT))
	touch "$logs/gone"
	for case in "${jobs[@]}"; do
		await $((end - SECONDS)) both_spoke "$logs/$case.log"
		case $case in
		fault) pattern='the fault on page 0 .home: node 2. of region theirs .*is lost.*SIGBUS' ;;
		lock-held) pattern="dsm_lock\(\): $lost; node 2 has the lock at 0x.* in region subject" ;;
		barrier) pattern="dsm_barrier\(\): $lost" ;;
		*) pattern="dsm_release\(\): $lost" ;;
		esac
		judge "$1: $case" 2 "$pattern" "$logs/$case.log"
	done
	kill -KILL "${pids[@]}" 2>/dev/null # mpirun waits for the lost
}

# Those that are ready wait for a file, the last one for its barrier.
powered_off() {
	export MINORCA_TIMEOUT=10 OMPI_MCA_plm_rsh_agent="$0 agent"
	start fault
	start lock-held
	start publish
	start barrier
	vguest power-off "$last_guest"
	judge_jobs 'powered off'
}

# As ssh, which goes on when the other side has no power any more: mpirun would end the job.
agent() {
	vguest run "$@"
	[ $? = 255 ] || return
	sleep 300
}

# For longer than the fabric tries again, which is less than half of the time-out, and than all the others take to find out.
silenced() {
	export MINORCA_TIMEOUT=12
	start fault
	start barrier
	vguest silence 30 "$last_guest" &
	await 10 test -e "/vcluster/silent.${last_guest#vm}"
	judge_jobs 'out of reach'
	wait $!
}

# --- a link that comes back ---------------------------------------------------------------------------------------

# has_sent PACKETS: this guest's device has, so that a job is at work.
has_sent() { [ "$(cat /sys/class/infiniband/*/ports/1/hw_counters/sent_pkts)" -gt "$1" ]; }

# How often the devices of all guests have.
all_repeats() {
	local i sum=0
	for ((i = 0; i < VCLUSTER_GUESTS; i++)); do
		sum=$((sum + $(vguest run "vm$i" 'cat /sys/class/infiniband/*/ports/1/hw_counters/completer_retry_err')))
	done
	echo $sum
}

have_repeated() { [ "$(all_repeats)" -gt "$1" ]; }

# lose HOW SECONDS GUEST: how is silence or link-down. @return 1: nobody noticed, so that nothing is tested. (A guest whose
# node is in a barrier at that time has nothing to send again; the other one has. Between two jobs, nobody has.)
lose() {
	local before
	for _ in 1 2 3; do
		before=$(all_repeats)
		vguest "$@"
		await 5 have_repeated "$before" && return
		echo "# $*: requests sent again: $before before, $(all_repeats) now; after $SECONDS s"
	done
	return 1
}

# One job after the other, while there is something to lose: on a slow machine, that takes longer than a job.
keep_busy() {
	until [ -e "$logs/enough" ]; do
		mpirun -n 2 "$bin/differential" --seconds=12 || return
	done
}

# For less than the device tries again, which is 7.5 s here: in either direction, for longer than a single try, and for
# most of the time. The job asks for time enough, and what is lost is added to it.
interrupted() {
	local problem='' status=0 job sent
	export MINORCA_TIMEOUT=20
	sent=$(cat /sys/class/infiniband/*/ports/1/hw_counters/sent_pkts)
	keep_busy >"$logs/log" 2>&1 &
	job=$!
	await 30 has_sent $((sent + 500))
	lose silence 2 "$last_guest" && sleep 1 && lose link-down 1.5 "$HOSTNAME" && sleep 1 && lose silence 4 "$last_guest" ||
		problem='no request was sent again'
	touch "$logs/enough"
	wait "$job" || status=$?
	[ $status = 0 ] || problem="$problem; ended with $status"
	! grep -q '^not ok' "$logs/log" || problem="$problem; a case failed"
	grep -q '^ok' "$logs/log" || problem="$problem; nothing was tested"
	report 'interrupted for a moment: it costs time only' "$problem" "$logs/log"
}

# Reads that are long enough for queues to fill on the way. A network that loses packets then, or changes their order,
# costs a time-out each time, and hides in tests that are just slow.
undisturbed() {
	local problem='' before repeated
	before=$(all_repeats)
	mpirun -n 2 "$bin/../../bench/read_bandwidth" --time=1 --case=split_read >"$logs/log" 2>&1 || problem="ended with $?"
	repeated=$(($(all_repeats) - before))
	[ $repeated = 0 ] || problem="$problem; $repeated times requests were sent again"
	report 'no fault: no request is sent again' "$problem" "$logs/log"
}

case ${1:-} in
agent)
	rm -rf "$logs"
	agent "${@:2}"
	exit
	;;
killed) killed ;;
killed-moving) killed_moving ;;
powered-off) powered_off ;;
silenced) silenced ;;
interrupted) interrupted ;;
undisturbed) undisturbed ;;
*)
	echo "cluster_faults: what is \"${1:-}\"?" >&2
	exit 2
	;;
esac
end
