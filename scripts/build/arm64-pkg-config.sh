#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# arm64-pkg-config.sh ARG...: pkg-config for build/sysroot-arm64

sysroot=$(cd "$(dirname "$0")/../../build/sysroot-arm64" && pwd) || exit
PKG_CONFIG_SYSROOT_DIR=$sysroot
PKG_CONFIG_LIBDIR=$sysroot/usr/lib/aarch64-linux-gnu/pkgconfig:$sysroot/usr/share/pkgconfig
export PKG_CONFIG_SYSROOT_DIR PKG_CONFIG_LIBDIR
unset PKG_CONFIG_PATH
exec pkg-config "$@"
