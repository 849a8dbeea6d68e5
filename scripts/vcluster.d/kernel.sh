# shellcheck shell=bash
# The guests' kernel: a stock Debian one, unpacked, not installed. Part of scripts/vcluster.
# shellcheck disable=SC2154 # suite, tmp: its variables

# find_kernel: sets kernel_image and kernel_modules (a directory); leaves with the status "cannot run" if there is none.
find_kernel() {
	local directory=${VCLUSTER_KERNEL:-}
	if [ -z "$directory" ]; then
		directory=${VCLUSTER_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/minorca/vcluster}/$suite
		[ -e "$directory" ] || fetch_kernel "$directory"
	fi
	kernel_image=$(find "$directory" -name 'vmlinuz*' -type f -print -quit 2>/dev/null) || true
	kernel_modules=$(find "$directory" -path '*lib/modules/*/kernel' -prune -print -quit 2>/dev/null) || true
	if [ ! -f "$kernel_image" ] || [ ! -d "$kernel_modules" ]; then
		cannot_run "$directory has no kernel image or no modules; remove it to have it fetched again"
	fi
}

# fetch_kernel DIRECTORY: whole or not at all, whoever else does the same.
fetch_kernel() {
	local log=$tmp/apt.log new
	have apt-get || cannot_run "no kernel image, and no apt-get to fetch one; VCLUSTER_KERNEL names one's own"
	mkdir -p "$(dirname "$1")"
	new=$(mktemp -d "$1.XXXXXX")
	say "fetching the kernel of $suite into $1 ..."
	if (set -e; download_kernel "$new") >"$log" 2>&1; then
		mv -T "$new" "$1" 2>/dev/null || rm -rf "$new" # another one was faster
		return
	fi
	rm -rf "$new"
	tail -n 5 "$log" | sed 's/^/    /' >&2
	cannot_run "the kernel of $suite cannot be fetched: $(grep -m 1 '^E: ' "$log" || echo 'the lines above say why')"
}

# download_kernel DIRECTORY: with lists of apt's own, so that the system's are left alone.
download_kernel() {
	local apt=$tmp/apt package version module packages options deb
	mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/sources" "$apt/packages"
	cat >"$apt/sources/kernel.sources" <<-END
		Types: deb
		URIs: $(mirror)
		Suites: $suite
		Components: main
		Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
	END
	options=(-qq -o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$apt/sources" -o APT::Sandbox::User=root
		-o APT::Architecture=amd64 -o "Dir::State::Lists=$apt/lists" -o "Dir::Cache=$apt/cache")
	apt-get "${options[@]}" update
	package=$(apt-cache "${options[@]}" show linux-image-amd64 | grep -o 'linux-image-[0-9][^ ,]*' | sed -n 1p)
	version=${package#linux-image-}
	packages=("$package")
	for module in "linux-binary-$version" "linux-modules-$version"; do # newer kernels come in several packages
		[ -z "$(apt-cache "${options[@]}" show "$module" 2>/dev/null)" ] || packages+=("$module")
	done
	(cd "$apt/packages" && apt-get "${options[@]}" download "${packages[@]}")
	for deb in "$apt"/packages/*.deb; do dpkg -x "$deb" "$1"; done
}

# Where this machine's own packages come from.
mirror() {
	if [ -n "${VCLUSTER_MIRROR:-}" ]; then
		echo "$VCLUSTER_MIRROR"
	else
		# shellcheck disable=SC2016 # apt's variable
		apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | sed -n 1p
	fi
}
