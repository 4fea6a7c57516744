//! Which tunnels carry what, where they are opened.

use super::number;
use super::numbers::{count, counted};
use super::page::{Column, Page};
use super::tables::endpoint;
use crate::report::Report;
use crate::report::tunnels::Tunnel;

pub(super) fn write(page: &mut Page, report: &Report) {
    if report.tunnels.is_empty() {
        return;
    }
    page.blank();
    let columns = [
        number("bytes", 0),
        number("packets", 1),
        number("flows", 0),
        Column { title: "tunnels, and what they carry", is_number: false, leave: 0 },
    ];
    let row = |tunnel: &Tunnel| {
        let ends = if tunnel.source_port == 0 && tunnel.destination_port == 0 {
            format!("{} <> {}", tunnel.source, tunnel.destination)
        } else {
            let [source, destination] =
                [(&tunnel.source, tunnel.source_port), (&tunnel.destination, tunnel.destination_port)]
                    .map(|(address, port)| endpoint(address, port));
            format!("{source} > {destination}")
        };
        let carries: Vec<&str> = tunnel.carries.iter().map(|share| share.name.as_str()).collect();
        let what = format!("{} {ends}: {}", tunnel.kind, carries.join(", "));
        vec![count(tunnel.bytes), count(tunnel.packets), count(tunnel.flows), what]
    };
    page.table(&columns, &report.tunnels.iter().map(row).collect::<Vec<_>>());
    let more = report.tunnels_seen - report.tunnels.len() as u64;
    if more > 0 {
        page.entry("", &format!("and {}", counted(more, "more tunnel")));
    }
}
