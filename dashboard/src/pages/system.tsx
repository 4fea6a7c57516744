/** The analyzer itself: where it counts, what it could not place, how full it is, what works, who may. */
import { useState } from "preact/hooks";
import type { Status } from "../api/client";
import { askStatus, client, may, taken } from "../api/client";
import { useLoad } from "../data";
import { bytes, count, duration, many, percent } from "../format";
import { health, recent, systemTick, windowTick } from "../live";
import { Choice, Empty, Facts, Panel, Shown, Time, scroll } from "../ui/parts";
import { Shipping } from "../ui/shipping";
import { useParams } from "../url";
import { LEDGER, MAPS, STORE_TROUBLES } from "../words";

export function System() {
  const status = useLoad("status", askStatus, [windowTick, systemTick]);
  return (
    <>
      <h1>System</h1>
      {health.value !== undefined && health.value.status !== "ok" && <ul>{(health.value.reasons ?? [health.value.reason ?? health.value.status]).map((reason) => <li key={reason} class="bad">{reason}</li>)}</ul>}
      <Shown of={status} rows={8}>
        {(of) => (
          <>
            <Interfaces of={of} />
            {of.shipping != null && <Shipping of={of.shipping} />}
            <div class="columns">
              <Ledger of={of} />
              <Store of={of} />
            </div>
            <Maps of={of} />
          </>
        )}
      </Shown>
      <div class="columns">
        <Jobs />
        <Mutes />
      </div>
      <div class="columns">
        {may("admin") ? <Webhooks /> : <Panel title="Webhooks"><Empty>An administrator sees them.</Empty></Panel>}
        {may("admin") ? <Tokens /> : <Panel title="Tokens"><Empty>An administrator sees them.</Empty></Panel>}
      </div>
      <Happened />
      {may("operator") ? <Logs /> : <Panel title="Log"><Empty>An operator sees it.</Empty></Panel>}
    </>
  );
}

function Interfaces({ of }: { of: Status }) {
  return (
    <Panel title="Interfaces" more={<span class="quiet">{of.engine} engine, up {duration(of.uptime_s)}, version {of.version}</span>}>
      {of.interfaces.length === 0 ? <Empty>{of.mode === "replay" ? "A replay: captures are read." : "No interface is captured."}</Empty> : (
        <div {...scroll}><table>
          <thead><tr><th scope="col">Interface</th><th scope="col">Incoming by</th><th scope="col">Outgoing by</th><th scope="col">Why</th><th scope="col" class="number">Received</th><th scope="col" class="number">Sent</th><th scope="col" class="number">Dropped by it</th></tr></thead>
          <tbody>{of.interfaces.map((one) => <tr key={one.name}><td>{one.name}</td><td>{one.ingress}</td><td>{one.egress}</td><td class="wide">{one.reason}</td><td class="number">{count(one.nic.rx_packets)}</td><td class="number">{count(one.nic.tx_packets)}</td><td class="number">{count(one.nic.rx_dropped)}</td></tr>)}</tbody>
        </table></div>
      )}
    </Panel>
  );
}

function Ledger({ of }: { of: Status }) {
  const { total, balanced } = of.ledger;
  const rest = Object.entries(total).filter(([name, value]) => value > 0 && !/^(seen|flow)$/.test(name));
  return (
    <Panel title="Ledger" more={<span class={balanced ? "quiet" : "bad"}>{balanced ? "balanced: every packet has a place" : "not balanced"}</span>}>
      <p class="ledger"><b>{count(total.seen)}</b> packets seen, <b>{count(total.flow)}</b> in flows</p>
      <Facts wide of={rest.map(([name, value]) => explained(LEDGER[name] ?? [name.replaceAll("_", " ")], name.endsWith("bytes") ? bytes(value) : count(value)))} />
    </Panel>
  );
}

/** A counter under its name, with what it means. */
function explained([name, meaning]: [string, string?], value: string): [string, preact.ComponentChildren] {
  return [name, <>{value}{meaning !== undefined && <small class="quiet"> {meaning}</small>}</>];
}

function Maps({ of }: { of: Status }) {
  return (
    <Panel title="Maps">
      <div {...scroll}><table>
        <thead><tr><th scope="col">Map</th><th scope="col" class="number">Entries</th><th scope="col" class="number">Room</th><th scope="col" class="number">Full</th></tr></thead>
        <tbody>{of.maps.map((map) => <tr key={map.name}><td>{map.name}{MAPS[map.name] !== undefined && <small class="quiet"> {MAPS[map.name]}</small>}</td><td class="number">{count(map.entries)}</td><td class="number">{map.max_entries == null ? "–" : count(map.max_entries)}</td><td class="number">{map.fill_ratio == null ? "–" : percent(map.fill_ratio)}</td></tr>)}</tbody>
      </table></div>
    </Panel>
  );
}

function Store({ of }: { of: Status }) {
  const { store } = of;
  if (store == null) return <Panel title="Store"><Empty>Nothing is stored.</Empty></Panel>;
  const counters = store as unknown as Record<string, unknown>;
  const sum = (of: RegExp) => Object.entries(counters).reduce((sum, [name, value]) => sum + (of.test(name) && typeof value === "number" ? value : 0), 0);
  const troubles = Object.entries(STORE_TROUBLES).filter(([name]) => Number(counters[name]) > 0);
  const deleted = sum(/_deleted$/);
  const unreadable = Object.entries(store.rows_unreadable).filter(([, rows]) => rows > 0);
  return (
    <Panel title="Store" more={<span class={store.failing ? "bad" : "quiet"}>{store.failing ? "failing" : "well"}</span>}>
      {store.failing && store.last_error != null && <p class="bad">{store.last_error}</p>}
      <Facts
        wide
        of={[
          ...troubles.map(([name, words]) => explained(words, count(Number(counters[name])))),
          ...unreadable.map(([table, rows]) => explained([`Rows of ${table.replaceAll("_", " ")} that cannot be read`, "at each reading; the log says why"], count(rows))),
          explained(["Kept"], `${many(store.stored_windows ?? 0, "window")}, ${many(store.stored_flows ?? 0, "flow")}`),
          explained(["Written since the start"], `${many(sum(/^(windows|flow_rows|alert_rows|anomaly_rows|feature_rows|raw_packets)$/), "row")} in ${many(store.batches, "transaction")}`),
          ...(deleted > 0 ? [explained(["Deleted as too old", "or more than are kept"], many(deleted, "row"))] : []),
          ...(store.database_bytes == null ? [] : [explained(["Size"], bytes(store.database_bytes + (store.wal_bytes ?? 0)))]),
          ...(store.disk_free_bytes == null ? [] : [explained(["Free on its disk"], bytes(store.disk_free_bytes))]),
          explained(["Last transaction"], duration(store.last_commit_us / 1e6)),
          ...(store.spool_bytes > 0 ? [explained(["Waiting on disk", "for the database"], bytes(store.spool_bytes))] : []),
        ]}
      />
    </Panel>
  );
}

function Jobs() {
  const jobs = useLoad("jobs", async (signal) => taken(client.GET("/api/jobs", { params: { query: { limit: 20 } }, signal })), [systemTick, windowTick]);
  return (
    <Panel title="Jobs">
      <Shown of={jobs} rows={1}>
        {({ items }) => items.length === 0 ? <Empty>None.</Empty> : (
          <div {...scroll}><table>
            <thead><tr><th scope="col">Kind</th><th scope="col">State</th><th scope="col">Since</th><th scope="col">By</th></tr></thead>
            <tbody>{items.map((job) => <tr key={job.id}><td>{job.kind}</td><td>{job.state}{job.progress.percent != null && job.state === "running" && `, ${job.progress.percent} %`}{job.error != null && <span class="bad">: {job.error.detail}</span>}</td><td><Time at={job.created} /></td><td>{job.who}</td></tr>)}</tbody>
          </table></div>
        )}
      </Shown>
    </Panel>
  );
}

function Mutes() {
  const mutes = useLoad("mutes", async (signal) => taken(client.GET("/api/mutes", { signal })), [systemTick]);
  const end = (id: number) => void taken(client.DELETE("/api/mutes/{id}", { params: { path: { id } } })).finally(mutes.reload);
  return (
    <Panel title="Mutes">
      <Shown of={mutes} rows={1}>
        {({ items }) => items.length === 0 ? <Empty>Nothing is muted.</Empty> : (
          <div {...scroll}><table>
            <thead><tr><th scope="col">What</th><th scope="col">Why</th><th scope="col">Until</th><th scope="col" class="number">Hidden</th><th scope="col"><span class="hidden">End</span></th></tr></thead>
            <tbody>{items.map((mute) => <tr key={mute.id}><td>{[mute.types.join(", "), mute.source, mute.destination, mute.host].filter(Boolean).join(" ")}</td><td>{mute.reason} <small class="quiet">{mute.by}</small></td><td><Time at={mute.expires} /></td><td class="number">{count(mute.hidden)}</td><td>{may("operator") && mute.state === "active" && <button onClick={() => end(mute.id)}>End</button>}</td></tr>)}</tbody>
          </table></div>
        )}
      </Shown>
    </Panel>
  );
}

function Webhooks() {
  const hooks = useLoad("webhooks", async (signal) => taken(client.GET("/api/webhooks", { signal })), [systemTick]);
  return (
    <Panel title="Webhooks">
      <Shown of={hooks} rows={1}>
        {({ items }) => items.length === 0 ? <Empty>None is configured.</Empty> : (
          <div {...scroll}><table>
            <thead><tr><th scope="col">Name</th><th scope="col">State</th><th scope="col" class="number">Delivered</th><th scope="col" class="number">Dead letters</th></tr></thead>
            <tbody>{items.map((hook) => <tr key={hook.name}><td>{hook.name}</td><td>{hook.state}{hook.last_error != null && <span class="bad">: {hook.last_error}</span>}</td><td class="number">{count(hook.delivered)}</td><td class="number">{count(hook.dead_letters)}</td></tr>)}</tbody>
          </table></div>
        )}
      </Shown>
    </Panel>
  );
}

function Tokens() {
  const tokens = useLoad("tokens", async (signal) => taken(client.GET("/api/tokens", { signal })), [systemTick]);
  return (
    <Panel title="Tokens">
      <Shown of={tokens} rows={1}>
        {({ items }) => items.length === 0 ? <Empty>None was made: whoever reaches this page may do all.</Empty> : (
          <div {...scroll}><table>
            <thead><tr><th scope="col">Name</th><th scope="col">Role</th><th scope="col">Last used</th><th scope="col">Ends</th></tr></thead>
            <tbody>{items.map((token) => <tr key={token.id}><td>{token.name}</td><td>{token.role}</td><td><Time at={token.last_used} /></td><td>{token.revoked !== null ? "revoked" : <Time at={token.expires} />}</td></tr>)}</tbody>
          </table></div>
        )}
      </Shown>
    </Panel>
  );
}

/** What the event log said since this page was opened. */
function Happened() {
  return (
    <Panel title="Events since this page was opened">
      {recent.value.length === 0 ? <Empty>None.</Empty> : (
        <ol class="history">{recent.value.map((event) => <li key={event.id}><Time at={event.time} /> <b>{event.type.replaceAll("_", " ")}</b> {String(event.data["summary"] ?? event.data["reason"] ?? "")}</li>)}</ol>
      )}
    </Panel>
  );
}

type Level = "error" | "warn" | "info";
function Logs() {
  const [params, change] = useParams();
  const [open, setOpen] = useState(params["level"] !== undefined);
  const level = (params["level"] ?? "info") as Level;
  return (
    <Panel title="Log" more={open ? <Choice name="Level" value={level} options={[["error", "Errors"], ["warn", "Warnings"], ["info", "All"]]} choose={(value) => change({ level: value }, true)} /> : <button onClick={() => setOpen(true)}>Show</button>}>
      {open && <Lines level={level} />}
    </Panel>
  );
}

function Lines({ level }: { level: Level }) {
  const log = useLoad(`log ${level}`, async (signal) => taken(client.GET("/api/control/logs", { params: { query: { level, limit: 200 } }, signal })), [systemTick]);
  return (
    <Shown of={log}>
      {({ items }) => items.length === 0 ? <Empty>Nothing of this level.</Empty> : (
        <div {...scroll}><table><tbody>{items.map((line) => <tr key={line.number}><td><Time at={line.time} /></td><td>{line.level}</td><td class="wide">{line.message} <small class="quiet">{Object.entries(line.fields).map(([name, value]) => `${name}=${String(value)}`).join(" ")}</small></td></tr>)}</tbody></table></div>
      )}
    </Shown>
  );
}
