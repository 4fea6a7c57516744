/** Search of flows: filters and order are the URL's. */
import { useState } from "preact/hooks";
import { client, flowList } from "../api/client";
import { useLoad } from "../data";
import { count } from "../format";
import { windowTick } from "../live";
import { Choice, Empty, Range, Shown, Time, scroll } from "../ui/parts";
import { useParams } from "../url";
import { FlowTable } from "./alert";

type Sort = "-time" | "-bytes" | "-packets";
const SORTS: [Sort, string][] = [["-time", "Newest"], ["-bytes", "Bytes"], ["-packets", "Packets"]];
const FIELDS = ["host", "port", "proto", "from", "to", "sensor", "capture"] as const;
const PAGE = 200;

export function Flows() {
  const [params, change] = useParams();
  const [cursors, setCursors] = useState<string[]>([]);
  const sort = SORTS.find(([one]) => one === params["sort"])?.[0] ?? "-time";
  const filters = Object.fromEntries(FIELDS.flatMap((name) => (params[name] === undefined || params[name] === "" ? [] : [[name, params[name]]])));
  const cursor = cursors.at(-1);
  const flows = useLoad(`flows ${JSON.stringify(filters)} ${sort} ${cursor ?? ""}`, async (signal) =>
    flowList(client.GET("/api/flows", { params: { query: { ...filters, sort, limit: PAGE, ...(cursor === undefined ? {} : { cursor }) } as never }, signal })), cursor === undefined && filters["to"] === undefined ? [windowTick] : []);
  const search = (event: Event) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    setCursors([]);
    change(Object.fromEntries(["host", "port", "proto"].map((name) => [name, String(form.get(name) ?? "").trim()])));
  };
  return (
    <>
      <div class="bar">
        <h1>Flows{params["sensor"] !== undefined && <small class="quiet"> of {params["sensor"]}</small>}</h1>
        <Choice name="Order" value={sort} options={SORTS} choose={(value) => { setCursors([]); change({ sort: value === "-time" ? undefined : value }); }} />
      </div>
      <form class="filters" onSubmit={search} key={JSON.stringify(filters)}>
        <label>Host or network <input name="host" type="search" placeholder="192.0.2.0/24" value={params["host"] ?? ""} /></label>
        <label>Port <input name="port" inputMode="numeric" size={6} value={params["port"] ?? ""} /></label>
        <label>Protocol <input name="proto" size={6} placeholder="tcp" value={params["proto"] ?? ""} /></label>
        <button type="submit">Search</button>
        {Object.keys(filters).length > 0 && <button type="button" class="plain" onClick={() => { setCursors([]); change(Object.fromEntries(FIELDS.map((name) => [name, undefined]))); }}>Clear</button>}
      </form>
      <Shown of={flows} rows={10}>
        {({ items, next_cursor, from, to }) => (
          <>
            <p class="quiet">{count(items.length)}{next_cursor !== null && "+"} {items.length === 1 ? "flow" : "flows"}{from !== null && to !== null ? <>, <Range from={from} to={to} /></> : from !== null ? <> from <Time at={from} /></> : to !== null && <> until <Time at={to} /></>}</p>
            {items.length === 0 ? <Empty>No flow is like that in this time.</Empty> : <div {...scroll}><FlowTable flows={items} /></div>}
            <div class="pages">
              {cursors.length > 0 && <button onClick={() => setCursors(cursors.slice(0, -1))}>Back</button>}
              {next_cursor !== null && <button onClick={() => setCursors([...cursors, next_cursor])}>More</button>}
            </div>
          </>
        )}
      </Shown>
    </>
  );
}
