# shellcheck shell=bash
# What the scripts share. To be sourced; goes to the top of the tree.
# shellcheck disable=SC2034 # what is set here is used by those who source it

caller_directory=$PWD
script=$(realpath "$0")
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit

# The bazel command and its start-up options may be given: BAZEL="bazel --output_base=/var/tmp/b".
read -r -a bazel <<<"${BAZEL:-bazel}"

# Progress and remarks go to stderr, under the script's name.
say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

die() {
	say "$*"
	exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# The comment at the head of a script is its help.
usage() { sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "$script"; }

# is_count TEXT: a number from 0 to 9999999?
is_count() { [[ $1 =~ ^[0-9]{1,7}$ ]]; }
