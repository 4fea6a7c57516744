"""More made captures, see make_cases.py: floods of requests, tunnels and what belongs to a link."""

import struct

from frames import ACK, RST, SYN, Tcp

START = 1_699_920_000


def quiet(*kinds):
    """What a quiet case says."""
    return {"expect": [], "never": list(kinds)}


def request(capture, time, client, server, asked, answer, rtt=0.02):
    """One request over a connection of its own; the answer comes in full segments. Returns when all is over."""
    visit = Tcp(capture, client, server, rtt)
    time = visit.data(visit.open(time), 0, asked)
    for at in range(0, answer, 1400):
        time = visit.data(time, 1, min(1400, answer - at))
    visit.close(time)
    return time


def health_checks_quiet(capture, draw):
    """A load balancer asks 14 servers of one network for a handshake every two seconds, and resets it before it is complete, as HAProxy does. After a
    minute eleven of them go down for half a minute. Ten clients keep the balancer busy."""
    for number in range(60):
        for server in range(14):
            check = Tcp(capture, ("10.20.0.5", 30_000 + 20 * number + server), (f"10.20.0.{60 + server}", 22), 0.0002)
            time = START + 1 + 2 * number + server / 100
            check.segment(time, 0, SYN)
            if server >= 11 or not 60 <= 2 * number < 90:
                check.segment(time + 0.0001, 1, SYN | ACK)
                check.segment(time + 0.0002, 0, RST | ACK)
        for client in range(10):
            ends = (f"203.0.113.{20 + client}", 40_000 + number), ("10.20.0.5", 8080)
            request(capture, START + 1.5 + 2 * number + client / 10 + draw.random() / 20, *ends, 300, 2000)
    return {"expect": [], "never": ["*"]}


def monitoring_rounds_quiet(capture, draw):
    """A monitor asks 30 servers outside for a page every half a minute, one after the other, for 15 minutes."""
    for number in range(30):
        for server in range(30):
            ends = ("10.20.0.5", 20_000 + 30 * number + server), (f"203.0.113.{1 + server}", 443)
            request(capture, START + 1 + 30 * number + server * 0.9 + draw.random() / 5, *ends, 300, 1500)
    return quiet("beaconing", "port_scan")


def message(capture, time, client, server, name, kind, code=None):
    """A DNS question, or the answer to it with one record or a code."""
    question = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0" + struct.pack(">HH", kind, 1)
    if code is None:
        head, record, ends = struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 0), b"", (client, server)
    else:
        record = b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 60, 4) + b"\xc6\x33\x64\x07" if code == 0 and kind == 1 else b""
        head, ends = struct.pack(">HHHHHH", 7, 0x8180 | code, 1, 1 if record else 0, 0, 0), (server, client)
    body = head + question + record
    header = struct.pack(">HHHH", ends[0][1], ends[1][1], 8 + len(body), 0)
    capture.ip(time, ends[0][0], ends[1][0], 17, header + body, 0)


def dns_resolver_quiet(capture, draw):
    """Sixty desks ask their resolver for names of one content network, new ones each, and it asks the network's server in turn: 480 names in two
    minutes, eight of each desk. Its mail server looks up the policies of forty departments of one sender."""
    capture.snaplen = 200
    for number in range(480):
        time = START + 1 + number / 4
        desk, name = (f"10.20.1.{1 + number % 60}", 20_000 + number), f"d{number:05d}.edge{draw.randrange(90)}.cdn.example"
        resolver, source = ("10.20.0.53", 53), ("10.20.0.53", 20_000 + number)
        message(capture, time, desk, resolver, name, 1)
        message(capture, time + 0.001, source, ("198.51.100.53", 53), name, 1)
        message(capture, time + 0.02, source, ("198.51.100.53", 53), name, 1, 0)
        message(capture, time + 0.021, desk, resolver, name, 1, 0)
    for number in range(80):
        name = f"{('_dmarc', 's1._domainkey')[number % 2]}.dept{number // 2}.school.example"
        for code in (None, 3):
            message(capture, START + 2 + number, ("10.20.0.25", 30_000 + number), ("10.20.0.53", 53), name, 16, code)
    return {"expect": [], "never": ["dns_tunnel", "dns_flood", "dga"]}


def http_flood_hit(capture, draw):
    """Twenty seconds in which one client asks a web server for one page 15 times a second, each time over a new connection (what hulk and ab
    do); and three clients that ask another server, by TLS, ten times a second each, where every third answer is an error."""
    for number in range(300):
        ask = 250 + draw.randrange(120)
        request(capture, START + 1 + number / 15, ("203.0.113.66", 20_000 + number), ("198.51.100.80", 80), ask, 3393)
        for client in (71, 72, 73):
            time = START + 61 + number / 10 + client / 1000
            answer = 4900 if number % 3 else 2700
            request(capture, time, (f"203.0.113.{client}", 20_000 + number), ("198.51.100.81", 8443), 1100, answer)
    expect = [
        {"type": "http_flood", "source": "203.0.113.66", "destination": "198.51.100.80", "severity": "medium"},
        {"type": "http_flood", "source": "*", "destination": "198.51.100.81", "severity": "medium"},
    ]
    return {"expect": expect, "never": ["*"]}


def http_flood_quiet(capture, draw):
    """A minute of what comes close. 200 people behind one address open ten connections a second to a shop, and so does a proxy that
    opens one for each request to the server behind it; 600 other clients of the shop open another ten. A load balancer's two probes check the
    server twice a second each. 250 devices behind one address report every minute."""
    objects = [int(300 * 10 ** (number / 20)) for number in range(40)]
    for number in range(600):
        time = START + 1 + number / 10
        people, proxy = ("203.0.113.50", 20_000 + number), ("10.20.0.5", 20_000 + number)
        other = (f"203.0.{number % 100}.{1 + number % 6}", 30_000)
        for client, server in ((people, ("198.51.100.80", 443)), (proxy, ("10.20.0.80", 8080)), (other, ("198.51.100.80", 443))):
            request(capture, time + draw.random() / 20, client, server, 400 + draw.randrange(900), draw.choice(objects))
    for number in range(240):
        for probe in (1, 2):
            ends = (f"10.20.0.{probe}", 40_000 + number), ("10.20.0.80", 8080)
            request(capture, START + 1 + number / 4, *ends, 90, 170)
        request(capture, START + 1 + number / 4, ("203.0.113.60", 41_000 + number), ("198.51.100.82", 443), 1500, 3300)
    return quiet("http_flood", "syn_flood", "port_scan", "slowloris")


def echo(capture, time, ends, number, length, reply=None, rtt=0.01):
    """A request of so many bytes of payload and its reply, of as many unless it says otherwise; a reply of 0 is none."""
    header = lambda kind: struct.pack(">BBHHH", kind, 0, 0, 7, number % 65536)
    capture.ip(time, *ends, 1, header(8), length)
    if reply != 0:
        capture.ip(time + rtt, ends[1], ends[0], 1, header(0), length if reply is None else reply)


def icmp_tunnel_hit(capture, draw):
    """Three tunnels of a minute and more. A client polls three times a second and is given up to four packets of any length for one (hans, icmpsh);
    another carries IP packets of its own in both directions (ptunnel); a third sends a file in packets of 100 to 1,000 bytes that the other
    end's kernel sends back."""
    for number in range(300):
        time = START + 1 + number / 3
        ends = ("10.20.0.11", "203.0.113.66")
        echo(capture, time, ends, number, 32, draw.randrange(40, 1200))
        for more in range(draw.randrange(4)):
            capture.ip(time + 0.02 + more / 100, ends[1], ends[0], 1, struct.pack(">BBHHH", 0, 0, 0, 7, number), draw.randrange(40, 1200))
        echo(capture, time, ("10.20.0.12", "203.0.113.67"), number, draw.randrange(40, 600), draw.randrange(40, 600))
        if number < 270:
            echo(capture, START + 1 + number / 2, ("10.20.0.13", "203.0.113.68"), number, draw.randrange(100, 1000))
    pairs = [(11, 66), (12, 67), (13, 68)]
    one = lambda source, last: {"type": "icmp_tunnel", "source": f"10.20.0.{source}", "destination": f"203.0.113.{last}"}
    return {"expect": [one(*pair) for pair in pairs], "never": ["*"]}


def icmp_tunnel_quiet(capture, draw):
    """Four minutes of ping: a flood of 200 a second with a tenth lost; a monitor that sends ten of 56 and ten of 1,400 bytes a second to one host, 150 ms
    away; mtr, of whose requests only every eighth reaches the end; two searches for the path's MTU, where what is too large is lost; a loop
    that doubles each reply; and replies to requests that went another way."""
    for number in range(48000):
        if number < 12000:
            echo(capture, START + 1 + number / 200, ("10.20.0.11", "203.0.113.66"), number, 56, 0 if draw.random() < 0.1 else None)
        if number % 20 == 0:
            for length in (56, 1400):
                echo(capture, START + 1 + number / 200, ("10.20.0.12", "203.0.113.67"), number, length, rtt=0.15)
            echo(capture, START + 1 + number / 200, ("10.20.0.13", "203.0.113.68"), number, 36, None if number % 160 == 0 else 0)
        if number % 200 == 0:
            time, ends = START + 1 + number / 200, ("10.20.0.14", "203.0.113.69")
            echo(capture, time, ends, number, 56)
            capture.ip(time + 0.02, ends[1], ends[0], 1, struct.pack(">BBHHH", 0, 0, 0, 7, number // 200), 56)
            capture.ip(time, "203.0.113.70", "10.20.0.15", 1, struct.pack(">BBHHH", 0, 0, 0, 7, number // 200), 1000)
    for search in range(2):
        low, high, number = 28, 1500, 0
        while high - low > 1:
            middle = (low + high) // 2
            for again in range(3):
                time = START + 20 + search * 90 + number + again / 4
                echo(capture, time, ("10.20.0.16", "203.0.113.71"), number, middle, None if middle <= 1412 else 0)
            low, high = (middle, high) if middle <= 1412 else (low, middle)
            number += 1
    return quiet("icmp_tunnel")


def dns(name, number, rcode=None):
    """A question, or the answer to it."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    flags = 0x0100 if rcode is None else 0x8180 | rcode
    return struct.pack(">HHHHHH", number, flags, 1, 0, 0, 0) + labels + b"\0\0\1\0\1"


def look_up(capture, time, client, name, number, rcode):
    """A question and its answer, whole."""
    for late, message, ends in ((0, dns(name, number), ((client, 40_000 + number % 20_000), ("10.20.0.1", 53))),
                                (0.01, dns(name, number, rcode), (("10.20.0.1", 53), (client, 40_000 + number % 20_000)))):
        header = struct.pack(">HHHH", ends[0][1], ends[1][1], 8 + len(message), 0)
        capture.ip(time + late, ends[0][0], ends[1][0], 17, header + message, 0)


def drawn(draw, least, most):
    """Letters by chance."""
    return "".join(chr(97 + draw.randrange(26)) for _ in range(draw.randrange(least, most)))


def dga_hit(capture, draw):
    """A host asks for a made-up domain every two seconds, 80 of them, of which one exists, and for some that people use; another for 150 domains of two words each, one a
    second."""
    capture.snaplen = 200
    words = ["river", "table", "orange", "summer", "paper", "window", "silver", "garden", "market", "winter", "copper", "bridge", "forest"]
    for number in range(80):
        name = f"{drawn(draw, 10, 18)}.{draw.choice(['com', 'net', 'info', 'biz'])}"
        look_up(capture, START + 1 + 2 * number, "10.20.0.11", name, number, 0 if number == 70 else 3)
        if number % 5 == 0:
            look_up(capture, START + 1.5 + 2 * number, "10.20.0.11", f"www.example{number}.org", 500 + number, 0)
    for number in range(150):
        name = f"{words[number % 13]}{words[number // 13]}.net"
        look_up(capture, START + 1.7 + number, "10.20.0.12", name, 1000 + number, 3)
    one = lambda host: {"type": "dga", "source": f"10.20.0.{host}", "destination": "10.20.0.1"}
    return {"expect": [one(11), one(12)], "never": ["*"]}


def dga_quiet(capture, draw):
    """What else does not exist: 40 names that a search list tries with four endings each; a browser's three names without a dot, every minute; 400 random names under one
    domain, by 20 clients; a mail server that looks up 200 senders' domains, of which a fifth is gone; 60 reverse look-ups; and a page of 15
    dead links that is read every minute."""
    capture.snaplen = 200
    endings = ["ns.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp.example.com"]
    for number in range(40):
        for at, ending in enumerate(endings):
            look_up(capture, START + 1 + 4 * number + at / 10, "10.20.0.11", f"host{number}.example{number % 7}.org.{ending}", number * 4 + at, 3)
        look_up(capture, START + 1.5 + 4 * number, "10.20.0.11", f"host{number}.example{number % 7}.org", 900 + number, 0)
    for minute in range(4):
        for number in range(3):
            look_up(capture, START + 3 + 60 * minute + number, "10.20.0.12", drawn(draw, 7, 15), 2000 + minute * 3 + number, 3)
        for number in range(15):
            look_up(capture, START + 20.1 + 60 * minute + number, "10.20.0.16", f"www.dead-{'abcdefghijklmno'[number]}.net", 2500 + number, 3)
    for number in range(400):
        look_up(capture, START + 2 + number / 5, f"10.20.0.{50 + number % 20}", f"{drawn(draw, 8, 12)}.victim.org", 3000 + number, 3)
    for number in range(200):
        look_up(capture, START + 2.2 + number, "10.20.0.13", f"{drawn(draw, 8, 12)}.com", 4000 + number, 0 if number % 5 else 3)
    for number in range(60):
        look_up(capture, START + 2.3 + number, "10.20.0.14", f"{number}.2.0.192.in-addr.arpa", 5000 + number, 3)
    return quiet("dga", "dns_tunnel")


def carpet_bombing_hit(capture, draw):
    """Half a minute of segments with 64 bytes in them, of no connection, 25 a second at port 443 of each of 40 hosts of a /24, from 60 sources; then a quarter of a minute in which one
    host sends 40 hosts of another /24 ten small datagrams a second each, none of which is answered."""
    for number in range(32_000):
        header = struct.pack(">HHIIBBHHH", 1024 + number % 60_000, 443, 7, 9, 0x50, ACK, 64000, 0, 0)
        source, victim = f"203.0.113.{1 + draw.randrange(60)}", f"198.51.100.{1 + number % 40}"
        capture.ip(START + 1 + number / 1000, source, victim, 6, header, 64)
        if number < 8_000:
            ends = ("203.0.113.99", 1024 + number), (f"192.0.2.{1 + number % 40}", 80)
            capture.udp(START + 91 + number / 400, *ends, 64)
    expect = [
        {"type": "distributed_flood", "source": "*", "destination": "198.51.100.0/24"},
        {"type": "distributed_flood", "source": "203.0.113.99", "destination": "192.0.2.0/24"},
    ]
    return {"expect": expect, "never": ["*"]}


def carpet_bombing_quiet(capture, draw):
    """The same segments at three hosts of a /24, which are an alert each, and at ten hosts of as many networks."""
    for number in range(9_600):
        header = struct.pack(">HHIIBBHHH", 1024 + number % 60_000, 443, 7, 9, 0x50, ACK, 64000, 0, 0)
        one = number % 12
        victim = f"198.51.100.{1 + one}" if one < 3 else f"198.18.{one}.1"
        capture.ip(START + 1 + number / 300, f"203.0.113.{1 + draw.randrange(60)}", victim, 6, header, 64)
    expect = [{"type": "ack_flood", "source": "*", "destination": f"198.51.100.{1 + one}"} for one in range(3)]
    return {"expect": expect, "never": ["distributed_flood"]}


def smoke_ping_quiet(capture, draw):
    """Two minutes in which a monitor pings four hosts ten times a second each, with 56 bytes of data, as smokeping and fping do to measure loss;
    one of them falls silent after a minute."""
    for number in range(1200):
        for host in range(4):
            gone = host == 3 and number >= 600
            time = START + 1 + number / 10 + host / 100
            echo(capture, time, ("10.20.0.9", f"203.0.113.{10 + host}"), number, 56, 0 if gone else None)
    return quiet("by icmp_flood", "icmp_tunnel", "distributed_flood", "port_scan")


def lease(capture, time, client, *servers):
    """A client asks all for an address; each server offers one, and the first is taken."""
    everybody, nobody = "255.255.255.255", "0.0.0.0"
    for late, offers in ((0, servers), (0.5, servers[:1])):
        capture.udp(time + late, (nobody, 68), (everybody, 67), 300)
        for number, server in enumerate(offers):
            to = everybody if client % 2 else f"10.20.0.{100 + client + 20 * number}"
            capture.udp(time + late + 0.01 * (1 + number), (server, 67), (to, 68), 300)


def routers(capture, seconds, *routers):
    """Each advertises itself from a second on, every pause."""
    for router, begin, end, pause in routers:
        for time in range(begin, end, pause):
            capture.icmp6(START + time, router, "ff02::1", 134)


def rogue_server_hit(capture, draw):
    """An hour of an office in which a DHCP server gives addresses and a router advertises itself every five minutes. After 20 minutes a second
    DHCP server answers faster, after 40 a second router advertises itself every 30 s and answers hosts that ask. At the end somebody
    floods the link with advertisements of a thousand routers."""
    for client in range(60):
        racing = ("10.20.0.66",) if client >= 20 else ()
        lease(capture, START + 60 * client + 3 + draw.random(), client, *racing, "10.20.0.1")
        capture.icmp6(START + 60 * client + 4, f"fe80::{100 + client:x}", "ff02::2", 133, 8)
        capture.icmp6(START + 60 * client + 4.2, "fe80::1", "ff02::1", 134)
        if client >= 40:
            capture.icmp6(START + 60 * client + 4.1, "fe80::66", "ff02::1", 134)
    routers(capture, 3600, ("fe80::1", 10, 3600, 300), ("fe80::66", 2400, 3600, 30))
    for number in range(1000):
        capture.icmp6(START + 3620 + number / 100, f"fe80::{number + 5000:x}", "ff02::1", 134)
    expect = [
        {"type": "rogue_dhcp", "source": "10.20.0.66", "destination": "10.20.0.1", "severity": "medium"},
        {"type": "rogue_router", "source": "fe80::66", "destination": "fe80::1", "severity": "medium"},
        {"type": "neighbor_flood", "source": "*", "destination": "ff02::1"},
    ]
    return {"expect": expect, "never": ["port_scan", "udp_flood", "icmp_flood", "arp_spoof"]}


def rogue_server_quiet(capture, draw):
    """An hour of what comes close. Two DHCP servers answer every question, and a client renews at a third, behind the relay. A router's stand-by takes
    over after 30 minutes and gives the work back after 45, with a last advertisement. All of 50 hosts announce a new address, and look whether it is taken."""
    for client in range(60):
        lease(capture, START + 60 * client + 3 + draw.random(), client, "10.20.0.1", "10.20.0.2")
        if client > 10 and client % 7 == 0:
            capture.udp(START + 60 * client + 20, ("10.20.0.120", 68), ("10.30.0.5", 67), 300)
            capture.udp(START + 60 * client + 20.01, ("10.30.0.5", 67), ("10.20.0.120", 68), 300)
    routers(capture, 3600, ("fe80::1", 10, 1800, 200), ("fe80::2", 1830, 2700, 200), ("fe80::1", 2699, 3600, 200))
    capture.icmp6(START + 2700, "fe80::2", "ff02::1", 134)
    for host in range(50):
        for again in range(3):
            time = START + 3000 + host / 10 + again
            capture.icmp6(time, "::", f"ff02::1:ff00:{host:x}", 135, 16)
            capture.icmp6(time + 0.5, f"2001:db8::{host:x}", "ff02::1", 136, 24)
    return quiet("rogue_dhcp", "rogue_router", "neighbor_flood", "port_scan", "arp_spoof")


def carpet_scan_hit(capture, draw):
    """A host sends bare ACKs to ports 20 to 39 of twelve hosts of a /24, one host after the other, five a second, and then fetches a page from a thirteenth, over and over; 200 hosts try port 445 of 256
    hosts of another /24, 20 times each, within ten seconds."""
    for number in range(240):
        target = f"198.51.100.{10 + number // 20}"
        header = struct.pack(">HHIIBBHHH", 44_444, 20 + number % 20, 7, 9, 0x50, ACK, 64000, 0, 0)
        capture.ip(START + 1 + number / 5, "192.0.2.66", target, 6, header, 0)
    for number in range(12):
        request(capture, START + 2 + 5 * number, ("192.0.2.66", 50_000 + number), ("198.51.100.80", 80), 300 + number, 9000)
    for number in range(5120):
        source = f"192.0.{3 + draw.randrange(2)}.{1 + draw.randrange(100)}"
        header = struct.pack(">HHIIBBHHH", 1024 + draw.randrange(60_000), 445, 7, 9, 0x50, SYN, 64000, 0, 0)
        capture.ip(START + 121 + number / 512, source, f"203.0.113.{number % 256}", 6, header, 0)
    expect = [
        {"type": "port_scan", "source": "192.0.2.66", "destination": "*"},
        {"type": "port_scan", "source": "*", "destination": "*"},
    ]
    return {"expect": expect, "never": ["*"]}


MADE = [
    health_checks_quiet, monitoring_rounds_quiet, dns_resolver_quiet,
    carpet_bombing_hit, carpet_bombing_quiet, dga_hit, dga_quiet, http_flood_hit, http_flood_quiet, icmp_tunnel_hit, icmp_tunnel_quiet,
    rogue_server_hit, rogue_server_quiet, smoke_ping_quiet, carpet_scan_hit,
]
