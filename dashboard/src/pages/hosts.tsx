/** All hosts, the largest first; a search goes straight to one. */
import { useLocation } from "preact-iso";
import { useState } from "preact/hooks";
import { client, taken } from "../api/client";
import { useLoad } from "../data";
import { bytes, count } from "../format";
import { windowTick } from "../live";
import { Address, Choice, Empty, Shown, Time, scroll } from "../ui/parts";
import { link, useParams } from "../url";

type Sort = "-bytes" | "-packets" | "-flows" | "-last_time";
const SORTS: [Sort, string][] = [["-bytes", "Bytes"], ["-packets", "Packets"], ["-flows", "Flows"], ["-last_time", "Seen last"]];
const PAGE = 100;

export function Hosts() {
  const [params, change] = useParams();
  const { route } = useLocation();
  const [cursors, setCursors] = useState<string[]>([]);
  const sort = SORTS.find(([one]) => one === params["sort"])?.[0] ?? "-bytes";
  const cursor = cursors.at(-1);
  const { sensor } = params;
  const hosts = useLoad(`hosts ${sort} ${sensor ?? ""} ${cursor ?? ""}`, async (signal) =>
    taken(client.GET("/api/hosts", { params: { query: { limit: PAGE, sort, ...(sensor === undefined ? {} : { sensor }), ...(cursor === undefined ? {} : { cursor }) } }, signal })), cursor === undefined ? [windowTick] : []);
  const find = (event: Event) => {
    event.preventDefault();
    const address = String(new FormData(event.currentTarget as HTMLFormElement).get("address") ?? "").trim();
    if (address !== "") route(link(`/hosts/${encodeURIComponent(address)}`));
  };
  return (
    <>
      <div class="bar">
        <h1>Hosts{sensor !== undefined && <small class="quiet"> of {sensor}</small>}</h1>
        <Choice name="Order" value={sort} options={SORTS} choose={(value) => { setCursors([]); change({ sort: value === "-bytes" ? undefined : value }); }} />
        <form class="filters" onSubmit={find}><label>Address <input name="address" type="search" placeholder="192.0.2.7" /></label><button type="submit">Go</button>{sensor !== undefined && <button type="button" class="plain" onClick={() => { setCursors([]); change({ sensor: undefined }); }}>Clear</button>}</form>
      </div>
      <Shown of={hosts} rows={10}>
        {({ items, next_cursor }) => items.length === 0 ? <Empty>No host was seen yet.</Empty> : (
          <>
            <div {...scroll}>
              <table>
                <thead><tr><th scope="col">Host</th><th scope="col" class="number">Sent</th><th scope="col" class="number">Received</th><th scope="col" class="number">Packets sent</th><th scope="col" class="number">Packets received</th><th scope="col" class="number">Flows out</th><th scope="col" class="number">Flows in</th><th scope="col">First</th><th scope="col">Last</th></tr></thead>
                <tbody>
                  {items.map((host) => (
                    <tr key={`${host.sensor} ${host.address}`}>
                      <td><Address of={host.address} inside={host.inside} /></td>
                      <td class="number">{bytes(host.bytes_sent)}</td><td class="number">{bytes(host.bytes_received)}</td>
                      <td class="number">{count(host.packets_sent)}</td><td class="number">{count(host.packets_received)}</td>
                      <td class="number">{count(host.flows_out)}</td><td class="number">{count(host.flows_in)}</td>
                      <td><Time at={host.first_time} /></td><td><Time at={host.last_time} /></td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
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
