#!/bin/bash
# Each way to go wrong ends in one clear error that names the node, the thing and the remedy, a non-zero exit of the
# whole job within 10 s, and nothing left behind.
#
# usage: failures_test.sh FAILURES OTHER_BUILD MPIRUN_SH
set -u

program=$1 other_build=$2 mpirun=$3
number=0 failed=0
log=$(mktemp)
copy=$(mktemp -d /tmp/minorca-failures.XXXXXX)
trap 'rm -rf "$log" "$copy"' EXIT
# Where another user can run it, and under a name that tells our processes from others'.
cp "$program" "$copy/subject"
cp "$other_build" "$copy/subject-other"
chmod -R a+rX "$copy"
# Open MPI waits 1 s between asking a process to end and ending it; nothing here needs to be asked.
export OMPI_MCA_odls_base_sigkill_timeout=0

verdict() { # NAME PROBLEM
	number=$((number + 1))
	if [ -z "$2" ]; then
		echo "ok $number - $1"
	else
		echo "not ok $number - $1"
		echo "# $2"
		sed 's/^/# | /' "$log"
		failed=1
	fi
}

skip() { # NAME REASON
	number=$((number + 1))
	echo "ok $number - $1 # SKIP $2"
}

# Runs a job; leaves its output in $log, and sets status and elapsed.
run() {
	local begin=$EPOCHREALTIME
	timeout 40 "$@" >"$log" 2>&1
	status=$?
	elapsed=$((${EPOCHREALTIME/./} - ${begin/./}))
}

# The problems with what was run, if any. $1: what the one message must match; $2: bound on the time in s.
problems() {
	local messages
	# The others may say that a node is gone, if the launcher leaves them the time.
	messages=$(grep '^minorca: ' "$log" | grep -Evc ' (is )?lost: ')
	[ "$status" != 0 ] || echo "the job's exit status is 0"
	[ "$status" != 99 ] || echo "the call that should fail succeeded"
	[ "$elapsed" -lt $(($2 * 1000000)) ] || echo "it took $((elapsed / 1000)) ms"
	grep -Eq -- "$1" "$log" || echo "nothing matches '$1'"
	[ "$messages" -le 1 ] || echo "$messages messages instead of one"
	leftovers
}

leftovers() {
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		pgrep -f "^$copy/subject" >/dev/null || return 0
		sleep 0.2
	done
	echo "processes are left behind"
	pkill -KILL -f "^$copy/subject"
}

# A job of two nodes that fails. NAME PATTERN [ENV=VALUE...] -- CASE
fails() {
	local name=$1 pattern=$2
	shift 2
	local -a environment=()
	while [ "$1" != -- ]; do
		environment+=("$1")
		shift
	done
	run env "${environment[@]}" bash "$mpirun" 2 "$copy/subject" "$2"
	verdict "$name" "$(problems "$pattern" "${within:-10}")"
}

# Two nodes that differ: NODE-0-COMMAND... : NODE-1-COMMAND...
differ() {
	local name=$1 pattern=$2
	shift 2
	run bash "$mpirun" --contexts "$@"
	verdict "$name" "$(problems "$pattern" 10)"
}

succeeds() { # NAME CASE: the program itself says 1 for "as it should be"
	run bash "$mpirun" 2 "$copy/subject" "$2"
	local problem=
	[ "$status" = 1 ] || problem="exit status $status instead of 1"
	verdict "$1" "$problem$(leftovers)"
}

killed_by_bus() { # NAME CASE
	run bash "$mpirun" 1 "$copy/subject" "$2"
	local problem=
	grep -q 'signal 7' "$log" || [ "$status" = 135 ] || problem="not killed by SIGBUS (status $status)"
	verdict "$1" "$problem$(leftovers)"
}

command -v mpirun >/dev/null || command -v mpiexec >/dev/null || {
	echo '1..0 # SKIP no mpirun'
	exit 0
}

fails 'an unknown setting is refused, and the nearest is named' \
	'node 0: MINORCA_TRANSPROT is not a setting; did you mean MINORCA_TRANSPORT' MINORCA_TRANSPROT=shm -- init
fails 'a malformed setting is refused, with what was expected' \
	'node 0: MINORCA_TIMEOUT=soon: expected seconds' MINORCA_TIMEOUT=soon -- init
differ 'nodes with different settings are told which, and both values' \
	'node 1: MINORCA_TIMEOUT is 5 on this node and 7 on node 0' \
	env MINORCA_TIMEOUT=7 "$copy/subject" init : env MINORCA_TIMEOUT=5 "$copy/subject" init
differ 'nodes with different builds are told both' \
	'node 1: this node runs build .* node 0 runs .*; install the same build' \
	"$copy/subject" init : "$copy/subject-other" init
fails 'a region too large for the machine' \
	'node 0: dsm_region_create\(subject\): too large: .* MiB of memory are available' -- region-too-large
fails 'a region too large for the address space' 'too large' -- address-space-exhausted
fails 'a cyclic region too large for anything' 'too large' -- cyclic-too-large
fails 'nodes in different calls' 'node 1 is in another collective call' -- different-calls
fails 'too few hugepages' \
	'node 0: dsm_region_create\(subject\): .*hugepages of 2 MiB, and the pool has .* free.*echo [0-9]+ > /sys' \
	-- too-few-hugepages
fails 'an address that is taken on one node' \
	'node 1: dsm_region_create\(subject\): cannot be at 0x200000000000.*taken by' -- address-collision
fails 'different arguments on two nodes' 'dsm_region_create\(subject\): differs between nodes' -- different-arguments
fails 'a name that is too long' 'node 0: .*a region needs a name, of up to 63 bytes' -- name-too-long
fails 'too many regions' 'there are 62 regions already' -- too-many-regions
fails 'a heap that is used up' \
	'node 0: dsm_malloc\(\): no room for 20000 bytes: of the heap.s 1024 KiB, .*enlarge the heap with MINORCA_HEAP_BYTES' \
	MINORCA_HEAP_BYTES=1MiB -- heap-is-used-up
fails 'no heap' 'node 0: dsm_malloc\(\): there is no heap: MINORCA_HEAP_BYTES is 0' MINORCA_HEAP_BYTES=0 -- heap-is-used-up
fails 'a heap that could not be made' \
	'node 0: dsm_malloc\(\): there is no heap: .*too large: .*MINORCA_HEAP_BYTES says' \
	MINORCA_HEAP_BYTES=1024GiB -- heap-does-not-fit
fails 'memory that is freed twice' 'node 0: dsm_free\(0x.*\): freed already, or never allocated' -- freed-twice
fails 'no RDMA device' 'node 0: .*RDMA' MINORCA_TRANSPORT=verbs -- init
fails 'a node that dies before MPI starts' '.' -- dies-before-mpi
fails 'a node that dies after MPI started' '.' -- dies-after-mpi
fails 'a node that never calls dsm_init' 'dsm_init\(\): node 1 did not arrive within 2 s' \
	MINORCA_TIMEOUT=2 -- never-starts
fails 'a node that hangs before MPI starts' 'MPI_Init\(\) has not returned within 2 s' \
	MINORCA_TIMEOUT=2 -- hangs-before-mpi
fails 'a node that never reaches the barrier' 'dsm_barrier\(\) number 1: node 1 did not arrive within 2 s' \
	MINORCA_TIMEOUT=2 -- misses-the-barrier
fails 'a node that is killed while others wait for it' '.' MINORCA_TIMEOUT=2 -- killed-while-others-wait

fails 'a region used after it was destroyed' \
	'node 1: access to 0x[0-9a-f]+, where region subject was: it has been destroyed' \
	MINORCA_TIMEOUT=3 -- region-used-after-it-was-destroyed
fails 'a mutex that is never unlocked' \
	'node 1: dsm_lock\(\): node 0 has the lock, .* has not come within 2 s' \
	MINORCA_TIMEOUT=2 -- mutex-is-never-unlocked
fails 'a region destroyed with a lock held' \
	'node 1: dsm_region_destroy\(subject\): threads of this node hold or wait for 1 locks in it' \
	-- region-destroyed-with-a-lock-held

free=$(cat /sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages 2>/dev/null || echo 0)
if [ "$free" -ge 8 ]; then
	fails 'a pool that is empty when a page is fetched' \
		'node 1: cannot resolve the fault on page 0 .*the pool of hugepages is empty; enlarge it' \
		-- pool-empty-in-a-fault
else
	skip 'a pool that is empty when a page is fetched' 'the pool has too few 2 MiB hugepages'
fi

succeeds 'a SIGBUS that is not ours goes to the handler before us' foreign-sigbus-is-handed-on
export MINORCA_TIMEOUT=1
succeeds 'a barrier that timed out is gone on with' barrier-is-gone-on-with
unset MINORCA_TIMEOUT
succeeds 'an ignored SIGBUS that was sent is ignored' ignored-sigbus-is-ignored
killed_by_bus 'a SIGBUS that nobody handles kills' foreign-sigbus-kills
killed_by_bus 'a SIGBUS that was sent and nobody handles kills' sent-sigbus-kills

if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
	succeeds 'system calls into regions, by delivery' system-calls
	nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups env HOME=/tmp)
	unprivileged() { # NAME PATTERN CASE
		run "${nobody[@]}" bash "$mpirun" 2 "$copy/subject" "$3"
		verdict "$1" "$(problems "$2" 10)"
	}
	cp "$mpirun" "$copy/mpirun.sh"
	chmod a+rx "$copy/mpirun.sh"
	mpirun=$copy/mpirun.sh
	if [ "$(cat /proc/sys/vm/unprivileged_userfaultfd)" = 0 ] &&
		! "${nobody[@]}" test -r /dev/userfaultfd; then
		unprivileged 'thread delivery without privilege' \
			'node 0: dsm_region_create\(subject\): thread delivery needs .*MINORCA_DELIVERY=inline' thread-delivery
	else
		skip 'thread delivery without privilege' 'this machine lets everybody handle faults'
	fi
	run "${nobody[@]}" bash "$mpirun" 2 "$copy/subject" init
	problem=
	[ "$status" = 99 ] || problem="exit status $status: an ordinary user cannot start the runtime"
	verdict 'an ordinary user can use inline delivery' "$problem"
	unprivileged 'no permission for userfaultfd' 'userfaultfd' no-userfaultfd
else
	skip 'what an unprivileged user gets' 'only root can become one'
fi
echo "1..$number"
exit $failed
