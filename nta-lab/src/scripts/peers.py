"""File sharing among peers. Each listens, by TCP and UDP, at a port that follows from its address.

`peers.py serve HOME ADDRESS...`: peers beyond the WAN; they also call HOME now and then.
`peers.py share OWN SECONDS SEED ADDRESS...`: a client; half of the peers that it has heard of are gone.
"""
import asyncio, os, random, socket, struct, sys, time

GREETING = b"\x13BitTorrent protocol" + b"\0" * 8 + b"L" * 20 + b"-LB0001-"

def port(address):
    a, b, c, d = (int(one) for one in address.split("."))
    return 6881 if d % 3 == 0 else 10_000 + (a * 7919 + b * 104_729 + c * 1_299_709 + d * 31) % 50_000

def asked(kind):
    return b"d1:ad2:id20:" + os.urandom(20) + b"9:info_hash20:" + b"L" * 20 + b"e1:q" + kind + b"1:t2:" + os.urandom(2) + b"1:y1:qe"

class Table(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, got, peer):
        if b"1:y1:q" in got:
            answer = b"d1:rd2:id20:" + os.urandom(20) + b"5:nodes208:" + os.urandom(208) + b"e1:t2:" + got[-9:-7] + b"1:y1:re"
            self.transport.sendto(answer, peer)

async def peer(reader, writer):
    """Blocks of 16 KB as they are asked for."""
    try:
        await reader.readexactly(68)
        writer.write(GREETING + os.urandom(12))
        while True:
            size, = struct.unpack(">I", await reader.readexactly(4))
            body = await reader.readexactly(size)
            if size == 13 and body[0] == 6:
                writer.write(struct.pack(">IB", 16_393, 7) + body[1:9] + os.urandom(16_384))
                await writer.drain()
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()

async def listen(address):
    await asyncio.start_server(peer, address, port(address))
    table = await asyncio.get_running_loop().create_datagram_endpoint(Table, (address, port(address)))
    return table[0]

async def fetch(own, address, blocks, rng):
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection(address, port(address), local_addr=(own, 0)), 10)
    except (OSError, asyncio.TimeoutError):
        return
    try:
        writer.write(GREETING + os.urandom(12))
        await asyncio.wait_for(reader.readexactly(68), 10)
        for n in range(blocks):
            if rng.random() < 0.5:
                writer.write(struct.pack(">IBIII", 13, 6, n, 0, 16_384))
                await asyncio.wait_for(reader.readexactly(16_397), 30)
            else:
                writer.write(struct.pack(">IBI", 5, 4, n))
            await asyncio.sleep(rng.uniform(2, 8))
    except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()

async def serve(home, addresses):
    for address in addresses:
        await listen(address)
    rng = random.Random(5)
    while True:
        await asyncio.sleep(rng.uniform(1, 5))
        asyncio.ensure_future(fetch(rng.choice(addresses), home, rng.randint(1, 12), rng))

async def share(own, seconds, seed, addresses):
    rng = random.Random(seed)
    gone = [f"{rng.choice((24, 47, 79, 86, 109, 178, 201))}.{rng.randint(1, 250)}.{rng.randint(1, 250)}.{rng.randint(2, 250)}" for _ in addresses]
    table, heard = await listen(own), addresses + gone
    until = time.time() + seconds
    running = set()
    while time.time() < until:
        for address in rng.sample(heard, rng.randint(1, 6)):
            table.sendto(asked(rng.choice((b"4:ping", b"9:get_peers", b"9:find_node"))), (address, port(address)))
        running = {one for one in running if not one.done()}
        for address in rng.sample(heard, 2 if len(running) < 30 else 0):
            running.add(asyncio.ensure_future(fetch(own, address, rng.randint(2, 30), rng)))
        await asyncio.sleep(rng.uniform(0.5, 2))

if sys.argv[1] == "serve":
    asyncio.run(serve(sys.argv[2], sys.argv[3:]))
else:
    asyncio.run(share(sys.argv[2], float(sys.argv[3]), int(sys.argv[4]), sys.argv[5:]))
