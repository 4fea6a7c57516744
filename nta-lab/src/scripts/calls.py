"""Calls and streams over UDP.

`calls.py serve`: STUN at 3478 and 19302, media that comes back at 10000 and 443, at every address of this host.
`calls.py call SECONDS SEED SERVER...`: calls that look for a way by candidates of which most are not there, then speak.
`calls.py stream TARGET PORT SECONDS PACKETS_PER_S BYTES PAUSE`: a stream of video, on for a minute, off for PAUSE seconds.
"""
import os, random, select, socket, struct, sys, threading, time

COOKIE = b"\x21\x12\xa4\x42"

def binding(user=b""):
    name = struct.pack(">HH", 6, len(user)) + user + b"\0" * (-len(user) % 4) if user else b""
    return b"\0\x01" + struct.pack(">H", len(name)) + COOKIE + os.urandom(12) + name

def mirror(port):
    wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    # Answers must come from the address that was asked.
    wire.setsockopt(socket.IPPROTO_IP, 8, 1)
    wire.bind(("0.0.0.0", port))
    while True:
        try:
            got, extra, _, peer = wire.recvmsg(2048, 256)
            _, _, info = extra[0]
            if got[:2] == b"\0\x01" and got[4:8] == COOKIE:
                mapped = struct.pack(">HHBBH", 0x20, 8, 0, 1, peer[1] ^ 0x2112) + bytes(a ^ b for a, b in zip(socket.inet_aton(peer[0]), COOKIE))
                got = b"\x01\x01" + struct.pack(">H", len(mapped)) + got[4:20] + mapped
            wire.sendmsg([got], [(socket.IPPROTO_IP, 8, struct.pack("@I4s4s", 0, info[4:8], b"\0" * 4))], 0, peer)
        except OSError:
            pass

def drain(wire, seen):
    while select.select([wire], [], [], 0)[0]:
        try:
            got, peer = wire.recvfrom(2048)
            if got[:2] == b"\x01\x01":
                seen.add(peer)
        except OSError:
            pass

def call(seconds, rng, servers):
    until = time.time() + seconds
    while time.time() < until:
        wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        wire.bind(("0.0.0.0", 0))
        seen = set()
        for server in rng.sample(servers, 4):
            wire.sendto(binding(), (server, rng.choice((3478, 19302))))
        time.sleep(0.3)
        drain(wire, seen)
        partner, relays = rng.choice(servers), rng.sample(servers, 2)
        # Its addresses at home, of its VPN and its virtual machines, beside its public one and the relays.
        private = [f"192.168.{rng.randint(0, 250)}.{rng.randint(2, 250)}", f"10.{rng.randint(100, 250)}.{rng.randint(0, 250)}.7", "172.17.0.1", f"192.168.56.{rng.randint(2, 250)}"]
        candidates = [(address, rng.randint(40_000, 65_000)) for address in private for _ in range(2)]
        candidates += [(partner, rng.randint(40_000, 65_000)), (partner, 10_000)] + [(relay, 10_000) for relay in relays]
        seen.clear()
        for attempt in range(7):
            for candidate in candidates:
                if candidate not in seen:
                    wire.sendto(binding(b"Lab1:lab2"), candidate)
                    time.sleep(0.05)
            time.sleep(0.2 * (attempt + 1))
            drain(wire, seen)
            if attempt >= 2 and seen:
                break
        chosen = next((one for one in candidates if one in seen), (partner, 10_000))
        ends, due, count = time.time() + rng.uniform(40, 180), time.time(), 0
        while time.time() < min(ends, until):
            wire.sendto(struct.pack(">BBHII", 0x80, 111, count & 0xFFFF, count * 960, 9) + os.urandom(rng.randint(60, 140)), chosen)
            if count % 2 == 0:
                for part in range(rng.choice((1, 1, 2))):
                    wire.sendto(struct.pack(">BBHII", 0x80, 96, count & 0xFFFF, count * 90, 8) + os.urandom(rng.randint(500, 1100)), chosen)
            if count % 250 == 0:
                wire.sendto(binding(b"Lab1:lab2"), chosen)
            count, due = count + 1, due + 0.02
            drain(wire, seen)
            time.sleep(max(0, due - time.time()))
        wire.close()
        time.sleep(rng.uniform(5, 40))

def stream(target, port, seconds, rate, size, pause):
    wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    wire.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 4)
    wire.connect((target, port))
    until, count = time.time() + seconds, 0
    while time.time() < until:
        ends = time.time() + 60
        while time.time() < min(ends, until):
            began = time.time()
            # A picture at a time, 25 a second.
            for _ in range(max(1, int(rate / 25))):
                try:
                    wire.send(struct.pack(">BBHII", 0x80, 96, count & 0xFFFF, count, 3) + os.urandom(size))
                except OSError:
                    pass
                count += 1
            time.sleep(max(0, began + 0.04 - time.time()))
        time.sleep(pause)

args = sys.argv[2:]
if sys.argv[1] == "serve":
    for port in (3478, 19302, 10_000, 443):
        threading.Thread(target=mirror, args=(port,), daemon=True).start()
    threading.Event().wait()
elif sys.argv[1] == "call":
    call(float(args[0]), random.Random(int(args[1])), args[2:])
else:
    stream(args[0], int(args[1]), float(args[2]), float(args[3]), int(args[4]), float(args[5]))
