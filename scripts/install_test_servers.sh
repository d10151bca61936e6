#!/bin/sh
# Installs the servers that the tests start privately: PostgreSQL, PgBouncer, Redis, RabbitMQ and Chromium, and libfaketime,
# which sets the clock of the processes of a test.
# Node comes with Playwright, because Debian 12's own is too old for the children in JavaScript.
#
# Says nothing and changes nothing when all of them are there. As root on Debian it installs what is missing, without
# starting any service; otherwise it names each missing thing on a line of its own and exits 1.
set -eu

have() { command -v "$1" >/dev/null 2>&1; }
have_postgres() { ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || have initdb; }
have_pgbouncer() { have pgbouncer || [ -x /usr/sbin/pgbouncer ]; }
have_rabbitmq() { [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ]; }
have_chromium() { have chromium || have chromium-browser || have google-chrome; }
have_faketime() { ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1; }

missing() {
    have_postgres || echo postgresql-15
    have_pgbouncer || echo pgbouncer
    have redis-server || echo redis-server
    have_rabbitmq || echo rabbitmq-server
    have_chromium || echo chromium
    have_faketime || echo libfaketime
}

packages=$(missing)
[ -n "$packages" ] || exit 0

if [ "$(id -u)" -ne 0 ] || ! have apt-get; then
    for package in $packages; do
        echo "The tests need $package, which is not installed: run \"apt-get install $package\" as root." >&2
    done
    exit 1
fi

# One installation at a time: two test runs may start together.
exec 9>/var/lock/wardroom-test-servers.lock
flock 9
packages=$(missing)
[ -n "$packages" ] || exit 0

# Debian starts what it installs, and makes a PostgreSQL cluster: the tests want neither.
policy=/usr/sbin/policy-rc.d
cluster=/etc/postgresql-common/createcluster.d/wardroom-tests.conf
saved=
restore() {
    rm -f "$policy" "$cluster"
    [ -z "$saved" ] || mv "$saved" "$policy"
}
if [ -e "$policy" ]; then
    saved=$policy.before-wardroom-tests
    mv "$policy" "$saved"
fi
trap restore EXIT
trap 'exit 1' INT TERM
printf '#!/bin/sh\nexit 101\n' >"$policy"
chmod 755 "$policy"
mkdir -p "${cluster%/*}"
echo "create_main_cluster = false" >"$cluster"

log=$(mktemp)
quietly() { "$@" >"$log" 2>&1 || { cat "$log" >&2; exit 1; }; }
export DEBIAN_FRONTEND=noninteractive
echo "Reading the package lists ..."
quietly apt-get update
# shellcheck disable=SC2086
echo "Installing for the tests:" $packages "..."
# shellcheck disable=SC2086
quietly apt-get install --yes --no-install-recommends $packages
rm -f "$log"
