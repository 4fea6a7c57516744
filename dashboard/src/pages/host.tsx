/** One host: what it is, what it did in time, with whom, by which services, what is usual for it, its alerts. */
import { useRoute } from "preact-iso";
import { client, taken } from "../api/client";
import { useLoad } from "../data";
import { bps, bytes, count, many, rough } from "../format";
import { alertTick, windowTick } from "../live";
import { Bars, Chart, type Line } from "../ui/chart";
import { AlertName, Empty, Facts, Panel, Range, SeverityBadge, Shown, Time } from "../ui/parts";
import { decoded, link, useParams } from "../url";

export function HostPage() {
  const { params } = useRoute();
  const [{ capture }] = useParams();
  const of_capture = capture === undefined ? {} : { capture };
  const ip = decoded(params["address"] ?? "");
  const host = useLoad(`host ${ip} ${capture ?? ""}`, async (signal) => taken(client.GET("/api/hosts/{ip}", { params: { path: { ip }, query: of_capture }, signal })), [alertTick, windowTick]);
  return (
    <Shown of={host} rows={6}>
      {(of) => {
        const levels = of.baseline;
        return (
          <>
            <section class="state low">
              <h1>{of.address} {of.inside != null && <small class="quiet">{of.inside ? "inside" : "outside"}</small>}</h1>
              <Facts
                of={[
                  ["Seen", <Range from={of.first_time} to={of.last_time} relative />],
                  ["Sent", `${bytes(of.bytes_sent)} in ${many(of.packets_sent, "packet")}`],
                  ["Received", `${bytes(of.bytes_received)} in ${many(of.packets_received, "packet")}`],
                  ["Flows", `${count(of.flows_out)} that it began, ${count(of.flows_in)} to it`],
                  ...(of.stands_for.length === 0 ? [] : [["Stands for", <>{of.stands_for.map((one, n) => <>{n > 0 && ", "}<a href={link(`/hosts/${encodeURIComponent(one.address)}`)}>{one.address}</a></>)} (translated)</>] as [string, preact.ComponentChildren]]),
                ]}
              />
              <p class="buttons">
                <a class="button" href={link("/flows", { host: of.address, capture })}>Its flows</a>
                <a class="button" href={link("/why", { host: of.address, at: of.last_time, capture })}>What was measured of it last</a>
              </p>
            </section>
            <OverTime host={of.address} capture={capture} />
            <div class="columns">
              <Panel title="Peers">{of.top_peers.length === 0 ? <Empty>None.</Empty> : <Bars unit={bytes} of={of.top_peers.map((peer) => ({ name: peer.address, value: peer.bytes, href: link(`/hosts/${encodeURIComponent(peer.address)}`, { capture }) }))} />}</Panel>
              <Panel title="Services" more={<small class="quiet">by port, of the newest {many(of.flows_looked_at, "flow")}</small>}>
                {of.top_ports.length === 0 ? <Empty>None.</Empty> : <Bars unit={bytes} of={of.top_ports.map((port) => ({ name: `${port.protocol} ${port.port}${port.side === "peer" ? " of others" : " here"}`, value: port.bytes, href: link("/flows", { host: of.address, port: port.port, capture }) }))} />}
              </Panel>
            </div>
            <div class="columns">
              <Panel title="Usual">
                {levels == null ? <Empty>Not known yet: a host is learned from its own windows.</Empty> : (
                  <Facts of={([["Sent", levels.bytes_sent_per_s, (v) => bps(v * 8)], ["Received", levels.bytes_received_per_s, (v) => bps(v * 8)], ["New flows", levels.new_flows_per_s, (v) => `${rough(v)}/s`], ["Peers", levels.peers, rough], ["Ports", levels.ports, rough], ["Round trip", levels.rtt_ms, (v) => `${rough(v)} ms`]] as [string, { level: number; deviation: number }, (v: number) => string][])
                    .map(([name, level, unit]) => [name, `${unit(level.level)}, give or take ${unit(level.deviation)}`])} />
                )}
              </Panel>
              <Panel title="Alerts" more={<a href={link("/alerts", { source: of.address, status: "all", capture })}>all by it</a>}>
                {of.alerts.length === 0 ? <Empty>None.</Empty> : <ul class="related">{of.alerts.map((alert) => <li key={alert.id}><SeverityBadge severity={alert.severity} /> <AlertName type={alert.type} id={alert.id} /> <Time at={alert.first_seen ?? alert.window_start} />: {alert.why.summary}</li>)}</ul>}
              </Panel>
            </div>
          </>
        );
      }}
    </Shown>
  );
}

/** What its windows kept; hosts that do little are in few. */
function OverTime({ host, capture }: { host: string; capture: string | undefined }) {
  const kept = useLoad(`features ${host} ${capture ?? ""}`, async (signal) => taken(client.GET("/api/features", { params: { query: { host, window_size: "30", limit: 1000, ...(capture === undefined ? {} : { capture }) } as never }, signal })));
  return (
    <Panel title="Traffic over time" more={<small class="quiet">windows of 30 s in which it was among the most active</small>}>
      <Shown of={kept}>
        {({ items }) => {
          const rows = [...items].sort((a, b) => a.window_start.localeCompare(b.window_start));
          if (rows.length === 0) return <Empty>No window of it is kept.</Empty>;
          const rate = (name: string) => rows.map((row) => (row.features[name] === undefined ? null : row.features[name] * 8));
          const lines: Line[] = [{ name: "sent", colour: "--tcp", values: rate("bytes_sent_rate") }, { name: "received", colour: "--udp", values: rate("bytes_received_rate") }];
          return <Chart label={`What ${host} sent and received, in windows of 30 s`} times={rows.map((row) => Date.parse(row.window_start) / 1000)} lines={lines} unit={bps} height={160} />;
        }}
      </Shown>
    </Panel>
  );
}
