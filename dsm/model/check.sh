#!/bin/bash
# Checks the model of release consistency (release.pml) with Spin: every configuration must hold, every seeded bug must
# be found, and every change that is claimed to be harmless must be. Each search is exhaustive, or it fails. Prints TAP.
#
# usage: check.sh [MODEL [NAME...]]   NAME: only these configurations, bugs and harmless changes
set -u
model=$(realpath "${1:-$(dirname "$0")/release.pml}")
shift
searches=$(nproc) # at once
seconds_max=120 mib_max=2000 depth_max=100000

# What must hold, and in which configurations. The smallest configuration that shows it is enough for a bug.
table() {
	cat <<-'END'
		PAIR
		OVERFLOW
		OVERFLOW -DCAPACITY=2
		PAGES
		HOMES
		TRIO
		LOCK
		THREADS
		STORES
		HOT
		PRESUMED
		TRIO BUG_VERSION_BEFORE_DATA
		PAIR BUG_LOG_BEFORE_VERSION
		PAIR BUG_NO_PROTECT
		STORES BUG_PROTECT_LATE
		PAIR BUG_HELD_ALWAYS
		PAIR BUG_DATA_BEFORE_VERSION_READ
		THREADS BUG_CACHED_LATE
		STORES BUG_TWIN_LATE
		PAIR BUG_UNFILLED_SKIPPED
		PAIR BUG_OVERWRITTEN_SKIPPED
		PAGES BUG_OVERFLOW_IGNORED
		PAGES BUG_NO_LAPS
		OVERFLOW BUG_HEADS_AFTER
		THREADS BUG_APPLIED_EARLY
		PAIR BUG_UNMAP_UNPUBLISHED
		HOT BUG_UNMAP_HOT
		HOT BUG_HOT_FROM_MEMORY
		PRESUMED BUG_PRESUMED_ONCE
		HOT BUG_PASS_LOOKED_AT_ONCE
		PAIR BUG_ANNOUNCE_EARLY
		PAGES HARMLESS_HEAD_FIRST
		PAGES HARMLESS_OVERFLOW_READ_ALL
		PAIR HARMLESS_HELD_COUNTS
	END
}

# wanted LINE NAME...: is one of the words of LINE among the names?
wanted() {
	local line=" $1 " name
	shift
	[ $# -gt 0 ] || return 0
	for name; do [[ $line != *" $name "* ]] || return 0; done
	return 1
}

# search DIRECTORY CONFIGURATION [CHANGE]: leaves Spin's and the search's words in DIRECTORY/log.
search() {
	local options=("-DCONFIG_$2") how=(-Og) # optimising more takes longer than it saves
	case ${3:-} in
	'') ;;
	-D*) options+=("$3") ;;
	BUG_*) how=(-O0) options+=("-D$3") ;; # found before long
	*) options+=("-D$3") ;;
	esac
	case $2 in
	HOMES | TRIO) how+=(-DCOLLAPSE) ;; # slower, and in a quarter of the memory: else it would not be enough
	esac
	mkdir -p "$1"
	cd "$1" || return
	{
		spin -a "${options[@]}" "$model" &&
			cc "${how[@]}" -w -DSAFETY -DMEMLIM="$mib_max" -o pan pan.c &&
			timeout "$seconds_max" ./pan -m"$depth_max"
		echo "exit status $?"
	} >log 2>&1
	if grep -q '^pan:1:' log; then
		spin -t -k ./*.trail -p "${options[@]}" "$model" >trail 2>&1
	fi
	rm -f pan pan.[bchmpt]
}

is_complete() {
	grep -q 'errors: ' "$1" && ! grep -qiE 'search not completed|depth too small|out of memory|MEMLIM' "$1"
}

holds() { is_complete "$1" && grep -q 'errors: 0$' "$1" && ! grep -q '^pan:1:' "$1"; }

finds() { grep -q '^pan:1: assertion violated' "$1"; }

states() { awk '/states, stored/ {print $1}' "$1"; }

# report NUMBER DIRECTORY CONFIGURATION [CHANGE]: one case of TAP. @return 1 if it failed.
report() {
	local log=$2/log name="$3 holds" verdict=holds
	case ${4:-} in
	BUG_*) name="$3 finds $4" verdict=finds ;;
	?*) name="$3 holds with ${4#-D}" ;;
	esac
	if "$verdict" "$log"; then
		echo "ok $1 - $name ($(states "$log") states)"
		return 0
	fi
	echo "not ok $1 - $name"
	grep -vE '^$|^Depth|unreached|\.pml:|^unr' "$log" | head -n 40 | sed 's/^/# /'
	[ ! -f "$2/trail" ] || tail -n 120 "$2/trail" | sed "s|$model|${model##*/}|; s/^/# /" | cut -c1-160
	return 1
}

main() {
	local directory cases=() line i failed=0
	for tool in spin cc; do
		if ! command -v "$tool" >/dev/null; then
			echo "1..0 # SKIP $tool is not installed"
			exit 0
		fi
	done
	while read -r line; do
		if wanted "$line" "$@"; then cases+=("$line"); fi
	done < <(table)
	directory=$(mktemp -d "${TEST_TMPDIR:-${TMPDIR:-/tmp}}/model.XXXXXX") || exit
	# shellcheck disable=SC2064 # now: it is local
	trap "rm -rf '$directory'" EXIT
	echo "1..${#cases[@]}"
	for i in "${!cases[@]}"; do
		# As many as there are processors; the next one starts when one ends.
		[ "$i" -lt "$searches" ] || wait -n
		# shellcheck disable=SC2086 # words
		search "$directory/$i" ${cases[i]} &
	done
	wait
	for i in "${!cases[@]}"; do
		# shellcheck disable=SC2086
		report "$((i + 1))" "$directory/$i" ${cases[i]} || failed=1
	done
	exit "$failed"
}

main "$@"
