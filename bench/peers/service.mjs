// The handler that Restate calls: it does nothing.
import { createRequire } from "node:module";

// The SDK uses it; it is of ES2024, and Node.js before 22 doesn't have it.
Promise.withResolvers ??= function () {
  const all = {};
  all.promise = new this((resolve, reject) => Object.assign(all, { resolve, reject }));
  return all;
};

const restate = createRequire(`${process.env.PEERS}/`)("@restatedev/restate-sdk");

restate.serve({
  services: [restate.service({ name: "benchmark", handlers: { take: async () => "" } })],
  port: Number(process.env.PORT),
});
