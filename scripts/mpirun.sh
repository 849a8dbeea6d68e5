#!/bin/bash
# Starts an MPI job on this machine: the one place that knows the flags. Used by scripts/run and by Bazel's mpi_test.
#
# usage: mpirun.sh [--survive] NODES BINARY [ARG...]
#        mpirun.sh [--survive] --contexts COMMAND... : COMMAND...     one node for each command
#
# --survive: when a node dies, the others go on. The exit status may be 0 then whatever became of them.
#
# MPIRUN names the launcher; else mpirun, or MPICH's mpiexec for a program that is linked with MPICH. Exit status: the
# job's. With no launcher on this machine: prints a TAP line that says "skipped", and exits with 0.
set -eu

survive=
if [ "$1" = --survive ]; then
	survive=1
	shift
fi

# The command line of the job, without the launcher's own flags.
if [ "$1" = --contexts ]; then
	shift
	job=(-n 1)
	for word; do
		job+=("$word")
		[ "$word" != : ] || job+=(-n 1)
	done
	binary=$(printf '%s\n' "$@" | grep -m 1 /)
else
	binary=$2
	case $binary in
	/*) ;;
	*) binary=./$binary ;; # a path, never a name to look up in PATH
	esac
	job=(-n "$1" "$binary" "${@:3}")
fi

find_launcher() {
	local name names='mpirun mpiexec'
	if ldd "$binary" 2>/dev/null | grep -q libmpich; then
		names='mpiexec.mpich mpiexec.hydra mpiexec mpirun'
	fi
	for name in ${MPIRUN:-$names}; do
		command -v "$name" && return
	done
	return 1
}

is_open_mpi() { "$1" --version 2>&1 | grep -qiE 'open[ -]?mpi|openrte'; }

run_open_mpi() {
	local flags=(
		--bind-to none         # hwloc places threads, not MPI
		--oversubscribe        # more nodes than cores
		--mca plm isolated     # this machine only: ssh is not needed
		--mca pml ob1          # MPI keeps off the fabric, which is the runtime's,
		--mca btl 'self,vader' # and uses memory
		--mca osc '^ucx'
	)
	[ "$(id -u)" != 0 ] || flags+=(--allow-run-as-root)
	[ -z "$survive" ] || flags+=(--enable-recovery)
	# A container may forbid process_vm_readv(2), and Open MPI complains of it.
	export OMPI_MCA_btl_vader_single_copy_mechanism=none
	exec "$launcher" "${flags[@]}" "${job[@]}"
}

run_mpich() {
	# MPICH keeps off the fabric too.
	export FI_PROVIDER=${FI_PROVIDER:-tcp} UCX_TLS=${UCX_TLS:-tcp,sysv,self} UCX_ERROR_SIGNALS=
	exec "$launcher" ${survive:+-disable-auto-cleanup} "${job[@]}"
}

# MPI and its plugins leak by design, and Open MPI's own signal handler loops on a sanitizer's report.
sanitizers() {
	[ -n "${ASAN_OPTIONS:-}" ] || return 0
	export ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=0
	export OMPI_MCA_opal_signal=
}

if ! launcher=$(find_launcher); then
	echo '1..0 # SKIP no mpirun'
	echo "mpirun.sh: there is no ${MPIRUN:-mpirun}: apt-get install openmpi-bin" >&2
	exit 0
fi
export TMPDIR=/tmp                         # the paths of Open MPI's sockets must be short
export HOME=${HOME:-${TEST_TMPDIR:-/tmp}} # a test has none, and Open MPI looks for its files there
sanitizers
if is_open_mpi "$launcher"; then
	run_open_mpi
else
	run_mpich
fi
