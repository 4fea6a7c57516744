#!/bin/sh
# What udhcpc calls with what it was given.
case "$1" in
deconfig) ip -4 address flush dev "$interface" ;;
bound | renew)
    ip address replace "$ip/24" brd + dev "$interface"
    ip route replace default via "${router%% *}"
    ;;
esac
