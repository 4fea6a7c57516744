/** The inbox of alerts: counts that add up, filters, triage by keyboard, bulk, mute. */
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { useLocation } from "preact-iso";
import type { Alert, Severity } from "../api/client";
import { Refused, askStatus, client, may, taken } from "../api/client";
import { useLoad } from "../data";
import { count, kind, many } from "../format";
import { alertTick } from "../live";
import { MuteDialog } from "../ui/mute";
import { Address, AlertName, Choice, Dialog, Empty, SeverityBadge, Shown, Time, Toast, scroll, type Note } from "../ui/parts";
import { link, useParams } from "../url";

type AlertStatus = Alert["status"];
const STATUSES: [AlertStatus | "all", string][] = [["open", "Open"], ["acknowledged", "Acknowledged"], ["resolved", "Resolved"], ["all", "All"]];
const SEVERITIES: Severity[] = ["critical", "high", "medium", "low"];
const PAGE = 200;
const FILTERS = ["severity", "type", "source", "destination", "from", "to", "state", "sensor", "capture"] as const;

/** The filters of the list as the URL has them. */
function filters(params: Record<string, string>): Record<string, unknown> {
  const status = params["status"] ?? "open";
  const query: Record<string, unknown> = status === "all" ? {} : { status: [status] };
  for (const name of FILTERS) {
    const value = params[name];
    if (value === undefined || value === "") continue;
    query[name] = name === "severity" || name === "type" ? value.split(",") : value;
  }
  return query;
}

export function Alerts() {
  const [params, change] = useParams();
  const { route } = useLocation();
  const [at, setAt] = useState(0);
  const [note, setNote] = useState<Note>();
  const [dialog, setDialog] = useState<"note" | "mute" | "keys" | "bulk">();
  const [cursors, setCursors] = useState<string[]>([]);
  const query = filters(params);
  const sort = params["sort"] === "severity" ? "-severity" : params["sort"] === "score" ? "-score" : "-time";
  const key = `alerts ${JSON.stringify(query)} ${sort} ${cursors.at(-1) ?? ""}`;
  const alerts = useLoad(key, async (signal) =>
    taken(client.GET("/api/alerts", { params: { query: { ...query, sort, limit: PAGE, ...(cursors.length === 0 ? {} : { cursor: cursors.at(-1) }) } as never }, signal })), [alertTick]);
  const status = useLoad("status", askStatus, [alertTick]);
  useEffect(() => {
    setCursors([]);
    setAt(0);
  }, [JSON.stringify(query), sort]);

  const items = alerts.data?.items ?? [];
  const current = items[Math.min(at, items.length - 1)];
  const rows = useRef<HTMLTableSectionElement>(null);
  useEffect(() => rows.current?.children[at]?.scrollIntoView({ block: "nearest" }), [at]);

  const patch = async (alert: Alert, next: AlertStatus) => {
    const before = alert.status;
    const set = (status: AlertStatus) => taken(client.PATCH("/api/alerts/{id}", { params: { path: { id: alert.id } }, body: { status } }));
    try {
      await set(next);
      alerts.reload();
      setNote({
        text: `${kind(alert.type)} is ${next}.`,
        undo: () => void set(before).then(() => { alerts.reload(); setNote({ text: `${kind(alert.type)} is ${before} again.` }); }, said),
      });
    } catch (error) {
      said(error);
    }
  };
  /** Says what was done, with a way back and what is said then. */
  const undoable = (undone: string) => (text: string, undo: () => Promise<void>) => {
    setNote({ text, undo: () => void undo().then(() => { alerts.reload(); setNote({ text: undone }); }, said) });
    alerts.reload();
  };
  const said = (error: unknown) => setNote({ text: error instanceof Refused ? error.message : String(error), bad: true });

  // With the page's change and not after it: a key that is pressed as a dialog closes is the list's.
  useLayoutEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement;
      if (dialog !== undefined || event.ctrlKey || event.metaKey || event.altKey || target.matches("input:not([type=checkbox]), textarea, select")) return;
      const acts: Record<string, () => void> = {
        e: () => current !== undefined && void patch(current, "acknowledged"),
        r: () => current !== undefined && void patch(current, "resolved"),
        n: () => current !== undefined && setDialog("note"),
        m: () => current !== undefined && setDialog("mute"),
      };
      const actions: Record<string, () => void> = {
        j: () => setAt((n) => Math.max(0, Math.min(n + 1, items.length - 1))),
        k: () => setAt((n) => Math.max(n - 1, 0)),
        o: () => current !== undefined && route(link(`/alerts/${current.id}`)),
        ...(may("operator") ? acts : {}),
        u: () => note?.undo?.(),
        "?": () => setDialog("keys"),
      };
      const action = actions[event.key] ?? (event.key === "Enter" && target.tagName !== "A" && target.tagName !== "BUTTON" ? actions["o"] : undefined);
      if (action === undefined) return;
      event.preventDefault();
      action();
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  });

  const findings = items.reduce((sum, alert) => sum + 1 + (alert.findings_folded ?? 0), 0);
  const more = alerts.data?.next_cursor;
  return (
    <>
      <div class="bar">
        <h1>Alerts{params["sensor"] !== undefined && <small class="quiet"> of {params["sensor"]}</small>}</h1>
        <Choice name="Status" value={(params["status"] ?? "open") as AlertStatus | "all"} options={STATUSES} choose={(value) => change({ status: value === "open" ? undefined : value })} />
        <button class="plain" onClick={() => setDialog("keys")}>Keys (?)</button>
      </div>
      <form class="filters" onSubmit={(event) => event.preventDefault()}>
        <fieldset>
          <legend>Severity</legend>
          {SEVERITIES.map((severity) => {
            const chosen = (params["severity"] ?? "").split(",").filter(Boolean);
            const now = chosen.includes(severity) ? chosen.filter((one) => one !== severity) : [...chosen, severity];
            return <label key={severity}><input type="checkbox" checked={chosen.includes(severity)} onChange={() => change({ severity: now.join(",") })} /> {severity}</label>;
          })}
        </fieldset>
        {(["source", "destination"] as const).map((name) => (
          <label key={name}>{name === "source" ? "Attacker" : "Victim"} <input name={name} placeholder="address" value={params[name] ?? ""} onChange={(event) => change({ [name]: event.currentTarget.value.trim() })} /></label>
        ))}
        <label>Order <select value={params["sort"] ?? "time"} onChange={(event) => change({ sort: event.currentTarget.value === "time" ? undefined : event.currentTarget.value })}>
          <option value="time">newest</option><option value="severity">worst</option><option value="score">surest</option>
        </select></label>
        {FILTERS.some((name) => params[name] !== undefined) && <button onClick={() => change(Object.fromEntries(FILTERS.map((name) => [name, undefined])))}>Clear filters</button>}
      </form>
      <Shown of={alerts} rows={8}>
        {(list) => (
          <>
            <p class="sums">
              <span><b>{count(findings)}</b> {findings === 1 ? "finding" : "findings"} in <b>{count(items.length)}{more != null && "+"}</b> {items.length === 1 && more == null ? "alert" : "alerts"}</span>
              {status.data?.detection !== undefined && <span class="quiet">since the start {many(status.data.detection.findings, "finding")}, {count(status.data.detection.muted ?? 0)} muted, {count(status.data.detection.allowed ?? 0)} allowed, {count(status.data.detection.refused ?? 0)} hidden for want of room</span>}
              {items.length > 0 && may("operator") && <button onClick={() => setDialog("bulk")}>All that match…</button>}
            </p>
            {items.length === 0 ? <Empty>{(params["status"] ?? "open") === "open" ? "No open alert. Nothing needs you." : "No alert is like that."}</Empty> : (
              <div {...scroll}>
                <table class="alerts stack">
                  <caption class="hidden">Alerts; j and k move, e acknowledges, r resolves</caption>
                  <thead><tr><th scope="col">Severity</th><th scope="col">Kind</th><th scope="col">Attacker</th><th scope="col">Victim</th><th scope="col">Since</th><th scope="col">State</th><th scope="col">What happened</th></tr></thead>
                  <tbody ref={rows}>
                    {items.map((alert, n) => (
                      <tr key={alert.id} class={alert === current ? "at" : ""} aria-selected={alert === current} onClick={() => setAt(n)}>
                        <td><SeverityBadge severity={alert.severity} /></td>
                        <td><AlertName type={alert.type} id={alert.id} /></td>
                        <td data-name="Attacker"><Address of={alert.source} /></td>
                        <td data-name="Victim"><Address of={alert.destination} /></td>
                        <td data-name="Since"><Time at={alert.first_seen ?? alert.window_start} /></td>
                        <td data-name="State">{alert.state === "raised" ? "goes on" : "over"}{alert.status !== "open" && <>, {alert.status}</>}</td>
                        <td class="wide">{alert.why.summary}</td>
                      </tr>
                    ))}
                  </tbody>
                </table>
              </div>
            )}
            <div class="pages">
              {cursors.length > 0 && <button onClick={() => setCursors(cursors.slice(0, -1))}>Newer</button>}
              {list.next_cursor != null && <button onClick={() => setCursors([...cursors, list.next_cursor as string])}>Older</button>}
            </div>
          </>
        )}
      </Shown>
      {dialog === "note" && current !== undefined && <NoteDialog alert={current} close={() => setDialog(undefined)} done={undoable("The note is taken back.")} />}
      {dialog === "mute" && current !== undefined && <MuteDialog alert={current} close={() => setDialog(undefined)} done={undoable("It is not muted any more.")} />}
      {dialog === "bulk" && <BulkDialog query={query} close={() => setDialog(undefined)} done={(text) => { setNote({ text }); alerts.reload(); }} />}
      {dialog === "keys" && <Keys close={() => setDialog(undefined)} />}
      <Toast note={note} close={() => setNote(undefined)} />
    </>
  );
}

function Keys({ close }: { close: () => void }) {
  const keys: [string, string][] = [["j / k", "next, previous"], ["Enter, o", "open"], ["e", "acknowledge"], ["r", "resolve"], ["n", "add a note"], ["m", "mute what is like it"], ["u", "undo"], ["?", "this list"]];
  return (
    <Dialog title="Keys" close={close}>
      <dl class="facts">{keys.map(([key, what]) => <div key={key}><dt><kbd>{key}</kbd></dt><dd>{what}</dd></div>)}</dl>
      <button autofocus onClick={close}>Close</button>
    </Dialog>
  );
}

export function NoteDialog({ alert, close, done }: { alert: Alert; close: () => void; done: (text: string, undo: () => Promise<void>) => void }) {
  const [text, setText] = useState("");
  const [problem, setProblem] = useState("");
  const save = async (event: Event) => {
    event.preventDefault();
    try {
      const { notes } = await taken(client.PATCH("/api/alerts/{id}", { params: { path: { id: alert.id } }, body: { note: text } }));
      const kept = notes.at(-1);
      done("The note is kept.", async () => {
        if (kept !== undefined) await taken(client.PATCH("/api/alerts/{id}", { params: { path: { id: alert.id } }, body: { withdraw: kept.id } }));
      });
      close();
    } catch (error) {
      setProblem((error as Error).message);
    }
  };
  return (
    <Dialog title={`Note about ${kind(alert.type)}`} close={close}>
      <form onSubmit={save}>
        <label>Note <textarea required maxLength={4000} rows={4} autofocus value={text} onInput={(event) => setText(event.currentTarget.value)} /></label>
        {problem !== "" && <p role="alert" class="trouble">{problem}</p>}
        <button type="submit">Keep</button> <button type="button" class="plain" onClick={close}>Cancel</button>
      </form>
    </Dialog>
  );
}

type Act = "/api/alerts/acknowledge" | "/api/alerts/resolve" | "/api/alerts/reopen";
const ACTS: [Act, string, string][] = [["/api/alerts/acknowledge", "Acknowledge", "acknowledged"], ["/api/alerts/resolve", "Resolve", "resolved"], ["/api/alerts/reopen", "Reopen", "open again"]];

/** How many each would change is asked first, and nothing is done if that is another by then. */
function BulkDialog({ query, close, done }: { query: Record<string, unknown>; close: () => void; done: (text: string) => void }) {
  const [problem, setProblem] = useState("");
  const matching = useLoad("bulk", async (signal) =>
    Promise.all(ACTS.map(([path]) => taken(client.POST(path, { params: { query: { ...query, dry_run: true } as never }, body: {}, signal })))));
  const act = async (path: Act, expect: number, word: string) => {
    try {
      const { count: changed } = await taken(client.POST(path, { params: { query: { ...query, expect } as never }, body: {} }));
      done(`${many(changed, "alert is", "alerts are")} ${word}.`);
      close();
    } catch (error) {
      setProblem((error as Error).message);
      matching.reload();
    }
  };
  return (
    <Dialog title="All that match" close={close}>
      <p>What the filters find, also on further pages:</p>
      <Shown of={matching} rows={1}>
        {(answers) => (
          <p class="buttons">
            {ACTS.map(([path, name, word], n) => {
              const many = answers[n]?.count ?? 0;
              return <button key={path} disabled={many === 0} onClick={() => void act(path, many, word)}>{name} {count(many)}</button>;
            })}
          </p>
        )}
      </Shown>
      {problem !== "" && <p role="alert" class="trouble">{problem}</p>}
      <button class="plain" onClick={close}>Cancel</button>
    </Dialog>
  );
}
