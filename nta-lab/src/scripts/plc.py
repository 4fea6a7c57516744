"""Modbus: `plc.py serve` answers at port 502; `plc.py poll READY ADDRESS...` asks each over one connection for ever, and makes the file
READY once all are connected."""
import os, random, socket, struct, sys, threading, time

def serve(peer):
    with peer:
        while True:
            got = peer.recv(512)
            if len(got) < 12:
                return
            count = struct.unpack(">H", got[10:12])[0]
            body = got[6:8] + bytes([2 * count]) + os.urandom(2 * count)
            peer.sendall(got[:4] + struct.pack(">H", len(body)) + body)

def poll(wire, pause, unit):
    number = 0
    while True:
        number = (number + 1) & 0xFFFF
        wire.sendall(struct.pack(">HHHBBHH", number, 0, 6, unit, 3, 100 * unit, random.choice((2, 8, 20))))
        wire.recv(512)
        time.sleep(pause)

if sys.argv[1] == "serve":
    server = socket.create_server(("0.0.0.0", 502))
    while True:
        threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
random.seed(3)
for n, address in enumerate(sys.argv[3:]):
    for _ in range(100):
        try:
            wire = socket.create_connection((address, 502), 2)
            break
        except OSError:
            time.sleep(0.1)
    threading.Thread(target=poll, args=(wire, (0.1, 0.25, 0.5, 1, 2)[n % 5], n + 1), daemon=True).start()
time.sleep(1)
open(sys.argv[2], "w").close()
threading.Event().wait()
