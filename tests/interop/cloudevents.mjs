// Encodes events with the official JavaScript SDK. It reads a JSON object {mode, events} from stdin, and writes
// {headers, body} to stdout. An event's data is in `data`, or in `bytes` as base64; the body is base64.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const { CloudEvent, HTTP } = createRequire(`${process.env.SLUICE_NODE_MODULES}/`)("cloudevents");

const { mode, events } = JSON.parse(readFileSync(0, "utf8"));
const built = events.map(({ bytes, ...event }) => {
  const data = bytes === undefined ? event.data : new Uint8Array(Buffer.from(bytes, "base64"));
  return new CloudEvent({ ...event, data });
});
// The SDK reads batches but doesn't write them, so a batch is an array of its structured events.
const message =
  mode === "batch"
    ? {
        headers: { "content-type": "application/cloudevents-batch+json" },
        body: `[${built.map((event) => HTTP.structured(event).body).join(",")}]`,
      }
    : HTTP[mode](built[0]);
const body = Buffer.from(message.body ?? "").toString("base64");
process.stdout.write(JSON.stringify({ headers: message.headers, body }));
