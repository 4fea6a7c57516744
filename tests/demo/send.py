"""Sends the frames of a capture by an interface: send.py INTERFACE FILE."""

import socket
import struct
import sys
import time

interface, path = sys.argv[1:]
with open(path, "rb") as file:
    data = file.read()
order = "<" if data[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
out.bind((interface, 0))
at = 24
while at + 16 <= len(data):
    length = struct.unpack(order + "I", data[at + 8 : at + 12])[0]
    out.send(data[at + 16 : at + 16 + length])
    at += 16 + length
    # No faster than the other end takes it.
    time.sleep(0.001)
