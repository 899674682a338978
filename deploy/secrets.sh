#!/bin/sh
# Make ./secrets: passwords of the engines and the admin token, drawn by lot. What is there already stays as it is.
# The folder is for its owner alone. The files in it can be read by all, for a container's user is not their owner:
# compose hands each of them only to those that are to know it.
set -eu
cd "$(dirname "$0")/.."
umask 077
mkdir -p secrets

put() {
	[ -e "secrets/$1" ] || { printf '%s\n' "$2" >"secrets/$1" && chmod 444 "secrets/$1"; }
}

drawn() {
	od -An -N 24 -t x1 /dev/urandom | tr -d ' \n'
}

put admin_token "$(drawn)"
put postgres_password "$(drawn)"
put postgres_url "postgresql://turnstile:$(cat secrets/postgres_password)@postgres/tickets"
put redis_password "$(drawn)"
put redis.conf "requirepass $(cat secrets/redis_password)"
put redis_url "redis://:$(cat secrets/redis_password)@redis:6379/0?prefix=turnstile"
put grafana_password "$(drawn)"
