#!/bin/bash
# Installs into a fresh prefix, then builds and runs a consumer through pkg-config, shared and static.
#
# usage: install_test.sh INSTALL VERSION
set -u
number=0 failed=0
prefix=$TEST_TMPDIR/prefix

check() { # NAME COMMAND...
	local name=$1 output
	shift
	number=$((number + 1))
	if output=$("$@" 2>&1); then
		echo "ok $number - $name"
	else
		printf 'not ok %d - %s\n%s\n' "$number" "$name" "${output//$'\n'/$'\n'# }"
		failed=1
	fi
}

printf '%s\n' '#include <minorca.h>' '#include <string.h>' \
	'int main(void) { return strcmp(dsm_version(), VERSION) || dsm_node() != -22; }' >"$TEST_TMPDIR/consumer.c"
export PKG_CONFIG_PATH=$prefix/lib/pkgconfig

flags() { pkg-config "$@" | tr ' ' '\n'; }
build_shared() {
	# shellcheck disable=SC2046 # one word a flag
	cc -DVERSION="\"$1\"" "$TEST_TMPDIR/consumer.c" $(flags --cflags --libs minorca) -Wl,-rpath,"$prefix/lib" \
		-o "$TEST_TMPDIR/shared"
}
build_static() {
	local mpi
	for mpi in ompi-c mpich mpi-c; do pkg-config --exists "$mpi" && break; done
	# shellcheck disable=SC2046
	cc -DVERSION="\"$1\"" "$TEST_TMPDIR/consumer.c" $(flags --cflags minorca) "$prefix/lib/libminorca.a" \
		$(flags --libs libibverbs hwloc "$mpi") -pthread -lm -o "$TEST_TMPDIR/static"
}
# Capital letters are global symbols; A is the version's name.
only_our_names() {
	! nm -D --defined-only "$prefix/lib/libminorca.so" | awk '$2 ~ /^[B-Z]$/ {print $3}' | grep -v '^dsm_'
}
has_soname() { readelf -d "$prefix/lib/libminorca.so" | grep -q 'SONAME.*libminorca.so.0'; }
no_cxx() { ! readelf -d "$prefix/lib/libminorca.so" | grep -q libstdc; }

# As man would find it: lexgrog reads the NAME section, for whatis and apropos.
has_manual_page() {
	local page=$prefix/share/man/man7/minorca-memory-model.7
	grep -A 2 '^\.SH NAME' "$page" | grep '^minorca-memory-model - ' || return
	! command -v lexgrog >/dev/null || lexgrog "$page"
}

check 'installs' "./$1" --version="$2" --soversion=0 --prefix="$prefix"
check 'a consumer links with the shared library' build_shared "$2"
check 'and runs' "$TEST_TMPDIR/shared"
check 'a consumer links with the static library' build_static "$2"
check 'and runs, too' "$TEST_TMPDIR/static"
check 'the shared library has a soname' has_soname
check 'it exports dsm_* and nothing else' only_our_names
check 'it does not drag in C++' no_cxx
check 'the manual page has a name' has_manual_page
check 'the command runs' "$prefix/bin/minorca" version
echo "1..$number"
exit $failed
