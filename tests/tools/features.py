#!/usr/bin/env python3
"""Feature vectors of every host and window of a capture, from what tshark lists and from nothing else.

    features.py CAPTURE SPAN_S > golden.tsv

The formulas are those of docs/FEATURES.md, computed anew: nothing here knows the daemon's code or output. A line is a
host in a window: its start in seconds since 1970, its length, the address, and the values in the order of the header.
SPAN_S is 5 or a multiple of it; windows are cut at multiples of it since 1970.

Left out, because tshark does not print them: `rtt_mean`, `rtt_p95` (which samples are taken is the daemon's own rule) and
`flow_duration_mean` (when a flow is over is decided by timeouts).
"""

import subprocess
import sys
from collections import defaultdict

BASE_S = 5
FIELDS = """frame.time_epoch frame.len ip.src ip.dst ip.proto ipv6.src ipv6.dst tcp.stream tcp.srcport tcp.dstport
tcp.flags udp.srcport udp.dstport udp.length icmp.type icmp.code icmpv6.type icmpv6.code tcp.analysis.retransmission
tcp.analysis.fast_retransmission tcp.analysis.spurious_retransmission tcp.analysis.out_of_order
tcp.analysis.zero_window dns.flags.response dns.flags.rcode dns.qry.name dns.qry.type""".split()
FIN, SYN, RST, ACK = 1, 2, 4, 16
CARRIERS = {5, 10, 15, 16, 25, 33}
NXDOMAIN = 3
# Whoever sends the first packet began the flow, unless it comes from a server's port (docs/ZEEK.md) to one that is none:
# then the question was not seen. Those of these captures.
SERVERS = {("udp", 53), ("udp", 123)}
# Which type answers which (RFC 792, 1256, 950; RFC 4443, 4861, 2710, 4620, 6275): both are one flow.
PAIRS_4 = {8: 0, 10: 9, 13: 14, 15: 16, 17: 18}
PAIRS_6 = {128: 129, 133: 134, 135: 136, 130: 131, 139: 140, 144: 145}


def frames(capture):
    command = ["tshark", "-n", "-r", capture, "-T", "fields", "-E", "occurrence=f"]
    command += [part for field in FIELDS for part in ("-e", field)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    # A capture that is cut off is printed up to there, with an error.
    if run.returncode and not run.stdout:
        sys.exit(run.stderr)
    for line in run.stdout.splitlines():
        yield dict(zip(FIELDS, line.split("\t")))


def counterpart(pairs, kind, code):
    back = {answer: question for question, answer in pairs.items()}
    return pairs.get(kind, back.get(kind, code))


def parse(f):
    """Protocol, both ends with their ports, and the key under which tshark or the ports hold the flow together."""
    src, dst = f["ip.src"] or f["ipv6.src"], f["ip.dst"] or f["ipv6.dst"]
    if not src:
        return None
    for field, proto, pairs in (("icmp", "icmp", PAIRS_4), ("icmpv6", "icmp", PAIRS_6)):
        if f[field + ".type"]:
            kind, code = int(f[field + ".type"]), int(f[field + ".code"])
            ends = (src, kind), (dst, counterpart(pairs, kind, code))
            return proto, ends, (field, frozenset(ends))
    if f["tcp.stream"]:
        ends = (src, int(f["tcp.srcport"])), (dst, int(f["tcp.dstport"]))
        return "tcp", ends, ("tcp", int(f["tcp.stream"]))
    if f["udp.srcport"]:
        ends = (src, int(f["udp.srcport"])), (dst, int(f["udp.dstport"]))
        return "udp", ends, ("udp", frozenset(ends))
    return "other", ((src, 0), (dst, 0)), (f["ip.proto"], frozenset((src, dst)))


class Flow:
    def __init__(self, proto, ends, base):
        self.proto, self.ends, self.base = proto, ends, base
        self.syn = self.answered = self.reset = self.syn_ack = False


class Host:
    def __init__(self):
        self.n = defaultdict(int)
        self.sets = defaultdict(set)


def read(capture, span_s):
    flows, hosts = {}, defaultdict(Host)
    touched, closing = set(), defaultdict(list)
    for f in frames(capture):
        parsed = parse(f)
        if parsed is None:
            continue
        proto, ends, key = parsed
        seconds = int(f["frame.time_epoch"].split(".")[0])
        base, window = seconds - seconds % BASE_S, seconds - seconds % span_s
        flags = int(f["tcp.flags"], 16) if proto == "tcp" else 0
        if key not in flows:
            # A SYN-ACK that comes first is the responder's.
            is_answer = flags & (SYN | ACK) == SYN | ACK
            is_answer |= (proto, ends[0][1]) in SERVERS and (proto, ends[1][1]) not in SERVERS
            first = ends[::-1] if is_answer else ends
            flows[key] = Flow(proto, first, base)
            closing[window].append(flows[key])
        flow = flows[key]
        own = [hosts[window, end[0]] for end in ends]
        size = int(f["frame.len"])
        for way, host in zip(("sent", "received"), own):
            host.n["packets_" + way] += 1
            host.n["bytes_" + way] += size
            host.n[proto] += 1
        if (key, base) not in touched:
            touched.add((key, base))
            for role, end in zip(("out", "in"), flow.ends):
                hosts[window, end[0]].n["flows_" + role] += 1
        originator, responder = flow.ends
        out, into = hosts[window, originator[0]], hosts[window, responder[0]]
        out.sets["peers_out"].add(responder[0])
        into.sets["peers_in"].add(originator[0])
        if proto in ("tcp", "udp"):
            out.sets["ports_out"].add((proto, responder[1]))
            into.sets["ports_in"].add((proto, responder[1]))
            out.sets["services_out"].add((proto, responder))
        if base == flow.base:
            flow.syn |= flags & (SYN | ACK) == SYN
            flow.answered |= ends[0] == responder
            flow.syn_ack |= flags & (SYN | ACK) == SYN | ACK
            flow.reset |= ends[0] == responder and bool(flags & RST)
        if proto == "tcp":
            tcp(f, flags, *own)
        if f["dns.flags.response"] and proto == "udp" and 53 in (ends[0][1], ends[1][1]):
            dns(f, *own)
    for window, began in closing.items():
        for flow in began:
            close(flow, *(hosts[window, end[0]].n for end in flow.ends))
    return hosts


def tcp(f, flags, sender, receiver):
    again = any(f["tcp.analysis." + word] for word in
                ("retransmission", "fast_retransmission", "spurious_retransmission"))
    for way, host in (("sent", sender), ("received", receiver)):
        n = host.n
        n["syn_" + way] += flags & (SYN | ACK) == SYN
        n["syn_ack_" + way] += flags & (SYN | ACK) == SYN | ACK
        n["syn_retry_" + way] += again and bool(flags & SYN)
        n["rst_" + way] += bool(flags & RST)
        n["fin_" + way] += bool(flags & FIN)
        n["zero_" + way] += bool(f["tcp.analysis.zero_window"])
        n["again"] += again
        n["late"] += bool(f["tcp.analysis.out_of_order"])


def dns(f, sender, receiver):
    if f["dns.flags.response"] in ("1", "True"):
        receiver.n["responses"] += 1
        receiver.n["nxdomain"] += int(f["dns.flags.rcode"]) == NXDOMAIN
        receiver.n["response_bytes"] += int(f["udp.length"]) - 8
        return
    sender.n["queries"] += 1
    sender.n["name_bytes"] += len(f["dns.qry.name"])
    kind = int(f["dns.qry.type"])
    sender.n["carriers"] += kind in CARRIERS or kind >= 65280
    sender.sets["names"].add(f["dns.qry.name"].lower())


def close(flow, out, into):
    """What is known of a flow at the end of the base window in which it began."""
    attempt = flow.proto == "tcp" and flow.syn
    for role, n in (("out", out), ("in", into)):
        n["new_" + role] += 1
        n["attempts_" + role] += attempt
        n["unanswered_" + role] += attempt and not flow.answered
        n["refused_" + role] += attempt and flow.reset and not flow.syn_ack
        n["other_" + role] += not attempt
        n["unanswered_other_" + role] += not attempt and flow.proto != "tcp" and not flow.answered


def ratio(part, whole):
    return part / whole if whole else 0.0


def vector(host, span_s):
    n, of, windows = host.n, {name: len(members) for name, members in host.sets.items()}, span_s / BASE_S
    of = defaultdict(int, of)
    packets, size = n["packets_sent"] + n["packets_received"], n["bytes_sent"] + n["bytes_received"]
    v = {}
    for way in ("sent", "received"):
        v[f"packets_{way}_rate"] = n["packets_" + way] / span_s
        v[f"bytes_{way}_rate"] = n["bytes_" + way] / span_s
        v[f"packet_size_{way}"] = ratio(n["bytes_" + way], n["packets_" + way])
        v[f"syn_{way}_rate"] = n["syn_" + way] / span_s
        v[f"rst_{way}_rate"] = n["rst_" + way] / span_s
    v["sent_byte_share"] = ratio(n["bytes_sent"], size)
    v["sent_packet_share"] = ratio(n["packets_sent"], packets)
    for proto in ("tcp", "udp", "icmp"):
        v[proto + "_share"] = ratio(n[proto], packets)
    for role in ("out", "in"):
        v["flows_" + role] = n["flows_" + role] / windows
        v[f"new_flows_{role}_rate"] = n["new_" + role] / span_s
        v[f"attempts_{role}_rate"] = n["attempts_" + role] / span_s
        v[f"unanswered_{role}_share"] = ratio(n["unanswered_" + role], n["attempts_" + role])
        v[f"refused_{role}_share"] = ratio(n["refused_" + role], n["attempts_" + role])
        v[f"unanswered_other_{role}_share"] = ratio(n["unanswered_other_" + role], n["other_" + role])
        v["peers_" + role] = of["peers_" + role]
        v["ports_" + role] = of["ports_" + role]
    v["services_out"] = of["services_out"]
    v["services_per_peer_out"] = ratio(of["services_out"], of["peers_out"])
    v["flows_per_service_out"] = ratio(n["new_out"], of["services_out"])
    v["syn_ack_share_in"] = ratio(n["syn_ack_sent"], n["syn_received"])
    v["syn_retry_share_out"] = ratio(n["syn_retry_sent"], n["syn_sent"])
    v["fin_sent_rate"] = n["fin_sent"] / span_s
    v["retransmission_share"] = ratio(n["again"], n["tcp"])
    v["out_of_order_share"] = ratio(n["late"], n["tcp"])
    v["zero_window_rate"] = n["zero_sent"] / span_s
    flows = n["flows_out"] + n["flows_in"]
    v["packets_per_flow"] = ratio(packets, flows)
    v["bytes_per_flow"] = ratio(size, flows)
    v["dns_query_rate"] = n["queries"] / span_s
    v["dns_nxdomain_share"] = ratio(n["nxdomain"], n["responses"])
    v["dns_name_length"] = ratio(n["name_bytes"], n["queries"])
    v["dns_name_share"] = ratio(of["names"], n["queries"])
    v["dns_carrier_share"] = ratio(n["carriers"], n["queries"])
    v["dns_response_size"] = ratio(n["response_bytes"], n["responses"])
    return v


def main():
    capture, span_s = sys.argv[1], int(sys.argv[2])
    if span_s % BASE_S:
        sys.exit(f"SPAN_S is {span_s}: a multiple of {BASE_S}")
    names = sorted(vector(Host(), span_s))
    print("start", "span_s", "host", *names, sep="\t")
    for (window, address), host in sorted(read(capture, span_s).items()):
        values = vector(host, span_s)
        print(window, span_s, address, *(repr(float(values[name])).removesuffix(".0") for name in names), sep="\t")


main()
