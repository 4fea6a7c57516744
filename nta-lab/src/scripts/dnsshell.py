"""A shell over DNS that polls: `dnsshell.py SERVER ZONE TYPES INTERVAL SECONDS`; types as 16,5,15; busy now and then."""
import os, random, socket, struct, sys, time

server, zone, kinds, interval, seconds = sys.argv[1], sys.argv[2], [int(k) for k in sys.argv[3].split(",")], float(sys.argv[4]), float(sys.argv[5])
wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
wire.settimeout(2)
session = os.urandom(2).hex()
until = time.time() + seconds
count = 0
while time.time() < until:
    busy = random.random() < 0.3
    for _ in range(random.randint(5, 40) if busy else 1):
        size = random.randint(30, 90) if busy else random.randint(4, 12)
        text = session + f"{count:04x}" + os.urandom(size).hex()
        labels = [text[i:i + 60] for i in range(0, len(text), 60)] + zone.split(".")
        question = b"".join(bytes([len(one)]) + one.encode() for one in labels) + b"\0" + struct.pack(">HH", random.choice(kinds), 1)
        wire.sendto(os.urandom(2) + b"\x01\0\0\x01\0\0\0\0\0\0" + question, (server, 53))
        count += 1
        try:
            wire.recv(4096)
        except OSError:
            pass
        if busy:
            time.sleep(interval / 10)
    time.sleep(interval)
