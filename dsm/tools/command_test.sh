#!/bin/bash
# The program `minorca` from outside: exit statuses, what goes to stdout and what to stderr.
# usage: command_test.sh MINORCA SETTINGS.md
set -u
minorca=./$1 settings_doc=$2
scratch=${TEST_TMPDIR:-$(mktemp -d)}
number=0 failed=0

# run STATUS ARG...: runs `minorca ARG...` into $scratch/{out,err}; fails if it exits otherwise.
run() {
	local expected=$1 status=0
	shift
	"$minorca" "$@" >"$scratch/out" 2>"$scratch/err" || status=$?
	[ "$status" = "$expected" ] && return
	echo "# minorca $*: exit status $status, expected $expected"
	sed 's/^/# /' "$scratch/err"
	return 1
}

# The status of `minorca info` here: 1 where userfaultfd is refused, a sandbox say.
run_info() {
	"$minorca" info "$@" >"$scratch/out" 2>"$scratch/err"
	[ $? -le 1 ]
}

out_has() { grep -qF -- "$1" "$scratch/out"; }
err_has() { grep -qF -- "$1" "$scratch/err"; }
nothing_on_stdout() { [ ! -s "$scratch/out" ]; }
nothing_on_stderr() { [ ! -s "$scratch/err" ]; }
valid_json() { python3 -c 'import json, sys; json.load(open(sys.argv[1]))' "$scratch/out"; }

json_has() {
	python3 -c 'import json, sys
top = json.load(open(sys.argv[1]))
sys.exit(not all(name in top for name in sys.argv[2:]))' "$scratch/out" "$@"
}

version_is_one_line() { run 0 version && grep -qE '^minorca [0-9]+\.[0-9]+\.[0-9]+$' "$scratch/out" && nothing_on_stderr; }
version_option_is_the_same() { run 0 --version && grep -qE '^minorca [0-9]' "$scratch/out"; }
help_goes_to_stdout() { run 0 help && out_has 'settings' && nothing_on_stderr; }
help_option_of_a_command() { run 0 info --help && out_has 'minorca info'; }
no_command_is_refused() { run 2 && nothing_on_stdout && err_has 'Usage: minorca'; }
unknown_command_is_refused() { run 2 inof && nothing_on_stdout && err_has 'there is no command "inof"'; }
unknown_option_is_refused() { run 2 info --xml && nothing_on_stdout && err_has '--xml'; }
extra_argument_is_refused() { run 2 settings foo && nothing_on_stdout && err_has 'unexpected argument "foo"'; }
info_tells_every_part() {
	run_info && for part in 'Kernel features' 'Hugepage pools' 'RDMA devices' 'Limits' 'MPI' 'Topology' \
		'Settings in force' 'uffd-minor-shmem' 'MINORCA_TRANSPORT'; do
		out_has "$part" || { echo "# no $part"; return 1; }
	done
}
info_json_is_one_object() {
	run_info --json && valid_json &&
		json_has version host kernel hugepage_pools rdma limits mpi topology settings missing
}
# Whatever this machine has: a verdict on each device, or how to make one.
info_tells_of_rdma() {
	run_info || return 1
	for device in /sys/class/infiniband/*; do
		if [ -e "$device" ]; then
			grep -qE "^  ${device##*/}: (transport|cannot be opened)" "$scratch/out" || return 1
		else
			out_has 'rdma link add rxe0 type rxe netdev NAME' || return 1
		fi
	done
}
info_json_tells_of_rdma() {
	run_info --json && python3 -c 'import json, sys
rdma = json.load(open(sys.argv[1]))["rdma"]
ports = [port for device in rdma["devices"] for port in device["ports"]]
chosen = [port for port in ports if port["chosen"]]
assert len(chosen) == (1 if rdma["chosen"] else 0), rdma
assert all(port["verdict"] for port in ports), rdma' "$scratch/out"
}
info_obeys_the_setting_of_a_device() {
	MINORCA_VERBS_DEVICE=no_such_device run_info --json && out_has '"chosen": null'
}
info_says_what_is_set() { MINORCA_LANES=7 run_info && grep -qE 'MINORCA_LANES +7 +\(set\)' "$scratch/out"; }
malformed_setting_in_info() {
	MINORCA_LANES=many run 2 info && err_has 'minorca: MINORCA_LANES=many: expected a number from 1 to 1024' &&
		out_has 'MINORCA_LANES=many'
}
malformed_setting_in_json() {
	MINORCA_LANES=many run 2 info --json && valid_json && err_has 'MINORCA_LANES=many'
}
unknown_setting_in_info() { MINORCA_LINES=3 run 2 info && err_has 'did you mean MINORCA_LANES?'; }
settings_lists_values() { MINORCA_LANES=7 run 0 settings && out_has 'MINORCA_LANES=7  (set)' && out_has 'MINORCA_TIMEOUT=10'; }
settings_json() { run 0 settings --json && valid_json && out_has '"MINORCA_TRANSPORT"'; }
malformed_setting_in_settings() { MINORCA_STATS=maybe run 2 settings && out_has MINORCA_STATS && err_has 'expected yes or no'; }
settings_document_is_up_to_date() {
	run 0 settings --markdown || return 1
	diff "$settings_doc" "$scratch/out" >"$scratch/diff" && return
	sed 's/^/# /' "$scratch/diff"
	echo '# mend: scripts/run -n 1 minorca settings --markdown > docs/settings.md'
	return 1
}
settings_document_ignores_the_environment() { MINORCA_LANES=many run 0 settings --markdown && diff "$settings_doc" "$scratch/out" >/dev/null; }

set -- version_is_one_line version_option_is_the_same help_goes_to_stdout help_option_of_a_command \
	no_command_is_refused unknown_command_is_refused unknown_option_is_refused extra_argument_is_refused \
	info_tells_every_part info_json_is_one_object info_tells_of_rdma info_json_tells_of_rdma \
	info_obeys_the_setting_of_a_device info_says_what_is_set malformed_setting_in_info \
	malformed_setting_in_json unknown_setting_in_info settings_lists_values settings_json \
	malformed_setting_in_settings settings_document_is_up_to_date settings_document_ignores_the_environment
echo "1..$#"
for test; do
	number=$((number + 1))
	if $test; then
		echo "ok $number - $test"
	else
		echo "not ok $number - $test"
		failed=1
	fi
done
exit $failed
