/** "Why was there no alert?": every detector's measure beside its threshold, for any host and time. */
import { client, taken } from "../api/client";
import { useLoad } from "../data";
import { duration, measured, percent, rough } from "../format";
import { AlertName, Empty, Panel, SeverityBadge, Shown, Time, scroll } from "../ui/parts";
import { useParams } from "../url";

const WORDS: Record<string, string> = {
  reached: "reached its threshold", near: "came near", below_quarter: "far below", unknown: "not known", not_kept: "kept no more", network: "judges networks, not hosts", off: "does not run",
};
const ORDER = ["reached", "near", "below_quarter", "unknown", "not_kept", "network", "off"];

/** What a field for local times shows of an instant, and back. */
const local = (iso: string): string => {
  const at = new Date(iso);
  return new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
};

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
          <Panel title={`What was measured of ${answer.host}`} more={<span class="quiet">at <Time at={answer.at} />, in {answer.windows.length} windows</span>}>
            {answer.reason != null && <p>{answer.reason}</p>}
            <p class="quiet">A threshold that was reached makes no alert by itself: a detector may need more than one thing, or several windows.</p>
            <div {...scroll}>
              <table>
                <thead><tr><th scope="col">Detector</th><th scope="col">State</th><th scope="col">Measure</th><th scope="col" class="number">Measured</th><th scope="col" class="number">Threshold</th><th scope="col" class="number">Share</th></tr></thead>
                <tbody>
                  {[...answer.detectors].sort((a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state)).flatMap((of) => {
                    const state = <span class={`nearness-${of.state}`}>{WORDS[of.state] ?? of.state}</span>;
                    if (of.measures.length === 0) return [<tr key={of.detector}><td>{of.detector}</td><td>{state}</td><td colSpan={4} class="quiet">{of.about}</td></tr>];
                    return of.measures.map((measure, n) => (
                      <tr key={`${of.detector} ${n}`}>
                        <td>{of.detector}</td><td>{n === 0 && state}</td><td>{measure.measure.replaceAll("_", " ")} <small class="quiet">in {duration((Date.parse(measure.window_end) - Date.parse(measure.window_start)) / 1000)}</small></td>
                        <td class="number"><b>{measured(measure.observed, measure.unit)}</b></td><td class="number">{measured(measure.threshold, measure.unit)}</td><td class="number">{measure.share >= 2 ? `${rough(measure.share)} times` : percent(measure.share)}</td>
                      </tr>
                    ));
                  })}
                </tbody>
              </table>
            </div>
          </Panel>
        </>
      )}
    </Shown>
  );
}
