#!/usr/bin/env bash
# test_bare.sh [PYTEST_ARGUMENT...]
#
# Proves both commands on a bare machine: a fresh Debian 12 with nothing but Python 3.11 (with venv), make and git.
#
# Makes it with debootstrap in a temporary folder, copies a clean clone of HEAD in, and runs there, as root and in name
# spaces of its own: `make run` until /readyz says 200, SIGTERM, and then `make test`. With arguments (`tests/core -k
# clock`) it leaves out `make run` and gives them to `make test`: a trial of the set-up that takes minutes. Package
# sources, certificates and pip's configuration are taken over from this machine, whatever they are. BACKENDS is too.
set -euo pipefail
cd "$(dirname "$0")/.."

[ "$(id -u)" -eq 0 ] || { echo "make test-bare needs root: it makes a chroot." >&2; exit 1; }

if [ "${1:-}" != inside ]; then
    command -v debootstrap >/dev/null || {
        echo "Installing debootstrap ..."
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install --yes -qq debootstrap >/dev/null
    }
    root=$(mktemp -d /tmp/wardroom-bare-XXXXXX)
    trap 'rm -rf --one-file-system "$root"' EXIT
    chmod 755 "$root"
    # Mounts and processes end with the name spaces, whatever happens.
    unshare --mount --pid --fork --kill-child "$0" inside "$root" "$@"
    exit 0
fi

root=$2
shift 2
part=$* # Empty: everything.
began=$SECONDS
mount -t proc proc /proc # Ours: from here on, only our own processes are seen.
mirror=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' 'Created-By: Packages' |
    awk '$2 == "bookworm" && $3 == "main" { print $1; exit }')
[ -n "$mirror" ] || {
    echo "apt names no package source of Debian 12 (bookworm main): add one to /etc/apt, run apt-get update, and try again." >&2
    exit 1
}
echo "Making a bare Debian 12 ..."
debootstrap --variant=minbase --include=ca-certificates bookworm "$root" "$mirror" \
    >"$root/debootstrap.log" 2>&1 || { cat "$root/debootstrap.log" >&2; exit 1; }

# --- what this machine needs to reach its package sources --------------------------------------------------------------
copy() {
    for path in "$@"; do
        [ -e "$path" ] || continue
        rm -rf "${root:?}$path"
        mkdir -p "$root${path%/*}"
        cp -rL "$path" "$root${path%/*}/"
    done
}
rm -f "$root/etc/apt/sources.list"
copy /etc/apt/sources.list /etc/apt/sources.list.d /etc/apt/apt.conf.d /etc/apt/auth.conf.d /etc/apt/keyrings \
    /etc/apt/trusted.gpg.d /usr/share/keyrings /etc/resolv.conf /etc/hosts /etc/pip.conf \
    /etc/ssl/certs /usr/local/share/ca-certificates
if [ -d "${HOME:-}/.config/pip" ]; then
    mkdir -p "$root/root/.config"
    cp -rL "$HOME/.config/pip" "$root/root/.config/"
fi
# Folders that pip is told to look into.
for path in $({ python3 -m pip config list 2>/dev/null; env | grep '^PIP_'; } | grep -o '/[^ "'"'"',]*' | sed 's|^//*|/|' | sort -u); do
    [ -d "$path" ] || continue
    [ "${path##*/}" != simple ] || path=${path%/*} # An index links to the files beside it.
    mkdir -p "$root$path"
    mount --bind "$path" "$root$path"
done
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/tmp"

git clone --quiet --no-hardlinks . "$root/srv/wardroom"
passed=$(env | grep -E '^(PIP_|SSL_|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|[a-z]+_proxy|[A-Z]+_PROXY)' || true)
bare() {
    # shellcheck disable=SC2086
    chroot "$root" env -i HOME=/root LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        $passed "$@"
}

bare sh -c 'apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install --yes -qq --no-install-recommends \
    python3.11 python3.11-venv make git' >"$root/apt.log" 2>&1 || { cat "$root/apt.log" >&2; exit 1; }

echo "The set-up took $((SECONDS - began)) s"

# --- make run ------------------------------------------------------------------------------------------------------------
make_run() {
    port=$(bare python3.11 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    began=$SECONDS
    bare sh -c "cd /srv/wardroom && PORT=$port exec make run" >"$root/run.log" 2>&1 &
    runner=$!
    ready="import urllib.request; urllib.request.urlopen('http://127.0.0.1:$port/readyz', timeout=5)"
    until bare python3.11 -c "$ready" 2>/dev/null; do
        if ! kill -0 "$runner" 2>/dev/null || ((SECONDS - began > 300)); then
            cat "$root/run.log"
            echo "make run did not answer." >&2
            exit 1
        fi
        sleep 1
    done
    grep -q '^password: ' "$root/run.log" || { cat "$root/run.log"; echo "The first start printed no password." >&2; exit 1; }
    echo "make run answered after $((SECONDS - began)) s"

    began=$SECONDS
    make_pid=$(pgrep -P "$runner" -x make || echo "$runner")
    kill -TERM "$make_pid"
    wait "$runner" || true
    left=$(pgrep -af 'manage.py|celery|uvicorn|valkey-server' || true)
    [ -z "$left" ] || { printf 'Still running after SIGTERM:\n%s\n' "$left" >&2; cat "$root/run.log"; exit 1; }
    echo "SIGTERM ended it in $((SECONDS - began)) s"
}
if [ -z "$part" ]; then make_run; fi # Not `||`, inside which no error would end the function.

# --- make test -----------------------------------------------------------------------------------------------------------
began=$SECONDS
bare sh -c 'cd /srv/wardroom && make test ARGS="$1" BACKENDS="$2"' sh "$part" "${BACKENDS:-sqlite postgres}"
echo "make test passed after $((SECONDS - began)) s"
