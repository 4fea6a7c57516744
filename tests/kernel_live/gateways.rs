//! Gateways between a client and a server: every way in which a packet passes several interfaces.

/// A gateway between the client on `left` and the server on `right`.
pub(crate) struct Gateway {
    pub(crate) name: &'static str,
    /// What `ip` is told in the gateway, and after that in the server.
    pub(crate) gateway: &'static [&'static str],
    pub(crate) server: &'static [&'static str],
    /// Where the client calls the server.
    pub(crate) called: &'static str,
    pub(crate) masquerade: bool,
    pub(crate) watched: &'static [&'static str],
}

const ROUTED: &[&str] = &["address add 10.81.2.9/24 dev v0", "route add default via 10.81.2.1"];

/// What nearly every kernel has.
pub(crate) const COMMON: &[Gateway] = &[
    Gateway {
        name: "two routed interfaces",
        gateway: &["address add 10.81.1.1/24 dev left", "address add 10.81.2.1/24 dev right"],
        server: ROUTED,
        called: "10.81.2.9",
        masquerade: false,
        watched: &["left,right", "left", "right"],
    },
    Gateway {
        name: "a port of a bridge beside a routed interface",
        gateway: &[
            "link add br0 type bridge",
            "link set left master br0",
            "link set br0 up",
            "address add 10.81.1.1/24 dev br0",
            "address add 10.81.2.1/24 dev right",
        ],
        server: ROUTED,
        called: "10.81.2.9",
        masquerade: false,
        watched: &["left,right", "br0,right", "left,br0,right", "left,br0"],
    },
    Gateway {
        name: "a port of a bridge beside a masquerading interface",
        gateway: &[
            "link add br0 type bridge",
            "link set left master br0",
            "link set br0 up",
            "address add 10.81.1.1/24 dev br0",
            "address add 10.81.2.1/24 dev right",
        ],
        server: ROUTED,
        called: "10.81.2.9",
        masquerade: true,
        watched: &["left,right", "left,br0,right"],
    },
    Gateway {
        name: "two ports of a bridge",
        gateway: &[
            "link add br0 type bridge",
            "link set left master br0",
            "link set right master br0",
            "link set br0 up",
        ],
        server: &["address add 10.81.1.9/24 dev v0"],
        called: "10.81.1.9",
        masquerade: false,
        watched: &["left,right", "left,right,br0", "left,br0"],
    },
    Gateway {
        name: "a macvlan",
        gateway: &[
            "link add mv0 link left type macvlan mode bridge",
            "link set mv0 up",
            "address add 10.81.1.1/24 dev mv0",
            "address add 10.81.2.1/24 dev right",
        ],
        server: ROUTED,
        called: "10.81.2.9",
        masquerade: false,
        watched: &["left,mv0,right", "mv0,right", "left,right"],
    },
    Gateway {
        name: "a VXLAN and what carries it",
        gateway: &[
            "address add 10.81.1.1/24 dev left",
            "address add 10.81.2.1/24 dev right",
            "link add vx0 type vxlan id 7 remote 10.81.2.9 dstport 4789 dev right",
            "link set vx0 up",
            "address add 10.81.3.1/24 dev vx0",
        ],
        server: &[
            "address add 10.81.2.9/24 dev v0",
            "link add vx0 type vxlan id 7 remote 10.81.2.1 dstport 4789 dev v0",
            "link set vx0 up",
            "address add 10.81.3.9/24 dev vx0",
            "route add default via 10.81.3.1",
        ],
        called: "10.81.3.9",
        masquerade: false,
        watched: &["left,vx0,right", "left,vx0"],
    },
];

/// What takes modules that not every kernel has.
pub(crate) const OF_MODULES: &[Gateway] = &[
    Gateway {
        name: "an ipvlan",
        gateway: &[
            "link add iv0 link left type ipvlan mode l2",
            "link set iv0 up",
            "address add 10.81.1.1/24 dev iv0",
            "address add 10.81.2.1/24 dev right",
        ],
        server: ROUTED,
        called: "10.81.2.9",
        masquerade: false,
        watched: &["left,iv0,right", "iv0,right", "left,right"],
    },
    Gateway {
        name: "a VLAN",
        gateway: &[
            "link add right.10 link right type vlan id 10",
            "link set right.10 up",
            "address add 10.81.1.1/24 dev left",
            "address add 10.81.2.1/24 dev right.10",
        ],
        server: &[
            "link add v0.10 link v0 type vlan id 10",
            "link set v0.10 up",
            "address add 10.81.2.9/24 dev v0.10",
            "route add default via 10.81.2.1",
        ],
        called: "10.81.2.9",
        masquerade: false,
        watched: &["left,right,right.10", "left,right.10", "left,right"],
    },
    Gateway {
        name: "a bond",
        gateway: &[
            "link add bond0 type bond mode active-backup",
            "link set right down",
            "link set right master bond0",
            "link set bond0 up",
            "address add 10.81.1.1/24 dev left",
            "address add 10.81.2.1/24 dev bond0",
        ],
        server: ROUTED,
        called: "10.81.2.9",
        masquerade: false,
        watched: &["left,right,bond0", "left,bond0", "left,right"],
    },
    Gateway {
        name: "a VRF",
        gateway: &[
            "link add red type vrf table 10",
            "link set red up",
            "link set left master red",
            "link set right master red",
            "address add 10.81.1.1/24 dev left",
            "address add 10.81.2.1/24 dev right",
        ],
        server: ROUTED,
        called: "10.81.2.9",
        masquerade: false,
        watched: &["left,right", "left,red,right"],
    },
    Gateway {
        name: "a bond of two",
        gateway: &[
            "link add right2 type veth peer name v1 netns SERVER-NAMESPACE",
            "link add bond0 type bond mode balance-rr",
            "link set right down",
            "link set right master bond0",
            "link set right2 master bond0",
            "link set bond0 up",
            "link set right up",
            "link set right2 up",
            "address add 10.81.1.1/24 dev left",
            "address add 10.81.2.1/24 dev bond0",
        ],
        server: &[
            "link add bond0 type bond mode balance-rr",
            "link set v0 down",
            "link set v0 master bond0",
            "link set v1 master bond0",
            "link set bond0 up",
            "link set v0 up",
            "link set v1 up",
            "address add 10.81.2.9/24 dev bond0",
            "route add default via 10.81.2.1",
        ],
        called: "10.81.2.9",
        masquerade: false,
        watched: &["left,right,right2,bond0", "left,bond0", "left,right,right2"],
    },
    Gateway {
        name: "a VLAN on a bridge",
        gateway: &[
            "link add br0 type bridge",
            "link set right master br0",
            "link set br0 up",
            "link add br0.10 link br0 type vlan id 10",
            "link set br0.10 up",
            "address add 10.81.1.1/24 dev left",
            "address add 10.81.2.1/24 dev br0.10",
        ],
        server: &[
            "link add v0.10 link v0 type vlan id 10",
            "link set v0.10 up",
            "address add 10.81.2.9/24 dev v0.10",
            "route add default via 10.81.2.1",
        ],
        called: "10.81.2.9",
        masquerade: false,
        watched: &["left,right,br0,br0.10", "left,br0.10", "left,right"],
    },
];
