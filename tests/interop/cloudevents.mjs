// Encodes events with the official JavaScript SDK. Reads a JSON object {mode, events} from stdin, where an event's `bytes`
// are its data in base64, and writes {headers, body} to stdout, with the body in base64.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const { CloudEvent, HTTP } = createRequire(`${process.env.SLUICE_NODE_MODULES}/`)("cloudevents");

const { mode, events } = JSON.parse(readFileSync(0, "utf8"));
const made = events.map(({ bytes, ...event }) => {
  const data = bytes === undefined ? event.data : new Uint8Array(Buffer.from(bytes, "base64"));
  return new CloudEvent({ ...event, data });
});
// The SDK reads batches but doesn't write them, so a batch is an array of its structured events.
const message =
  mode === "batch"
    ? {
        headers: { "content-type": "application/cloudevents-batch+json" },
        body: `[${made.map((event) => HTTP.structured(event).body).join(",")}]`,
      }
    : HTTP[mode](made[0]);
const body = Buffer.from(message.body ?? "").toString("base64");
process.stdout.write(JSON.stringify({ headers: message.headers, body }));
