/** The report of a capture, as it grows. */
import { useEffect } from "preact/hooks";
import { useRoute } from "preact-iso";
import { client, may, reportJson, taken } from "../api/client";
import { useLoad } from "../data";
import { bps, bytes, count, duration, kind, many } from "../format";
import { systemTick } from "../live";
import { Bars, Chart, type Line } from "../ui/chart";
import { Address, AlertName, Empty, Facts, Panel, Range, SeverityBadge, Shown, Trouble, scroll } from "../ui/parts";
import { link } from "../url";

/** How often a capture that is read says how far it is. */
const PROGRESS_MS = 1000;
const COLOURS: Record<string, string> = { tcp: "--tcp", udp: "--udp", icmp: "--icmp" };

export function Capture() {
  const { params } = useRoute();
  const id = params["id"] ?? "";
  const path = { params: { path: { file_id: id } } };
  // Who may not order an analysis may read its report.
  const refused = !may("operator");
  const analysis = useLoad(`analysis ${id} ${refused}`, async (signal) => (refused ? undefined : taken(client.GET("/analysis/{file_id}", { ...path, signal }))), [systemTick]);
  const done = analysis.data?.report != null || analysis.data?.state === "complete" || analysis.data?.state === "failed";
  useEffect(() => {
    if (refused || done || analysis.loading) return;
    // How far it is, is no event; that it ended is one.
    const timer = setTimeout(analysis.reload, PROGRESS_MS);
    return () => clearTimeout(timer);
  }, [analysis.loading, done]);
  return (
    <>
      {analysis.error !== undefined && <Trouble title={analysis.error.title} detail={analysis.error.message} retry={analysis.reload} />}
      {analysis.data !== undefined && !done && (
        <Panel title="The capture is read">
          <p role="status"><progress max={100} value={analysis.data.percent} aria-label="Read" /> {analysis.data.percent} %, {bytes(analysis.data.bytes_read)} of {bytes(analysis.data.bytes)}</p>
        </Panel>
      )}
      {analysis.data?.problem != null && <Trouble title="Not all could be read" detail={analysis.data.problem} />}
      {(done || refused) && <Report id={id} />}
    </>
  );
}

function Report({ id }: { id: string }) {
  const report = useLoad(`report ${id}`, async (signal) => reportJson(client.GET("/report/{file_id}", { params: { path: { file_id: id } }, signal })));
  return (
    <Shown of={report} rows={8}>
      {(of) => {
        const over = of.over_time;
        const steps = Math.max(0, ...(over?.protocols ?? []).map((part) => part.bytes.length));
        const begin = over == null ? 0 : Date.parse(over.start) / 1000;
        const times = Array.from({ length: steps }, (_, n) => begin + n * (over?.step_s ?? 1));
        const lines: Line[] = (over?.protocols ?? []).slice(0, 4).map((part) => ({ name: COLOURS[part.name] === undefined ? part.name : part.name.toUpperCase(), colour: COLOURS[part.name] ?? "--other", values: part.bytes.map((value) => (value * 8) / (over?.step_s ?? 1)) }));
        const worst = of.threats[0];
        const isRead = of.read.end === "complete" && of.totals.packets > 0;
        return (
          <>
            <section class={`state ${worst !== undefined ? worst.severity : isRead ? "well" : "medium"}`}>
              <h1>{of.name || "Capture"}: {worst === undefined ? (of.totals.packets === 0 ? "no packet could be read" : isRead ? "nothing unusual" : "nothing unusual in what could be read") : `${kind(worst.type)}${of.threats.length > 1 ? ` and ${of.threats.length - 1} more` : ""}`}</h1>
              <Facts
                of={[
                  ["Read", of.read.summary],
                  ...(of.time_span == null ? [] : [["Time", <><Range from={of.time_span.from} to={of.time_span.to} />, {duration(of.time_span.seconds)}</>] as [string, preact.ComponentChildren]]),
                  ["In it", <>{many(of.totals.packets, "packet")}, {bytes(of.totals.bytes)}, <a href={link("/flows", { capture: id })}>{many(of.totals.flows, "flow")}</a>, {many(of.totals.hosts, "host")}</>],
                  ["SHA-256", <code>{of.sha256}</code>],
                ]}
              />
              <p class="buttons">
                <a class="button" href={`/report/${id}`} download={`report-${id}.json`}>Report (JSON)</a>
                {may("operator") && <a class="button" href={`/api/captures/${id}/file`}>The capture</a>}
              </p>
            </section>
            {of.threats.length + of.recommendations.length > 0 && <Panel title="Threats">
              {of.threats.map((threat) => (
                <article class="judge" key={threat.link}>
                  <h3><SeverityBadge severity={threat.severity} /> <AlertName type={threat.type} id={threat.link.split("/").pop()?.split("?")[0] ?? ""} /></h3>
                  <p>{threat.summary}</p>
                  <p class="quiet"><Address of={threat.source} capture={id} /> → <Address of={threat.destination} capture={id} />, <Range from={threat.from} to={threat.to} />{threat.technique != null && <>, {threat.technique}</>}</p>
                </article>
              ))}
              {of.recommendations.length > 0 && <><h3>What to do</h3><ul>{of.recommendations.map((one) => <li key={one.text}>{one.text}</li>)}</ul></>}
            </Panel>}
            <Panel title="Traffic by protocol"><Chart label="Traffic of the capture by protocol in time" times={times} lines={lines} stacked unit={bps} /></Panel>
            <div class="columns">
              <Panel title="Services">{of.services.length === 0 ? <Empty>None seen.</Empty> : <Bars unit={bytes} of={of.services.slice(0, 12).map((part) => ({ name: part.name, value: part.bytes }))} />}</Panel>
              <Panel title="Hosts">{of.hosts.length === 0 ? <Empty>None seen.</Empty> : <Bars unit={bytes} of={of.hosts.slice(0, 12).map((host) => ({ name: host.address, value: host.bytes_sent + host.bytes_received, href: link("/flows", { capture: id, host: host.address }) }))} />}</Panel>
            </div>
            {of.conversations.length > 0 && <Panel title="Conversations">
              <div {...scroll}><table>
                <thead><tr><th scope="col">Between</th><th scope="col">And</th><th scope="col" class="number">Flows</th><th scope="col" class="number">There</th><th scope="col" class="number">Back</th></tr></thead>
                <tbody>{of.conversations.slice(0, 20).map((one) => (
                  <tr key={`${one.a} ${one.b}`}><td>{one.a}</td><td>{one.b}</td><td class="number">{count(one.flows)}</td><td class="number">{bytes(one.bytes_a_to_b)}</td><td class="number">{bytes(one.bytes_b_to_a)}</td></tr>
                ))}</tbody>
              </table></div>
            </Panel>}
            {of.unusual_packets.length > 0 && <Panel title="Unusual packets">
              {of.unusual_packets.map((one) => (
                <article class="judge" key={one.kind}>
                  <h3>{one.about} <small class="quiet">{many(one.packets, "packet")}</small></h3>
                  <p>{one.frames.length === 1 ? "Frame" : "Frames"} {one.frames.map((frame) => frame.number).join(", ")}; in Wireshark: <code>{one.wireshark}</code></p>
                </article>
              ))}
            </Panel>}
            {of.suspicious_addresses.length > 0 && (
              <Panel title="Suspicious addresses">
                <ul class="related">{of.suspicious_addresses.map((one) => <li key={one.address}><SeverityBadge severity={one.severity} /> <b>{one.address}</b>: {one.reasons.map((reason) => reason.summary).join("; ")}{one.wireshark != null && <small class="quiet"> In Wireshark: <code>{one.wireshark}</code></small>}</li>)}</ul>
              </Panel>
            )}
            <p class="quiet">{count(of.read.analysed_packets)} of {count(of.read.packets)} packets are in flows{Object.entries(of.read.skipped).filter(([, packets]) => packets > 0).map(([why, packets]) => `, ${count(packets)} ${why === "arp" ? "ARP" : why.replaceAll("_", " ")}`).join("")}.{of.unusual_packets.length === 0 && " No packet is unusual."}</p>
          </>
        );
      }}
    </Shown>
  );
}
