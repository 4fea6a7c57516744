/** Raise no alert like this one for a while: with a reason, an end, and what it would have hidden. */
import { useState } from "preact/hooks";
import type { Alert } from "../api/client";
import { client, taken } from "../api/client";
import { useLoad } from "../data";
import { count, kind, party } from "../format";
import { health } from "../live";
import { Dialog, Shown } from "./parts";

const ENDS: [number, string][] = [[3600, "an hour"], [86_400, "a day"], [604_800, "a week"], [2_592_000, "30 days"]];

export function MuteDialog({ alert, close, done }: { alert: Alert; close: () => void; done: (text: string, undo: () => Promise<void>) => void }) {
  const [reason, setReason] = useState("");
  const [lasts, setLasts] = useState(86_400);
  const [withVictim, setWithVictim] = useState(false);
  const [problem, setProblem] = useState("");
  const isAddress = (of: string | null | undefined) => typeof of === "string" && /^[0-9a-f.:/]+$/i.test(of);
  const body = () => ({
    types: [alert.type],
    ...(isAddress(alert.source) ? { source: alert.source } : {}),
    ...(isAddress(alert.destination) && (withVictim || !isAddress(alert.source)) ? { destination: alert.destination } : {}),
    reason: reason === "" ? "preview" : reason,
    expires: new Date(Date.now() + lasts * 1000).toISOString(),
  });
  const preview = useLoad(`mute ${alert.id} ${withVictim}`, async (signal) => taken(client.POST("/api/mutes", { params: { query: { dry_run: "true" } }, body: body(), signal })));
  const mute = async (event: Event) => {
    event.preventDefault();
    try {
      const made = await taken(client.POST("/api/mutes", { body: body() }));
      done(`${kind(alert.type)} of ${party(alert.source)} is muted.`, async () => {
        if ("id" in made) await taken(client.DELETE("/api/mutes/{id}", { params: { path: { id: made.id } } }));
      });
      close();
    } catch (error) {
      setProblem((error as Error).message);
    }
  };
  return (
    <Dialog title={`Mute ${kind(alert.type)} of ${party(alert.source)}`} close={close}>
      <form onSubmit={mute}>
        {isAddress(alert.source) && isAddress(alert.destination) && (
          <label><input type="checkbox" checked={withVictim} onChange={() => setWithVictim(!withVictim)} /> only against {alert.destination}</label>
        )}
        <label>Reason <input required maxLength={500} autofocus value={reason} onInput={(event) => setReason(event.currentTarget.value)} /></label>
        <label>For <select value={String(lasts)} onChange={(event) => setLasts(Number(event.currentTarget.value))}>
          {ENDS.map(([seconds, text]) => <option key={seconds} value={String(seconds)}>{text}</option>)}
        </select></label>
        {health.value?.mode === "replay" && <p class="quiet">This daemon replays captures, where a mute hides nothing. It holds for what is captured live into the same database.</p>}
        <Shown of={preview} rows={1}>
          {(answer) => <p>In the last seven days it would have hidden <b>{count("alerts" in answer ? answer.alerts : 0)}</b> {"alerts" in answer && answer.alerts === 1 ? "alert" : "alerts"}.</p>}
        </Shown>
        {problem !== "" && <p role="alert" class="trouble">{problem}</p>}
        <button type="submit">Mute</button> <button type="button" class="plain" onClick={close}>Cancel</button>
      </form>
    </Dialog>
  );
}
