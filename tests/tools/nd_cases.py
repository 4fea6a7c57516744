#!/usr/bin/env python3
"""Writes the bundled captures of neighbour discovery (IPv6), its messages made by scapy: options, flags and checksums are not ours.

    python3 tests/tools/nd_cases.py

Needs scapy (Debian: python3-scapy). The same captures come out every time.
"""

import gzip
import hashlib
import io
import json
from pathlib import Path

from scapy.all import Ether, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, ICMPv6NDOptSrcLLAddr, IPv6, RawPcapWriter, raw
from scapy.utils6 import in6_getnsma, in6_getnsmac
from scapy.pton_ntop import inet_ntop, inet_pton
from socket import AF_INET6

CASES = Path(__file__).resolve().parent.parent / "cases"
# Tuesday, 14 November 2023, 00:00 UTC: an hour begins, no window is cut.
START = 1_699_920_000
ALL = ("33:33:00:00:00:01", "ff02::1")

README = """# {title}

{about}

* Source: made by `tests/tools/nd_cases.py` with scapy, nothing recorded
* Licence: as the project
* SHA-256: `{digest}`
"""


def station(number):
    """A station's MAC address, and its address of the link."""
    return f"02:00:00:00:00:{number:02x}", f"fe80::{number:x}"


ROUTER, THIEF = station(1), station(0x66)


class Link:
    """Frames of one link, in any order."""

    def __init__(self):
        self.frames = []

    def send(self, time, ends, packet):
        self.frames.append((time, raw(Ether(src=ends[0], dst=ends[1]) / packet)))

    def free(self, time, mac, address):
        """Looks whether an address is free: in nobody's name, to the group of the address."""
        group = inet_pton(AF_INET6, address)
        packet = IPv6(src="::", dst=inet_ntop(AF_INET6, in6_getnsma(group)), hlim=255) / ICMPv6ND_NS(tgt=address)
        self.send(time, (mac, in6_getnsmac(in6_getnsma(group))), packet)

    def ask(self, time, asker, address, to=None):
        """Asks the group of an address, or the station that is known, and says where the asker is."""
        group = in6_getnsma(inet_pton(AF_INET6, address))
        ends = (asker[0], to or in6_getnsmac(group))
        packet = IPv6(src=asker[1], dst=address if to else inet_ntop(AF_INET6, group), hlim=255)
        self.send(time, ends, packet / ICMPv6ND_NS(tgt=address) / ICMPv6NDOptSrcLLAddr(lladdr=asker[0]))

    def say(self, time, mac, address, to, frame_source=None, named=True, override=1, solicited=1, router=0):
        """Says to a station, or to all, where an address is."""
        message = IPv6(src=address, dst=to[1], hlim=255) / ICMPv6ND_NA(tgt=address, R=router, S=solicited, O=override)
        if named:
            message /= ICMPv6NDOptDstLLAddr(lladdr=mac)
        self.send(time, (frame_source or mac, to[0]), message)

    def resolve(self, time, asker, answerer):
        """A question to the group, and the answer."""
        self.ask(time, asker, answerer[1])
        self.say(time + 0.001, answerer[0], answerer[1], asker)

    def reach(self, time, asker, answerer):
        """Looks whether a station that is known is still there; the answer need not name it (RFC 4861 section 4.4)."""
        self.ask(time, asker, answerer[1], to=answerer[0])
        self.say(time + 0.001, answerer[0], answerer[1], asker, named=False)

    def pcap(self):
        out = io.BytesIO()
        writer = RawPcapWriter(out, linktype=1)
        writer.write_header(None)
        for time, frame in sorted(self.frames, key=lambda one: one[0]):
            millis = round(time * 1000)
            writer.write_packet(frame, sec=millis // 1000, usec=millis % 1000 * 1000)
        writer.flush()
        return out.getvalue()


def office(link, minutes, hosts=10):
    """Hosts that look for the router, and later whether it is still there."""
    for minute in range(minutes):
        for number in range(hosts):
            host, time = station(10 + number), START + 60 * minute + 2 + number * 3
            (link.reach if minute else link.resolve)(time, host, ROUTER)
            link.reach(time + 1.5, ROUTER, host)


def nd_spoof_hit(link):
    """Four minutes of a link with a router and ten hosts. From the second minute on 02:00:00:00:00:66 tells fe80::a every two seconds that the router is at
    its own address, and the router that fe80::a is, though nobody asked, and at the end restores both. In the last minute it announces to all that
    fe80::b is its own, every five seconds, while the host speaks up for itself."""
    office(link, 4)
    link.resolve(START + 1, THIEF, ROUTER)
    victim, other = station(10), station(11)
    for number in range(30):
        time = START + 60 + 2 * number
        link.say(time, THIEF[0], ROUTER[1], victim, solicited=0, router=1)
        link.say(time + 0.01, THIEF[0], victim[1], ROUTER, solicited=0)
    for number in range(5):
        link.say(START + 122 + number, ROUTER[0], ROUTER[1], victim, frame_source=THIEF[0], solicited=0, router=1)
        link.say(START + 122.01 + number, victim[0], victim[1], ROUTER, frame_source=THIEF[0], solicited=0)
    for number in range(10):
        link.say(START + 181 + 5 * number, THIEF[0], other[1], ALL, solicited=0)
        link.ask(START + 183 + 5 * number, other, f"fe80::{12 + number % 8:x}")
    taken = [("arp_spoof", ROUTER[1], "critical"), ("arp_spoof", victim[1], "critical"), ("arp_spoof", other[1], "high"),
             ("duplicate_address", other[1], "low")]
    expect = [{"type": kind, "source": THIEF[0], "destination": one, "severity": severity} for kind, one, severity in taken]
    return {"expect": expect, "never": ["*"]}


def nd_spoof_quiet(link):
    """Ten minutes of what comes close. Each of ten hosts makes eight addresses, asks whether they are free and announces them; one is taken, and its owner
    says so to all. A proxy answers for a host behind it without replacing what is known. The router's stand-by takes its address over after
    five minutes and announces that three times, and the router says no more. A virtual router answers from its shared address."""
    hosts = 10
    for minute in range(10):
        for number in range(hosts):
            host, time = station(10 + number), START + 60 * minute + 2 + number * 3
            router = ROUTER if minute < 5 else (station(2)[0], ROUTER[1])
            (link.reach if minute % 5 else link.resolve)(time, host, router)
            link.reach(time + 1.5, router, host)
            address = f"2001:db8::{minute:x}:{10 + number:x}"
            if minute < 8:
                link.free(time + 2, host[0], address)
                link.say(time + 3, host[0], address, ALL, solicited=0)
                link.ask(time + 3.5, (host[0], address), "2001:db8::f00d")
        # Behind the proxy, which speaks for it when it is asked, and does not override.
        link.ask(START + 60 * minute + 40, station(10), "2001:db8::beef")
        link.say(START + 60 * minute + 40.2, station(3)[0], "2001:db8::beef", station(10), override=0)
        link.ask(START + 60 * minute + 45, station(11), "2001:db8::1")
        link.say(START + 60 * minute + 45.001, "00:00:5e:00:02:07", "2001:db8::1", station(11), frame_source=("02:00:00:00:00:01", "02:00:00:00:00:02")[minute % 2])
    for number in range(3):
        link.say(START + 300.5 + number / 4, station(2)[0], ROUTER[1], ALL, solicited=0, router=1)
    # Somebody else wants an address that is taken.
    link.free(START + 481, station(30)[0], "2001:db8::7:a")
    link.say(START + 481.001, station(10)[0], "2001:db8::7:a", ALL, solicited=0)
    return {"expect": [], "never": ["*"]}


def main():
    for make in (nd_spoof_hit, nd_spoof_quiet):
        name = "-".join(make.__name__.rsplit("_", 1))
        folder, link = CASES / name, Link()
        folder.mkdir(exist_ok=True)
        alerts = make(link)
        path = folder / "input.pcap.gz"
        with open(path, "wb") as file, gzip.GzipFile("", "wb", 9, file, 0) as packed:
            packed.write(link.pcap())
        (folder / "alerts.json").write_text(json.dumps(alerts) + "\n")
        title = make.__name__.replace("nd_spoof_", "Neighbour-advertisement spoofing: ")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        (folder / "README.md").write_text(README.format(title=title, about=" ".join(make.__doc__.split()), digest=digest))
        print(f"{name}: {len(link.frames)} packets, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
