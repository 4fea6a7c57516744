"""Made captures of log-ins, see make_cases.py: those that fail, and the nearest that do not."""

from frames import Tcp

START = 1_699_920_000
CLIENT, SERVER = 0, 1


def quiet(*kinds):
    """What a quiet case says."""
    return {"expect": [], "never": list(kinds)}


def talk(capture, time, client, server, steps, last=CLIENT, rtt=0.002, opened=True):
    """A connection: each step is an end, what it sends (text, or a size), and how long it waits before. `last` closes."""
    connection = Tcp(capture, client, server, rtt)
    if opened:
        time = connection.open(time)
    for end, sent, *wait in steps:
        head = b"" if isinstance(sent, int) else sent
        time += sum(wait)
        time = connection.data(time, end, sent if isinstance(sent, int) else len(sent), head=head)
    if last is not None:
        connection.close(time, last)
    return time


def ssh(hello, wait, more=()):
    """A key exchange, a name and a password or key, the answer to it, and what follows."""
    return [(CLIENT, hello), (SERVER, b"SSH-2.0-OpenSSH_9.2p1\r\n"), (CLIENT, 1_000), (SERVER, 1_080), (CLIENT, 48),
            (SERVER, 560), (CLIENT, 60), (SERVER, 44), (CLIENT, 148), (SERVER, 52, wait), *more]


GUESS = ssh(b"SSH-2.0-libssh_0.10.4\r\n", 2.0)
#: With a key, a command and its answer.
COMMAND = ssh(b"SSH-2.0-OpenSSH_9.2p1\r\n", 0.005, [
    (CLIENT, 1_226), (SERVER, 1_060), (CLIENT, 420), (SERVER, 700), (CLIENT, 300), (SERVER, 180, 0.1), (CLIENT, 60)])


def ftp(name, *more):
    return [(SERVER, b"220 ready\r\n"), (CLIENT, b"USER %s\r\n" % name), (SERVER, b"331 password\r\n"),
            (CLIENT, b"PASS secret%s\r\n" % name[-2:]), *more]


def ssh_any_port_hit(capture, draw):
    """One host guesses passwords at an SSH server that listens at port 902, 67 times in two minutes; 35 others guess four times each at a
    server at port 22. Each guess is answered after two seconds."""
    for number in range(67):
        talk(capture, START + 1 + number * 1.8, ("203.0.113.66", 20_000 + number), ("10.20.0.20", 902), GUESS)
    for number in range(140):
        client = (f"198.51.100.{1 + number % 35}", 30_000 + number)
        talk(capture, START + 2 + number * 0.9 + draw.random() / 2, client, ("10.20.0.21", 22), GUESS, rtt=0.04)
    return {"expect": [
        {"type": "ssh_brute_force", "source": "203.0.113.66", "destination": "10.20.0.20"},
        {"type": "ssh_brute_force", "source": "*", "destination": "10.20.0.21"},
    ], "never": ["*"]}


def ssh_keys_quiet(capture, draw):
    """Configuration management: one host logs in 360 times within three minutes, to four servers in turn, with a key and for one short
    command each; 40 others fetch from a git server six times each in the same way."""
    for number in range(360):
        server = (f"10.20.0.{31 + number % 4}", 22)
        talk(capture, START + 1 + number / 2, ("10.20.0.5", 20_000 + number), server, COMMAND)
    for number in range(240):
        client = (f"10.20.1.{1 + number % 40}", 30_000 + number)
        talk(capture, START + 1.2 + number * 0.7, client, ("10.20.0.40", 22), COMMAND, rtt=0.02)
    return quiet("ssh_brute_force", "brute_force")


def brute_force_hit(capture, draw):
    """Passwords guessed at an FTP server at port 2121, four a second; at a MySQL server, two a second; and at another FTP server by 35
    hosts, four times each."""
    failed = [(SERVER, b"530 Login incorrect.\r\n"), (CLIENT, b"QUIT\r\n"), (SERVER, b"221 bye\r\n")]
    for number in range(120):
        talk(capture, START + 1 + number / 4, ("203.0.113.66", 20_000 + number), ("10.20.0.21", 2121),
             ftp(b"user%02d" % (number % 40), *failed))
    refused = [(SERVER, b"\x4a\x00\x00\x00\x0a8.0.36" + bytes(67)), (CLIENT, 110), (SERVER, 78)]
    for number in range(80):
        talk(capture, START + 1 + number / 2, ("203.0.113.67", 20_000 + number), ("10.20.0.22", 3306), refused, SERVER)
    for number in range(140):
        client = (f"198.51.100.{1 + number % 35}", 30_000 + number)
        talk(capture, START + 2 + number * 0.9, client, ("10.20.0.23", 21), ftp(b"root", *failed), rtt=0.04)
    one = lambda source, to: {"type": "brute_force", "source": source, "destination": to}
    return {"expect": [one("203.0.113.66", "10.20.0.21"), one("203.0.113.67", "10.20.0.22"), one("*", "10.20.0.23")],
            "never": ["*"]}


def brute_force_quiet(capture, draw):
    """Five minutes of what comes close. A load balancer's two probes log in to a MySQL server every two seconds and leave; a web application opens a
    connection a request to it, ten a second, asks and leaves. A monitor looks every five seconds whether an FTP server greets. Twelve people
    mistype their password at it, three times each; others fetch files."""
    greeting = (SERVER, b"\x4a\x00\x00\x00\x0a8.0.36" + bytes(67))
    for number in range(150):
        for probe in (1, 2):
            talk(capture, START + 1 + 2 * number + probe / 3, (f"10.20.0.{probe}", 20_000 + number), ("10.20.0.22", 3306),
                 [greeting, (CLIENT, 90), (SERVER, 11), (CLIENT, 5)])
    for number in range(1_500):
        talk(capture, START + 1.1 + number / 5, ("10.20.0.9", 20_000 + number), ("10.20.0.22", 3306),
             [greeting, (CLIENT, 110), (SERVER, 11), (CLIENT, 40 + draw.randrange(200)), (SERVER, 60 + draw.randrange(2_000)), (CLIENT, 5)])
    for number in range(60):
        talk(capture, START + 1 + 5 * number, ("10.20.0.3", 20_000 + number), ("10.20.0.23", 21),
             [(SERVER, b"220 ready\r\n"), (CLIENT, b"QUIT\r\n"), (SERVER, b"221 bye\r\n")])
    failed = [(SERVER, b"530 Login incorrect.\r\n")]
    fetched = [(SERVER, b"230 in\r\n"), (CLIENT, b"TYPE I\r\n"), (SERVER, b"200 ok\r\n"), (CLIENT, b"PASV\r\n"), (SERVER, 50),
               (CLIENT, b"RETR report.csv\r\n"), (SERVER, 70), (SERVER, 24, 0.2), (CLIENT, b"QUIT\r\n"), (SERVER, 14)]
    for number in range(36):
        client = (f"198.51.100.{1 + number % 12}", 30_000 + number)
        talk(capture, START + 3 + 8 * number, client, ("10.20.0.23", 21), ftp(b"alice", *failed))
        talk(capture, START + 4 + 8 * number, (client[0], 31_000 + number), ("10.20.0.23", 21), ftp(b"alice", *fetched))
    return quiet("brute_force", "ssh_brute_force")


def modbus_mid_stream_quiet(capture, draw):
    """Modbus at port 10502 from mid-stream, of which the capture point sees the questions alone: a station asks a gateway over 60
    connections, one for each device behind it, every four seconds."""
    polls = [Tcp(capture, ("10.20.0.5", 20_000 + device), ("10.20.0.50", 10_502)) for device in range(60)]
    for round_ in range(20):
        for device, poll in enumerate(polls):
            question = bytes([0, round_ + 1, 0, 0, 0, 6, device + 1, 3, 0, 0, 0, 10])
            poll.segment(START + 1 + 4 * round_ + device / 20, CLIENT, 0x18, len(question), head=question)
            poll.sequence[SERVER] += 29
    return quiet("slowloris", "brute_force")


MADE = [ssh_any_port_hit, ssh_keys_quiet, brute_force_hit, brute_force_quiet, modbus_mid_stream_quiet]
