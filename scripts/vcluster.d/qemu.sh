# shellcheck shell=bash
# The machine that is a guest. Part of scripts/vcluster.
# shellcheck disable=SC2154 # guests, cpus, ...: its variables

# MTU of the guests' network: a RoCE packet of 4096 bytes, with its headers, in one frame.
readonly mtu=4200

# no_timer_check: emulated on a busy host, the timer looks broken at boot. nokaslr and mitigations=off: time.
readonly kernel_arguments='console=ttyS0 quiet loglevel=4 panic=-1 nokaslr mitigations=off nowatchdog no_timer_check net.ifnames=0'

# A /dev/kvm that is neither Intel's nor AMD's (of PVM, say) does not boot a stock kernel.
acceleration() {
	if [ -w /dev/kvm ] && { [ -d /sys/module/kvm_intel ] || [ -d /sys/module/kvm_amd ]; }; then
		echo kvm
	else
		echo tcg,thread=multi
	fi
}

# qemu_command GUEST: sets qemu.
qemu_command() {
	# shellcheck disable=SC2054 # the commas are QEMU's
	qemu=(qemu-system-x86_64 -accel "$(acceleration)" -cpu max -M q35 -m "$memory_mib" -smp "$cpus"
		-nodefaults -display none -no-reboot -serial "file:$out/console.$1"
		-kernel "$kernel_image" -initrd "$tmp/initramfs"
		-append "$kernel_arguments hugepagesz=2M hugepages=$hugepages vcluster_guest=$1"
		-virtfs local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap
		-virtfs "local,path=${out//,/,,},mount_tag=out,security_model=none,multidevs=remap"
		-device virtio-rng-pci)
	add_network "$1"
}

# add_network GUEST: a cable to each other guest; the lower one plugs it in. Not QEMU's hub (hubport): when a receiver has
# room again, it hands on what waits before the hub ahead of what waits behind it. Soft-RoCE does not ask again for a
# packet that came too late: the READ stalls until its timer is up. A guest that is alone makes a pair of virtual
# Ethernets for itself.
add_network() {
	local peer
	for ((peer = 0; peer < guests; peer++)); do
		[ "$peer" != "$1" ] || continue
		qemu+=(-netdev "stream,id=cable$peer,$(cable_end "$1" "$peer")"
			-device "virtio-net-pci,netdev=cable$peer,mac=$(printf '52:54:00:77:%02x:%02x' "$peer" "$1"),host_mtu=$mtu,romfile=")
	done
}

# cable_end GUEST PEER
cable_end() {
	if [ "$1" -lt "$2" ]; then
		echo "server=off,addr.type=unix,addr.path=$tmp/net.$1.$2"
	else
		echo "server=on,addr.type=unix,addr.path=$tmp/net.$2.$1"
	fi
}
