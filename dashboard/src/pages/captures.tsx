/** Captures: drop one, watch it being analysed while it arrives, open its report. */
import { useLocation } from "preact-iso";
import { useRef, useState } from "preact/hooks";
import { client, may, taken } from "../api/client";
import { useLoad } from "../data";
import { bytes, count, many, percent } from "../format";
import { systemTick } from "../live";
import { Empty, Panel, Shown, Time, scroll } from "../ui/parts";
import { link } from "../url";

type Sending = { name: string; sent: number; of: number; problem?: string };

export function Captures() {
  const captures = useLoad("captures", async (signal) => taken(client.GET("/api/captures", { params: { query: { limit: 200 } }, signal })), [systemTick]);
  const [sending, setSending] = useState<Sending[]>([]);
  const { route } = useLocation();
  const input = useRef<HTMLInputElement>(null);
  const [over, setOver] = useState(false);

  const send = (file: File) => {
    const update = (change: Partial<Sending>) => setSending((all) => all.map((one) => (one.name === file.name ? { ...one, ...change } : one)));
    setSending((all) => [...all.filter((one) => one.name !== file.name), { name: file.name, sent: 0, of: file.size }]);
    // Only this knows how much of a body is sent.
    const request = new XMLHttpRequest();
    request.open("POST", `/api/upload?name=${encodeURIComponent(file.name)}`);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.upload.onprogress = (event) => update({ sent: event.loaded });
    request.onerror = () => update({ problem: "The connection broke." });
    request.onload = () => {
      const answer = JSON.parse(request.responseText || "{}") as { file_id?: string; detail?: string };
      captures.reload();
      if (answer.file_id === undefined) return update({ problem: answer.detail ?? `The daemon answered ${request.status}.` });
      setSending((all) => all.filter((one) => one.name !== file.name));
      route(link(`/captures/${answer.file_id}`));
    };
    request.send(file);
  };
  const drop = (event: DragEvent) => {
    event.preventDefault();
    setOver(false);
    [...(event.dataTransfer?.files ?? [])].forEach(send);
  };
  return (
    <>
      <h1>Captures</h1>
      {may("operator") && <section class={over ? "panel drop over" : "panel drop"} onDragOver={(event) => { event.preventDefault(); setOver(true); }} onDragLeave={() => setOver(false)} onDrop={drop}>
        <p>Drop a pcap or pcapng file here, plain or packed by gzip or zstd, or <button onClick={() => input.current?.click()}>choose one</button>. It is analysed while it arrives.</p>
        <input ref={input} class="hidden" type="file" aria-label="Capture file" tabIndex={-1} onChange={(event) => [...(event.currentTarget.files ?? [])].forEach(send)} />
        {sending.map((one) => (
          <p key={one.name} role="status">
            {one.name}: {one.problem !== undefined ? <span class="bad">{one.problem}</span> : <><progress max={one.of} value={one.sent} aria-label={`${one.name} is sent`} /> {percent(one.of === 0 ? 1 : one.sent / one.of)} of {bytes(one.of)}</>}
          </p>
        ))}
      </section>}
      <Shown of={captures} rows={5}>
        {(list) => (
          <Panel title="Kept" more={<small class="quiet">{bytes(list.used_bytes)} of {bytes(list.quota_bytes)}, for {many(list.keep_days, "day")}</small>}>
            {list.items.length === 0 ? <Empty>No capture was sent or recorded yet.</Empty> : (
              <div {...scroll}>
                <table>
                  <thead><tr><th scope="col">Name</th><th scope="col">State</th><th scope="col" class="number">Size</th><th scope="col" class="number">Packets</th><th scope="col" class="number">Flows</th><th scope="col" class="number">Alerts</th><th scope="col">Received</th></tr></thead>
                  <tbody>
                    {list.items.map((capture) => (
                      <tr key={capture.file_id}>
                        <td><a href={link(`/captures/${capture.file_id}`)}>{capture.name || capture.file_id}</a></td>
                        <td>{capture.state}{capture.problem !== null && <span class="bad">: {capture.problem}</span>}</td>
                        <td class="number">{bytes(capture.bytes)}</td><td class="number">{count(capture.packets)}</td><td class="number">{count(capture.flows)}</td><td class="number">{count(capture.alerts)}</td>
                        <td><Time at={capture.added} /></td>
                      </tr>
                    ))}
                  </tbody>
                </table>
              </div>
            )}
          </Panel>
        )}
      </Shown>
    </>
  );
}
