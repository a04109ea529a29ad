#!/usr/bin/env bash
# Clients of other projects, by their own packages, against a real server. It ends by itself.
set -euo pipefail
cd "$(dirname "$0")/.."
dir=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check umadb
go build -o "$dir/annals" ./cmd/annals
"$dir/annals" serve --data "$dir/store" --listen 127.0.0.1:0 >"$dir/said" &
server=$!
for _ in $(seq 100); do grep -q readyz "$dir/said" && break; kill -0 "$server"; sleep 0.1; done
"$dir/venv/bin/python" e2e/umadb_client.py "$(sed -n 's|^annals\(://[^ ]*\) .*|http\1|p' "$dir/said")"
kill "$server"
wait "$server"
server=
"$dir/annals" verify "$dir/store" >/dev/null
