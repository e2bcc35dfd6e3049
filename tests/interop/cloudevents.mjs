// The official JavaScript SDK writes messages: one JSON object {mode, events} in, {headers, body} out, body in base64.
// An event's `bytes` are its data in base64.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const { CloudEvent, HTTP } = createRequire(`${process.env.SLUICE_NODE_MODULES}/`)("cloudevents");

const { mode, events } = JSON.parse(readFileSync(0, "utf8"));
const made = events.map(({ bytes, ...event }) => {
  const data = bytes === undefined ? event.data : new Uint8Array(Buffer.from(bytes, "base64"));
  return new CloudEvent({ ...event, data });
});
// The SDK reads batches and doesn't write them: an array of what it writes is one.
const message =
  mode === "batch"
    ? {
        headers: { "content-type": "application/cloudevents-batch+json" },
        body: `[${made.map((event) => HTTP.structured(event).body).join(",")}]`,
      }
    : HTTP[mode](made[0]);
const body = Buffer.from(message.body ?? "").toString("base64");
process.stdout.write(JSON.stringify({ headers: message.headers, body }));
