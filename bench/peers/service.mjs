// The handler that Restate calls. It does nothing.
import { createRequire } from "node:module";

// A polyfill for Node.js before version 22: the SDK uses this function of ES2024.
Promise.withResolvers ??= function () {
  const resolvers = {};
  resolvers.promise = new this((resolve, reject) => Object.assign(resolvers, { resolve, reject }));
  return resolvers;
};

const restate = createRequire(`${process.env.PEERS}/`)("@restatedev/restate-sdk");

restate.serve({
  services: [restate.service({ name: "benchmark", handlers: { take: async () => "" } })],
  port: Number(process.env.PORT),
});
