"""A host whose virtual machines are bridged to Wi-Fi: `macnat.py OUTER INNER...`. On the outer side all have the host's own MAC, which is
all that Wi-Fi lets through; by their IPv4 addresses it knows them apart."""
import selectors, socket, sys

def wire(name):
    one = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    one.bind((name, 0))
    return one

outer, inner = wire(sys.argv[1]), [wire(name) for name in sys.argv[2:]]
own = outer.getsockname()[4]
at = {}  # machine's IPv4 address: its side, its MAC
waiting = selectors.DefaultSelector()
for one in [outer] + inner:
    waiting.register(one, selectors.EVENT_READ)

def to_machine(frame, side, mac):
    arp = frame[12:14] == b"\x08\x06"
    side.send((mac if frame[:6] == own else frame[:6]) + frame[6:12] + frame[12:32] + (mac if arp and frame[32:38] == own else frame[32:38]) + frame[38:])

while True:
    for key, _ in waiting.select():
        try:
            frame, info = key.fileobj.recvfrom(4096)
            kind = frame[12:14]
            if info[2] == 4 or len(frame) < 42 or kind not in (b"\x08\x00", b"\x08\x06"):
                continue
            arp = kind == b"\x08\x06"
            source, target = (frame[28:32], frame[38:42]) if arp else (frame[26:30], frame[30:34])
            if key.fileobj is outer:
                if frame[:6] == own and target in at:
                    to_machine(frame, *at[target])
                elif frame[0] & 1:
                    for side in inner:
                        side.send(frame)
                continue
            if any(source):
                at[source] = key.fileobj, frame[6:12]
            if frame[0] & 1:
                for side in inner:
                    if side is not key.fileobj:
                        side.send(frame)
            if target in at and not frame[0] & 1:
                to_machine(frame, *at[target])
            else:
                outer.send(frame[:6] + own + frame[12:22] + (own if arp else frame[22:28]) + frame[28:])
        except OSError:
            pass
