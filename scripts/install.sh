#!/bin/bash
# Installs the library, its header, its manual pages, its pkg-config file and the minorca command.
#
# usage: bazel run --config=release //:install -- [--prefix=/usr/local] [--destdir=DIR] [--libdir=lib]
set -eu
# Bazel puts "." first in a test's PATH, and a runfile is called install.
PATH=/usr/local/bin:/usr/bin:/bin
prefix=/usr/local destdir='' libdir=lib version='' soversion=''
for argument; do
	case $argument in
	--prefix=*) prefix=${argument#*=} ;;
	--destdir=*) destdir=${argument#*=} ;;
	--libdir=*) libdir=${argument#*=} ;;
	--version=*) version=${argument#*=} ;;
	--soversion=*) soversion=${argument#*=} ;;
	*)
		echo "install: unknown argument $argument" >&2
		exit 2
		;;
	esac
done
case $prefix in
/*) ;;
*)
	echo "install: --prefix must be absolute" >&2
	exit 2
	;;
esac
# `bazel run` starts us in the runfiles tree of the main repository; so does a test's data.
target=$destdir$prefix
install -d "$target/$libdir/pkgconfig" "$target/bin" "$target/include" "$target/share/man/man7"
install -m 0755 "libminorca.so.$version" "$target/$libdir/"
ln -sf "libminorca.so.$version" "$target/$libdir/libminorca.so.$soversion"
ln -sf "libminorca.so.$soversion" "$target/$libdir/libminorca.so"
install -m 0644 libminorca.a "$target/$libdir/"
install -m 0644 dsm/include/minorca.h "$target/include/"
install -m 0644 docs/minorca-memory-model.7 "$target/share/man/man7/"
install -m 0755 dsm/tools/minorca "$target/bin/"
sed -e "s|@PREFIX@|$prefix|" -e "s|@LIBDIR@|$libdir|" -e "s|@VERSION@|$version|" dsm/minorca.pc.in \
	>"$target/$libdir/pkgconfig/minorca.pc"
chmod 0644 "$target/$libdir/pkgconfig/minorca.pc"
echo "installed minorca $version under $target"
