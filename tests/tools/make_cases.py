#!/usr/bin/env python3
"""Writes the bundled captures that show what no short recording can: usual traffic for a while, then something else.

    python3 tests/tools/make_cases.py [NAME ...]

Each case is a function below: it makes the frames and says what is to be found. Everything is drawn from a generator
seeded with the case's name, so that the same captures come out every time. Python's standard library is enough.
"""

import hashlib
import json
import random
import struct
import sys
from pathlib import Path

import guess_cases
import more_cases
from frames import ACK, RST, SYN, Capture, Tcp

CASES = Path(__file__).resolve().parent.parent / "cases"
# Tuesday, 14 November 2023, 00:00 UTC: an hour begins, no window is cut.
START = 1_699_920_000
HOSTS = [f"10.20.0.{n}" for n in range(11, 17)]
MINUTE = 60
#: Nothing beyond what is expected may be raised.
NOTHING_ELSE = ["*"]


def quiet(kind):
    """What a quiet case says."""
    return {"expect": [], "never": [kind]}


def hit(kind, source=None, destination=None, never=None):
    """What a case with one alert says; a null is nobody in particular."""
    expected = {"type": kind, "source": source, "destination": destination}
    return {"expect": [expected], "never": NOTHING_ELSE if never is None else never}


def office(capture, draw, seconds, level=lambda second: 1.0, rtt=lambda second: 0.04, loss=lambda second: 0.001,
           udp=lambda second: 0.25, rate=16.0, stamps=False):
    """Six hosts, each with a TCP connection to one server that stays open, and a call over UDP: `rate` packets a
    second on the average, by the given level, round trip, loss, and share of UDP of each second."""
    connections = [
        Tcp(capture, (host, 50_000 + n), ("198.51.100.20", 443), stamps=stamps) for n, host in enumerate(HOSTS)
    ]
    for n, connection in enumerate(connections):
        connection.open(START + n * 0.05)
    busy = [0.0] * len(connections)
    for second in range(1, seconds):
        wanted = rate * level(second)
        share = udp(second)
        for _ in range(poisson(draw, wanted * (1 - share) / 2)):
            n = draw.randrange(len(connections))
            # One segment under way at a time, so that the order of the frames is the order of the numbers.
            time = max(START + second + draw.random(), busy[n] + 0.001)
            connections[n].half = rtt(second) / 2
            end = 0 if draw.random() < 0.3 else 1
            size = draw.randrange(100, 400) if end == 0 else draw.randrange(300, 1400)
            busy[n] = connections[n].data(time, end, size, draw.random() < loss(second))
        for _ in range(poisson(draw, wanted * share)):
            ends = [("10.20.0.11", 16_400), ("203.0.113.40", 16_500)]
            draw.shuffle(ends)
            capture.udp(START + second + draw.random(), *ends, 172)


def poisson(draw, mean):
    """How many of something happen, on the average `mean` (Knuth)."""
    limit, product, count = 2.718281828459045**-mean, draw.random(), 0
    while product > limit:
        product *= draw.random()
        count += 1
    return count


def traffic_spike_hit(capture, draw):
    """A quarter of an hour as usual, then three minutes of four times as much of everything."""
    office(capture, draw, 20 * MINUTE, level=lambda second: 4.0 if 15 <= second / 60 < 18 else 1.0, rate=12.0)
    return hit("traffic_spike")


def traffic_spike_quiet(capture, draw):
    """Forty minutes in which the traffic doubles bit by bit and falls again, with a noise of its own: no spike."""
    office(capture, draw, 40 * MINUTE, level=lambda second: 2.0 - abs(second / 1200 - 1.0), rate=6.0)
    return {"expect": [], "never": NOTHING_ELSE}


def high_latency_hit(capture, draw):
    """Fifteen minutes with round trips of 60 ms, then three minutes with 300 ms."""
    office(capture, draw, 19 * MINUTE, rtt=lambda second: 0.3 if 15 <= second / 60 < 18 else 0.06, rate=10.0, stamps=True)
    return hit("high_latency")


def high_latency_quiet(capture, draw):
    """Round trips from 40 to 80 ms, and one in ten of 400 ms: a far server, not a slow network."""
    far = lambda second: 0.4 if draw.random() < 0.1 else draw.uniform(0.04, 0.08)
    office(capture, draw, 20 * MINUTE, rtt=far, rate=10.0, stamps=True)
    return {"expect": [], "never": NOTHING_ELSE}


def packet_loss_hit(capture, draw):
    """Fifteen minutes in which one segment of a thousand is sent again, then three minutes with one of six."""
    office(capture, draw, 19 * MINUTE, loss=lambda second: 0.16 if 15 <= second / 60 < 18 else 0.001, rate=20.0)
    return hit("packet_loss")


def packet_loss_quiet(capture, draw):
    """A lossy wireless network as it always is: one segment of a hundred sent again."""
    office(capture, draw, 20 * MINUTE, loss=lambda second: 0.01, rate=20.0)
    return {"expect": [], "never": NOTHING_ELSE}


def protocol_anomaly_hit(capture, draw):
    """A quarter of the packets is UDP; then for four minutes four of five, in the same number of packets."""
    office(capture, draw, 20 * MINUTE, udp=lambda second: 0.8 if 15 <= second / 60 < 19 else 0.25, rate=20.0)
    return hit("protocol_anomaly")


def protocol_anomaly_quiet(capture, draw):
    """The share of UDP sways between 15 and 40 percent as calls come and go."""
    office(capture, draw, 20 * MINUTE, udp=lambda second: 0.15 if second // 240 % 2 else 0.4, rate=20.0)
    return {"expect": [], "never": NOTHING_ELSE}


def long_lived_connection_quiet(capture, draw):
    """Two hours of shells of 40 minutes at most, and a BGP session that lasts all the time, as it should."""
    for n in range(12):
        shell = Tcp(capture, (HOSTS[n % 6], 50_000 + n), ("203.0.113.9", 22))
        time = shell.open(START + n * 400)
        end = time + draw.uniform(600, 2400)
        while time < end:
            time = shell.data(time + draw.uniform(5, 55), draw.randrange(2), draw.randrange(36, 500))
        shell.close(time + 1)
    peer = Tcp(capture, ("10.20.0.1", 50_100), ("10.20.0.2", 179))
    time = peer.open(START)
    while time < START + 7200:
        time = peer.data(time + 30, draw.randrange(2), 19)
    return quiet("long_lived_connection")


def visit(capture, time, client, server, answer, asked=400):
    """A connection: a request, an answer of a few segments, the end."""
    connection = Tcp(capture, client, server, 0.03)
    time = connection.data(connection.open(time), 0, asked)
    for _ in range(max(1, answer // 1400)):
        time = connection.data(time + 0.002, 1, min(answer, 1400))
    connection.close(time + 0.05)


def browsing(capture, draw, seconds, pause=45.0):
    """Six people look at four sites, when they like."""
    for n, host in enumerate(HOSTS):
        time, port = START + draw.uniform(0, pause), 40_000 + n * 1000
        while time < START + seconds:
            site = (f"198.51.100.{draw.choice([20, 21, 22, 23])}", 443)
            visit(capture, time, (host, port), site, draw.randrange(800, 12_000), draw.randrange(200, 900))
            time, port = time + draw.expovariate(1 / pause), port + 1


def beaconing_hit(capture, draw):
    """One host asks the same server for nothing every minute, give or take two seconds, for two hours, while six
    people browse. Another does so every five seconds for half an hour, but for one call of twenty that is missing."""
    browsing(capture, draw, 7200, pause=300.0)
    for n in range(118):
        time = START + 30 + n * 60 + draw.uniform(-2, 2)
        visit(capture, time, ("10.20.0.13", 30_000 + n), ("203.0.113.77", 443), 180, 220)
    for n in range(360):
        if n % 20 != 7:
            visit(capture, START + 40 + n * 5, ("10.20.0.14", 30_000 + n), ("203.0.113.78", 443), 180, 220)
    one = {"type": "beaconing"}
    expected = [one | {"source": f"10.20.0.{host}", "destination": f"203.0.113.{64 + host}"} for host in (13, 14)]
    return {"expect": expected, "never": NOTHING_ELSE}


def beaconing_quiet(capture, draw):
    """Six people browse for two hours, one of them the same site every other minute, at no rhythm. Another has a page open for four
    minutes, three times, that asks every five seconds."""
    browsing(capture, draw, 7200, pause=300.0)
    time, port = START + 50, 30_000
    while time < START + 7200:
        visit(capture, time, ("10.20.0.13", port), ("203.0.113.77", 443), draw.randrange(500, 9000), draw.randrange(200, 900))
        time, port = time + draw.expovariate(1 / 100.0), port + 1
    for n in range(3 * 48):
        time = START + 600 + n // 48 * 2000 + n % 48 * 5
        visit(capture, time, ("10.20.0.14", 30_000 + n), ("203.0.113.78", 443), 180, 220)
    return quiet("beaconing")


def transfer(capture, draw, time, client, server, end, megabytes):
    """A bulk transfer, in segments of 16 kB as a host with segmentation offload records them."""
    connection = Tcp(capture, client, server, 0.02)
    time = connection.open(time)
    for _ in range(megabytes * 64):
        time = connection.data(time + draw.uniform(0.005, 0.03), end, 16_384)
    connection.close(time + 0.1)


def data_exfiltration_hit(capture, draw):
    """Seventy minutes of browsing. Half an hour into it one host sends 120 MB to an address that nobody has talked to, which is rare; half an
    hour later another sends as much to a site that people look at, which is less. A third backs up 50 MB in the first minute, when nobody
    knows what is usual, and again half an hour later, as it did before."""
    browsing(capture, draw, 70 * MINUTE, pause=60.0)
    transfer(capture, draw, START + 30 * MINUTE, ("10.20.0.14", 33_000), ("203.0.113.200", 443), 0, 120)
    transfer(capture, draw, START + 65 * MINUTE, ("10.20.0.15", 33_001), ("198.51.100.21", 443), 0, 120)
    for number, minute in enumerate((1, 33)):
        transfer(capture, draw, START + minute * MINUTE, ("10.20.0.16", 33_002 + number), ("192.0.2.9", 22), 0, 50)
    one = {"type": "data_exfiltration"}
    expected = [
        one | {"source": "10.20.0.14", "destination": "203.0.113.200", "severity": "high"},
        one | {"source": "10.20.0.15", "destination": "198.51.100.21", "severity": "medium"},
        one | {"source": "10.20.0.16", "destination": "192.0.2.9", "severity": "medium"},
        one | {"source": "10.20.0.16", "destination": "192.0.2.9", "severity": "low"},
    ]
    return {"expect": expected, "never": ["data_exfiltration", "beaconing", "syn_flood", "udp_flood"]}


def data_exfiltration_quiet(capture, draw):
    """Half an hour of browsing; then one host loads 120 MB down, and another copies 60 MB to a server inside."""
    browsing(capture, draw, 40 * MINUTE, pause=60.0)
    transfer(capture, draw, START + 30 * MINUTE, ("10.20.0.14", 33_000), ("203.0.113.200", 443), 1, 120)
    transfer(capture, draw, START + 31 * MINUTE, ("10.20.0.15", 33_001), ("10.20.0.2", 445), 0, 60)
    return quiet("data_exfiltration")


def datagram(source_port, destination_port, payload, data=b""):
    """The head of a UDP datagram, and what its payload begins with."""
    return struct.pack(">HHHH", source_port, destination_port, 8 + payload, 0) + data


def dns_answer(number):
    """The head of a DNS message: an answer with one question."""
    return struct.pack(">HHHHHH", number, 0x8180, 1, 20, 0, 0) + b"\x03org"


def amplification_hit(capture, draw):
    """Forty open resolvers send 120 large answers a second for half a minute to a host that asked none of them."""
    time, number = START + 10.0, 0
    while time < START + 40:
        number, resolver, size = number + 1, f"192.0.2.{draw.randrange(1, 41)}", draw.randrange(1100, 1440)
        head = datagram(53, 4444, size, dns_answer(number))
        capture.ip(time, resolver, "10.20.0.11", 17, head, size - 16)
        time += draw.expovariate(120)
    return hit("amplification", "*", "10.20.0.11")


def amplification_quiet(capture, draw):
    """A busy resolver asks forty servers 60 times a second; each question has its answer, most of them large."""
    time = START + 10.0
    while time < START + 40:
        server, resolver = (f"192.0.2.{draw.randrange(1, 41)}", 53), ("10.20.0.11", 5300)
        capture.udp(time, resolver, server, 45)
        capture.udp(time + draw.uniform(0.005, 0.05), server, resolver, draw.randrange(500, 1400))
        time += draw.expovariate(60)
    return {"expect": [], "never": NOTHING_ELSE}


def distributed_flood_hit(capture, draw):
    """150 sources send 2,000 datagrams a second for twelve seconds to eight hosts of one network; none is answered. Later 1,500
    packets a second for eight seconds, as many of a kind, to all hosts of another network: answers of 150 open resolvers, and ACKs of no
    connection; no host gets ten a second of either."""
    sources = [f"{draw.randrange(1, 120) * 2 + 11}.{draw.randrange(256)}.{draw.randrange(256)}.{n + 1}" for n in range(150)]
    time = START + 5.0
    while time < START + 17:
        n = draw.randrange(150)
        target = (f"198.51.100.{10 + (n + draw.randrange(2)) % 8}", 30_000)
        capture.udp(time, (sources[n], 20_000 + n), target, 512)
        time += draw.expovariate(2000)
    for number in range(2, 12_002):
        time, target, source = START + 60 + number / 1500, f"198.51.101.{1 + draw.randrange(250)}", sources[draw.randrange(150)]
        if number % 2:
            capture.ip(time, source, target, 6, tcp_header(1024 + number, 443, ACK), 0)
        else:
            head = datagram(53, 4000 + number, 1200, dns_answer(number))
            capture.ip(time, source, target, 17, head, 1184)
    one = {"type": "distributed_flood", "source": "*"}
    expected = [one | {"destination": f"198.51.{network}.0/24"} for network in (100, 101)]
    # So many ACKs to one port look like the search of a botnet as well: once, of many.
    expected.append({"type": "port_scan", "source": "*", "destination": "*"})
    return {"expect": expected, "never": NOTHING_ELSE}


def distributed_flood_quiet(capture, draw):
    """A crowd: 250 clients visit eight servers of one network within twelve seconds, and each is served. All hosts of another network
    ask resolvers, 1,500 times a second, and are answered."""
    for n in range(250):
        client = (f"{draw.randrange(1, 120) * 2 + 11}.{draw.randrange(256)}.{draw.randrange(256)}.{n + 1}", 20_000 + n)
        visit(capture, START + 5 + draw.uniform(0, 12), client, (f"198.51.100.{10 + n % 8}", 443), 9000)
    for number in range(9000):
        time, client, server = START + 60 + number / 1500, (f"198.51.101.{1 + number % 250}", 2000 + number), f"192.0.2.{1 + number % 150}"
        capture.udp(time, client, (server, 53), 40)
        capture.ip(time + 0.02, server, client[0], 17, datagram(53, client[1], 300, dns_answer(number)), 284)
    return {"expect": [], "never": NOTHING_ELSE}


def backscatter(capture, draw, seconds, addresses):
    """The answers of a server that is flooded from forged addresses: SYN-ACK, twice again, or RST."""
    for n in range(addresses):
        forged = (f"10.20.{draw.randrange(4)}.{draw.randrange(1, 255)}", draw.randrange(1024, 65_536))
        answer = Tcp(capture, forged, ("203.0.113.80", 80))
        answer.sequence[0] = draw.randrange(1, 2**31)
        time = START + draw.uniform(0, seconds)
        if n % 4 == 0:
            answer.segment(time, 1, RST | ACK)
            continue
        for again in (0, 3, 9):
            answer.sequence[1] = 7000
            answer.segment(time + again, 1, SYN | ACK)


def port_scan_quiet(capture, draw):
    """Backscatter: somebody floods a web server with forged addresses of this network, and its answers come here, to 300
    ports of 300 hosts in two minutes. It looks like a scan by the server, and is none."""
    backscatter(capture, draw, 120, 300)
    return {"expect": [], "never": NOTHING_ELSE}


def slow_scan_quiet(capture, draw):
    """Twelve hours of backscatter to 600 ports, and a host that asks a server that is gone every minute."""
    backscatter(capture, draw, 12 * 3600, 600)
    for minute in range(12 * 60):
        attempt = Tcp(capture, ("10.20.0.11", 49_000 + minute % 50), ("203.0.113.81", 8443))
        attempt.segment(START + minute * MINUTE, 0, SYN)
    # Whether that regular a call is beaconing is not what this case is about.
    return {"expect": [], "never": ["port_scan", "syn_flood", "distributed_flood"]}


def announced_claims_hit(capture, draw):
    """A station announces the gateway's and another's address every half a second for half a minute, though both live and speak
    between. It has an address of its own, and with those two three in the open, as a host of virtual machines has."""
    evil, router, other, nobody = station(66), station(1), station(31), bytes(6)
    gateway, victim = "10.20.0.1", "10.20.0.31"
    for number in range(11, 15):
        capture.arp(START + number / 10, station(number), f"10.20.0.{number}", nobody, gateway)
        capture.arp(START + number / 10 + 0.001, router, gateway, station(number), f"10.20.0.{number}", 2, station(number))
    for number in range(60):
        time = START + 10 + number / 2
        if number % 8 == 0:
            for mac, address in ((router, gateway), (other, victim)):
                capture.arp(time - 0.1, evil, "10.20.0.66", nobody, address)
                capture.arp(time - 0.099, mac, address, evil, "10.20.0.66", 2, evil)
        for address in (gateway, victim):
            capture.arp(time, evil, address, b"\xff" * 6, address, 2)
    one = {"type": "arp_spoof", "source": "02:00:00:00:00:42"}
    return {"expect": [one | {"destination": gateway}, one | {"destination": victim}], "never": NOTHING_ELSE}


def announced_claims_quiet(capture, draw):
    """Three floating addresses come over from one station to another, which announces each of them five times, as clusters do; an hour
    later they go back. Whoever gave them up says no more."""
    for turn in range(2):
        for again, late in enumerate((0, 0.1, 0.2, 5, 5.1)):
            for number in (50, 51, 52):
                address, mac = f"10.20.0.{number}", station(8 + turn)
                capture.arp(START + 3600 * turn + late + number / 1000, mac, address, b"\xff" * 6, address, 2)
        for second in range(0, 3500, 30):
            for number in (50, 51, 52):
                time = START + 3600 * turn + 20 + second + number / 1000
                capture.arp(time, station(1), "10.20.0.1", bytes(6), f"10.20.0.{number}")
                capture.arp(time + 0.0005, station(8 + turn), f"10.20.0.{number}", station(1), "10.20.0.1", 2, station(1))
    return {"expect": [], "never": ["arp_spoof"]}


def bridged_machines_quiet(capture, draw):
    """Two hours on a host whose three virtual machines are bridged to Wi-Fi: its MAC address stands for all of them. The capture
    shows a machine's packet and what the host makes of it, answers under either address, and in between those that came
    to the host alone. A plug in the same network got another address by DHCP and speaks once more under its old one, which
    another station has by now."""
    host, router, plug, heir, nobody = station(1), station(254), station(40), station(41), bytes(6)
    machines = [(b"\x08\x00\x27\x00\x00" + bytes([n]), f"10.20.0.{100 + n}") for n in (1, 2, 3)]
    gateway = "10.20.0.254"
    for minute in range(120):
        at = START + minute * MINUTE
        capture.arp(at + 1, host, "10.20.0.11", nobody, gateway)
        capture.arp(at + 1.002, router, gateway, host, "10.20.0.11", 2, host)
        for number, (machine, address) in enumerate(machines):
            time = at + 5 + 7 * number + draw.random()
            for mac, late in ((machine, 0), (host, 0.001)):
                capture.arp(time + late, mac, address, nobody, gateway)
            capture.arp(time + 0.003, router, gateway, host, address, 2, host)
            # The router looks whether its entry still holds; machine and host answer, or only the host is seen to.
            time += 30
            capture.arp(time, router, gateway, nobody, address, 1, host)
            if minute % 3:
                capture.arp(time + 0.001, machine, address, router, gateway, 2, router)
            capture.arp(time + 0.002, host, address, router, gateway, 2, router)
            # Two machines of one host look for each other.
            other = machines[(number + 1) % 3]
            for mac, late in ((machine, 0), (host, 0.001)):
                capture.arp(time + 2 + late, mac, address, nobody, other[1])
    for minute in range(0, 120, 2):
        capture.arp(START + minute * MINUTE + 3, heir, "10.20.0.40", nobody, gateway)
        capture.arp(START + minute * MINUTE + 4, plug, "10.20.0.77", nobody, gateway)
    capture.arp(START + 10 * MINUTE + 8, plug, "10.20.0.40", nobody, gateway)
    return {"expect": [], "never": ["arp_spoof"]}


def station(number):
    """The six bytes of a station."""
    return b"\x02\x00\x00\x00\x00" + bytes([number])


def neighbor_sweep_hit(capture, draw):
    """Four sweeps: a station asks by ARP for every address of its /24 in 2.5 s, of which ten answer; a host is sent 140 IP protocols
    without ports (nmap -sO); 300 hosts of a botnet each try port 23 of another host within 4 s; and a stranger tries one local
    host every ten minutes at one of three ports, as infected machines do whose search covers the whole Internet."""
    for number in range(1, 255):
        time = START + number / 100
        capture.arp(time, station(66), "10.20.0.66", bytes(6), f"10.20.0.{number}")
        if number in range(11, 21):
            capture.arp(time + 0.001, station(number), f"10.20.0.{number}", station(66), "10.20.0.66", 2, station(66))
    for number in range(90, 230):
        if number not in (115, 132, 136):
            capture.ip(START + 20 + number / 100, "203.0.113.5", "10.20.0.9", number, b"", 0)
    for number in range(300):
        forged = (f"203.0.{number % 100}.{100 + number % 150}", 30_000 + number)
        probe = Tcp(capture, forged, (f"10.21.{number % 7}.{1 + number % 250}", 23))
        for again in range(1 + number % 2):
            probe.sequence[0] = 1000
            probe.segment(START + 40 + number / 100 + again, 0, SYN)
    for number in range(12):
        stranger = Tcp(capture, ("198.51.100.9", 50_000 + number), (f"10.22.{number}.{20 + number}", (80, 8080, 88)[number % 3]))
        stranger.segment(START + 60 + 600 * number, 0, SYN)
    one = {"type": "port_scan", "destination": "*"}
    expected = [one | {"source": "10.20.0.66"}, one | {"source": "203.0.113.5", "destination": "10.20.0.9"},
                one | {"source": "*"}, one | {"source": "198.51.100.9"}]
    return {"expect": expected, "never": ["syn_flood", "distributed_flood", "protocol_flood", "arp_spoof"]}


def neighbor_sweep_quiet(capture, draw):
    """What comes close to a sweep. A monitor asks for 80 hosts of its /24 every minute, until they are down, and goes on. The
    gateway asks for all of a /24 that somebody outside tries. A hub has tunnels of five protocols to 30 sites. 300
    customers use a service at one port of 200 hosts that answers but for a tenth; and a customer outside reaches 13 local hosts
    and tries eleven that are gone."""
    nobody = bytes(6)
    for minute in range(12):
        at = START + minute * MINUTE
        for number in range(80):
            time, other = at + number / 100, (station(100 + number), f"10.20.0.{100 + number}")
            capture.arp(time, station(9), "10.20.0.9", nobody, other[1])
            if minute < 6:
                capture.arp(time + 0.001, *other, station(9), "10.20.0.9", 2, station(9))
        for number in (11, 12, 13, 14):
            capture.arp(at + 10 + number, station(number), f"10.20.0.{number}", nobody, "10.20.0.1")
            capture.arp(at + 10.001 + number, station(1), "10.20.0.1", station(number), f"10.20.0.{number}", 2, station(number))
    for number in range(1, 255):
        capture.arp(START + 400 + number / 50, station(1), "10.20.0.1", nobody, f"10.20.0.{number}")
    for number in range(150):
        sites = [f"203.0.113.{1 + number % 30}", "10.20.0.8"]
        capture.ip(START + 2 * number, *(sites if number % 2 else reversed(sites)), (4, 41, 47, 50, 51)[number % 5], bytes(8), 60)
    for number in range(300):
        served = Tcp(capture, (f"203.0.{number % 100}.{100 + number % 150}", 30_000 + number), (f"10.21.{number % 4}.{1 + number % 50}", 443))
        time = START + 450 + number / 100
        if number % 10:
            served.close(served.data(served.open(time), 0, 300))
        else:
            served.segment(time, 0, SYN)
    for number in range(24):
        customer = Tcp(capture, ("198.51.100.9", 50_000 + number), (f"10.22.{number}.20", 443))
        if number % 2 or number > 20:
            customer.close(customer.data(customer.open(START + 20 * number), 0, 300))
        else:
            customer.segment(START + 20 * number, 0, SYN)
    return {"expect": [], "never": ["port_scan"]}


def tcp_header(source_port, destination_port, flags):
    """A segment of no connection."""
    return struct.pack(">HHIIBBHHH", source_port, destination_port, 7, 9, 0x50, flags, 64000, 0, 0)


def flood_hit(capture, draw):
    """Eight seconds each of what belongs to no conversation, a victim a kind, 120 packets a second: ACKs to port 80 from one host,
    which are refused now and then; resets and SYN-ACKs from 200 servers; later fragments of UDP datagrams; GRE and ESP from
    40 hosts; ICMP errors from 60 routers; and UDP: 2,000 datagrams of 246 bytes a second to port after port, 720 empty ones from
    port after port to port after port, 700 from port 53 that are no DNS, 700 of 200 bytes in one stream that nobody answers."""
    for number in range(960):
        time = START + 1 + number / 120
        one_of = lambda count: f"203.0.113.{1 + draw.randrange(count)}"
        capture.ip(time, "203.0.113.66", "198.51.100.80", 6, tcp_header(1024 + number, 80, ACK), 0)
        if number % 5 == 0:
            capture.ip(time + 0.001, "198.51.100.80", "203.0.113.66", 6, tcp_header(80, 1024 + number, RST), 0)
        capture.ip(time, one_of(200), "198.51.100.81", 6, tcp_header(443, draw.randrange(1024, 65536), RST), 0)
        capture.ip(time, one_of(200), "198.51.100.82", 6, tcp_header(443, draw.randrange(1024, 65536), SYN | ACK), 0)
        capture.ip(time, one_of(254), "198.51.100.83", 17, b"", 1400, offset=1480)
        capture.ip(time, one_of(40), "198.51.100.84", 47, struct.pack(">HHI", 0, 0x0800, 0x45000000), 512)
        capture.ip(time, one_of(40), "198.51.100.85", 50, struct.pack(">II", number, 1), 400)
        for error in range(4):
            capture.ip(time + error / 1000, one_of(60), "198.51.100.86", 1, struct.pack(">BBHI", 3, 3, 0, 0), 28)
    for number in range(4000):
        ports = (draw.randrange(1024, 65536), 1 + number % 60000)
        capture.udp(START + 20 + number / 2000, ("203.0.113.9", ports[0]), ("198.51.100.87", ports[1]), 246)
    for number in range(5600):
        capture.udp(START + 40 + number / 720, ("203.0.113.10", 2000 + number), ("198.51.100.88", 1 + number), 0)
        time = START + 60 + number / 700
        capture.ip(time, "203.0.113.11", "198.51.100.89", 17, datagram(53, 55620, 300, bytes(range(160, 176))), 284)
        capture.udp(time, ("203.0.113.12", 40_000), ("198.51.100.90", 5201), 172)
    victims = [
        ("ack_flood", 80), ("rst_flood", 81), ("synack_reflection", 82), ("fragment_flood", 83), ("protocol_flood", 84),
        ("protocol_flood", 85), ("icmp_flood", 86), ("udp_flood", 87),
        ("udp_flood", 88), ("udp_flood", 89), ("udp_flood", 90),
    ]
    expect = [{"type": kind, "destination": f"198.51.100.{last}"} for kind, last in victims]
    return {"expect": expect, "never": ["syn_flood", "amplification", "distributed_flood", "dns_tunnel", "port_scan"]}


def flood_quiet(capture, draw):
    """A minute of the same packets where they belong: keep-alives of 3,000 connections from before the capture, each answered; a host
    whose connections are refused; a switch that sends a copy of its traffic in GRE; six ESP tunnels; ICMP errors to a host whose
    datagrams found nobody. A camera sends 700 large datagrams a second, 700 small ones report to a collector of metrics, and a
    scanner tries 6,000 UDP ports from one port, 700 a second; nobody answers any of them."""
    for number in range(3000):
        time, ports = START + 1 + number / 50, (20_000 + number, 1883)
        client = f"203.0.113.{1 + number % 250}"
        capture.ip(time, client, "198.51.100.80", 6, tcp_header(*ports, ACK), 0)
        capture.ip(time + 0.01, "198.51.100.80", client, 6, tcp_header(*reversed(ports), ACK), 0)
        refused = Tcp(capture, ("198.51.100.81", ports[0]), (client, 8443))
        refused.segment(time, 0, SYN)
        refused.segment(time + 0.02, 1, RST | ACK)
        for packet in range(2):
            capture.ip(time + packet / 100, "203.0.113.77", "198.51.100.84", 47, struct.pack(">HH", 0, 0x88BE), 900)
            tunnel = [f"203.0.113.{90 + number % 6}", "198.51.100.85"]
            capture.ip(time + packet / 100, *(reversed(tunnel) if packet else tunnel), 50, struct.pack(">II", 1, 1), 400)
        capture.udp(time, ("198.51.100.86", 40_000), (client, 33_434 + number % 100), 60)
        capture.ip(time + 0.02, client, "198.51.100.86", 1, struct.pack(">BBHI", 3, 3, 0, 0), 28)
    for number in range(6000):
        time = START + 1 + number / 700
        capture.udp(time, ("203.0.113.13", 40_000), ("198.51.100.87", 5004), 1300)
        capture.udp(time, ("203.0.113.14", 40_000), ("198.51.100.88", 8125), 172)
        capture.udp(time, ("203.0.113.15", 40_000), ("198.51.100.89", 1 + number), 0)
    # Whether who is refused so often scans is not what this case is about.
    return {"expect": [], "never": ["ack_flood", "rst_flood", "synack_reflection", "fragment_flood", "protocol_flood",
                                    "icmp_flood", "udp_flood"]}


MADE = [
    announced_claims_hit, announced_claims_quiet,
    flood_hit, flood_quiet, neighbor_sweep_hit, neighbor_sweep_quiet,
    bridged_machines_quiet,
    port_scan_quiet, slow_scan_quiet, traffic_spike_hit, traffic_spike_quiet, high_latency_hit, high_latency_quiet,
    packet_loss_hit, packet_loss_quiet, protocol_anomaly_hit, protocol_anomaly_quiet, long_lived_connection_quiet,
    beaconing_hit, beaconing_quiet, data_exfiltration_hit, data_exfiltration_quiet, amplification_hit,
    amplification_quiet, distributed_flood_hit, distributed_flood_quiet,
    *more_cases.MADE, *guess_cases.MADE,
]

README = """# {title}

{about}

* Source: made by `tests/tools/make_cases.py`, nothing recorded; only the head of each frame is in the capture
* Licence: as the project
* SHA-256: `{digest}`
"""


def main(wanted):
    for make in MADE:
        detector, kind = make.__name__.rsplit("_", 1)
        name = f"{detector}-{kind}"
        if wanted and name not in wanted:
            continue
        folder = CASES / name
        folder.mkdir(exist_ok=True)
        capture = Capture()
        alerts = make(capture, random.Random(name))
        path = folder / "input.pcap.gz"
        capture.write(path)
        (folder / "alerts.json").write_text(json.dumps(alerts) + "\n")
        about = " ".join(make.__doc__.split())
        title = f"{detector}: {kind}".replace("_", " ").capitalize()
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        (folder / "README.md").write_text(README.format(title=title, about=about, digest=digest))
        print(f"{name}: {len(capture.frames)} packets, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
