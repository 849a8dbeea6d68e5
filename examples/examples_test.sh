#!/bin/bash
# usage: examples_test.sh HELLO JACOBI MPIRUN_SH
set -u
hello=$1 jacobi=$2 mpirun=$3 number=0 failed=0

check() { # NAME EXPECTED ACTUAL
	number=$((number + 1))
	if [ "$2" = "$3" ]; then
		echo "ok $number - $1"
	else
		printf 'not ok %d - %s\n# expected: %s\n# got:      %s\n' "$number" "$1" "$2" "$3"
		failed=1
	fi
}

command -v mpirun >/dev/null || command -v mpiexec >/dev/null || {
	echo '1..0 # SKIP no mpirun'
	exit 0
}
check 'hello on 4 nodes' "$(printf 'node %d stored %d\n' 0 100 1 101 2 102 3 103)" "$(bash "$mpirun" 4 "$hello")"
alone=$(bash "$mpirun" 1 "$jacobi" 130 60 | sed 's/, 1 nodes//')
check 'jacobi prints a mean' 1 "$(grep -c '^130 x 130 cells, 60 steps: mean [0-9]' <<<"$alone")"
for nodes in 2 3 4; do
	check "jacobi on $nodes nodes gets what one gets" "$alone" \
		"$(bash "$mpirun" "$nodes" "$jacobi" 130 60 | sed "s/, $nodes nodes//")"
done
echo "1..$number"
exit $failed
