/** Lines, stacks and bands over time, by uPlot, with the same as a table behind. */
import { useEffect, useRef, useState } from "preact/hooks";
import type uPlot from "uplot";
import { instants, time, utc } from "../format";
import { scroll } from "./parts";
import { theme } from "./theme";

export type Line = { name: string; values: (number | null)[]; colour: string; dashed?: boolean };
/** What is usual at each instant. */
export type Band = { name: string; low: (number | null)[]; high: (number | null)[] };
/** Something that began at an instant (seconds since 1970). */
export type Mark = { at: number; until?: number | undefined; text: string; colour: string };

type Props = {
  /** What it shows, for who does not see it. */
  label: string;
  /** Seconds since 1970. */
  times: number[];
  lines: Line[];
  stacked?: boolean;
  band?: Band | undefined;
  marks?: Mark[];
  threshold?: { value: number; text: string } | undefined;
  unit: (value: number) => string;
  height?: number;
  /** A part of the time that was chosen by dragging. */
  zoom?: (from: number, to: number) => void;
};

/** A colour of the style sheet as a canvas takes it: `light-dark()` is resolved by an element that has it. */
function css(name: string): string {
  const probe = document.createElement("i");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

const FONT_PX = 11;
const FONT = `${FONT_PX}px system-ui`;
/** Seconds that an axis shows at least. */
const LEAST_SPAN_S = 20;

function stack(lines: Line[]): (number | null)[][] {
  const sums = new Array<number>(lines[0]?.values.length ?? 0).fill(0);
  return lines.map((line) => line.values.map((value, n) => (value === null ? null : (sums[n] = (sums[n] ?? 0) + value))));
}

/** Read when the first chart is drawn: what the page says in words does not wait for it. */
let drawer: typeof uPlot | undefined;
function useDrawer(): typeof uPlot | undefined {
  const [, setIsRead] = useState(drawer !== undefined);
  useEffect(() => {
    if (drawer === undefined) void import("uplot").then((read) => {
      drawer = read.default;
      setIsRead(true);
    });
  }, []);
  return drawer;
}

export function Chart(props: Props) {
  const { label, times, lines, stacked = false, band, marks = [], threshold, unit, height = 220, zoom } = props;
  const holder = useRef<HTMLDivElement>(null);
  const [at, setAt] = useState<number | null>(null);
  const shades = theme.value;
  const Plot = useDrawer();

  useEffect(() => {
    const element = holder.current;
    if (element === null || times.length === 0 || Plot === undefined) return;
    const ink = css("--quiet");
    const grid = css("--line");
    const drawn = stacked ? stack(lines) : lines.map((line) => line.values);
    const series: uPlot.Series[] = [{}];
    const data: (number | null)[][] = [times];
    const bands: uPlot.Band[] = [];
    if (band !== undefined) {
      data.push(band.high, band.low);
      series.push({ stroke: "transparent", points: { show: false } }, { stroke: "transparent", points: { show: false } });
      bands.push({ series: [1, 2], fill: css("--band") });
    }
    // The topmost first, so that lower parts are drawn over it.
    [...lines.keys()].reverse().forEach((n) => {
      const line = lines[n] as Line;
      const colour = css(line.colour);
      data.push(drawn[n] as (number | null)[]);
      series.push({
        label: line.name,
        stroke: colour,
        width: stacked ? 1 : 1.5,
        points: { show: times.length < 12 },
        ...(line.dashed === true ? { dash: [5, 4] } : {}),
        ...(stacked ? { fill: css(`${line.colour}-fill`) } : {}),
      });
    });
    const options: uPlot.Options = {
      width: element.clientWidth,
      height,
      // Room for half of the last instant's text.
      padding: [null, 28, null, null],
      series,
      bands,
      legend: { show: false },
      cursor: { y: false, points: { show: false }, drag: { x: zoom !== undefined, y: false, setScale: false } },
      scales: {
        // One instant alone would get an axis of years.
        x: { time: true, range: (_plot, low, high) => (high - low < LEAST_SPAN_S ? [(low + high - LEAST_SPAN_S) / 2, (low + high + LEAST_SPAN_S) / 2] : [low, high]) },
        // Room for the names of marks above the highest line.
        y: { range: (_plot, _low, high) => [0, Math.max((high ?? 0) * (marks.length > 0 ? 1.3 : 1.08), threshold === undefined ? 0 : threshold.value * 1.15) || 1] },
      },
      axes: [
        { stroke: ink, grid: { show: false }, ticks: { stroke: grid }, font: FONT, space: element.clientWidth < 480 ? 56 : 70, values: (_plot, ticks) => instants(ticks) },
        { stroke: ink, grid: { stroke: grid, width: 1 }, ticks: { show: false }, size: (_plot, texts) => Math.max(30, 14 + 6.4 * Math.max(...(texts ?? []).map((text) => text.length))), font: FONT, values: (_plot, ticks) => ticks.map(unit) },
      ],
      hooks: {
        setCursor: [(plot) => setAt(plot.cursor.idx ?? null)],
        setSelect: [(plot) => {
          if (zoom === undefined || plot.select.width < 4) return;
          zoom(plot.posToVal(plot.select.left, "x"), plot.posToVal(plot.select.left + plot.select.width, "x"));
          plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
        }],
        draw: [(plot) => drawMarks(plot, marks, threshold)],
      },
    };
    const plot = new Plot(options, data as uPlot.AlignedData, element);
    const resize = new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height }));
    resize.observe(element);
    return () => {
      resize.disconnect();
      plot.destroy();
    };
  }, [times, lines, band, marks, threshold, height, shades, Plot]);

  if (times.length === 0) return <p class="empty">Nothing was counted in this time.</p>;
  const shown = at ?? times.length - 1;
  return (
    <figure class="chart">
      <div class="canvas" ref={holder} role="img" aria-label={label} aria-busy={Plot === undefined ? "true" : undefined} />
      <figcaption>
        <span class="when">{time(new Date((times[shown] ?? 0) * 1000).toISOString())}</span>
        {lines.map((line) => (
          <span class="key" key={line.name}>
            <i style={{ background: `var(${line.colour})` }} /> {line.name} <b>{line.values[shown] == null ? "–" : unit(line.values[shown] as number)}</b>
          </span>
        ))}
        {band !== undefined && band.high[shown] != null && (
          <span class="key">
            <i class="band" /> {band.name} <b>{unit(band.low[shown] ?? 0)} to {unit(band.high[shown] as number)}</b>
          </span>
        )}
        {threshold !== undefined && <span class="key"><i class="threshold" /> {threshold.text} <b>{unit(threshold.value)}</b></span>}
      </figcaption>
      <details>
        <summary>As a table</summary>
        <div {...scroll}>
          <table>
            <thead>
              <tr><th scope="col">Time (UTC)</th>{lines.map((line) => <th scope="col" class="number" key={line.name}>{line.name}</th>)}</tr>
            </thead>
            <TableRows times={times} lines={lines} unit={unit} />
          </table>
        </div>
      </details>
    </figure>
  );
}

/** The newest rows only, until the rest is asked for: most readers never open the table. */
function TableRows({ times, lines, unit }: { times: number[]; lines: Line[]; unit: (value: number) => string }) {
  const rows = [...times.keys()].reverse().slice(0, 200);
  return (
    <tbody>
      {rows.map((n) => (
        <tr key={n}>
          <td>{utc(new Date((times[n] as number) * 1000).toISOString())}</td>
          {lines.map((line) => <td class="number" key={line.name}>{line.values[n] == null ? "–" : unit(line.values[n] as number)}</td>)}
        </tr>
      ))}
    </tbody>
  );
}

function drawMarks(plot: uPlot, marks: Mark[], threshold: Props["threshold"]): void {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  for (const mark of marks) {
    const x = Math.round(plot.valToPos(mark.at, "x", true));
    ctx.fillStyle = ctx.strokeStyle = css(mark.colour);
    if (mark.until !== undefined) {
      const end = plot.valToPos(mark.until, "x", true);
      ctx.globalAlpha = 0.14;
      ctx.fillRect(x, bbox.top, Math.max(end - x, 2), bbox.height);
      ctx.globalAlpha = 1;
    }
    ctx.lineWidth = 2;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.beginPath();
    ctx.moveTo(x - 6, bbox.top);
    ctx.lineTo(x + 6, bbox.top);
    ctx.lineTo(x, bbox.top + 9);
    ctx.fill();
  }
  nameMarks(plot, marks);
  if (threshold !== undefined) {
    const y = Math.round(plot.valToPos(threshold.value, "y", true));
    ctx.strokeStyle = css("--high");
    ctx.setLineDash([6, 4]);
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
  }
  ctx.restore();
}

/** The names beside their marks, as far as they do not lie over each other. */
function nameMarks(plot: uPlot, marks: Mark[]): void {
  const { ctx, bbox } = plot;
  const scale = devicePixelRatio;
  ctx.font = `${FONT_PX * scale}px system-ui`;
  ctx.textBaseline = "top";
  ctx.textAlign = "left";
  let taken = -Infinity;
  for (const mark of [...marks].sort((a, b) => a.at - b.at)) {
    const x = plot.valToPos(mark.at, "x", true) + 8 * scale;
    const end = x + ctx.measureText(mark.text).width;
    if (x < taken || end > bbox.left + bbox.width) continue;
    taken = end + 10 * scale;
    ctx.fillStyle = css("--sheet");
    ctx.globalAlpha = 0.8;
    ctx.fillRect(x - 3 * scale, bbox.top, end - x + 6 * scale, (FONT_PX + 4) * scale);
    ctx.globalAlpha = 1;
    ctx.fillStyle = css(mark.colour);
    ctx.fillText(mark.text, x, bbox.top + 2 * scale);
  }
}

/** Bars with words: a share of the largest. */
export function Bars({ of, unit }: { of: { name: string; value: number; href?: string }[]; unit: (value: number) => string }) {
  const largest = Math.max(...of.map((bar) => Math.abs(bar.value)), 1e-12);
  return (
    <ul class="bars">
      {of.map((bar) => (
        <li key={bar.name}>
          <span class="name">{bar.href === undefined ? bar.name : <a href={bar.href}>{bar.name}</a>}</span>
          <span class="track" aria-hidden="true"><span class={bar.value < 0 ? "bar negative" : "bar"} style={{ width: `${(Math.abs(bar.value) / largest) * 100}%` }} /></span>
          <span class="number">{unit(bar.value)}</span>
        </li>
      ))}
    </ul>
  );
}
