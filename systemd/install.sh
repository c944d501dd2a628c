#!/bin/sh
# Installs KnockKnock Edge as a service, on Raspberry Pi OS Bookworm or Trixie; again: upgrades it.
set -eu
umask 022  # what is installed is to be run by a user of its own, whatever root's habits

usage() {
    cat <<'TEXT'
usage: sudo systemd/install.sh [--dry-run] [--wheels DIR] [--uninstall [--purge]]

  --wheels DIR   install Python packages from this folder, without network; Debian's python3-venv
                 and libportaudio2 must be there then (from Python 3.13 on also python3-lgpio, which
                 is Raspberry Pi's: without it there is no lamp)
  --dry-run      say what would be done, do nothing
  --uninstall    remove service and programs; settings and records stay
  --purge        with --uninstall alone: settings, records and user too

To fill a folder of wheels on a machine with network and the same Python and processor:
  pip wheel --wheel-dir wheels '.[pi]'
TEXT
}

here=$(cd "$(dirname "$0")/.." && pwd)
prefix=/opt/knockknock
unit=knockknock-edge.service
dry=""
wheels=""
action=install
purge=""
dark=""  # no lamp
while [ $# -gt 0 ]; do
    case "$1" in
        --dry-run) dry=yes ;;
        --wheels) [ $# -ge 2 ] || { usage >&2; exit 2; }; wheels=$(cd "$2" && pwd); shift ;;
        --uninstall) action=uninstall ;;
        --purge) purge=yes ;;
        -h|--help) usage; exit 0 ;;
        *) echo "install.sh: unknown option $1" >&2; usage >&2; exit 2 ;;
    esac
    shift
done

if [ -n "$purge" ] && [ "$action" != uninstall ]; then
    echo "install.sh: --purge goes with --uninstall" >&2
    exit 2
fi
if [ -z "$dry" ] && [ "$(id -u)" != 0 ]; then
    echo "install.sh: must be run as root: sudo systemd/install.sh" >&2
    exit 1
fi

# The caller's folder may be closed to the service's user, as whom some things are done below.
cd /

run() {
    if [ -n "$dry" ]; then echo "would: $*"; else "$@"; fi
}
# What is written may stay in memory for half a minute. In a car power goes with the ignition, and a
# program that is there but empty does not run, nor does pip write it again.
onto_the_disk() { run sync; }
systemd_runs() { [ -d /run/systemd/system ]; }

# Debian's word: on a 32-bit system uname speaks of the kernel, which may have 64.
architecture() {
    bits=$(dpkg --print-architecture 2>/dev/null) || return 0
    case "$bits" in
        armhf|armel)
            echo "install.sh: this system is a 32-bit one ($bits), for which there is no TFLite" \
                "runtime: write the 64-bit Raspberry Pi OS onto the card; nothing was installed" >&2
            exit 1
            ;;
    esac
}

packages() {
    wanted="python3-venv libportaudio2"
    if [ -z "$wheels" ]; then
        wanted="$wanted portaudio19-dev gcc python3-dev"
    fi
    missing=""
    for package in $wanted; do
        dpkg -s "$package" >/dev/null 2>&1 || missing="$missing $package"
    done
    # lgpio has no wheel for Python 3.13 on a Pi; there Raspberry Pi's own package serves, which
    # Debian's archive lacks. Without it all works but the lamp.
    lgpio=""
    if python3 -c 'import sys; sys.exit(sys.version_info < (3, 13))'; then
        dpkg -s python3-lgpio >/dev/null 2>&1 || lgpio=python3-lgpio
    fi
    if [ -n "$missing$lgpio" ]; then
        # An image some months old lists packages that the mirrors no longer have.
        [ -n "$wheels" ] || run apt-get update ||
            echo "install.sh: Debian's lists are as old as they were" >&2
    fi
    [ -z "$missing" ] || run apt-get install -y --no-install-recommends $missing
    [ -z "$lgpio" ] || run apt-get install -y --no-install-recommends "$lgpio" || dark=yes
}

# The versions that were tested, which are those of Python 3.11 (Bookworm).
tested() {
    if python3 -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then
        echo "--constraint $copy/constraints.txt"
    fi
}

programs() {
    # pip unpacks there. /tmp is memory on Trixie, and too small on a Zero 2 W.
    TMPDIR=/var/tmp
    export TMPDIR
    run mkdir -p "$prefix"
    python="$prefix/venv/bin/python"
    # Again where power was cut while it was made, or Debian has another Python now.
    "$python" -m pip --version >/dev/null 2>&1 ||
        run python3 -m venv --clear --system-site-packages "$prefix/venv"
    if [ -n "$wheels" ]; then
        run "$python" -m pip install --quiet --no-index --find-links "$wheels" \
            --upgrade 'knockknock-edge[pi]'
        # Wheels of one version may differ: what lies in the folder is what is wanted.
        run "$python" -m pip install --quiet --no-index --find-links "$wheels" \
            --force-reinstall --no-deps knockknock-edge
    else
        # In a copy: root's build files have no business among yours, nor old ones in ours.
        copy=/var/tmp/knockknock
        if [ -z "$dry" ]; then
            copy=$(mktemp -d)
            trap 'rm -rf "$copy"' EXIT
            trap 'exit 130' INT TERM
        fi
        run cp -R "$here/pyproject.toml" "$here/constraints.txt" "$here/README.md" \
            "$here/LICENSE" "$here/edge" "$here/convert" "$copy"
        run mkdir -p "$copy/models"
        run cp "$here/models/knock-int8.tflite" "$copy/models/"
        run "$python" -m pip install --quiet --upgrade $(tested) "$copy[pi]"
    fi
    run ln -sf "$prefix/venv/bin/edge" /usr/local/bin/edge
    onto_the_disk
}

user() {
    run mkdir -p /etc/sysusers.d /etc/tmpfiles.d
    run install -m 0644 "$here/systemd/knockknock.sysusers" /etc/sysusers.d/knockknock.conf
    run install -m 0644 "$here/systemd/knockknock.tmpfiles" /etc/tmpfiles.d/knockknock.conf
    run systemd-sysusers
    run systemd-tmpfiles --create knockknock.conf
}

# Why the service could not read what root can: files of root alone, a model in a folder of somebody's.
unreadable() {
    # In its words: name (owner:group, mode), for each that the service's user cannot open.
    closed=$(runuser -u knockknock -- find /etc/knockknock -type f ! -readable \
        -printf '%p (%u:%g, mode %m) ') || true  # where a folder is closed
    if [ -n "$closed" ]; then
        echo "root can read your settings, the service's user, knockknock, cannot: ${closed% };" \
            "say: sudo chmod a+r /etc/knockknock/*"
    else
        echo "root can do what is refused above, the service's user, knockknock, cannot: open the file" \
            "to it (sudo chmod a+r FILE, a+x on its folders), or put it into /etc/knockknock"
    fi
}

# Settings that this version refuses must not end an upgrade half way, with a unit that is not loaded.
# As the service's user: what root alone may read would be right here and wrong at each start.
settings() {
    code=0
    file=/etc/knockknock/edge.toml
    run runuser -u knockknock -- "$prefix/venv/bin/edge" run --check-config || code=$?
    # Root and, where its folder is open, that user see what ProtectHome= of the unit hides.
    hidden='^[[:space:]]*(listen\.)?model[[:space:]]*=[[:space:]]*["'\'']/(home|root|run/user)/'
    if [ "$code" -eq 0 ]; then
        [ -e "$file" ] && grep -Eq "$hidden" "$file" || return 0
        why="the service does not see /home, /root and /run/user: copy the model that $file names"
        why="$why to /etc/knockknock, name it so there"
    elif "$prefix/venv/bin/edge" run --check-config >/dev/null 2>&1; then
        why="$(unreadable)"
    elif [ "$code" -eq 2 ] && [ -e "$file" ]; then
        why="the new version refuses your settings: edit $file"
    else
        why="the new version does not run here (see above): mend that"
    fi
    echo "install.sh: $why and run install.sh again; until its next start a service that is there" \
        "runs as before" >&2
    exit 1
}

service() {
    run install -m 0644 "$here/systemd/99-knockknock.rules" /etc/udev/rules.d/
    # Settings of the user are never overwritten.
    [ -e /etc/knockknock/edge.toml ] || \
        run install -m 0644 "$here/systemd/edge.toml" /etc/knockknock/edge.toml
    run install -m 0644 "$here/systemd/$unit" "/etc/systemd/system/$unit"
    if systemd_runs; then
        run systemctl daemon-reload
        run udevadm control --reload || true
        run udevadm trigger --subsystem-match=gpio || true
        # The rule that keeps microphones awake counts for those that are plugged in already, too.
        run udevadm trigger --action=add --subsystem-match=usb \
            --attr-match=bInterfaceClass=01 || true
        run systemctl enable "$unit"
        run systemctl restart --no-block "$unit"
        finished="Installed and started. Its state: systemctl status knockknock-edge"
    else
        run systemctl enable "$unit"
        finished="Installed. It starts at the next boot."
    fi
    onto_the_disk
    if [ -n "$dark" ]; then
        echo "install.sh: python3-lgpio could not be installed: no lamp will be lit, its changes" \
            "go to the log. It is Raspberry Pi's, at archive.raspberrypi.com: with that archive" \
            "among apt's sources run install.sh again" >&2
    fi
    if [ -n "$dry" ]; then echo "Nothing was done."; else echo "$finished"; fi
}

uninstall() {
    if systemd_runs; then
        run systemctl disable --now "$unit" || true
    else
        run systemctl disable "$unit" || true
    fi
    run rm -f "/etc/systemd/system/$unit" /etc/sysusers.d/knockknock.conf \
        /etc/tmpfiles.d/knockknock.conf /etc/udev/rules.d/99-knockknock.rules \
        /usr/local/bin/edge
    run rm -rf "$prefix"
    if systemd_runs; then run systemctl daemon-reload; fi
    if [ -n "$purge" ]; then
        run rm -rf /etc/knockknock /var/lib/knockknock
        if id knockknock >/dev/null 2>&1; then run userdel knockknock; fi
    else
        echo "Settings (/etc/knockknock) and records (/var/lib/knockknock) stay; --purge removes them."
    fi
}

case "$action" in
    install) architecture; packages; programs; user; settings; service ;;
    uninstall) uninstall ;;
esac
