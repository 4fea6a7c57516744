"""A tunnel's end: answers every query with made-up data of the type asked for: `dnszone.py ADDRESS`."""
import base64, os, random, socket, struct, sys

server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind((sys.argv[1], 53))
sys.stdout.write("ready\n")
sys.stdout.flush()

def name(labels):
    return b"".join(bytes([len(one)]) + one for one in labels) + b"\0"

def data(kind):
    word = base64.b32encode(os.urandom(random.randint(4, 30))).rstrip(b"=").lower()
    if kind == 16:
        text = os.urandom(random.randint(10, 110)).hex().encode()
        return bytes([len(text)]) + text
    if kind in (5, 2):
        return name([word, b"t"])
    if kind == 15:
        return b"\0\x0a" + name([word, b"t"])
    if kind == 28:
        return os.urandom(16)
    return os.urandom(4)

while True:
    got, peer = server.recvfrom(4096)
    end = got.find(b"\0", 12) + 5
    if end < 17:
        continue
    kind = struct.unpack(">H", got[end - 4:end - 2])[0]
    body = data(kind)
    answer = b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 5, len(body)) + body
    server.sendto(got[:2] + b"\x84\x00\0\x01\0\x01\0\0\0\0" + got[12:end] + answer, peer)
