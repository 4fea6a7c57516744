/** What a gateway that ships says of it. */
import type { Status } from "../api/client";
import { bytes, count, many } from "../format";
import { Facts, Panel, Time } from "./parts";

type State = NonNullable<Status["shipping"]>;

/** What waits at a gateway, and since when. */
export function Waiting({ pending, bytes: of, since }: { pending: number | null; bytes: number | null; since: string | null }) {
  if (pending === null) return <span class="bad">its database does not answer</span>;
  if (pending === 0) return <>nothing</>;
  return <>{many(pending, "batch", "batches")}, {bytes(of ?? 0)}{since !== null && <>, since <Time at={since} relative /></>}</>;
}

export function Shipping({ of }: { of: State }) {
  const isLate = of.last_error_at !== null && (of.last_answer_at === null || of.last_error_at > of.last_answer_at);
  return (
    <Panel id="shipping" title="Shipping" more={<span class={isLate ? "bad" : "quiet"}>{isLate ? "it does not go" : "well"}</span>}>
      {(of.trouble !== null || isLate) && <p class="bad reason">{of.trouble ?? of.last_error}</p>}
      <Facts
        wide
        of={[
          ["To", of.to],
          ["Waits for the server", <Waiting pending={of.pending} bytes={of.pending_bytes} since={of.pending_since} />],
          ["The server has all", of.watermark === 0 ? "nothing yet" : `up to batch ${count(of.watermark)}`],
          ["Sent in all", of.processed === null ? "not known" : many(of.processed, "batch", "batches")],
          ["Last answer", <Time at={of.last_answer_at} relative />],
          ...(of.failed ? [["Never sent", <span class="bad">{many(of.failed, "batch", "batches")} kept aside: <code>nta-daemon shipping</code> says why</span>] as [string, preact.ComponentChildren]] : []),
          ...(of.given_up ? [["Given up", <span class="bad">{many(of.given_up, "batch", "batches")}: there was no room for more</span>] as [string, preact.ComponentChildren]] : []),
          ["Settings", of.settings === 0 ? "as configured here" : `number ${count(of.settings)} of the server`],
        ]}
      />
    </Panel>
  );
}
