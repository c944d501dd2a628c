#!/bin/sh
# Debian packages the Python ones are built against. Does nothing where they are already there;
# says what to do where we are not allowed to install them.
set -eu

missing=""
[ -e /usr/include/portaudio.h ] || missing="$missing portaudio19-dev"
command -v cc >/dev/null 2>&1 || missing="$missing gcc libc6-dev"
python=${PYTHON:-python3.11}
command -v "$python" >/dev/null 2>&1 || \
    echo "There is no $python here. If it is elsewhere: make PYTHON=/path/to/python3.11" >&2
"$python" -c 'import os, sysconfig; os.stat(sysconfig.get_path("include") + "/Python.h")' \
    2>/dev/null || missing="$missing ${python##*/}-dev"  # PYTHON may be a path
"$python" -c 'import ensurepip' 2>/dev/null || missing="$missing ${python##*/}-venv"
if [ "${1:-}" = boot ]; then  # the machine of tests/boot
    command -v debootstrap >/dev/null 2>&1 || missing="$missing debootstrap"
    command -v systemd-nspawn >/dev/null 2>&1 || missing="$missing systemd-container"
fi
if [ "${1:-}" = arm ]; then  # the emulated Pi
    command -v debootstrap >/dev/null 2>&1 || missing="$missing debootstrap"
    command -v update-binfmts >/dev/null 2>&1 || missing="$missing binfmt-support"
    [ "$(uname -m)" = aarch64 ] || command -v qemu-aarch64-static >/dev/null 2>&1 || \
        missing="$missing qemu-user-static"
fi
# The virtual microphone of tests/hil, which tests/boot listens to.
if [ "${1:-}" = hil ] || [ "${1:-}" = boot ]; then
    command -v pulseaudio >/dev/null 2>&1 || missing="$missing pulseaudio"
    command -v pactl >/dev/null 2>&1 || missing="$missing pulseaudio-utils"
    ls /usr/lib/*/alsa-lib/libasound_module_pcm_pulse.so >/dev/null 2>&1 || \
        missing="$missing libasound2-plugins"
fi
[ -z "$missing" ] && exit 0

if [ "$(id -u)" = 0 ]; then
    as_root=""
elif command -v sudo >/dev/null 2>&1; then
    as_root="sudo"
else
    echo "These Debian packages are missing and need root: apt-get install$missing" >&2
    exit 1
fi
echo "Installing Debian packages:$missing"
$as_root apt-get update -qq
# shellcheck disable=SC2086  # a list of packages is meant to be split
DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null
