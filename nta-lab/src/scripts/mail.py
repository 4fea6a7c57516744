"""A mail server's day.

`mail.py serve`: takes mail at 25 and logs in readers at 143; of whom it does not know it refuses the first attempt.
`mail.py deliver TARGET SECONDS SEED PER_S SOURCE...`: servers, and some that only try, bring mail, each from its own address.
`mail.py send SECONDS SEED SERVER...`: brings mail to many servers; some are gone, and are tried again.
`mail.py read SERVER SECONDS SEED SOURCE...`: programs that hold a connection, and phones that look every minute.
"""
import os, random, socket, sys, threading, time

def say(lines, text):
    lines.write(text.encode() + b"\r\n")
    lines.flush()

def smtp(peer, known):
    lines = peer.makefile("rwb")
    greeted, data = peer.getpeername()[0] in known, False
    known.add(peer.getpeername()[0])
    say(lines, "220 mail ESMTP")
    for line in lines:
        word = line.strip().upper()
        if data:
            if word == b".":
                data = False
                say(lines, "250 queued")
        elif word.startswith(b"RCPT"):
            say(lines, "250 ok" if greeted else "450 4.2.0 come back later")
        elif word.startswith(b"DATA"):
            data = True
            say(lines, "354 go on")
        elif word.startswith(b"QUIT"):
            say(lines, "221 bye")
            return
        else:
            say(lines, "250 ok")

def imap(peer, _):
    lines = peer.makefile("rwb")
    say(lines, "* OK IMAP4rev1 ready")
    for line in lines:
        tag, _, word = line.decode("latin1").strip().partition(" ")
        if word.upper().startswith("FETCH"):
            say(lines, "* 1 FETCH (BODY[] {2000}")
            say(lines, "x" * 1998)
        if word.upper().startswith("IDLE"):
            say(lines, "+ idling")
        else:
            say(lines, f"{tag or '*'} OK done")

def guard(each, peer, known):
    try:
        with peer:
            each(peer, known)
    except OSError:
        pass

def listen(port, each):
    server, known = socket.create_server(("0.0.0.0", port), backlog=64), set()
    while True:
        threading.Thread(target=guard, args=(each, server.accept()[0], known), daemon=True).start()

def bring(target, source, rng):
    """One attempt; how it went."""
    try:
        wire = socket.create_connection((target, 25), 15, (source, 0) if source else None)
    except OSError:
        return False
    with wire:
        try:
            lines = wire.makefile("rwb")
            lines.readline()
            if source and rng.random() < 0.1:
                return True  # Somebody who only looked.
            for text in ("EHLO out.example", "MAIL FROM:<a@example.org>", "RCPT TO:<b@example.com>"):
                say(lines, text)
                reply = lines.readline()
            if not reply.startswith(b"250"):
                say(lines, "QUIT")
                return False
            say(lines, "DATA")
            lines.readline()
            body = os.urandom(rng.choice((600, 2_000, 8_000, 40_000))).hex()
            lines.write("\r\n".join(body[i:i + 72] for i in range(0, len(body), 72)).encode() + b"\r\n")
            say(lines, ".")
            lines.readline()
            say(lines, "QUIT")
            lines.readline()
        except OSError:
            return False
    return True

def queue(target, source, rng):
    for pause in (20, 60, 120, 300):
        if bring(target, source, rng):
            return
        time.sleep(pause)

def read(server, source, seconds, rng, holds):
    until = time.time() + seconds
    while time.time() < until:
        try:
            with socket.create_connection((server, 143), 10, (source, 0)) as wire:
                lines = wire.makefile("rwb")
                lines.readline()
                for text in ("1 LOGIN lab lab", "2 SELECT INBOX", "3 FETCH 1 BODY[]"):
                    say(lines, text)
                    while not lines.readline().startswith(text[:2].encode()):
                        pass
                if holds:
                    say(lines, "4 IDLE")
                    lines.readline()
                    time.sleep(rng.uniform(240, 600))
                say(lines, "5 LOGOUT")
                lines.readline()
        except OSError:
            pass
        time.sleep(60 if not holds else 1)

what, args = sys.argv[1], sys.argv[2:]
if what == "serve":
    threading.Thread(target=listen, args=(143, imap), daemon=True).start()
    listen(25, smtp)
rng = random.Random(int(args[1] if what == "send" else args[2]))
spawn = lambda *job: threading.Thread(target=job[0], args=job[1:], daemon=True).start()
if what == "read":
    for n, source in enumerate(args[3:]):
        spawn(read, args[0], source, float(args[1]), rng, n % 2 == 0)
        time.sleep(rng.random())
    time.sleep(float(args[1]))
until = time.time() + float(args[0] if what == "send" else args[1])
while time.time() < until:
    if what == "deliver":
        spawn(queue, args[0], rng.choice(args[4:]), rng)
        time.sleep(rng.expovariate(float(args[3])))
    else:
        spawn(queue, rng.choice(args[2:]), None, rng)
        time.sleep(rng.expovariate(1.0))
