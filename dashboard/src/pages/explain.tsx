/** "Why was there no alert?": every detector's measure beside its threshold, for any host and time. */
import { client, taken } from "../api/client";
import type { components } from "../api/schema";
import { useLoad } from "../data";
import { count, duration, kind, many, measured, percent, rough, spelled } from "../format";
import { AlertName, Empty, Facts, Panel, SeverityBadge, Shown, Time, scroll } from "../ui/parts";
import { useParams } from "../url";

const WORDS: Record<string, string> = {
  reached: "reached its threshold", near: "came near", below_quarter: "far below", unknown: "not known", not_kept: "kept no more", network: "judges networks, not hosts", off: "does not run",
};
/** The same of several of which no measure is kept. */
const FOLDED: Record<string, string> = { ...WORDS, below_quarter: "far below their thresholds", network: "judge networks, not hosts", off: "do not run" };
const ORDER = ["reached", "near", "below_quarter", "unknown", "not_kept", "network", "off"];

/** What a field for local times shows of an instant, and back. */
const local = (iso: string): string => {
  const at = new Date(iso);
  return new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
};

type Explained = components["schemas"]["Explanation"];

export function Explain() {
  const [params, change] = useParams();
  const { host, capture } = params;
  const at = params["at"] !== undefined && !Number.isNaN(Date.parse(params["at"])) ? params["at"] : undefined;
  const ask = (event: Event) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const when = String(form.get("at") ?? "");
    change({ host: String(form.get("host") ?? "").trim(), at: when === "" ? undefined : new Date(when).toISOString() });
  };
  return (
    <>
      <h1>Why was there an alert, or none?</h1>
      <form class="filters" onSubmit={ask}>
        <label>Host <input name="host" required placeholder="192.0.2.7" value={host ?? ""} /></label>
        <label>Time <input name="at" type="datetime-local" step="1" value={at === undefined ? "" : local(at)} /> <small class="quiet">now unless given</small></label>
        <button type="submit">Show</button>
      </form>
      {host === undefined || host === "" ? <Empty>Name a host: every detector then says what it measured of it, and from where on it reports.</Empty> : <Measures host={host} at={at} capture={capture} />}
    </>
  );
}

function Measures({ host, at, capture }: { host: string; at: string | undefined; capture: string | undefined }) {
  const explained = useLoad(`explain ${host} ${at ?? ""} ${capture ?? ""}`, async (signal) => taken(client.GET("/api/explain", { params: { query: { host, ...(at === undefined ? {} : { at }), ...(capture === undefined ? {} : { capture }) } }, signal })));
  return (
    <Shown of={explained} rows={6}>
      {(answer) => (
        <>
          <Panel title="Alerts about it then">
            {answer.alerts.length === 0 ? <Empty>None.</Empty> : (
              <ul class="related">{answer.alerts.map((alert) => <li key={alert.id}><SeverityBadge severity={alert.severity} /> <AlertName type={alert.type} id={alert.id} />: {alert.why.summary}</li>)}</ul>
            )}
          </Panel>
          <Panel title={`What was measured of ${answer.host}`} more={<span class="quiet">at <Time at={answer.at} />, in {many(answer.windows.length, "window")}</span>}>
            {answer.reason != null && <p>{answer.reason}</p>}
            <Nearest detectors={answer.detectors.filter((of) => of.measures.length > 0)} />
            <Facts wide of={folded(answer.detectors.filter((of) => of.measures.length === 0))} />
          </Panel>
        </>
      )}
    </Shown>
  );
}

type Detector = Explained["detectors"][number];

/** Those that came near or further, the nearest first. */
function Nearest({ detectors }: { detectors: Detector[] }) {
  if (detectors.length === 0) return <p>No detector came near to a threshold.</p>;
  return (
    <>
      <p class="quiet">A threshold that was reached makes no alert by itself: a detector may need more than one thing, or several windows.</p>
      <div {...scroll}>
        <table>
          <thead><tr><th scope="col">Detector</th><th scope="col">State</th><th scope="col">Measure</th><th scope="col" class="number">Measured</th><th scope="col" class="number">Threshold</th><th scope="col" class="number">Share</th></tr></thead>
          <tbody>
            {[...detectors].sort((a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state)).flatMap((of) => of.measures.map((measure, n) => (
              <tr key={`${of.detector} ${n}`}>
                <td>{n === 0 && kind(of.detector)}</td><td>{n === 0 && <span class={`nearness-${of.state}`}>{WORDS[of.state] ?? of.state}</span>}</td><td>{spelled(measure.measure)} <small class="quiet">in {duration((Date.parse(measure.window_end) - Date.parse(measure.window_start)) / 1000)}</small></td>
                <td class="number"><b>{measured(measure.observed, measure.unit)}</b></td><td class="number">{measured(measure.threshold, measure.unit)}</td><td class="number">{measure.share >= 2 ? `${rough(measure.share)} times` : percent(measure.share)}</td>
              </tr>
            )))}
          </tbody>
        </table>
      </div>
    </>
  );
}

/** Those of which no measure is kept, by why. */
function folded(detectors: Detector[]): [string, preact.ComponentChildren][] {
  return ORDER.flatMap((state): [string, preact.ComponentChildren][] => {
    const of = detectors.filter((one) => one.state === state);
    if (of.length === 0) return [];
    const why = [...new Set(of.map((one) => one.about))].filter((about) => about != null && about !== "");
    return [[`${count(of.length)} ${FOLDED[state] ?? state}`, <>{of.map((one) => kind(one.detector)).join(", ")}{why.length === 1 && state !== "below_quarter" && <small class="quiet">: {why[0]}</small>}</>]];
  });
}
