"""The WAN's small servers: SMTP on 25, NTP on 123, a UDP mirror for calls on 5004, a TCP port that only holds on 5222."""
import socket, struct, sys, threading, time

def tcp(port, each):
    server = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("::", port))
    server.listen(64)
    while True:
        peer, _ = server.accept()
        threading.Thread(target=guard, args=(each, peer), daemon=True).start()

def guard(each, peer):
    try:
        with peer:
            each(peer)
    except OSError:
        pass

def smtp(peer):
    lines = peer.makefile("rwb")
    def say(text):
        lines.write(text.encode() + b"\r\n")
        lines.flush()
    say("220 mail ESMTP")
    data = False
    for line in lines:
        word = line.strip().upper()
        if data:
            if word == b".":
                data = False
                say("250 queued")
        elif word.startswith(b"DATA"):
            data = True
            say("354 go on")
        elif word.startswith(b"QUIT"):
            say("221 bye")
            return
        else:
            say("250 ok")

def hold(peer):
    while True:
        got = peer.recv(4096)
        if not got:
            return
        peer.sendall(b"<ack/>")

def udp(port, each):
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    # Answers must come from the address that was asked.
    server.setsockopt(socket.IPPROTO_IP, 8, 1)
    server.bind(("0.0.0.0", port))
    while True:
        try:
            got, extra, _, peer = server.recvmsg(2048, 256)
            _, _, info = extra[0]
            answer = each(got)
            if answer:
                server.sendmsg([answer], [(socket.IPPROTO_IP, 8, struct.pack("@I4s4s", 0, info[4:8], b"\0" * 4))], 0, peer)
        except OSError:
            pass

def ntp(got):
    if len(got) < 48:
        return None
    now = time.time() + 2208988800
    stamp = struct.pack(">II", int(now), int((now % 1) * 2**32))
    return struct.pack(">BBbb", 0x24, 2, 6, -20) + b"\0" * 8 + b"GPS\0" + stamp + got[40:48] + stamp + stamp

for job in [(tcp, 25, smtp), (tcp, 5222, hold), (udp, 123, ntp), (udp, 5004, lambda got: got)]:
    threading.Thread(target=job[0], args=job[1:], daemon=True).start()
sys.stdout.write("ready\n")
sys.stdout.flush()
threading.Event().wait()
