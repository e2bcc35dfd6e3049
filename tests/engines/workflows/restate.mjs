// Workflows on Restate for the tests, served at the port in PORT. Each keeps what it got, byte for byte, in its state,
// where the test reads it by SQL. The SDK is found from the working directory.
import { createRequire } from "node:module";

// A polyfill for Node.js before version 22: the SDK uses this function of ES2024.
Promise.withResolvers ??= function () {
  const resolvers = {};
  resolvers.promise = new this((resolve, reject) => Object.assign(resolvers, { resolve, reject }));
  return resolvers;
};

const restate = createRequire(`${process.cwd()}/`)("@restatedev/restate-sdk");

// The bytes of a JSON text. The JSON serde of the SDK would parse them.
const raw = { contentType: "application/json", serialize: (bytes) => bytes, deserialize: (bytes) => bytes };

const run = (handler) => restate.handlers.workflow.workflow({ input: raw, output: raw }, handler);
const shared = (handler) => restate.handlers.workflow.shared({ input: raw, output: raw }, handler);

// Keeps the input, and the names of the headers that came with it.
function keep(ctx, input) {
  ctx.set("input", input, raw);
  ctx.set("headers", [...ctx.request().headers.keys()]);
}

const recorder = restate.workflow({
  name: "recorder",
  handlers: {
    run: run(async (ctx, input) => {
      keep(ctx, input);
      return input;
    }),
  },
});

// Waits for `approval`. The first answer counts.
const approver = restate.workflow({
  name: "approver",
  handlers: {
    run: run(async (ctx, input) => {
      keep(ctx, input);
      const answer = await ctx.promise("approval", raw);
      ctx.set("outcome", answer, raw);
      return answer;
    }),
    approval: shared(async (ctx, answer) => {
      const approval = ctx.promise("approval", raw);
      if ((await approval.peek()) === undefined) await approval.resolve(answer);
      return new Uint8Array();
    }),
  },
});

// Not for callers from outside.
const internal = restate.workflow({
  name: "internal",
  handlers: { run: run(async (ctx, input) => keep(ctx, input)) },
  options: { ingressPrivate: true },
});

const port = await restate.serve({ services: [recorder, approver, internal], port: Number(process.env.PORT ?? 9080) });
console.log(`serving at port ${port}`);
