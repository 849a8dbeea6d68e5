#!/bin/bash
# A node dies at each step of a migration. What is checked of the calls is in lost_migration.c; here, that the other node
# says that it is content.
#
# usage: lost_migration_test.sh LOST_MIGRATION MPIRUN_SH
set -u

program=$1 mpirun=$2
number=0 failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export MINORCA_TIMEOUT=6

# NAME ARGUMENT...: the survivor of a job of two is content.
survives() {
	local name=$1
	shift
	number=$((number + 1))
	timeout -s KILL 60 bash "$mpirun" --survive 2 "$program" "$@" >"$log" 2>&1
	if grep -q '^survivor [0-9]*: ok$' "$log" && grep -q '^node [01] dies: ' "$log"; then
		echo "ok $number - $name"
	else
		echo "not ok $number - $name"
		sed 's/^/# | /' "$log"
		failed=1
	fi
}

command -v mpirun >/dev/null || command -v mpiexec >/dev/null || {
	echo '1..0 # SKIP no mpirun'
	exit 0
}

for step in copying copied told mapping switched fetching finished; do
	survives "the source dies: $step" source "$step"
done
for step in told outlined mapping; do
	survives "the source dies: $step, 2 MiB" source "$step" --page-size=2097152
done
for step in accepted copying resumed fetching 'done' finished; do
	survives "the destination dies: $step" destination "$step"
done
echo "1..$number"
exit $failed
