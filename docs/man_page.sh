#!/bin/bash
# Makes a manual page from a page of docs/, on stdout.
#
# usage: man_page.sh SECTION PAGE.md
#
# PAGE.md's first line is a comment, <!-- NAME - what it is about -->, its second the title; each section begins with
# "## ".
set -eu -o pipefail
section=$1 page=$2

command -v lowdown >/dev/null || {
	echo "man_page.sh: lowdown is missing, which makes manual pages; install the package lowdown, or run" \
		"scripts/setup" >&2
	exit 1
}
about=$(sed -n '1s/^<!-- \(.* - .*\) -->$/\1/p' "$page")
[ -n "$about" ] || {
	echo "man_page.sh: the first line of $page must be <!-- NAME - what it is about -->" >&2
	exit 1
}
{
	printf '## NAME\n\n%s\n\n## DESCRIPTION\n' "$about"
	sed -e 1,2d -e 's/^## .*/\U&/' "$page"
} | lowdown -s -t man --nroff-nolinks --out-no-smarty --parse-no-metadata \
	-M title="${about%% - *}" -M section="$section" -M source=Minorca -M volume=Minorca -M date= \
	-M shiftheadinglevelby=-1 |
	# The first line asks man for tbl. mandoc knows no \fC. Cells are as wide as they must be, and not stretched.
	sed -e "1s/^/'\\\\\" t\n/" -e '/^\.S[HS]$/{N;s/\n/ /}' -e 's/\\fC/\\fB/g' -e 's/T{$/T{\n.ad l/' \
		-e 's/^\(tab(|)\) expand/\1/' -e 's/^\.TE$/.TE\n.sp/'
