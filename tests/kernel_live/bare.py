"""Opens a TUN interface, and sends packets into the machine by it: 100 of UDP over IPv4, 50 over IPv6, when it reads a line."""

import fcntl
import os
import struct
import sys

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000

tun = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH", b"tun0", IFF_TUN | IFF_NO_PI))
print("open", flush=True)
sys.stdin.readline()
datagram = struct.pack(">HHHH", 4000, 9999, 28, 0) + b"x" * 20
for number in range(100):
    # As Ethernet, the sender's address would be the type of IPv4 and the first byte of its header.
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(datagram), number + 2, 0, 64, 17, 0)
    os.write(tun, head + bytes([8, 0, 0x45, 0]) + bytes([10, 82, 0, 7]) + datagram)
for _ in range(50):
    head = struct.pack(">IHBB", 6 << 28, len(datagram), 17, 64)
    os.write(tun, head + bytes([0xFD] + [0] * 14 + [2]) + bytes([0xFD] + [0] * 14 + [7]) + datagram)
print("sent", flush=True)
sys.stdin.readline()
