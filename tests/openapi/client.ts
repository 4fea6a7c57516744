// What a program does with the client that openapi-typescript makes of the document; `schema.d.ts` stands beside it.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.d.ts";

declare const process: { argv: string[] };

function demand(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(what);
}

const client = createClient<paths>({ baseUrl: process.argv[2] });

const list = await client.GET("/api/alerts", { params: { query: { type: ["port_scan"], limit: 10 } } });
const alerts: components["schemas"]["AlertItem"][] = list.data?.items ?? [];
const [alert] = alerts;
demand(alert !== undefined, "no alert");
demand(alert.state === "cleared" && alert.clear_reason === "run_ended", `it ended: ${alert.clear_reason}`);

const path = { id: alert.id };
const body = { status: "acknowledged", note: "seen by a client" } as const;
const changed = await client.PATCH("/api/alerts/{id}", { params: { path }, body });
demand(changed.data?.status === "acknowledged", "the status did not change");
demand(changed.data.notes.some((note) => note.note === body.note), "the note is not there");

const windows = await client.GET("/api/metrics", { params: { query: { span: "5", sort: "time" } } });
const packets = (windows.data?.items ?? []).reduce((sum, window) => sum + window.packets, 0);
demand(packets === 400, `${packets} packets`);

const missing = await client.GET("/api/alerts/{id}", { params: { path: { id: "0000000000000000" } } });
demand(missing.response.status === 404 && missing.error?.status === 404, "an alert that is not there");
console.log(alert.id);
