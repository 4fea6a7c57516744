#!/bin/busybox sh
# The first process of the virtual machine: sets it up, runs the checks, prints their results, powers off.
# Each line of result is `nta-vm: check=NAME result=ok|fail|not-run detail=…`; xtask judges them.

/bin/busybox --install -s /bin
export PATH=/usr/bin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
mount -t bpf bpf /sys/fs/bpf
dmesg -n 1 # or the kernel's messages land in the middle of ours

say() {
    echo "nta-vm: check=$1 result=$2 detail=$3"
}

# The last line that a command said, or the first 300 characters of it.
said() {
    grep -v '^ *$' "$1" | tail -n 1 | cut -c 1-300
}

say boot ok "$(uname -r)"

while read -r module; do
    insmod "/modules/$module" || say "module-$module" fail "insmod refused it"
done < /modules/order

# What the verifier says, program by program: doctor's report, one line; before there are interfaces, as it
# would attach to each.
nta-daemon doctor --format json --log warn > /tmp/doctor 2> /tmp/errors
if grep -q '"programs"' /tmp/doctor; then
    say verify ok "$(tr -d '\n' < /tmp/doctor | sed 's/.*"programs": *\(\[[^]]*\]\).*/\1/')"
else
    say verify fail "$(said /tmp/errors)"
fi

ip link set lo up
ip link add nta0 type veth || say veth fail "cannot make a pair"
ip link set veth0 up
ip link set nta0 up

for hook in auto xdp xdp-generic tcx tc; do
    if nta-daemon run --dry-run --interface veth0 --attach $hook --log-format json > /tmp/run 2>&1; then
        say attach-$hook ok "$(grep '"attached"' /tmp/run | head -n 1)"
    elif grep -q 'this kernel has no TCX' /tmp/run; then
        say attach-$hook not-run "this kernel has no TCX (6.6 and later have)"
    else
        say attach-$hook fail "$(said /tmp/run)"
    fi
done

# Both engines must say the same, apart from their names, the time that they took, and the order of flows that end at once.
for engine in user kernel; do
    nta-daemon replay --engine $engine --format jsonl /captures/* > /tmp/$engine 2> /tmp/errors-$engine
    echo $? >> /tmp/statuses
    # How entries of the maps came about, the other engine has not to say.
    sed "s/\"engine\":\"$engine\"//; s/\"elapsed_s\":[^,}]*//; s/\"flow_grown\":[0-9]*//g" /tmp/$engine | sort > /tmp/$engine.jsonl
done
if grep -q 'needs test runs with XDP metadata' /tmp/errors-kernel; then
    say parity not-run "$(said /tmp/errors-kernel)"
# A capture that is cut off ends with 3.
elif grep -qv '^[03]$' /tmp/statuses; then
    say parity fail "$(said /tmp/errors-user) $(said /tmp/errors-kernel)"
elif cmp -s /tmp/user.jsonl /tmp/kernel.jsonl && grep -q '"type":"summary"' /tmp/user.jsonl; then
    say parity ok "$(wc -l < /tmp/user.jsonl) lines equal, $(ls /captures | wc -l) captures"
else
    say parity fail "$(diff /tmp/user.jsonl /tmp/kernel.jsonl | grep '^[-+][^-+]' | head -n 2 | cut -c 1-1500 | tr '\n' ' ')"
fi

# Live: what the other end sends must be counted where the daemon listens. The peer lives in its own namespace.
unshare -n sleep 300 &
peer=$!
while [ "$(readlink /proc/$peer/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do
    sleep 0.1
done
ip link set nta0 netns "$peer"
ip addr add 10.9.0.1/24 dev veth0
nsenter -t "$peer" -n sh -c 'ip link set lo up; ip addr add 10.9.0.2/24 dev nta0; ip link set nta0 up'
nta-daemon run --interface veth0 --listen 127.0.0.1:5000 --database sqlite::memory: --window 1 > /tmp/live 2>&1 &
daemon=$!
for _ in $(seq 60); do
    grep -qs serving /tmp/live && break
    sleep 0.5
done
if nsenter -t "$peer" -n ping -c 5 -i 0.2 10.9.0.1 > /tmp/ping 2>&1; then
    sleep 2
    wget -q -O /tmp/status http://127.0.0.1:5000/api/status 2> /tmp/errors
    say live ok "$(tr -d '\n' < /tmp/status | sed 's/.*"total"://')"
else
    say live fail "$(said /tmp/live) $(said /tmp/ping)"
fi
kill $daemon

say end ok "uptime $(cut -d ' ' -f 1 /proc/uptime) s"
sync
poweroff -f
