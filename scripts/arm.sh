#!/bin/sh
# Run the tests of what depends on the processor (arithmetic, decoders, both TFLite runtimes) on an
# emulated 64-bit Pi, with the wheels that a Pi gets, in a Debian of its own in build/arm.
set -eu
cd "$(dirname "$0")/.."
# The Pi 3B's and the Zero 2 W's, the oldest supported. cortex-a72 is a Pi 4's, cortex-a76 a Pi 5's.
cpu=${KNOCK_CPU:-cortex-a53}
pip="${VENV:-.venv}/bin/pip --quiet --disable-pip-version-check"
debian=build/arm
# Nothing of this shell's environment gets in, such as settings of pip.
inside="env -i HOME=/root PATH=/usr/sbin:/usr/bin:/bin QEMU_CPU=$cpu OMP_NUM_THREADS=1
    OPENBLAS_NUM_THREADS=1 chroot $debian"
tests="float_mode classifier golden frontend cqt stft_hpss resample gate gate_plug hiss repetition
    window temperature png wav soundfile_decoder decoders many_channels ogg missing_sound"
packages="numpy scipy tflite-runtime ai-edge-litert soundfile av librosa matplotlib pillow pytest
    pytest-xdist"

if [ "$(id -u)" != 0 ]; then
    echo "arm.sh: only root can build a Debian: sudo make test-arm" >&2
    exit 1
fi
handlers=/proc/sys/fs/binfmt_misc  # where the kernel is told to start a Pi's programs in qemu
if [ "$(uname -m)" != aarch64 ]; then
    [ -e $handlers/register ] || mount -t binfmt_misc none $handlers
    [ -e $handlers/qemu-aarch64 ] || update-binfmts --enable qemu-aarch64
fi

# debootstrap leaves them mounted.
unmount() { umount -q $debian/proc $debian/sys || true; }
if [ ! -e $debian/.complete ]; then
    echo "Building a Debian for aarch64 in $debian: this takes ten minutes."
    unmount
    rm -rf $debian
    mkdir -p $debian
    debootstrap --arch=arm64 --variant=minbase --include=python3,python3-venv bookworm $debian \
        http://deb.debian.org/debian >$debian.log
    unmount
    $inside python3 -m venv /srv/venv
    touch $debian/.complete
fi

platforms="--platform manylinux2014_aarch64"
for minor in $(seq 17 36); do  # Bookworm has glibc 2.36
    platforms="$platforms --platform manylinux_2_${minor}_aarch64"
done
# shellcheck disable=SC2086  # lists of arguments are meant to be split
$pip download --dest $debian/srv/wheels -c constraints.txt --only-binary=:all: \
    --python-version 3.11 $platforms $packages
cp constraints.txt $debian/srv/  # wheels of other versions may still lie there
# shellcheck disable=SC2086
$inside /srv/venv/bin/pip install --quiet --disable-pip-version-check --no-index \
    --find-links /srv/wheels -c /srv/constraints.txt $packages

rm -rf $debian/srv/knockknock
mkdir $debian/srv/knockknock
tar -c --exclude=__pycache__ pyproject.toml edge convert tests models/knock-int8.tflite |
    tar -x -C $debian/srv/knockknock
paths=""
for name in $tests; do paths="$paths tests/test_$name.py"; done
echo "Testing on $cpu."
$inside sh -c "cd /srv/knockknock && exec /srv/venv/bin/python -m pytest -n logical \
    --dist loadfile -p no:cacheprovider --durations=10 $paths"
