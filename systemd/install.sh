#!/bin/sh
# Installs KnockKnock Edge as a service on Raspberry Pi OS Bookworm or Trixie; run again, upgrades it.
set -eu
umask 022  # the service's user must be able to read what is installed, whatever root's umask is

usage() {
    cat <<'TEXT'
usage: sudo systemd/install.sh [--dry-run] [--wheels DIR] [--uninstall [--purge]]

  --wheels DIR   install Python packages from folder DIR, without network; Debian's python3-venv and
                 libportaudio2 must be installed already (from Python 3.13 on, also python3-lgpio from
                 Raspberry Pi's archive: without it there is no lamp)
  --dry-run      only print what would be done
  --uninstall    remove service and programs, keep settings and records
  --purge        with --uninstall: remove settings, records and user, too

To fill a folder of wheels, on a machine with network, the same Python version and processor type:
  sudo apt install python3-venv portaudio19-dev gcc python3-dev    # PyAudio is compiled
  rm -rf build && pip wheel --wheel-dir wheels '.[pi]'    # build may hold an older version's files
TEXT
}

here=$(cd "$(dirname "$(readlink -f "$0")")/.." && pwd)
prefix=/opt/knockknock
link=/usr/local/bin/edge
unit=knockknock-edge.service
dry=""
wheels=""
action=install
purge=""
dark=""  # yes: the lamp will not work
while [ $# -gt 0 ]; do
    case "$1" in
        --dry-run) dry=yes ;;
        --wheels)
            if [ $# -lt 2 ] || ! [ -d "$2" ]; then
                echo "install.sh: --wheels ${2:-} needs a folder of wheels" >&2
                exit 2
            fi
            wheels=$(cd "$2" && pwd)
            shift
            ;;
        --uninstall) action=uninstall ;;
        --purge) purge=yes ;;
        -h|--help) usage; exit 0 ;;
        *) echo "install.sh: unknown option $1" >&2; usage >&2; exit 2 ;;
    esac
    shift
done

if [ -n "$purge" ] && [ "$action" != uninstall ]; then
    echo "install.sh: --purge needs --uninstall" >&2
    exit 2
fi
if [ -z "$dry" ] && [ "$(id -u)" != 0 ]; then
    echo "install.sh: must be run as root: sudo systemd/install.sh" >&2
    exit 1
fi

# Some commands below run as the service's user, who may have no access to the caller's folder.
cd /

run() {
    if [ -n "$dry" ]; then echo "would: $*"; else "$@"; fi
}
# Written data may stay in memory for half a minute. In a car, power goes off with the ignition; a
# program file left empty would not run, and pip would not write it again.
onto_the_disk() { run sync; }
systemd_runs() { [ -d /run/systemd/system ]; }

# Another program may be called edge: it is neither replaced nor removed.
link_is_ours() { [ "$(readlink "$link")" = "$prefix/venv/bin/edge" ]; }
link_is_free() {
    { ! [ -e "$link" ] && ! [ -L "$link" ]; } || link_is_ours || {
        echo "install.sh: $link is another program: move it elsewhere; nothing was installed" >&2
        exit 1
    }
}

# Ask dpkg: on a 32-bit system uname reports the kernel's architecture, which may be 64-bit.
architecture() {
    bits=$(dpkg --print-architecture 2>/dev/null) || return 0
    case "$bits" in
        armhf|armel)
            echo "install.sh: this system is a 32-bit one ($bits), for which there is no TFLite" \
                "runtime: write 64-bit Raspberry Pi OS to the card; nothing was installed" >&2
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
    # lgpio has no wheel for Python 3.13 on a Pi, so Raspberry Pi's own package is used, which
    # Debian's archive lacks. Without it everything works but the lamp.
    lgpio=""
    if python3 -c 'import sys; sys.exit(sys.version_info < (3, 13))'; then
        dpkg -s python3-lgpio >/dev/null 2>&1 || lgpio=python3-lgpio
    fi
    if [ -n "$missing$lgpio" ]; then
        # The package lists of an older image name versions that the mirrors no longer have.
        [ -n "$wheels" ] || run apt-get update ||
            echo "install.sh: apt-get update failed, going on with the old package lists" >&2
    fi
    [ -z "$missing" ] || run apt-get install -y --no-install-recommends $missing
    [ -z "$lgpio" ] || run apt-get install -y --no-install-recommends "$lgpio" || dark=yes
}

# Pin the tested versions of the packages, which are those for Python 3.11 (Bookworm).
tested() {
    if python3 -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then
        echo "--constraint $copy/constraints.txt"
    fi
}

programs() {
    # pip unpacks here. On Trixie /tmp is in memory, and too small on a Zero 2 W.
    TMPDIR=/var/tmp
    export TMPDIR
    run mkdir -p "$prefix"
    python="$prefix/venv/bin/python"
    # Created anew if a power cut left it incomplete, or if Debian has another Python version now.
    "$python" -m pip --version >/dev/null 2>&1 ||
        run python3 -m venv --clear --system-site-packages "$prefix/venv"
    # Eager, or pip is content with a numpy of Debian's, which may be slow, and may be removed later.
    upgrade="--upgrade --upgrade-strategy eager"
    if [ -n "$wheels" ]; then
        run "$python" -m pip install --quiet --no-index --find-links "$wheels" \
            $upgrade 'knockknock-edge[pi]'
        # Two wheels may differ and have the same version: always install the one in the folder.
        run "$python" -m pip install --quiet --no-index --find-links "$wheels" \
            --force-reinstall --no-deps knockknock-edge
    else
        # Build in a copy: root's build files must not end up in your clone, nor old ones in the build.
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
        run "$python" -m pip install --quiet $upgrade $(tested) "$copy[pi]"
    fi
    run ln -sf "$prefix/venv/bin/edge" "$link"
    onto_the_disk
}

user() {
    run mkdir -p /etc/sysusers.d /etc/tmpfiles.d
    run install -m 0644 "$here/systemd/knockknock.sysusers" /etc/sysusers.d/knockknock.conf
    run install -m 0644 "$here/systemd/knockknock.tmpfiles" /etc/tmpfiles.d/knockknock.conf
    run systemd-sysusers
    run systemd-tmpfiles --create knockknock.conf
}

# Why the service's user cannot read what root can: a file of root's alone, a model in a private folder.
unreadable() {
    # Name (owner:group, mode) of each file that the service's user cannot open.
    closed=$(runuser -u knockknock -- find /etc/knockknock -type f ! -readable \
        -printf '%p (%u:%g, mode %m) ') || true  # find fails on a folder it may not enter
    if [ -n "$closed" ]; then
        echo "root can read your settings, but the service's user, knockknock, cannot: ${closed% };" \
            "run: sudo chmod a+r /etc/knockknock/*"
    else
        echo "root can do what failed above, but the service's user, knockknock, cannot: open the file" \
            "to it (sudo chmod a+r FILE, a+x on its folders), or put it into /etc/knockknock"
    fi
}

# Check the settings before the unit is replaced: if this version refuses them, the upgrade must not stop
# half way, with a unit that is not loaded. As the service's user, because a file that only root may read
# would pass here and fail at each start.
settings() {
    code=0
    file=/etc/knockknock/edge.toml
    run runuser -u knockknock -- "$prefix/venv/bin/edge" run --check-config || code=$?
    # This check sees folders that ProtectHome= and the like in the unit hide from the service.
    hidden='^[[:space:]]*((listen\.)?model|(blackbox\.)?directory|(health\.)?status_file)[[:space:]]*=[[:space:]]*["'\'']/(home|root|run/user|tmp|var/tmp|dev/shm)/'
    if [ "$code" -eq 0 ]; then
        [ -e "$file" ] && grep -Eq "$hidden" "$file" || return 0
        why="the service cannot see /home, /root, /tmp and the like: change the paths there in $file"
        why="$why (copy a model to /etc/knockknock; records and status are best left where they are)"
    elif "$prefix/venv/bin/edge" run --check-config >/dev/null 2>&1; then
        why="$(unreadable)"
    elif [ "$code" -eq 2 ] && [ -e "$file" ]; then
        why="the new version refuses your settings: edit $file"
    else
        why="the new version does not run here: correct the error above, or if the cause is in"
        why="$why $prefix, which a power cut may damage, remove that: sudo rm -rf $prefix"
    fi
    echo "install.sh: $why. Then run install.sh again; until its next start an installed service" \
        "runs as before" >&2
    exit 1
}

service() {
    run mkdir -p /etc/udev/rules.d
    run install -m 0644 "$here/systemd/99-knockknock.rules" /etc/udev/rules.d/
    # The user's settings are never overwritten.
    [ -e /etc/knockknock/edge.toml ] || \
        run install -m 0644 "$here/systemd/edge.toml" /etc/knockknock/edge.toml
    run install -m 0644 "$here/systemd/$unit" "/etc/systemd/system/$unit"
    if systemd_runs; then
        run systemctl daemon-reload
        run udevadm control --reload || true
        # Raspberry Pi OS has set the group already. There, a second trigger would remove the link
        # gpiochip4 of a Pi 5, by its own rule.
        if find /dev -maxdepth 1 -name 'gpiochip*' -type c ! -group gpio | grep -q .; then
            run udevadm trigger --subsystem-match=gpio || true
        fi
        # Apply the rule that keeps microphones awake also to those that are plugged in already.
        run udevadm trigger --action=add --subsystem-match=usb \
            --attr-match=bInterfaceClass=01 || true
        run systemctl enable "$unit"
        run systemctl restart --no-block "$unit"
        finished="Installed and started. To see its state: systemctl status knockknock-edge"
    else
        run systemctl enable "$unit"
        finished="Installed. It starts at the next boot."
    fi
    onto_the_disk
    if [ -n "$dark" ]; then
        echo "install.sh: python3-lgpio could not be installed: no lamp will be lit, its changes" \
            "are only logged. Add Raspberry Pi's archive, archive.raspberrypi.com, to apt's" \
            "sources and run install.sh again" >&2
    fi
    if [ -n "$dry" ]; then echo "Nothing was done."; else echo "$finished"; fi
}

# Fails if something remains: the sound of somebody's car must not be left behind unsaid.
purge_records() {
    home=/var/lib/knockknock
    if [ -L "$home" ]; then  # where it leads, other things may lie, too
        run rm -rf "$home/records" && run rm -f "$home"
    elif mountpoint -q "$home"; then  # the folder of a partition cannot be removed
        run find "$home" -xdev -mindepth 1 -delete
    else
        run rm -rf "$home"
    fi
}

uninstall() {
    if [ -e "/etc/systemd/system/$unit" ]; then
        if systemd_runs; then
            run systemctl disable --now "$unit" || true
        else
            run systemctl disable "$unit" || true
        fi
    fi
    run rm -f "/etc/systemd/system/$unit" /etc/sysusers.d/knockknock.conf \
        /etc/tmpfiles.d/knockknock.conf /etc/udev/rules.d/99-knockknock.rules
    if link_is_ours; then run rm -f "$link"; fi
    run rm -rf "$prefix"
    if [ -n "$purge" ]; then run rm -rf "/etc/systemd/system/$unit.d"; fi  # of systemctl edit
    if systemd_runs; then run systemctl daemon-reload; fi
    if [ -n "$purge" ]; then
        elsewhere=$(sed -n 's/^[[:space:]]*\(blackbox\.\)\{0,1\}directory[[:space:]]*=[[:space:]]*["'\'']\(..*\)["'\''].*/\2/p' \
            /etc/knockknock/edge.toml 2>/dev/null) || true  # none if it is the default
        run rm -rf /etc/knockknock
        gone="settings and the records in /var/lib/knockknock"
        purge_records || { gone="settings"; elsewhere="/var/lib/knockknock $elsewhere"; }
        if id knockknock >/dev/null 2>&1; then run userdel knockknock; fi
        if [ -z "$dry" ]; then echo "Removed, with $gone."; fi
        if [ -n "$elsewhere" ]; then echo "Records in ${elsewhere% } stay: remove them yourself." >&2; fi
    else
        echo "Settings (/etc/knockknock) and records (/var/lib/knockknock) stay; --purge removes them."
    fi
}

case "$action" in
    install) architecture; link_is_free; packages; programs; user; settings; service ;;
    uninstall) uninstall ;;
esac
