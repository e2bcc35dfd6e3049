// The handler that Restate calls: it does nothing.
import { createRequire } from "node:module";

// Of ES2024, which the SDK uses, and Debian's Node.js 18 doesn't have.
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
