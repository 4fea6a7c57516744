#!/usr/bin/env bash
# The main workflows as curl commands with their answers, on the bundled captures. `cargo xtask demo` runs this file, and so does a test
# (`cargo test -p nta-tests --test replay demo`): an answer that is not as it says here ends it with status 1.
#
# Usage: demo.sh [PART]...     analyse, learn, watch; all of them unless named. NTA_DAEMON names the binary.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
cases=tests/cases
daemon=${NTA_DAEMON:?names the binary of nta-daemon}
folder=$(mktemp -d)
pid=
trap 'stop; rm -rf "$folder"' EXIT

say() { printf '\n\033[1m# %s\033[0m\n' "$*"; }
not_run() { printf 'not run: demo: %s: %s\n' "$1" "$2"; }
fail() { printf 'demo: %s\n' "$*" >&2; exit 1; }

# start WORDS...: starts the daemon on a free port and waits until it serves.
start() {
    rm -rf "$folder"/nta.db*
    NTA_LOG=info "$daemon" "$@" --listen 127.0.0.1:0 --database "sqlite:$folder/nta.db" >"$folder/out" 2>"$folder/log" &
    pid=$!
    nta=
    for _ in $(seq 600); do
        # A replay serves while it is analysed; what is asked for below is there when it is through.
        nta=$(grep -E "$serves" "$folder/log" | grep -o 'http://[0-9.:]*' | tail -1 || true)
        [ -z "$nta" ] || return 0
        kill -0 "$pid" 2>/dev/null || fail "the daemon ended: $(cat "$folder/log")"
        sleep 0.1
    done
    fail "the daemon does not serve: $(cat "$folder/log")"
}

stop() {
    [ -n "$pid" ] || return 0
    kill "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    pid=
}

# ask ARGUMENTS...: shows a curl command and its answer, and keeps the answer.
ask() {
    printf '\n$ curl'
    local word
    for word in "$@"; do
        # What a shell reads as it stands needs no marks.
        if [[ $word =~ ^[A-Za-z0-9@%_./:=,-]+$ ]]; then printf ' %s' "$word"; else printf ' %s' "${word@Q}"; fi
    done
    printf '\n'
    answer=$(curl -sS --max-time 60 "$@") || fail "curl failed"
    printf '%s\n' "$answer" | { jq . 2>/dev/null || printf '%s\n' "$answer"; } | cut -c1-160 | sed -n "1,${shown:-14}p"
    local lines
    lines=$(printf '%s\n' "$answer" | { jq . 2>/dev/null || printf '%s\n' "$answer"; } | wc -l)
    [ "$lines" -le "${shown:-14}" ] || printf '  … %s more lines\n' $((lines - ${shown:-14}))
}

# finish: what took longer than five seconds was answered with a job; its result is the answer.
finish() {
    local job
    job=$(printf '%s' "$answer" | jq -r 'if has("progress") then .id else empty end')
    [ -n "$job" ] || return 0
    until_so '.ended != null' "/api/jobs/$job"
    answer=$(value .result) || fail "the job $job has no result: $answer"
}

# value EXPRESSION: of the last answer, in jq's language.
value() { printf '%s' "$answer" | jq -er "$1"; }

# holds EXPRESSION: has to be true of the last answer.
holds() { printf '%s' "$answer" | jq -e "$1" >/dev/null || fail "not so: $1"; }

# until EXPRESSION PATH: asks again until it is true.
until_so() {
    for _ in $(seq 300); do
        answer=$(curl -sS --max-time 60 "$nta$2")
        if printf '%s' "$answer" | jq -e "$1" >/dev/null; then return 0; fi
        sleep 0.2
    done
    fail "not so within a minute: $1 of $2: $answer"
}

json=(-H 'Content-Type: application/json')

analyse() {
    say "Analyse a capture: sent, analysed while it arrives, reported"
    serves='serving what was found' start replay --serve "$cases/demo/input.pcap"
    ask -H 'Content-Type: application/octet-stream' --data-binary "@$cases/port_scan-hit/input.pcap" "$nta/api/upload"
    holds '.is_duplicate == false'
    local id report
    id=$(value .file_id) report=$(value .report)
    until_so '.state == "complete"' "/analysis/$id"
    ask "$nta/analysis/$id"
    ask "$nta$report"
    holds '[.. | .type? // empty] | index("port_scan") != null'
    say "The same bytes again are the same capture"
    ask -H 'Content-Type: application/octet-stream' --data-binary "@$cases/port_scan-hit/input.pcap" "$nta/upload"
    holds ".is_duplicate and .file_id == \"$id\""
    say "The same report as a page: $nta$report in a browser"
    ask -H 'Accept: text/html' "$nta$report"
    case $answer in *'<html'*) ;; *) fail "no page" ;; esac
    ask "$nta/stats"
    score "$id"
    stop
}

learn() {
    say "Learn what is usual, judge by it, sum up"
    serves='serving what was found' start replay --serve "$cases/traffic_spike-hit/input.pcap.gz"
    ask "${json[@]}" -d '{"window_size": 30}' "$nta/api/metrics/compute"
    holds '.base_windows == 240'
    ask -X POST "$nta/api/baselines/generate"
    holds '.metrics | index("bandwidth") != null'
    ask "$nta/api/baselines/stats"
    holds '.metrics_ready > 5'
    ask -X POST "$nta/api/anomalies/detect"
    holds '.total > 0'
    ask "$nta/api/anomalies/by-type"
    holds '.by_type.traffic_spike.count > 0'
    ask "$nta/api/metrics/summary"
    holds '.total_windows == 240 and .packets > 20000'
    ask "$nta/api/alerts?type=traffic_spike&limit=1"
    local id
    id=$(value '.items[0].id')
    say "Why was there an alert?"
    ask "$nta/api/alerts/$id/evidence"
    holds '.anomalies | length > 0'
    say "What would another setting have done?"
    ask "${json[@]}" -d '{"settings": {"traffic_spike": {"factor": 50}}}' "$nta/api/anomalies/detect"
    holds '.total == 0'
    stop
}

watch() {
    say "Watch live: an interface, an attack, its alert in the stream, its packets"
    if [ "$(id -u)" != 0 ]; then not_run watch "needs root"; return 0; fi
    if ! command -v python3 >/dev/null; then not_run watch "needs python3"; return 0; fi
    if ! unshare --net true 2>/dev/null; then not_run watch "no network namespace can be made"; return 0; fi
    NTA_DEMO_INSIDE=1 unshare --net bash "$here/demo.sh" inside
}

# score CAPTURE: an uploaded or recorded one becomes a scored table, that predictions, and both are downloaded.
score() {
    say "Score and predict: a capture becomes a table of hosts, and a model says what it takes them for"
    ask "${json[@]}" -d "{\"capture\": \"$1\"}" "$nta/api/analysis/score"
    local scored predicted
    finish
    scored=$(value .scored.name)
    ask "$nta/api/analysis/download/$scored"
    [ "$(printf '%s\n' "$answer" | wc -l)" -gt 1 ] || fail "no row in $scored"
    ask "${json[@]}" -d "{\"scored\": \"$scored\"}" "$nta/api/analysis/predict"
    if printf '%s' "$answer" | jq -e '.status == 422 or .status == 409' >/dev/null; then
        # A build without models has none to ask.
        not_run predict "$(value .detail)"
        return 0
    fi
    finish
    predicted=$(value .file.name)
    ask "$nta/api/analysis/list-files"
    holds "[.items[].name] | index(\"$scored\") != null and index(\"$predicted\") != null"
    ask "$nta/api/analysis/download/$predicted"
    [ "$(printf '%s\n' "$answer" | wc -l)" -gt 1 ] || fail "no row in $predicted"
}

# The live part, in a network of its own.
inside() {
    ip link set lo up
    ip link add nta0 type veth peer name nta1
    ip link set nta0 up
    ip link set nta1 up
    serves='http://' start run --interface nta0
    ask "$nta/health"
    holds '.mode == "live"'
    ask "${json[@]}" -d '{"interface": "nta0", "duration": 600}' "$nta/api/analysis/start-tcpdump"
    printf '\n$ curl -N %s &\n' "'$nta/api/events?types=alert'"
    curl -sN --max-time 90 "$nta/api/events?types=alert" >"$folder/events" &
    local reader=$!
    # As somebody on the other end of the cable sends it.
    python3 "$here/send.py" nta1 "$cases/port_scan-hit/input.pcap"
    until_so '.items | length > 0' "/api/alerts?type=port_scan"
    ask "$nta/api/last10"
    ask "$nta/api/alerts?type=port_scan"
    local id
    id=$(value '.items[0].id')
    for _ in $(seq 300); do grep -q "$id" "$folder/events" && break; sleep 0.1; done
    kill "$reader" 2>/dev/null || true
    wait "$reader" 2>/dev/null || true
    say "What the stream said"
    cut -c1-160 "$folder/events" | sed -n '1,12p'
    grep -q "$id" "$folder/events" || fail "the stream did not say so"
    ask -X POST "$nta/api/analysis/stop-tcpdump"
    holds '.packets > 0'
    local recorded
    recorded=$(value '.files[0].name')
    score "$recorded"
    say "The packets of the alert, for Wireshark"
    printf '$ curl -o evidence.pcap %s\n' "'$nta/api/alerts/$id/evidence.pcap'"
    curl -sS -o "$folder/evidence.pcap" "$nta/api/alerts/$id/evidence.pcap"
    [ "$(od -An -tx4 -N4 "$folder/evidence.pcap" | tr -d ' ')" = a1b23c4d ] || fail "no pcap: $(head -c 300 "$folder/evidence.pcap")"
    [ "$(wc -c <"$folder/evidence.pcap")" -gt 1000 ] || fail "hardly a packet"
    say "Acknowledge, then resolve"
    ask -X PATCH "${json[@]}" -d '{"status": "acknowledged", "note": "looking at it"}' "$nta/api/alerts/$id"
    holds '.status == "acknowledged"'
    ask -X PATCH "${json[@]}" -d '{"status": "resolved", "verdict": "true_positive"}' "$nta/api/alerts/$id"
    holds '.status == "resolved" and .verdict == "true_positive"'
    local source expires
    source=$(value .source) expires=$(date -u -d '+30 seconds' +%Y-%m-%dT%H:%M:%SZ)
    local mute="{\"types\": [\"port_scan\"], \"source\": \"$source\", \"reason\": \"our own scanner\", \"expires\": \"$expires\"}"
    say "Mute: what it would have hidden, what it hides, and its end"
    ask "${json[@]}" -d "$mute" "$nta/api/mutes?dry_run=true"
    holds '.alerts == 1 and .by_type.port_scan == 1'
    ask "${json[@]}" -d "$mute" "$nta/api/mutes"
    holds '.state == "active" and .hidden == 0'
    python3 "$here/send.py" nta1 "$cases/port_scan-hit/input.pcap"
    until_so '.items[0].hidden > 0' /api/mutes
    until_so '.items[0].state == "expired"' /api/mutes
    ask "$nta/api/mutes"
    python3 "$here/send.py" nta1 "$cases/port_scan-hit/input.pcap"
    until_so ".items | map(select(.last_seen > \"${expires%Z}\")) | length == 1" "/api/alerts?type=port_scan"
    ask "$nta/api/alerts?type=port_scan"
    stop
}

for tool in curl jq; do
    command -v "$tool" >/dev/null || { not_run all "needs $tool"; exit 0; }
done
[ $# -gt 0 ] || set -- analyse learn watch
for part in "$@"; do
    case $part in
    analyse | learn | watch) "$part" ;;
    inside) [ -n "${NTA_DEMO_INSIDE:-}" ] || fail "there is no part inside"; inside ;;
    *) fail "there is no part $part: analyse, learn, watch" ;;
    esac
done
say "All of it is as it should be"
