/** The gateways that ship to this server: how far each is, whether anything is missing, and what waits there. */
import { useEffect, useState } from "preact/hooks";
import type { Sensor } from "../api/client";
import { askStatus, client, taken } from "../api/client";
import { useLoad } from "../data";
import { count, many } from "../format";
import { clockTick } from "../live";
import { Panel, Shown, Time, scroll } from "../ui/parts";
import { Clock, Complete, Lag, Reasons, Spark, StateBadge, counted, newest } from "../ui/sensor";
import { Shipping, Waiting } from "../ui/shipping";
import { link } from "../url";

const RANKS: Sensor["state"][] = ["silent", "degraded", "ok"];
/** Points of a line that shows how far a gateway was behind: five minutes. */
const POINTS = 60;

export function Fleet() {
  const sensors = useLoad("sensors", async (signal) => newest((await taken(client.GET("/api/sensors", { signal }))).items), [clockTick]);
  const status = useLoad("status", askStatus, [clockTick]);
  const [lags, setLags] = useState<Record<string, number[]>>({});
  useEffect(() => {
    const now = sensors.data ?? [];
    setLags((before) => Object.fromEntries(now.map(({ name, lag_s }) => [name, [...(before[name] ?? []), ...(lag_s === null ? [] : [lag_s])].slice(-POINTS)])));
  }, [sensors.data]);
  return (
    <>
      <h1>Fleet</h1>
      {status.data?.shipping != null && <Shipping of={status.data.shipping} />}
      <Shown of={sensors} rows={5}>
        {(all) => all.length === 0 ? <Connect /> : <List all={all} lags={lags} />}
      </Shown>
    </>
  );
}

function List({ all, lags }: { all: Sensor[]; lags: Record<string, number[]> }) {
  // Who needs somebody comes first.
  const sorted = [...all].sort((a, b) => RANKS.indexOf(a.state) - RANKS.indexOf(b.state) || a.name.localeCompare(b.name));
  const incomplete = all.filter((one) => one.lost > 0 || one.missing.length > 0).length;
  return (
    <>
      <p class="sums"><b>{counted(all)}</b> <span class={incomplete > 0 ? "bad" : "quiet"}>{incomplete > 0 ? `of ${many(incomplete, "gateway")} batches are lost or missing` : "nothing is missing of any"}</span></p>
      <div {...scroll}>
        <table class="stack fleet">
          <caption class="hidden">Gateways that ship to this server; who needs somebody first</caption>
          <thead><tr><th scope="col">Gateway</th><th scope="col">State</th><th scope="col">Lag</th><th scope="col">Log</th><th scope="col">Waiting</th><th scope="col">Clock</th><th scope="col" class="number">Packets</th><th scope="col">Heard of last</th></tr></thead>
          <tbody>
            {sorted.map((of) => (
              <tr key={of.name} class={of.state}>
                <td><a href={link(`/fleet/${encodeURIComponent(of.name)}`)}>{of.name}</a> <small class="quiet">{of.version}</small></td>
                <td><StateBadge state={of.state} /><Reasons of={of} /></td>
                <td data-name="Lag" class="lag"><Lag of={of} /><Spark values={lags[of.name] ?? []} /></td>
                <td data-name="Log"><Complete of={of} /></td>
                <td data-name="Waiting"><Waiting pending={of.spool.pending} bytes={of.spool.pending_bytes} since={of.spool.pending_since} />{of.spool.failed > 0 && <span class="bad">, {count(of.spool.failed)} kept aside</span>}</td>
                <td data-name="Clock" class="clock"><Clock of={of} /></td>
                <td data-name="Packets" class="number">{count(of.packets)}</td>
                <td data-name="Heard of"><Time at={of.last_seen} /></td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}

const command = { class: "command", tabIndex: 0, role: "group", "aria-label": "Command" } as const;

/** How a first gateway is connected. */
function Connect() {
  const here = /^(127\.|localhost$|\[::1\]$)/.test(location.hostname) ? `https://THIS-SERVER:${location.port}` : location.origin;
  return (
    <Panel title="No gateway ships to this server yet">
      <p>Each gateway counts, detects and stores by itself. One that ships also sends what it stores here, and goes on by itself while this server or the line is away.</p>
      <ol class="steps">
        <li>On this server, make a token for the gateway; it is shown this once:<pre {...command}>nta-daemon tokens create --role sensor --scope gw-paris &gt; ship.token</pre></li>
        <li>On the gateway, whose <code>[sensor] name</code> is gw-paris, with that file:<pre {...command}>{`nta-daemon run --interface eth0 --ship ${here} --ship-token-file /etc/nta/ship.token`}</pre></li>
      </ol>
      <p class="quiet">It appears here with its first window. Other machines reach a server that listens by TLS.</p>
    </Panel>
  );
}
