/** What the page of the system calls the daemon's counters, each with a word of explanation. */

/** Where packets are counted, and what else was noted of them. */
export const LEDGER: Record<string, [string, string?]> = {
  overflow: ["No room for their flow", "counted by destination, as the flow map was full"],
  arp: ["ARP"],
  non_ip: ["Neither IPv4 nor IPv6", "such as LLDP or spanning tree"],
  sampled_out: ["Left out by sampling"],
  eth_truncated: ["Shorter than an Ethernet header"],
  vlan_truncated: ["Cut off inside a VLAN tag"],
  vlan_too_deep: ["Too many VLAN tags"],
  shim_malformed: ["Malformed MPLS or PPPoE"],
  ipv4_truncated: ["Cut off inside the IPv4 header"],
  ipv4_malformed: ["Malformed IPv4"],
  ipv6_truncated: ["Cut off inside the IPv6 header"],
  ipv6_malformed: ["Malformed IPv6"],
  l4_truncated: ["Without a whole transport header", "in a flow without ports"],
  ipv6_chain_cut: ["IPv6 extension headers not read to the end", "in a flow by what was read"],
  fragment_first: ["First fragments"],
  fragment_later: ["Later fragments", "they carry no ports"],
  fragment_hit: ["Later fragments in their flow", "the first one was remembered"],
  fragment_miss: ["Later fragments without a first one", "in a flow without ports"],
  flow_created: ["Flows begun"],
  flow_race: ["Flows begun by two processors at once", "counted once"],
  flow_grown: ["Flows that got a second packet"],
  flow_insert_failed: ["Flows that the map refused", "it was full"],
  overflow_unreported: ["Of those without room, without destination too", "counted as a sum"],
  tunnel_opened: ["In tunnels", "counted by the packet inside"],
  already_counted: ["Forwarded", "counted where they came in, not a second time"],
  nat_learned: ["Translated connections", "their answers are joined with them"],
  nat_no_room: ["Translated connections without room", "their answers are flows of their own"],
  outer_no_room: ["Tunnels whose own flow found no room"],
  nest_no_room: ["Flows of which it is not kept in which tunnel they lie"],
  event_dns: ["DNS messages read"],
  event_arp: ["ARP packets read"],
  event_nd: ["Neighbour discovery read"],
  event_raw: ["Heads of packets kept"],
  seen_bytes: ["Bytes seen"],
  overflow_bytes: ["Bytes without room for their flow"],
};
for (const [event, [what]] of Object.entries({ event_dns: ["DNS messages"], event_arp: ["ARP packets"], event_nd: ["Neighbour discovery"], event_raw: ["Heads of packets"] })) {
  LEDGER[`${event}_limited`] = [`${what}, not read`, "more than the rate limit allows"];
  LEDGER[`${event}_no_room`] = [`${what}, lost`, "the daemon did not read them in time"];
}

/** What the store could not do; shown where it is not 0. */
export const STORE_TROUBLES: Record<string, [string, string?]> = {
  failures: ["Writes that failed", "they were tried again"],
  batches_lost: ["Batches given up", "history has a gap"],
  queue_full: ["Batches refused", "the queue was full"],
  batches_waiting: ["Batches that wait for the database"],
  batches_in_memory: ["Of these, in memory only"],
  cut_windows: ["Windows given up", "too many waited"],
  cut_flows: ["Flows given up", "too many waited"],
  cut_alerts: ["Alerts given up", "too many waited"],
  raw_packets_dropped: ["Heads of packets not kept", "a window had too many"],
  features_left_out: ["Hosts whose features were not stored", "the least active ones of large windows"],
  spool_corrupt: ["Batches on disk that were damaged"],
  spool_gone: ["Segments on disk that somebody removed"],
  spool_passed_over: ["Batches on disk that cannot be read now"],
  database_renewals: ["Database files opened anew", "the one before was lost"],
};

export const MAPS: Record<string, string> = {
  FLOWS4: "flows over IPv4", FLOWS6: "flows over IPv6", OVERFLOW: "packets without room, by destination", EVENTS: "messages on their way to the daemon",
  NAT4: "translated connections over IPv4", NAT6: "translated connections over IPv6", NESTED: "which flow lies in which tunnel",
};
