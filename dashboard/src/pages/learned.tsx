/** What is usual, how far that is learned, and which models judge. */
import { useState } from "preact/hooks";
import { client, may, taken } from "../api/client";
import { useLoad } from "../data";
import { bps, count, kind, measured, percent, rough, spelled } from "../format";
import { systemTick } from "../live";
import { Bars } from "../ui/chart";
import { Empty, Facts, Panel, Shown, Time, Toast, scroll, type Note } from "../ui/parts";

const IMPORTANT = 12;
/** In the order in which one reads them. */
const METRICS: Record<string, string> = {
  bandwidth: "Traffic", packets: "Packets", connections: "New connections", ports: "Ports in use", latency: "Round trip", loss: "Packets lost",
  protocol_tcp: "Share of TCP", protocol_udp: "Share of UDP", protocol_icmp: "Share of ICMP", protocol_other: "Share of other protocols",
};
const ALGORITHMS: Record<string, string> = { xgboost: "XGBoost", isolation_forest: "Isolation forest" };
const place = (metric: string): number => (Object.keys(METRICS).indexOf(metric) + 1 || 99);
/** An input as words; many are logarithms. */
const input = (name: string): string => name.startsWith("ln_") ? `${spelled(name.slice(3))} (log)` : spelled(name);

export function Learned() {
  const baselines = useLoad("baselines", async (signal) => taken(client.GET("/api/baselines", { signal })), [systemTick]);
  const models = useLoad("models", async (signal) => taken(client.GET("/api/models", { signal })), [systemTick]);
  const [note, setNote] = useState<Note>();
  const activate = async (id: string) => {
    try {
      await taken(client.POST("/api/models/{id}/activate", { params: { path: { id } }, body: {} as never }));
      setNote({ text: "This model judges from the next window on." });
      models.reload();
    } catch (error) {
      setNote({ text: (error as Error).message, bad: true });
    }
  };
  return (
    <>
      <h1>Baselines and models</h1>
      <Panel title="What is usual">
        <Shown of={baselines}>
          {({ items }) => (
            <div {...scroll}>
              <table>
                <thead><tr><th scope="col">Metric</th><th scope="col">State</th><th scope="col" class="number">Expected</th><th scope="col" class="number">Deviation</th><th scope="col" class="number">Windows learned</th><th scope="col" class="number">Hours of the week known</th></tr></thead>
                <tbody>
                  {items.flatMap((baseline) => baseline.metrics).sort((a, b) => place(a.metric) - place(b.metric)).map((metric) => {
                    const text = (value: number) => (metric.unit === "bit/s" ? bps(value) : measured(value, metric.unit));
                    return (
                      <tr key={metric.metric}>
                        <td>{METRICS[metric.metric] ?? metric.metric.replaceAll("_", " ")}</td><td>{metric.state === "ready" ? "ready" : "learning"}</td>
                        <td class="number">{metric.expected == null ? "–" : text(metric.expected.median)}</td><td class="number">{metric.expected == null ? "–" : text(metric.expected.sigma)}</td>
                        <td class="number">{count(metric.samples)}</td><td class="number">{metric.hours_known} of 168</td>
                      </tr>
                    );
                  })}
                </tbody>
              </table>
            </div>
          )}
        </Shown>
      </Panel>
      <Shown of={models}>
        {({ items }) => items.length === 0 ? <Panel title="Models"><Empty>No model is there: rules alone judge.</Empty></Panel> : (
          <>
            {items.map((model) => (
              <Panel key={model.id} title={`${ALGORITHMS[model.algorithm] ?? model.algorithm}, ${model.origin === "shipped" ? "shipped with nta" : model.origin}`} more={model.is_active ? <span class="quiet">judges beside the rules</span> : may("admin") && model.is_valid && <button onClick={() => void activate(model.id)}>Let it judge</button>}>
                <Facts of={[["Id", <code>{model.id}</code>], ["Made", <Time at={model.created} />], ["Inputs", count(model.schema.inputs.length)], ...(model.refused.length === 0 ? [] : [["Refused", model.refused.join("; ")] as [string, string]])]} />
                <div class="columns">
                  {model.metrics.length > 0 && (
                    <div {...scroll}><table>
                      <thead><tr><th scope="col">Class</th><th scope="col" class="number">Precision</th><th scope="col" class="number">Recall</th><th scope="col" class="number">F1</th><th scope="col" class="number">Rows</th></tr></thead>
                      <tbody>{(model.metrics as unknown as Record<string, number | string | null>[]).map((row) => (
                        <tr key={String(row["class"])}><td>{kind(String(row["class"]))}</td>{["precision", "recall", "f1"].map((name) => <td key={name} class="number">{typeof row[name] === "number" ? percent(row[name] as number) : "–"}</td>)}<td class="number">{rough(Number(row["rows"]))}</td></tr>
                      ))}</tbody>
                    </table></div>
                  )}
                  {model.importance.length > 0 && <div class="importance"><h3>What it goes by</h3><Bars unit={percent} of={model.importance.slice(0, IMPORTANT).map((one) => ({ name: input(one.input), value: one.share }))} /></div>}
                </div>
              </Panel>
            ))}
          </>
        )}
      </Shown>
      <Toast note={note} close={() => setNote(undefined)} />
    </>
  );
}
