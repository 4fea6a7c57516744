"""Packets for made captures: Ethernet frames of UDP and TCP with right sequence numbers, and a pcap file of them.

Only the head of a frame is written (a snap length of 66 bytes), with its length on the wire beside it. Checksums are 0, as
a host with checksum offload shows them.
"""

import gzip
import ipaddress
import struct

SNAPLEN = 66
FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10


def mac(address):
    """One station per address."""
    return b"\x02\x00" + ipaddress.ip_address(address).packed[-4:]


def ip(source, destination, protocol, header, payload):
    """A frame's head, and its length on the wire."""
    total = 20 + len(header) + payload
    head = struct.pack(">BBHHHBBH", 0x45, 0, total & 0xFFFF, 0, 0x4000, 64, protocol, 0)
    head += ipaddress.ip_address(source).packed + ipaddress.ip_address(destination).packed
    frame = mac(destination) + mac(source) + b"\x08\x00" + head + header
    return frame + bytes(min(payload, max(0, SNAPLEN - len(frame)))), max(14 + total, 60)


class Capture:
    """Frames in any order; written in the order of their times."""

    def __init__(self):
        self.frames = []
        self.snaplen = SNAPLEN

    def udp(self, time, source, destination, payload):
        """A datagram; both ends are (address, port)."""
        header = struct.pack(">HHHH", source[1], destination[1], 8 + payload, 0)
        self.frames.append((time, *ip(source[0], destination[0], 17, header, payload)))

    def ip(self, time, source, destination, protocol, header, payload, offset=0):
        """An IP packet of any protocol; with an offset in bytes a later fragment of a datagram."""
        data, wire = ip(source, destination, protocol, header, payload)
        if offset:
            data = data[:20] + struct.pack(">H", offset // 8) + data[22:]
        self.frames.append((time, data, wire))

    def icmp6(self, time, source, destination, kind, payload=24):
        """An ICMPv6 message of this type, by hop limit from this link."""
        ends = [ipaddress.ip_address(one).packed for one in (source, destination)]
        to = b"\x33\x33" + ends[1][-4:] if ends[1][0] == 0xFF else mac(destination)
        head = struct.pack(">IHBB", 6 << 28, 8 + payload, 58, 255) + b"".join(ends)
        frame = to + mac(source) + b"\x86\xdd" + head + struct.pack(">BBHI", kind, 0, 0, 0)
        self.frames.append((time, frame, 14 + 40 + 8 + payload))

    def arp(self, time, sender, address, target, asked, operation=1, to=b"\xff" * 6):
        """An ARP packet: `sender` and `target` are stations' six bytes, `address` and `asked` what they go by."""
        packed = [ipaddress.ip_address(one).packed for one in (address, asked)]
        body = struct.pack(">HHBBH", 1, 0x0800, 6, 4, operation) + sender + packed[0] + target + packed[1]
        self.frames.append((time, to + sender + b"\x08\x06" + body, 60))

    def write(self, path):
        """A gzip-compressed pcap file; the same frames give the same bytes."""
        out = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, self.snaplen, 1)]
        for time, data, wire in sorted(self.frames, key=lambda frame: frame[0]):
            # Whole milliseconds compress better.
            millis = round(time * 1000)
            data = data[:self.snaplen]
            out.append(struct.pack("<IIII", millis // 1000, millis % 1000 * 1000, len(data), wire) + data)
        with open(path, "wb") as file, gzip.GzipFile("", "wb", 9, file, 0) as packed:
            packed.write(b"".join(out))


class Tcp:
    """A TCP connection seen in the middle of the path: half a round trip to either end. With time stamps (RFC 7323),
    each segment echoes the other end's last."""

    def __init__(self, capture, client, server, rtt=0.04, stamps=False):
        self.capture, self.ends, self.half = capture, (client, server), rtt / 2
        self.sequence = [1000, 5000]
        self.stamps = [0, 0] if stamps else None

    def segment(self, time, end, flags, payload=0, back=0, head=b""):
        """A segment of one end; `back` bytes before the next new one. Its payload begins with `head`."""
        source, destination = self.ends[end], self.ends[1 - end]
        number, answer = self.sequence[end] - back, self.sequence[1 - end]
        size = 0x80 if self.stamps else 0x50
        header = struct.pack(
            ">HHIIBBHHH", source[1], destination[1], number, answer if flags & ACK else 0, size, flags, 64000, 0, 0
        )
        if self.stamps:
            self.stamps[end] = round(time * 1000) & 0xFFFFFFFF
            header += struct.pack(">BBBBII", 1, 1, 8, 10, self.stamps[end], self.stamps[1 - end])
        head = head[:payload]
        self.capture.frames.append((time, *ip(source[0], destination[0], 6, header + head, payload - len(head))))
        self.sequence[end] += payload - back + (1 if flags & (SYN | FIN) else 0)

    def open(self, time):
        """The handshake; returns when it is over."""
        self.segment(time, 0, SYN)
        self.segment(time + self.half, 1, SYN | ACK)
        self.segment(time + 2 * self.half, 0, ACK)
        return time + 2 * self.half

    def data(self, time, end, payload, lost=False, head=b""):
        """A segment and its ACK; a lost one is sent again. Returns when the ACK has passed."""
        self.segment(time, end, ACK | PSH, payload, head=head)
        if lost:
            time += 0.2 + 2 * self.half
            self.segment(time, end, ACK | PSH, payload, back=payload)
        self.segment(time + self.half, 1 - end, ACK)
        return time + self.half

    def close(self, time, first=0):
        """Both ends are done, one of them first."""
        self.segment(time, first, ACK | FIN)
        self.segment(time + self.half, 1 - first, ACK | FIN)
        self.segment(time + 2 * self.half, first, ACK)
