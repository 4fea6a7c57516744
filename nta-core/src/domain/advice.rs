//! What to do about what was found.

use super::AlertKind;

impl AlertKind {
    /// What an operator should do about it.
    pub const fn recommendation(self) -> &'static str {
        match self {
            Self::PortScan => {
                "Find out who runs the source. If it is no scanner of yours, block it and look what it reached: its connections with answers."
            }
            Self::SshBruteForce => {
                "Block the source, look in the server's log for a login that succeeded, allow keys only."
            }
            Self::BruteForce => {
                "Block the source, look in the server's log for a login that succeeded, lock accounts after a few failures, and let only those networks reach the server that need it."
            }
            Self::Slowloris => {
                "Limit connections and header time-outs per client at the server or a proxy before it, and block the source."
            }
            Self::ArpSpoof => {
                "Find the station's switch port by its MAC address and shut it; compare the gateway's ARP table; switch on dynamic ARP inspection."
            }
            Self::DuplicateAddress => {
                "Find both stations by their MAC addresses. Give one another address, or, where both are interfaces of one machine, let only one answer (arp_ignore, arp_announce)."
            }
            Self::RogueDhcp => {
                "If it is no server or relay of yours, find its switch port and shut it; switch on DHCP snooping; look which clients have a lease from it."
            }
            Self::RogueRouter => {
                "If it is no router of yours, find its switch port and shut it; switch on RA guard; look which hosts use it as their default router."
            }
            Self::NeighborFlood => "Find the sender's switch port and shut it; switch on RA guard and IPv6 snooping.",
            Self::DnsTunnel => {
                "Look at the names asked for and at the process behind the queries; block the domain at the resolver and direct DNS at the gateway."
            }
            Self::IcmpTunnel => {
                "Look at the process that sends the echo packets on both hosts; allow echo only to and from monitoring at the gateway."
            }
            Self::DnsFlood => {
                "Rate-limit queries below the domain at the resolver (response rate limiting, aggressive use of NSEC), and look which clients ask: they may be infected or open resolvers."
            }
            Self::Dga => {
                "Look at the process that asks for these names: malware tries made-up domains until one answers. Watch what the host connects to, and block the domains that exist."
            }
            Self::SynFlood => {
                "Switch on SYN cookies at the target, and block or rate-limit the sources, or ask the provider to."
            }
            Self::HttpFlood => {
                "Look into the server's log at what is asked for. A log-in, over and over: limit its tries, lock the accounts that were tried, and change passwords that were found. A page: rate-limit new connections and requests per client at the server or a proxy before it, cache the page, and block the sources."
            }
            Self::UdpFlood => "Block or rate-limit the sources or the destination port upstream.",
            Self::IcmpFlood => "Rate-limit ICMP at the edge; block the source.",
            Self::AckFlood | Self::RstFlood => {
                "Drop what belongs to no connection before the target (a stateful filter, SYN proxy), and have it rate-limited upstream."
            }
            Self::SynackReflection => {
                "Ask the provider to drop SYN-ACKs that the target did not ask for. The senders are servers that are abused: blocking them hurts who uses them."
            }
            Self::FragmentFlood => "Drop or rate-limit fragments towards the target at the edge or upstream.",
            Self::ProtocolFlood => "Drop the protocol towards the target at the edge or upstream, unless it uses it.",
            Self::Amplification => {
                "Ask the provider to filter the source port towards the target; check that no server of yours answers strangers."
            }
            Self::DistributedFlood => {
                "Announce the prefix to your scrubbing service or rate-limit it upstream: blocking single sources will not help."
            }
            Self::TrafficSpike => {
                "Look at the top contributors; if they are wanted, acknowledge: the baseline learns the new level."
            }
            Self::HighLatency => "Look whether a link is full or a path has changed; compare the affected hosts.",
            Self::PacketLoss => "Look for errors and drops on the interfaces along the path, and for full links.",
            Self::ProtocolAnomaly => {
                "Look at the hosts that contribute; a new protocol may be a new service, a tunnel or a worm."
            }
            Self::LongLivedConnection => "Find out what the connection is for; close it if nobody knows.",
            Self::Beaconing => "Look at the process behind the connections and at the reputation of the destination.",
            Self::DataExfiltration => {
                "Find out what was sent and by which process; block the destination if nobody knows."
            }
            Self::HostAnomaly => {
                "Look at what the named features say the host did; if it is wanted, train the forest again with that traffic."
            }
        }
    }
}
