"""Clients without a program of their own: `client.py voice|ntp|mail|idle|hold SERVER SECONDS [NUMBER]`."""
import os, random, socket, struct, sys, time

what, server, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
number = float(sys.argv[4]) if len(sys.argv) > 4 else 1
until = time.time() + seconds

def voice():
    """A call: a packet of `number` bytes every 20 ms each way."""
    wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    wire.connect((server, 5004))
    wire.setblocking(False)
    count, due = 0, time.time()
    while due < until:
        wire.send(struct.pack(">BBHII", 0x80, 0, count & 0xFFFF, count * 160, 7) + os.urandom(int(number)))
        count, due = count + 1, due + 0.02
        time.sleep(max(0, due - time.time()))
        try:
            while wire.recv(2048):
                pass
        except OSError:
            pass

def ntp():
    while time.time() < until:
        wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        wire.settimeout(2)
        now = time.time() + 2208988800
        wire.sendto(b"\x23" + b"\0" * 39 + struct.pack(">II", int(now), int((now % 1) * 2**32)), (server, 123))
        try:
            wire.recv(128)
        except OSError:
            pass
        time.sleep(number)

def mail():
    while time.time() < until:
        try:
            wire = socket.create_connection((server, 25), 5)
            lines = wire.makefile("rwb")
            lines.readline()
            for line in ["EHLO client", "MAIL FROM:<a@example.org>", "RCPT TO:<b@example.com>", "DATA"]:
                lines.write(line.encode() + b"\r\n")
                lines.flush()
                lines.readline()
            body = os.urandom(random.randint(500, 60000)).hex()
            lines.write("\r\n".join(body[i:i + 72] for i in range(0, len(body), 72)).encode() + b"\r\n.\r\n")
            lines.flush()
            lines.readline()
            lines.write(b"QUIT\r\n")
            lines.flush()
            lines.readline()
            wire.close()
        except OSError:
            pass
        time.sleep(number * random.uniform(0.5, 1.5))

def idle():
    """Connections that are held and say something now and then, as messengers do."""
    held = [socket.create_connection((server, 5222), 5) for _ in range(int(number))]
    while time.time() < until:
        for one in held:
            one.sendall(b"<ping/>")
            one.recv(64)
        time.sleep(random.uniform(8, 20))

def hold():
    """Connections that are held and say nothing, as those that wait for news do."""
    held = []
    for _ in range(int(number)):
        held.append(socket.create_connection((server, 5222), 5))
        time.sleep(0.5)
    time.sleep(max(0, until - time.time()))

random.seed(7)
{"voice": voice, "ntp": ntp, "mail": mail, "idle": idle, "hold": hold}[what]()
