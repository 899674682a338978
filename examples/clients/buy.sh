#!/bin/sh
# Buy tickets with curl: buy.sh URL EVENT QUANTITY, such as buy.sh http://127.0.0.1:8000 default 2
#
# One key for all attempts: a reply that was lost on the way costs nothing, for who asks again gets the first answer.
# 503, and 408 and 429 from a proxy, mean that certainly nothing was sold, no reply or 500 that nobody knows; all are asked
# again. Another 4xx is an answer; where an attempt before is in doubt, only 409 and 422 tell what became of it.
# Exit 0: bought. 1: refused, the answer says why. 2: nobody knows, ask again with KEY=... as it is printed.
# 64: it was called otherwise than so.
set -eu
if [ $# -ne 3 ]; then
	echo "usage: $0 URL EVENT QUANTITY, such as $0 http://127.0.0.1:8000 default 2" >&2
	exit 64
fi
url=$1 event=$2 quantity=$3
key=${KEY:-$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')}
attempts_max=${ATTEMPTS_MAX:-8}
pause_max=5 # seconds, however long a proxy says
headers=$(mktemp)
trap 'rm -f "$headers"' EXIT

attempt=1
doubt=no
while [ "$attempt" -le "$attempts_max" ]; do
	# -f is left out: the body of a refusal says why. The status stands on a line of its own behind the body.
	reply=$(curl --silent --show-error --max-time 10 --dump-header "$headers" --write-out '\n%{http_code}' \
		--header 'Content-Type: application/json' --header "Idempotency-Key: $key" \
		--data "{\"quantity\": $quantity}" "$url/events/$event/buy") && code=0 || code=$?
	[ "$code" = 0 ] || reply="
000"
	# 6 and 7 of curl: there was no connection, so surely nothing was done.
	[ "$code" != 6 ] && [ "$code" != 7 ] || reply="
away"
	status=${reply##*
}
	body=$(printf '%s' "${reply%
*}")
	case $status in
	201)
		printf '%s\n' "$body"
		exit 0
		;;
	away) pause= ;;
	408 | 429 | 503) pause=$(sed -n 's/^[Rr]etry-[Aa]fter: *\([0-9][0-9]*\).*/\1/p' "$headers") ;;
	409 | 422)
		printf '%s\n' "$body" >&2
		exit 1
		;;
	4??)
		printf '%s\n' "$body" >&2
		[ "$doubt" = yes ] || exit 1
		break
		;;
	*)
		pause=
		doubt=yes
		;;
	esac
	# Up to a second more, so that those who were told at one moment do not come back at one moment.
	jitter=$(od -An -N2 -tu2 /dev/urandom | tr -d ' ')
	pause=${pause:-1}
	[ "$pause" -le "$pause_max" ] 2>/dev/null || pause=$pause_max # also where it is too long for a number
	sleep "$pause.$(printf '%03d' $((jitter % 1000)))"
	attempt=$((attempt + 1))
done
if [ "$doubt" = no ]; then
	echo "the counter was busy or away $attempts_max times, so nothing was bought: come again later" >&2
	exit 1
fi
echo "nobody knows whether the tickets were bought: ask again with KEY=$key" >&2
exit 2
