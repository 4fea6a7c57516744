"""Names of a site and both ends of asking for them.

`names.py zone ADDRESS...` answers at these addresses as the servers of everybody's domains do: with aliases into content networks,
several addresses, and "no such name" for most of what search lists and block lists ask for.
`names.py ask RESOLVER SECONDS NAMES_PER_S SEED desk|cluster|mail DOMAIN,... CORP` is a host that asks, as the system's library does:
a new port each time, A and AAAA together, the search list in turn.
"""
import hashlib, os, random, selectors, socket, struct, sys, threading, time

EDGES = ["fastedge.net", "cdnlayer.com", "pixelhost.io", "metricpipe.com", "streamgrid.net", "cloudbucket.com", "adsync.net"]
A, PTR, MX, TXT, AAAA, HTTPS = 1, 12, 15, 16, 28, 65

def digest(text):
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")

def packed(name):
    return b"".join(bytes([len(one)]) + one.encode() for one in name.split(".")) + b"\0"

def record(name, kind, ttl, data):
    return packed(name) + struct.pack(">HHIH", kind, 1, ttl, len(data)) + data

def exists(name, kind):
    """Search lists, clusters and block lists know few of the names that they are asked for."""
    host = name.split(".")[0]
    if ".corp." in name or name.endswith((".cluster.local", ".internal", ".lan")):
        return host in ("intranet", "files", "print1", "ad1", "api", "db", "queue") and name.count(".") in (3, 4)
    if ".bl." in name:
        return digest(name) % 30 == 0
    if kind == PTR:
        return digest(name) % 10 < 7
    return host != "wpad" and digest(name) % 40 != 0

def answers(name, kind):
    found = []
    if kind in (A, AAAA, HTTPS) and not name.endswith(tuple(EDGES)) and digest(name) % 3:
        alias = content_name(random.Random(digest(name)))
        found.append(record(name, 5, 300, packed(alias)))
        name = alias
    ttl = (20, 60, 300)[digest(name) % 3]
    if kind == A:
        for n in range(1 + digest(name) % 4):
            found.append(record(name, A, ttl, bytes([93, digest(name) % 250, digest(name + str(n)) % 250, 10 + n])))
    elif kind == AAAA and digest(name) % 2:
        found.append(record(name, AAAA, ttl, b"\x26\x06" + hashlib.md5(name.encode()).digest()[:14]))
    elif kind == TXT:
        text = b"v=spf1 include:_spf.%b -all" % name.encode() if "_domainkey" not in name else b"v=DKIM1; k=rsa; p=" + b"MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQ" * 5
        text = text[:255]
        found.append(record(name, TXT, 3600, bytes([len(text)]) + text))
    elif kind == MX:
        found.append(record(name, MX, 3600, b"\0\x0a" + packed("mx1." + name)))
    elif kind == PTR:
        found.append(record(name, PTR, 3600, packed("host-%d.isp.example" % digest(name))))
    return found

def zone(addresses):
    waiting = selectors.DefaultSelector()
    for address in addresses:
        wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        wire.bind((address, 53))
        waiting.register(wire, selectors.EVENT_READ)
    while True:
        for key, _ in waiting.select():
            got, peer = key.fileobj.recvfrom(2048)
            labels, at = [], 12
            while at < len(got) and got[at]:
                labels.append(got[at + 1:at + 1 + got[at]].decode("latin1"))
                at += 1 + got[at]
            if at + 5 > len(got):
                continue
            name, kind = ".".join(labels).lower(), struct.unpack(">H", got[at + 1:at + 3])[0]
            there = exists(name, kind)
            found = answers(name, kind) if there else []
            flags = b"\x84\x80" if there else b"\x84\x83"
            key.fileobj.sendto(got[:2] + flags + struct.pack(">HHHH", 1, len(found), 0, 0) + got[12:at + 5] + b"".join(found), peer)

def content_name(rng):
    """One of some thousand: few are asked for by all, most by hardly anybody."""
    return made_up(random.Random(int(3_000 ** rng.random())))

def made_up(rng):
    """As content networks, buckets, balancers and measurements have them."""
    word = lambda n: "".join(rng.choice("abcdefghijklmnopqrstuvwxyz0123456789") for _ in range(n))
    return rng.choice([
        lambda: f"e{rng.randint(100, 99999)}.dsc{rng.choice('abdgx')}.{EDGES[0]}",
        lambda: f"d{word(13)}.{EDGES[1]}",
        lambda: f"rr{rng.randint(1, 9)}---sn-{word(8)}.{EDGES[4]}",
        lambda: f"{rng.choice(['prod', 'assets', 'media'])}-{word(10)}.s3.eu-central-{rng.randint(1, 3)}.{EDGES[5]}",
        lambda: f"internal-{word(20)}-{rng.randint(10**8, 10**9)}.eu-west-1.elb.{EDGES[5]}",
        lambda: f"{word(8)}-{word(4)}-{word(4)}-{word(12)}.in.{EDGES[3]}",
        lambda: f"i{rng.randint(1, 400)}.{EDGES[2]}",
        lambda: f"sync-{word(5)}.{rng.choice(['eu', 'us', 'ap'])}.{EDGES[6]}",
    ])()

def query(resolver, name, kinds):
    """Whether there is such a name; all kinds at once over one socket, once more after two seconds."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
        wire.settimeout(2)
        wire.connect((resolver, 53))
        for _ in range(2):
            for kind in kinds:
                wire.send(os.urandom(2) + b"\x01\0\0\x01\0\0\0\0\0\0" + packed(name) + struct.pack(">HH", kind, 1))
            try:
                codes = [wire.recv(4096)[3] & 15 for _ in kinds]
                return any(code == 0 for code in codes)
            except OSError:
                pass
    return False

def searched(resolver, name, search, dots):
    """As the library does with `search` and `ndots`."""
    full = [f"{name}.{end}" for end in search]
    order = [name] + full if name.count(".") >= dots else full + [name]
    for one in order:
        if query(resolver, one, (A, AAAA)):
            return

def ask(resolver, seconds, rate, seed, style, domains, corp):
    rng = random.Random(seed)
    until = time.time() + seconds
    domains = domains.split(",")
    search = [f"berlin.corp.{corp}", f"corp.{corp}"]
    if style == "cluster":
        search = ["shop.svc.cluster.local", "svc.cluster.local", "cluster.local", f"corp.{corp}"]

    def page():
        names = [f"{rng.choice(['www', 'img', 'api', 'static', 'cdn', 'login'])}.{rng.choice(domains)}" for _ in range(3)]
        return names + [content_name(rng) for _ in range(rng.randint(2, 12))]

    def worker(number):
        time.sleep(rng.random() * 3)
        while time.time() < until:
            if style == "mail":
                octets = [str(rng.randint(1, 254)) for _ in range(4)]
                back, domain = ".".join(octets), f"{rng.choice(['firm', 'club', 'team'])}{rng.randint(1, 900)}.{rng.choice(domains).rsplit('.')[-1]}"
                query(resolver, back + ".in-addr.arpa", (PTR,))
                for listed in ("zen", "cbl", "dul"):
                    query(resolver, f"{back}.{listed}.bl.{EDGES[3]}", (A,))
                for name, kind in ((domain, TXT), (f"s{rng.randint(1, 99)}._domainkey.{domain}", TXT), (f"_dmarc.{domain}", TXT), (domain, MX)):
                    query(resolver, name, (kind,))
                count = 8
            elif style == "cluster":
                name = rng.choice([f"api.{rng.choice(domains)}", "db", "queue.shop", content_name(rng)])
                searched(resolver, name, search, 5)
                count = 4
            elif rng.random() < 0.3:
                searched(resolver, rng.choice(["intranet", "files", "wpad", "print1", f"pc{rng.randint(1, 80)}"]), search, 1)
                count = 2
            else:
                names = page()
                for name in names:
                    query(resolver, name, (A, AAAA, HTTPS) if rng.random() < 0.5 else (A, AAAA))
                count = len(names)
            time.sleep(4 * count / rate * rng.uniform(0.3, 1.7))

    for number in range(4):
        threading.Thread(target=worker, args=(number,), daemon=True).start()
    time.sleep(seconds)

if sys.argv[1] == "zone":
    zone(sys.argv[2:])
else:
    ask(sys.argv[2], float(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5]), sys.argv[6], sys.argv[7], sys.argv[8])
