/** One alert: what happened, why it is said, what each judge says, what to do, and the evidence behind it. */
import { useRoute } from "preact-iso";
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Alert as AlertType, AlertDetail, Anomaly, Flow, Window } from "../api/client";
import { client, may, taken } from "../api/client";
import { useLoad } from "../data";
import { bps, bytes, count, kind, many, measured, percent, rough, spelled } from "../format";
import { alertTick } from "../live";
import { Bars, Chart, type Line, type Mark } from "../ui/chart";
import { MuteDialog } from "../ui/mute";
import { Address, AlertName, Empty, Facts, Panel, Range, SeverityBadge, Shown, Time, Toast, scroll, type Note } from "../ui/parts";
import { captureOf, link } from "../url";
import { NoteDialog } from "./alerts";
import { Source, Usual } from "./overview";

const VERDICTS: [NonNullable<AlertType["verdict"]>, string][] = [["true_positive", "Right"], ["benign", "Harmless"], ["false_positive", "False alarm"]];

const OVER: Record<string, string> = { quiet: "over", run_ended: "when the capture ended", interrupted: "when the daemon was interrupted", folded: "now part of another alert" };

export function Alert() {
  const { params } = useRoute();
  const id = params["id"] ?? "";
  const path = { params: { path: { id } } };
  const alert = useLoad(`alert ${id}`, async (signal) => taken(client.GET("/api/alerts/{id}", { ...path, signal })), [alertTick]);
  const evidence = useLoad(`evidence ${id}`, async (signal) => taken(client.GET("/api/alerts/{id}/evidence", { ...path, signal })));
  const [note, setNote] = useState<Note>();
  const [dialog, setDialog] = useState<"note" | "mute">();
  const change = async (body: { status?: AlertType["status"]; verdict?: AlertType["verdict"] }, text: string) => {
    try {
      await taken(client.PATCH("/api/alerts/{id}", { ...path, body }));
      setNote({ text });
      alert.reload();
    } catch (error) {
      setNote({ text: (error as Error).message, bad: true });
    }
  };
  const undoable = (undone: string) => (text: string, undo: () => Promise<void>) => {
    const failed = (error: unknown) => setNote({ text: (error as Error).message, bad: true });
    setNote({ text, undo: () => void undo().then(() => { alert.reload(); setNote({ text: undone }); }, failed) });
    alert.reload();
  };
  return (
    <Shown of={alert} rows={6}>
      {(of) => (
        <>
          <section class={`state ${of.severity}`}>
            <h1><SeverityBadge severity={of.severity} /> {kind(of.type)}</h1>
            <p class="summary">{of.why.summary}</p>
            <Facts
              of={[
                ["Attacker", <Source of={of} />],
                ["Victim", <><Address of={of.destination} inside={of.destination_inside} capture={captureOf(of.sensor)} />{of.port != null && <> port {of.port}</>}</>],
                ["Since", <><Range from={of.first_seen ?? of.window_start} to={of.last_seen ?? of.window_end} relative />, {of.state === "raised" ? "goes on" : OVER[of.clear_reason ?? "quiet"] ?? "over"}</>],
                ["Measured", <><b>{measured(of.why.observed, of.why.unit)}</b> <Usual of={of} /></>],
                ...(of.folded_into == null ? [] : [["Part of", <a href={link(`/alerts/${of.folded_into}`)}>one alert of several gateways</a>] as [string, JSX.Element]]),
                ["What to do", of.why.recommendation],
                ...(of.why.technique == null ? [] : [["ATT&CK", `${of.why.technique.id} ${of.why.technique.name}`] as [string, string]]),
                ["Handled", <>{of.status}{of.status_by != null && <> by {of.status_by}, <Time at={of.status_at} /></>}{of.verdict != null && <>; {of.verdict.replaceAll("_", " ")}</>}</>],
              ]}
            />
            <p class="buttons">
              {may("operator") && (
                <span class="choice">
                  {of.status !== "acknowledged" && <button onClick={() => void change({ status: "acknowledged" }, "Acknowledged.")}>Acknowledge</button>}
                  {of.status !== "resolved" && <button onClick={() => void change({ status: "resolved" }, "Resolved.")}>Resolve</button>}
                  {of.status !== "open" && <button onClick={() => void change({ status: "open" }, "Open again.")}>Reopen</button>}
                  <button onClick={() => setDialog("note")}>Note…</button>
                  {captureOf(of.sensor) === undefined && <button onClick={() => setDialog("mute")}>Mute…</button>}
                </span>
              )}
              {may("operator") && (
                <span class="choice">
                  <span class="quiet">Verdict</span>
                  {VERDICTS.map(([verdict, text]) => <button key={verdict} aria-pressed={of.verdict === verdict} onClick={() => void change({ verdict: of.verdict === verdict ? null : verdict }, "Kept.")}>{text}</button>)}
                </span>
              )}
              <span class="choice">
                <a class="button" href={`/api/alerts/${id}/alert.html`} download={`${of.type}-${id}.html`}>As one page</a>
                <a class="button" href={`/api/alerts/${id}/evidence.pcap`} download={`${of.type}-${id}.pcap`}>Packets (pcap)</a>
                {([["attacker", of.source], ["victim", of.destination]] as const).map(([role, host]) => isHost(host) && (
                  <a key={role} class="button" href={link("/why", { host, at: of.last_seen ?? of.window_end, capture: captureOf(of.sensor) })}>All measures of the {role}</a>
                ))}
              </span>
            </p>
          </section>
          {of.parts.length > 0 && <Parts of={of} />}
          <Shown of={evidence}>{(behind) => <div class="columns"><Measured alert={of} anomalies={behind.anomalies} /><When alert={of} windows={behind.windows} /></div>}</Shown>
          <div class="columns">
            <Judges of={of} />
            <Contributors of={of} />
          </div>
          <Related of={of} />
          <Shown of={evidence}>{(behind) => <Flows of={behind.flows} cut={behind.flows_cut} missing={behind.flows_missing} alert={of} />}</Shown>
          <History of={of} />
          {dialog === "note" && <NoteDialog alert={of} close={() => setDialog(undefined)} done={undoable("The note is taken back.")} />}
          {dialog === "mute" && <MuteDialog alert={of} close={() => setDialog(undefined)} done={undoable("It is not muted any more.")} />}
          <Toast note={note} close={() => setNote(undefined)} />
        </>
      )}
    </Shown>
  );
}

/** What each gateway says of an alert of several. */
function Parts({ of }: { of: AlertDetail }) {
  return (
    <Panel title="Seen by" more={<small class="quiet">the same packets may have passed several: nothing is added up</small>}>
      <div {...scroll}>
        <table>
          <thead><tr><th scope="col">Gateway</th><th scope="col">Severity</th><th scope="col">Alert</th><th scope="col">Victim</th><th scope="col">From</th><th scope="col">To</th><th scope="col">State</th><th scope="col" class="number">Measured</th></tr></thead>
          <tbody>
            {of.parts.map((part) => (
              <tr key={part.id}>
                <td><a href={link(`/fleet/${encodeURIComponent(part.sensor ?? "")}`)}>{part.sensor}</a></td>
                <td><SeverityBadge severity={part.severity} /></td>
                <td><AlertName type={of.type} id={part.id} /></td>
                <td><Address of={part.destination} /></td>
                <td><Time at={part.first_seen} /></td>
                <td><Time at={part.last_seen} /></td>
                <td>{part.state === "raised" ? "goes on" : "over"}</td>
                <td class="number">{measured(part.observed, part.unit)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Panel>
  );
}

/** Whether a party is one host by its address: measures are kept of these. */
const isHost = (of: string | null | undefined): of is string => typeof of === "string" && /^[0-9a-f.:]+$/i.test(of) && !/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(of);

/** Whose flows they are: the attacker's, if it is one host. */
const hostOf = (alert: AlertType): string | undefined => [alert.source, alert.destination].find(isHost);

/** What the detector measured, window by window, beside its threshold. */
function Measured({ alert, anomalies }: { alert: AlertDetail; anomalies: Anomaly[] }) {
  const { measure, unit, threshold } = alert.why;
  const of = anomalies.filter((anomaly) => anomaly.why.measure === measure && anomaly.detector === alert.detector).sort((a, b) => a.why.window_start.localeCompare(b.why.window_start));
  if (of.length < 2) return null;
  const lines: Line[] = [{ name: spelled(measure), colour: "--tcp", values: of.map((anomaly) => anomaly.why.observed) }];
  return (
    <Panel title="What was measured" more={<small class="quiet">each finding of the detector</small>}>
      <Chart label={`${measure} in each window with a finding, beside the threshold`} times={of.map((anomaly) => Date.parse(anomaly.why.window_start) / 1000)} lines={lines} threshold={{ value: threshold, text: "threshold" }} unit={(value) => (unit.length > 5 && unit !== "bytes" && unit !== "bit/s" ? rough(value) : measured(value, unit))} height={170} />
    </Panel>
  );
}

/** The traffic around the alert, with its time marked. */
function When({ alert, windows }: { alert: AlertDetail; windows: Window[] }) {
  const begin = Date.parse(alert.first_seen ?? alert.window_start);
  const end = Date.parse(alert.last_seen ?? alert.window_end);
  const margin = Math.max((end - begin) / 2, 300_000);
  const around = useLoad(`around ${alert.id} ${begin} ${end}`, async (signal) =>
    taken(client.GET("/api/metrics", { params: { query: { from: new Date(begin - margin).toISOString(), to: new Date(end + margin).toISOString(), span: end - begin > 10_800_000 ? "180" : "10", limit: 1000, sort: "time", ...(captureOf(alert.sensor) === undefined ? {} : { capture: captureOf(alert.sensor) }) } as never }, signal })));
  const of = around.data?.items ?? windows;
  const times = of.map((window) => Date.parse(window.start) / 1000);
  const marks: Mark[] = [{ at: begin / 1000, until: end / 1000, text: kind(alert.type), colour: `--${alert.severity}` }];
  const packets: Line[] = [{ name: "packets a second", colour: "--tcp", values: of.map((window) => window.packets_per_s) }];
  const traffic: Line[] = [{ name: "traffic", colour: "--udp", values: of.map((window) => window.bandwidth_bps) }];
  return (
    <Panel title="The network meanwhile">
      <div class="columns tight">
        <Chart label="Packets a second around the alert, its time marked" times={times} lines={packets} marks={marks} unit={(value) => `${rough(value)}/s`} height={150} />
        <Chart label="Traffic around the alert, its time marked" times={times} lines={traffic} marks={marks} unit={bps} height={150} />
      </div>
    </Panel>
  );
}

function Judges({ of }: { of: AlertDetail }) {
  const judges = of.why.judges ?? [];
  return (
    <Panel title="Who says so">
      {judges.length === 0 ? <p>{kind(of.detector)}</p> : judges.map((judge) => (
        <article key={judge.detector + judge.measure} class="judge">
          <h3>{kind(judge.detector)} <small class="quiet">{judge.basis}</small></h3>
          <p>{judge.summary}</p>
          <Scale observed={judge.observed} threshold={judge.threshold} unit={judge.measure === of.why.measure ? of.why.unit : judge.measure === "probability" ? "1" : ""} />
        </article>
      ))}
      {Object.keys(of.why.facts).length > 0 && (
        <details open>
          <summary>Facts</summary>
          <Facts of={Object.entries(of.why.facts).filter(([, value]) => value !== "").map(([name, value]) => [spelled(name), value])} />
        </details>
      )}
    </Panel>
  );
}

/** A measure beside its threshold. */
function Scale({ observed, threshold, unit }: { observed: number; threshold: number; unit: string }) {
  const most = Math.max(observed, threshold) || 1;
  const text = (value: number) => (unit === "1" ? percent(value) : measured(value, unit));
  return (
    <div class="scale">
      <span class="track" aria-hidden="true">
        <span class="bar" style={{ width: `${(observed / most) * 100}%` }} />
        <span class="mark" style={{ left: `${(threshold / most) * 100}%` }} />
      </span>
      <small>measured <b>{text(observed)}</b>, threshold {text(threshold)}</small>
    </div>
  );
}

function Contributors({ of }: { of: AlertDetail }) {
  const { contributors, unit } = of.why;
  const hasSigns = contributors.some((one) => one.amount < 0);
  return (
    <Panel title={hasSigns ? "What made the model say so" : "Contributors"}>
      {contributors.length === 0 ? <Empty>{of.source === "*" ? "No single source stands out." : "None beside the parties above."}</Empty> : (
        <Bars of={contributors.map((one) => ({ name: one.what, value: one.amount, ...(/^[0-9a-f:.]+$/i.test(one.what) && /[.:]/.test(one.what) ? { href: link(`/hosts/${encodeURIComponent(one.what)}`, { capture: captureOf(of.sensor) }) } : {}) }))} unit={(value) => measured(value, unit)} />
      )}
    </Panel>
  );
}

/** Other alerts of the same parties, a day around. */
function Related({ of }: { of: AlertDetail }) {
  const day = 86_400_000;
  const range = { from: new Date(Date.parse(of.window_start) - day).toISOString(), to: new Date(Date.parse(of.window_end) + day).toISOString(), limit: 20, ...(captureOf(of.sensor) === undefined ? {} : { capture: captureOf(of.sensor) }) };
  const parties = [of.source, of.destination].filter((one): one is string => typeof one === "string" && one !== "*");
  const related = useLoad(`related ${of.id}`, async (signal) => {
    const lists = await Promise.all(parties.flatMap((one) => (["source", "destination"] as const).map((name) => taken(client.GET("/api/alerts", { params: { query: { ...range, [name]: one } as never }, signal })))));
    const found = new Map(lists.flatMap((list) => list.items).map((alert) => [alert.id, alert]));
    found.delete(of.id);
    return [...found.values()].sort((a, b) => a.window_start.localeCompare(b.window_start));
  });
  return (
    <Panel title="Related alerts">
      <Shown of={related} rows={1}>
        {(alerts) => alerts.length === 0 ? <Empty>None of the same parties within a day.</Empty> : (
          <ul class="related">{alerts.map((alert) => <li key={alert.id}><SeverityBadge severity={alert.severity} /> <AlertName type={alert.type} id={alert.id} /> <Time at={alert.first_seen ?? alert.window_start} />: {alert.why.summary}</li>)}</ul>
        )}
      </Shown>
    </Panel>
  );
}

const SHOWN_FLOWS = 100;
function Flows({ of, cut, missing, alert }: { of: Flow[]; cut: boolean; missing: string | null | undefined; alert: AlertDetail }) {
  const host = hostOf(alert);
  const all = host === undefined ? undefined : link("/flows", { host, from: alert.window_start, to: alert.window_end, capture: captureOf(alert.sensor) });
  return (
    <Panel title="Flows behind it" more={all !== undefined && <a href={all}>all of {host} then</a>}>
      {missing != null && <p class="quiet">{missing}</p>}
      {of.length === 0 ? missing == null && <Empty>None.</Empty> : (
        <div {...scroll}>
          <FlowTable flows={of.slice(0, SHOWN_FLOWS)} />
        </div>
      )}
      {(cut || of.length > SHOWN_FLOWS) && <p class="quiet">The first {many(Math.min(of.length, SHOWN_FLOWS), "is", "are")} shown{cut ? ", of more than 1,000" : `, of ${count(of.length)}`}.</p>}
    </Panel>
  );
}

/** Zeek's states of a connection. */
const STATES: Record<string, string> = {
  S0: "asked, no answer", S1: "open", SF: "opened and closed", REJ: "refused", S2: "open, the one who began it wants to close", S3: "open, the other side wants to close",
  RSTO: "broken off by who began it", RSTR: "broken off by the other side", RSTOS0: "asked and broken off, no answer", RSTRH: "an answer and a break, the question was not seen",
  SH: "asked and closed, no answer", SHR: "answers alone were seen", OTH: "begun before it was seen",
};

/** Stands for the addresses of many flows that share none. */
const isUnspecified = (address: string) => address === "0.0.0.0" || address === "::";

const examples = (group: NonNullable<Flow["group"]>) =>
  `Alike and unanswered, such as ${group.examples.map((one) => `${one.source} port ${one.source_port} to ${one.destination} port ${one.destination_port}`).join("; ")}`;

export function FlowTable({ flows }: { flows: Flow[] }) {
  return (
    <table>
      <thead><tr><th scope="col">Begin</th><th scope="col">From</th><th scope="col">To</th><th scope="col">Service</th><th scope="col">State</th><th scope="col" class="number">Sent</th><th scope="col" class="number">Received</th><th scope="col" class="number">Round trip</th><th scope="col" class="number">Retransmitted</th></tr></thead>
      <tbody>
        {flows.map((flow) => {
          const icmp = flow.protocol.includes("icmp");
          const again = (flow.tcp?.orig.retransmissions ?? 0) + (flow.tcp?.resp.retransmissions ?? 0);
          const trip = flow.tcp?.handshake.resp_rtt_ms;
          const group = flow.group;
          const sharesNoSource = group != null && isUnspecified(flow.source);
          const sharesNoDestination = group != null && isUnspecified(flow.destination);
          return (
            <tr key={flow.id}>
              <td><Time at={flow.first_time} /></td>
              <td>{sharesNoSource ? `${count(group.sources)} sources` : <Address of={flow.source} capture={captureOf(flow.sensor)} />}{!icmp && !(group != null && flow.source_port === 0) && `:${flow.source_port}`}</td>
              <td>{sharesNoDestination ? `${count(group.destinations)} destinations` : <Address of={flow.destination} capture={captureOf(flow.sensor)} />}{icmp ? ` type ${flow.source_port}` : group != null && flow.destination_port === 0 ? `, ${count(group.destination_ports)} ports` : `:${flow.destination_port}`}</td>
              <td>{flow.service_name ?? flow.protocol}{group != null && <small class="quiet" title={examples(group)}> {count(flow.flows)} flows in one row</small>}</td>
              <td><abbr title={[STATES[flow.conn_state ?? ""], flow.history].filter(Boolean).join("; history ")}>{flow.conn_state}</abbr></td>
              <td class="number">{bytes(flow.orig_bytes)}</td>
              <td class="number">{bytes(flow.resp_bytes)}</td>
              <td class="number">{trip == null ? "–" : `${rough(trip)} ms`}</td>
              <td class="number">{again === 0 ? "–" : count(again)}</td>
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}

function History({ of }: { of: AlertDetail }) {
  const notes = of.notes ?? [];
  const changes = of.history ?? [];
  if (notes.length === 0 && changes.length === 0) return null;
  const lines = [
    ...notes.map((one) => ({ at: one.at, by: one.by, what: `noted: ${one.note}` })),
    ...changes.map((one) => ({ at: one.at, by: one.by, what: one.status === one.status_before ? `verdict ${one.verdict?.replaceAll("_", " ") ?? "taken back"}` : `${one.status_before} → ${one.status}` })),
  ].sort((a, b) => a.at.localeCompare(b.at));
  return (
    <Panel title="History">
      <ol class="history">{lines.map((line) => <li key={line.at + line.what}><Time at={line.at} /> <b>{line.by}</b> {line.what}</li>)}</ol>
    </Panel>
  );
}
