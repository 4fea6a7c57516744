"""Many people behind one gateway: `crowd.py FIRST COUNT SECONDS SEED RESOLVER DOMAIN,... SERVER...`. Each has an address of its own,
from FIRST on, opens pages now and then over kept connections, and looks names up before."""
import asyncio, ipaddress, os, random, struct, sys, time

first, count, until = ipaddress.IPv4Address(sys.argv[1]), int(sys.argv[2]), time.time() + float(sys.argv[3])
rng, resolver, domains, servers = random.Random(int(sys.argv[4])), sys.argv[5], sys.argv[6].split(","), sys.argv[7:]
SIZES = (300, 300, 2_000, 2_000, 8_000, 20_000, 60_000)

async def look_up(own, name):
    labels = b"".join(bytes([len(one)]) + one.encode() for one in name.split(".")) + b"\0"
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(asyncio.DatagramProtocol, (own, 0), (resolver, 53))
    for kind in (1, 28):
        transport.sendto(os.urandom(2) + b"\x01\0\0\x01\0\0\0\0\0\0" + labels + struct.pack(">HH", kind, 1))
    await asyncio.sleep(0.3)
    transport.close()

async def page(own):
    reader, writer = await asyncio.wait_for(asyncio.open_connection(rng.choice(servers), 80, local_addr=(own, 0)), 20)
    try:
        for _ in range(rng.randint(1, 6)):
            writer.write(b"GET /f%d HTTP/1.1\r\nHost: www.example\r\nUser-Agent: Mozilla/5.0\r\n\r\n" % rng.choice(SIZES))
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
            size = [int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
            await asyncio.wait_for(reader.readexactly(size[0] if size else 0), 60)
            await asyncio.sleep(rng.uniform(0.05, 2))
        # Browsers keep it a while, in case there is more.
        await asyncio.sleep(rng.uniform(0, 20))
    finally:
        writer.close()

async def person(own):
    await asyncio.sleep(rng.uniform(0, 30))
    while time.time() < until:
        try:
            await look_up(own, f"{rng.choice(('www', 'img', 'api', 'login'))}.{rng.choice(domains)}")
            await asyncio.gather(*(page(own) for _ in range(rng.choice((1, 1, 2, 4)))))
        except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError):
            pass
        await asyncio.sleep(rng.uniform(10, 90))

async def main():
    await asyncio.gather(*(person(str(first + n)) for n in range(count)))

asyncio.run(main())
