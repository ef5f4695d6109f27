# shellcheck shell=sh
# Sourced by bin/devvm and bin/test: a Python environment for this checkout, made on first use.
#
# It lies outside the work tree, in a folder named by what it is made from (pyproject.toml and the
# Python), so that it is made anew when that changes and never changed under a running devvm. A
# file written last marks it as whole: one that was killed half way is made again.

checkout=$(dirname -- "$(dirname -- "$self")")
data=${XDG_DATA_HOME:-${HOME:-}/.local/share}/devvm
logs=${XDG_STATE_HOME:-${HOME:-}/.local/state}/devvm/logs
log=
python=
ticker=
json=
yes=${DEVVM_YES:-}

say() { printf '%s\n' "$*" >&2; }

# fail CODE KIND BRIEF DETAILS NEXT: the same form as devvm's own errors; ends the script.
fail() {
    say "Error: $3"
    if [ -n "$4" ]; then say "  $4"; fi
    if [ -n "$5" ]; then say "Next: $5"; fi
    if [ -n "$log" ]; then say "Log: $log"; fi
    if [ -n "$json" ]; then
        printf '{"error": {"code": "%s", "brief": "%s", "details": "%s", "resolution": "%s", ' \
            "$2" "$(escaped "$3")" "$(escaped "$4")" "$(escaped "$5")"
        if [ -n "$log" ]; then printf '"log": "%s", ' "$(escaped "$log")"
        else printf '"log": null, '; fi
        printf '"exit_code": %s}}\n' "$1"
    fi
    exit "$1"
}

escaped() { printf '%s' "$1" | tr -d '\000-\037' | sed 's/\\/\\\\/g; s/"/\\"/g'; }

stop_ticker() {
    if [ -n "$ticker" ]; then kill "$ticker" 2>/dev/null || true; fi
    ticker=
}

# Lines of APT's and pip's that say what is being done now.
activity='s/^Get:[0-9]+ [^ ]+ [^ ]+ [^ ]+ ([^ ]+) .*/downloading \1/p
    s/^Unpacking ([^ :]+).*/unpacking \1/p
    s/^Setting up ([^ :]+).*/setting up \1/p
    s/^Collecting ([^ ]+).*/downloading \1/p
    s/^ *Building wheels? for ([^ ]+) .*/building \1/p
    s/^Installing collected.*/installing/p'

# busy TITLE COMMAND...: run it with its output in the log; show that it goes on.
busy() {
    title=$1
    shift
    start=$(date +%s)
    if [ -t 2 ]; then
        # Stops by itself when this script is gone.
        (
            exec 9>&-
            while kill -0 $$ 2>/dev/null; do
                now=$(tail -c 4000 "$log" 2>/dev/null | tr '\r' '\n' | sed -nE "$activity" |
                    tail -n 1 | cut -c 1-28)
                printf '\r\033[K … %-34s %9s s  %s' "$title" "$(($(date +%s) - start))" "$now"
                sleep 1
            done >&2
        ) &
        ticker=$!
    else
        say "$title"
    fi
    status=0
    printf '$ %s\n' "$*" >>"$log"
    # In a shell of its own: a trap that runs meanwhile must not write into the log.
    ("$@") >>"$log" 2>&1 </dev/null || status=$?
    stop_ticker
    took=$(($(date +%s) - start))
    if [ "$status" -eq 0 ]; then mark='✓'; else mark='✗'; fi
    if [ -t 2 ]; then
        printf '\r\033[K %s %-34s %9s s\n' "$mark" "$title" "$took" >&2
    else
        say "$title: $mark $took s"
    fi
    return "$status"
}

new_log() {
    mkdir -p "$logs" || fail 4 host-not-ready "the folder $logs can't be made" "" ""
    log=$logs/$(date -u +%Y%m%dT%H%M%S)-first-use-$$.log
}

# The Python to make environments with: Debian's own first, as its headers come from Debian too.
find_python() {
    for candidate in /usr/bin/python3 python3 python3.13 python3.12 python3.11; do
        python=$(command -v "$candidate" 2>/dev/null) || continue
        if "$python" -I -S -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            return 0
        fi
    done
    python=
    return 1
}

# absent_packages FILE: those of a list that are not installed.
absent_packages() {
    wanted=$(sed 's/#.*//' "$1")
    # shellcheck disable=SC2086 # a list of words
    installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' $wanted 2>/dev/null |
        sed -n 's/ installed$//p')
    for package in $wanted; do
        printf '%s\n' "$installed" | grep -qxF "$package" || printf '%s ' "$package"
    done
}

# Whether an environment can be made with what is installed: libvirt-python is built from source.
can_make() {
    find_python &&
        "$python" -c 'import ensurepip, venv, sysconfig, os
raise SystemExit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' \
            2>/dev/null &&
        command -v gcc >/dev/null && pkg-config --exists libvirt 2>/dev/null
}

# Install the whole list of host packages at once, so that the set-up after it asks nothing more.
install_packages() {
    command -v apt-get >/dev/null || fail 4 host-not-ready "this is not a Debian host" \
        "apt-get is not here; devvm sets up Debian and its derivatives" \
        "use a Debian 12 machine"
    absent=$(absent_packages "$checkout/devvm/data/host-packages.txt")
    count=$(printf '%s' "$absent" | wc -w)
    if [ -z "$yes" ]; then
        say "devvm needs to set up this host. It will:"
        say "  - install $count Debian packages:"
        printf '%s\n' "$absent" | fold -s -w 72 | sed 's/^/      /' >&2
        say "  - make itself a Python environment in $data"
        say "  - start libvirt, and let you use it"
        say "  - make the folder /var/lib/devvm, and make the names of VMs resolve"
        say "  - put devvm on the PATH"
        if [ ! -t 0 ] || [ ! -t 2 ]; then
            fail 4 host-not-ready "this host is not ready for devvm" \
                "still to install: ${absent% }" "$checkout/bin/devvm setup --yes"
        fi
        printf 'Proceed? [Y/n] ' >&2
        read -r answer || answer=n
        case $answer in
            '' | [Yy] | [Yy][Ee][Ss]) ;;
            *) fail 4 host-not-ready "this host is not ready for devvm" \
                "nothing was installed" "$checkout/bin/devvm setup" ;;
        esac
    fi
    DEVVM_SETUP_AGREED=1
    export DEVVM_SETUP_AGREED
    sudo=
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || fail 4 host-not-ready \
            "devvm needs root to install packages, and sudo is not installed" "" \
            "as root: apt-get install sudo && adduser $(id -un) sudo"
        sudo -n true 2>/dev/null || { [ -t 0 ] && sudo -v; } || fail 4 host-not-ready \
            "devvm needs root to install packages" "sudo did not let you" \
            "ask an administrator of this host to run: $checkout/bin/devvm setup --yes"
        sudo='sudo -n'
    fi
    new_log
    # shellcheck disable=SC2086 # a list of words
    apt_install "Installing $count system packages" $absent
}

# apt_install TITLE PACKAGE...: with $sudo, which is empty for root.
apt_install() {
    installing=$1
    shift
    # shellcheck disable=SC2086 # no word, or two
    {
        noninteractive="$sudo env DEBIAN_FRONTEND=noninteractive"
        $noninteractive dpkg --configure -a >>"$log" 2>&1 </dev/null || true
        busy "Reading the package lists" $sudo apt-get -q -o DPkg::Lock::Timeout=300 update || true
        busy "$installing" $noninteractive apt-get -q -y \
            -o DPkg::Lock::Timeout=300 -o APT::Color=0 -o Dpkg::Options::=--force-confold \
            install --no-install-recommends "$@" || apt_failed
    }
}

apt_failed() {
    cause=$(grep -E '^(E:|Err:|W: Failed)' "$log" | sort -u | tail -n 2 | tr '\n' ' ' || true)
    brief="the system packages could not be installed"
    if printf '%s' "$cause" | grep -qiE 'resolv|connect|fetch'; then
        brief="the Debian package mirror can't be reached"
    fi
    fail 4 host-not-ready "$brief" "$cause" \
        "check the network and /etc/apt/sources.list.d, then type the command again"
}

# environment [EXTRA]: set $venv to a whole environment; EXTRA is one of pyproject.toml's.
environment() {
    extra=${1:-}
    if [ -z "${HOME:-}" ] && { [ -z "${XDG_DATA_HOME:-}" ] || [ -z "${XDG_STATE_HOME:-}" ]; }; then
        if [ -n "${_DEVVM_COMPLETE:-}" ]; then exit 0; fi # Tab must not talk
        fail 2 usage "HOME is not set, and devvm keeps its Python environment and logs there" "" \
            "set HOME, or both XDG_DATA_HOME and XDG_STATE_HOME"
    fi
    find_python || true
    base=$data/venv/$(printf '%s' "$checkout" | sha256sum | cut -c 1-12)
    key=$(
        {
            cat -- "$checkout/pyproject.toml"
            [ -z "$python" ] || readlink -f -- "$python"
            printf '%s' "$extra"
        } | sha256sum | cut -c 1-12
    )
    venv=$base/$key
    if [ -n "$python" ] && [ -e "$venv/.whole" ] && [ -x "$venv/bin/python" ]; then return; fi
    if [ -n "${_DEVVM_COMPLETE:-}" ]; then exit 0; fi # Tab must neither install nor talk
    trap 'stop_ticker; say; say "Interrupted: typed again, it goes on"
        exit 130' INT TERM HUP
    if ! can_make; then
        install_packages
        can_make || fail 4 host-not-ready "the packages are installed, and still something is \
missing" "Python 3.11 or newer with venv and headers, gcc, libvirt's headers" ""
        environment "$extra" # now that the Python is known
        return
    fi
    mkdir -p "$base" || fail 4 host-not-ready "the folder $base can't be made" "" ""
    exec 9>"$base/lock"
    flock -n 9 || {
        say "Another devvm makes the Python environment; waiting for it"
        flock 9
    }
    if [ ! -e "$venv/.whole" ]; then make_environment; fi
    exec 9>&-
    trap - INT TERM HUP
}

make_environment() {
    if [ -z "$log" ]; then new_log; fi
    requirements=$(
        "$python" - "$checkout/pyproject.toml" "$extra" <<'EOF'
import sys, tomllib
project = tomllib.load(open(sys.argv[1], "rb"))["project"]
wanted = [*project["dependencies"]]
wanted += project["optional-dependencies"][sys.argv[2]] if sys.argv[2] else []
print("\n".join(wanted))
EOF
    )
    busy "Making the Python environment" fill_environment || {
        cause=$(grep -E 'ERROR|[Ee]rror:' "$log" | tail -n 2 | tr '\n' ' ' | cut -c 1-400 || true)
        fail 4 host-not-ready "devvm's Python environment could not be made" "$cause" \
            "check the network and the free space, then type the command again"
    }
    # Environments of older states of this checkout; young ones may still be at work.
    find "$base" -mindepth 1 -maxdepth 1 -type d ! -name "$key" -mtime +7 -exec rm -rf {} + || true
}

fill_environment() {
    "$python" -m venv --clear "$venv" &&
        printf '%s\n' "$requirements" >"$venv/requirements.txt" &&
        "$venv/bin/python" -m pip --disable-pip-version-check install --no-input \
            --progress-bar off --requirement "$venv/requirements.txt" &&
        # The checkout itself, without writing into it.
        for site in "$venv"/lib/python3*/site-packages; do
            printf '%s\n' "$checkout" >"$site/devvm-checkout.pth" || return 1
        done &&
        : >"$venv/.whole"
}
