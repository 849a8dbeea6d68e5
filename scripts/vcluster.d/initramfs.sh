# shellcheck shell=bash
# The guests' first file system: busybox, the modules that a root over 9p and soft-RoCE need, and the scripts of
# vcluster.d/guest. Part of scripts/vcluster.
# shellcheck disable=SC2154 # tmp, kernel_modules: its variables

readonly modules=(virtio_pci virtio_net 9pnet_virtio 9p overlay crc32_generic crc32c_generic veth bridge dummy
	ib_uverbs rdma_ucm rdma_rxe)

# make_initramfs FILE: from kernel_modules.
make_initramfs() {
	local tree=$tmp/tree name
	mkdir -p "$tree"/{bin,dev,proc,sys,lower,upper,root,modules,vcluster}
	cp "$(command -v busybox)" "$tree/bin/busybox"
	ln -s busybox "$tree/bin/sh"
	cp scripts/vcluster.d/guest/* "$tree/vcluster"
	mv "$tree/vcluster/init" "$tree/init"
	find "$kernel_modules" -name '*.ko*' >"$tmp/module_files"
	: >"$tree/modules/order"
	for name in "${modules[@]}"; do add_module "$name" "$tree/modules"; done
	(cd "$tree" && find . | cpio -o -H newc --quiet) >"$1"
}

# add_module NAME DIRECTORY: after those that it depends on. Nothing if the kernel has it built in.
add_module() {
	local name=${1//-/_} directory=$2 file needed
	! grep -qx "$name" "$directory/order" || return 0
	file=$(grep -m 1 -E "/${name//_/[-_]}\.ko(\.xz|\.zst)?$" "$tmp/module_files") || return 0
	case $file in
	*.xz) xz -dc "$file" ;;
	*.zst) zstd -dcq "$file" ;;
	*) cat "$file" ;;
	esac >"$directory/$name.ko"
	for needed in $(tr '\0' '\n' <"$directory/$name.ko" | sed -n '/^depends=/{s///;s/,/ /g;p}'); do
		add_module "$needed" "$directory"
	done
	echo "$name" >>"$directory/order"
}
