#!/usr/bin/env python3
"""Writes the bundled captures that show what no short recording can: usual traffic for a while, then something else.

    python3 tests/tools/make_cases.py [NAME ...]

Each case is a function below: it makes the frames and says what is to be found. Everything is drawn from a generator
seeded with the case's name, so that the same captures come out every time. Python's standard library is enough.
"""

import hashlib
import json
import random
import sys
from pathlib import Path

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
    people browse."""
    browsing(capture, draw, 7200, pause=300.0)
    for n in range(118):
        time = START + 30 + n * 60 + draw.uniform(-2, 2)
        visit(capture, time, ("10.20.0.13", 30_000 + n), ("203.0.113.77", 443), 180, 220)
    return hit("beaconing", "10.20.0.13", "203.0.113.77")


def beaconing_quiet(capture, draw):
    """Six people browse for two hours, one of them the same site every other minute, at no rhythm."""
    browsing(capture, draw, 7200, pause=300.0)
    time, port = START + 50, 30_000
    while time < START + 7200:
        visit(capture, time, ("10.20.0.13", port), ("203.0.113.77", 443), draw.randrange(500, 9000), draw.randrange(200, 900))
        time, port = time + draw.expovariate(1 / 100.0), port + 1
    return quiet("beaconing")


def transfer(capture, draw, time, client, server, end, megabytes):
    """A bulk transfer, in segments of 16 kB as a host with segmentation offload records them."""
    connection = Tcp(capture, client, server, 0.02)
    time = connection.open(time)
    for _ in range(megabytes * 64):
        time = connection.data(time + draw.uniform(0.005, 0.03), end, 16_384)
    connection.close(time + 0.1)


def data_exfiltration_hit(capture, draw):
    """Half an hour of browsing; then one host sends 120 MB to an address that nobody has talked to."""
    browsing(capture, draw, 40 * MINUTE, pause=60.0)
    transfer(capture, draw, START + 30 * MINUTE, ("10.20.0.14", 33_000), ("203.0.113.200", 443), 0, 120)
    return hit("data_exfiltration", "10.20.0.14", "203.0.113.200", never=["beaconing", "syn_flood", "udp_flood"])


def data_exfiltration_quiet(capture, draw):
    """Half an hour of browsing; then one host loads 120 MB down, and another copies 60 MB to a server inside."""
    browsing(capture, draw, 40 * MINUTE, pause=60.0)
    transfer(capture, draw, START + 30 * MINUTE, ("10.20.0.14", 33_000), ("203.0.113.200", 443), 1, 120)
    transfer(capture, draw, START + 31 * MINUTE, ("10.20.0.15", 33_001), ("10.20.0.2", 445), 0, 60)
    return quiet("data_exfiltration")


def amplification_hit(capture, draw):
    """Forty open resolvers send 120 large answers a second for half a minute to a host that asked none of them."""
    time = START + 10.0
    while time < START + 40:
        resolver = (f"192.0.2.{draw.randrange(1, 41)}", 53)
        capture.udp(time, resolver, ("10.20.0.11", 4444), draw.randrange(1100, 1440))
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
    """150 sources send 2,000 datagrams a second for twelve seconds to eight hosts of one network; none is answered."""
    sources = [f"{draw.randrange(1, 120) * 2 + 11}.{draw.randrange(256)}.{draw.randrange(256)}.{n + 1}" for n in range(150)]
    time = START + 5.0
    while time < START + 17:
        n = draw.randrange(150)
        target = (f"198.51.100.{10 + (n + draw.randrange(2)) % 8}", 30_000)
        capture.udp(time, (sources[n], 20_000 + n), target, 512)
        time += draw.expovariate(2000)
    return hit("distributed_flood", "*", "198.51.100.0/24", never=["port_scan", "amplification", "traffic_spike"])


def distributed_flood_quiet(capture, draw):
    """A crowd: 250 clients visit eight servers of one network within twelve seconds, and each is served."""
    for n in range(250):
        client = (f"{draw.randrange(1, 120) * 2 + 11}.{draw.randrange(256)}.{draw.randrange(256)}.{n + 1}", 20_000 + n)
        visit(capture, START + 5 + draw.uniform(0, 12), client, (f"198.51.100.{10 + n % 8}", 443), 9000)
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


MADE = [
    port_scan_quiet, slow_scan_quiet, traffic_spike_hit, traffic_spike_quiet, high_latency_hit, high_latency_quiet,
    packet_loss_hit, packet_loss_quiet, protocol_anomaly_hit, protocol_anomaly_quiet, long_lived_connection_quiet,
    beaconing_hit, beaconing_quiet, data_exfiltration_hit, data_exfiltration_quiet, amplification_hit,
    amplification_quiet, distributed_flood_hit, distributed_flood_quiet,
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
