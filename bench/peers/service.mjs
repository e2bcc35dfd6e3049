// The handler that Restate calls. It does nothing.
import { createRequire } from "node:module";

// A polyfill: the SDK uses this function of ES2024, which Node.js has since version 22.
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
