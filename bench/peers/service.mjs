// The handler that Restate calls: it does nothing.
import { createRequire } from "node:module";

const restate = createRequire(`${process.env.PEERS}/`)("@restatedev/restate-sdk");

restate.serve({
  services: [restate.service({ name: "benchmark", handlers: { take: async () => "" } })],
  port: Number(process.env.PORT),
});
