#!/bin/busybox sh
# The first process of the virtual machine in which a test of the forwarding paths runs: sets it up, runs the test, prints
# a line for each path that the test has gone, powers off. The lines are those of init.sh.

/bin/busybox --install -s /bin
export PATH=/usr/bin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
mount -t bpf bpf /sys/fs/bpf
dmesg -n 1

say() {
    echo "nta-vm: check=$1 result=$2 detail=$3"
}

say boot ok "$(uname -r)"
while read -r module; do
    insmod "/modules/$module" || say "module-$module" fail "insmod refused it"
done < /modules/order
ip link set lo up

export NTA_DAEMON=/usr/bin/nta-daemon NTA_SLOWNESS=10
{
    kernel_live --exact --nocapture paths::a_packet_that_passes_interfaces_of_modules_is_counted_once 2>&1
    echo $? > /tmp/result
} | tee /tmp/said | while read -r line; do
    case "$line" in
    *" packets") say path ok "$line" ;;
    "not run: "*) say path fail "$line" ;;
    esac
done
[ "$(cat /tmp/result)" = 0 ] || say path fail "$(grep -A 3 panicked /tmp/said | tr '\n' ' ' | cut -c 1-2000)"

say end ok "uptime $(cut -d ' ' -f 1 /proc/uptime) s"
sync
poweroff -f
