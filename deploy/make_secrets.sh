#!/usr/bin/env bash
# Passwords and tokens for docker-compose.yml, drawn once: deploy/secrets/NAME. What is there already stays.
# Docker mounts a secret's file as it is, and the containers run as users of their own: so the files are readable by all and the
# folder by its owner alone. Hex digits only: Grafana would take a $ for the begin of a variable.
set -euo pipefail
folder="${1:-$(dirname "$0")/secrets}"
umask 077
mkdir -p "$folder"
chmod 700 "$folder"
for name in influxdb_password influxdb_token grafana_admin_password; do
    path="$folder/$name"
    if [ -s "$path" ]; then
        echo "secrets: $path is there, left as it is"
        continue
    fi
    od -An -N 24 -tx1 /dev/urandom | tr -d ' \n' >"$path.new"
    chmod 444 "$path.new"
    mv "$path.new" "$path"
    echo "secrets: $path written"
done
