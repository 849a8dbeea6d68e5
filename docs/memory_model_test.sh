#!/bin/bash
# The fragments of docs/memory-model.md compile, the first one before each of the others; and the page is fit to be a
# manual page.
#
# usage: memory_model_test.sh PAGE.md INCLUDE_DIRECTORY MANUAL_PAGE [CFLAG...]    CFLAG: where <mpi.h> is
set -u
page=$1 include=$2 manual=$3
shift 3
number=0 failed=0
cd "$TEST_SRCDIR/$TEST_WORKSPACE" || exit

check() { # NAME COMMAND...
	local name=$1 output
	shift
	number=$((number + 1))
	if output=$("$@" 2>&1); then
		echo "ok $number - $name"
	else
		printf 'not ok %d - %s\n# %s\n' "$number" "$name" "${output//$'\n'/$'\n'# }"
		failed=1
	fi
}

# Fragment N goes to N.c, with lines numbered as on the page.
awk -v to="$TEST_TMPDIR" -v page="$page" '
	/^```c$/ { file = to "/" ++n ".c"; printf "#line %d \"%s\"\n", NR + 1, page >file; next }
	/^```/ { file = "" }
	file { print >file }
	/^### |^## / { heading = $0; sub(/^#+ /, "", heading); print heading >(to "/" n + 1 ".name") }
' "$page"
mv "$TEST_TMPDIR/1.c" "$TEST_TMPDIR/first.h"

compiles() { # FILE CFLAG...
	cc -std=gnu11 -Wall -Wextra -Werror -fsyntax-only -I "$include" -include "$TEST_TMPDIR/first.h" "${@:2}" "$1"
}
# A terminal has 80 columns, of which man takes 7 on the left and one on the right; a tab is 4 there.
fits() { expand -t 4 "$page" | awk '/^```/ { code = !code } code && length > 72 { print; bad = 1 } END { exit bad }'; }
is_manual_page() {
	grep -q '^\.TH "minorca-memory-model" "7"' "$manual" && grep -A2 '^\.SH NAME$' "$manual" |
		grep -q '^minorca-memory-model - '
}
renders() {
	local complaints
	complaints=$(MANWIDTH=80 man --warnings -E ascii -l "$manual" 2>&1 >"$TEST_TMPDIR/rendered")
	# awk counts bytes: hence ASCII.
	[ -z "$complaints" ] && awk 'length > 80 { print; bad = 1 } END { exit bad }' "$TEST_TMPDIR/rendered" && return
	echo "$complaints"
	return 1
}

fragments=0
for ((i = 2; ; i++)); do
	[ -e "$TEST_TMPDIR/$i.c" ] || break
	fragments=$((fragments + 1))
	check "fragment compiles: $(tail -n 1 "$TEST_TMPDIR/$i.name")" compiles "$TEST_TMPDIR/$i.c" "$@"
done
check 'there are fragments' [ "$fragments" -ge 10 ]
check 'no line of code is wider than a terminal' fits
check 'the manual page has a name' is_manual_page
if command -v man >/dev/null && command -v tbl >/dev/null; then
	check 'man has nothing to complain of' renders
else
	number=$((number + 1))
	echo "ok $number - man has nothing to complain of # SKIP man-db and groff are not installed"
fi
echo "1..$number"
exit $failed
