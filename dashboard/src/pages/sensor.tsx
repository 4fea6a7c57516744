/** One gateway that ships to this server: how far it is, what it saw, and what it is to do. */
import { useRoute } from "preact-iso";
import { useState } from "preact/hooks";
import type { Sensor } from "../api/client";
import { client, may, taken } from "../api/client";
import { useLoad } from "../data";
import { bps, count, many } from "../format";
import { clockTick, windowTick } from "../live";
import { Chart, type Line } from "../ui/chart";
import { Empty, Facts, Panel, Shown, Time, scroll } from "../ui/parts";
import { Clock, Complete, Lag, Reasons, StateBadge } from "../ui/sensor";
import { Waiting } from "../ui/shipping";
import { decoded, link } from "../url";

export function SensorPage() {
  const { params } = useRoute();
  const name = decoded(params["name"] ?? "");
  const logs = useLoad(`sensor ${name}`, async (signal) => (await taken(client.GET("/api/sensors", { signal }))).items.filter((one) => one.name === name), [clockTick]);
  return (
    <Shown of={logs} rows={6}>
      {([of, ...before]) => of === undefined ? <><h1>{name}</h1><Empty>No gateway of this name ships to this server. <a href={link("/fleet")}>Those that do</a></Empty></> : (
        <>
          <section class={`state ${{ ok: "", degraded: "medium", silent: "critical" }[of.state]}`}>
            <h1>{of.name} <StateBadge state={of.state} /></h1>
            <Reasons of={of} />
            <Facts
              of={[
                ["Lag", <Lag of={of} />],
                ["Newest window", <Time at={of.last_window} relative />],
                ["Log", <><Complete of={of} />{of.doubles > 0 && <span class="quiet">; {many(of.doubles, "batch", "batches")} came twice and added nothing</span>}</>],
                ...(of.missing.length === 0 ? [] : [["Missing", of.missing.map(({ first, last }) => (first === last ? count(first) : `${count(first)}…${count(last)}`)).join(", ")] as [string, string]]),
                ["Waiting", <><Waiting pending={of.spool.pending} bytes={of.spool.pending_bytes} since={of.spool.pending_since} />{of.spool.failed > 0 && <span class="bad">; {count(of.spool.failed)} kept aside: <code>nta-daemon shipping</code> there says why</span>}</>],
                ["Packets", count(of.packets)],
                ["Clock", <Clock of={of} />],
                ["Heard of last", <Time at={of.last_seen} relative />],
                ["Version", of.version],
              ]}
            />
            <p class="buttons">
              <a class="button" href={link("/alerts", { sensor: of.name, status: "all" })}>Its alerts</a>
              <a class="button" href={link("/hosts", { sensor: of.name })}>Its hosts</a>
              <a class="button" href={link("/flows", { sensor: of.name })}>Its flows</a>
            </p>
          </section>
          <Windows name={of.name} />
          <Settings key={of.asked?.version ?? 0} of={of} changed={logs.reload} />
          {before.length > 0 && <Before logs={before} />}
        </>
      )}
    </Shown>
  );
}

/** What it saw of late. */
function Windows({ name }: { name: string }) {
  const windows = useLoad(`windows ${name}`, async (signal) => taken(client.GET("/api/metrics", { params: { query: { sensor: name, limit: 360 } }, signal })), [windowTick]);
  return (
    <Panel title="Traffic over time" more={<small class="quiet">its newest windows of 10 s</small>}>
      <Shown of={windows}>
        {({ items }) => {
          if (items.length === 0) return <Empty>No window of it is here.</Empty>;
          const rows = [...items].sort((a, b) => a.start.localeCompare(b.start));
          const lines: Line[] = [{ name: "traffic", colour: "--tcp", values: rows.map((row) => row.bandwidth_bps) }];
          return <Chart label={`What ${name} saw, in windows of 10 s`} times={rows.map((row) => Date.parse(row.start) / 1000)} lines={lines} unit={bps} height={160} />;
        }}
      </Shown>
    </Panel>
  );
}

const CHOICES: [string, string][] = [["", "as it configures"], ["true", "yes"], ["false", "no"]];

/** What it is to do otherwise than it is configured. */
function Settings({ of, changed }: { of: Sensor; changed: () => void }) {
  const asked = of.asked?.settings;
  const word = (value: boolean | null | undefined) => (value == null ? "" : String(value));
  const [flows, setFlows] = useState(word(asked?.flows));
  const [headers, setHeaders] = useState(word(asked?.headers));
  const [pace, setPace] = useState(asked?.max_bytes_per_s == null ? "" : String(asked.max_bytes_per_s / 1000));
  const [problem, setProblem] = useState("");
  const followed = of.asked === null ? "Nothing was asked: it does as it is configured." : of.asked.version === of.settings ? `It follows what was asked last (${count(of.settings)}).` : `Asked ${count(of.asked.version)}, follows ${count(of.settings)}: it takes that up with its next message.`;
  const save = async (event: Event) => {
    event.preventDefault();
    const value = (text: string) => (text === "" ? null : text === "true");
    try {
      await taken(client.PUT("/api/sensors/{id}/settings", { params: { path: { id: of.name } }, body: { flows: value(flows), headers: value(headers), max_bytes_per_s: pace === "" ? null : Math.round(Number(pace) * 1000) } }));
      setProblem("");
      changed();
    } catch (error) {
      setProblem((error as Error).message);
    }
  };
  const choice = (value: string, set: (value: string) => void) => (
    <select value={value} onChange={(event) => set(event.currentTarget.value)}>{CHOICES.map(([choice, text]) => <option key={choice} value={choice}>{text}</option>)}</select>
  );
  return (
    <Panel title="What it ships" more={<span class="quiet" role="status">{followed}</span>}>
      {!may("admin") ? <Empty>An administrator changes it.</Empty> : (
        <form class="filters" onSubmit={save}>
          <label>Flows {choice(flows, setFlows)}</label>
          <label>Heads of frames {choice(headers, setHeaders)}</label>
          <label>At most <input type="number" min="0" step="any" size={9} placeholder="as it configures" value={pace} onInput={(event) => setPace(event.currentTarget.value)} /> kB a second (0: no bound)</label>
          <button type="submit">Ask for it</button>
          {problem !== "" && <p role="alert" class="trouble">{problem}</p>}
        </form>
      )}
    </Panel>
  );
}

/** Logs of databases that it had before, and those of others by its name. */
function Before({ logs }: { logs: Sensor[] }) {
  return (
    <Panel title="Other logs by this name" more={<small class="quiet">a gateway that gets a new database begins a new log</small>}>
      <div {...scroll}><table>
        <thead><tr><th scope="col">Log</th><th scope="col">State</th><th scope="col">What is here</th><th scope="col" class="number">Packets</th><th scope="col">Heard of last</th></tr></thead>
        <tbody>{logs.map((of) => <tr key={of.epoch}><td><code>{of.epoch.slice(0, 8)}</code></td><td>{of.state}</td><td><Complete of={of} /></td><td class="number">{count(of.packets)}</td><td><Time at={of.last_seen} relative /></td></tr>)}</tbody>
      </table></div>
    </Panel>
  );
}
