#!/usr/bin/env bash
# Runs a command with ANNALS_BENCH_POSTGRES naming a PostgreSQL server of its own, as durable as it comes, which ends with the command.
set -euo pipefail
bin=$(ls -d /usr/lib/postgresql/*/bin | tail -n 1)
dir=$(mktemp -d)
as=()
if [ "$(id -u)" = 0 ]; then chown postgres "$dir"; as=(setpriv --reuid=postgres --regid=postgres --clear-groups); fi
cd "$dir"
"${as[@]}" "$bin/initdb" --pgdata="$dir/data" --username=annals --auth=trust --encoding=UTF8 --locale=C >"$dir/initdb.log"
"${as[@]}" "$bin/postgres" -D "$dir/data" -k "$dir" -c listen_addresses= -c shared_buffers=512MB -c max_wal_size=4GB >"$dir/log" 2>&1 &
server=$!
trap 'kill -INT $server; wait $server || true; rm -rf "$dir"' EXIT
until "$bin/pg_isready" --host="$dir" --username=annals --dbname=postgres --quiet; do kill -0 $server; sleep 0.1; done
cd "$OLDPWD"
ANNALS_BENCH_POSTGRES="postgres:///postgres?host=$dir&user=annals" "$@"
