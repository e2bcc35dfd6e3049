// Signs and verifies requests with the vendors' libraries for JavaScript. Each line of stdin is a JSON object, and is
// answered by a line of stdout:
//
//   {"do": "sign", vendor, secret, body, time, id, url}    →  {"headers": {…}}
//   {"do": "verify", vendor, secret, body, headers, url}   →  {"valid": true | false}
//
// `secret` is what the vendor gives to the receiver: a secret or a public key. `body` is base64, `time` is in seconds
// since the Unix epoch, and the names of `headers` are in lower case. A library that throws refuses the request.
//
// Some libraries name Node.js 22 as their oldest version. What is used of them runs with 20, too.
import { createHash } from "node:crypto";
import { EventEmitter } from "node:events";
import https from "node:https";
import { createInterface } from "node:readline";
import { Anthropic } from "@anthropic-ai/sdk";
import { verifyWebhook as verifyClerk } from "@clerk/backend/webhooks";
import { Signature as HubSpot } from "@hubspot/api-client";
import { validateSignature as verifyLine } from "@line/bot-sdk";
import { LinearWebhookClient } from "@linear/sdk/webhooks";
import Metronome from "@metronome/sdk";
import Mux from "@mux/mux-node";
import { signWebhookPayload as signNotion, verifyWebhookSignature as verifyNotion } from "@notionhq/client";
import * as octokit from "@octokit/webhooks-methods";
import { WebhookEventVerifier } from "@onfido/api";
import { Paddle } from "@paddle/paddle-node-sdk";
import { webhooks as polar } from "@polar-sh/sdk/2026-04";
import * as sanity from "@sanity/webhook";
import { EventWebhook } from "@sendgrid/eventwebhook";
import "@shopify/shopify-api/adapters/node";
import { shopifyApi } from "@shopify/shopify-api";
import { Receiver as QStash } from "@upstash/qstash";
import { verifySignature as verifyVonage } from "@vonage/jwt";
import { WorkOS } from "@workos-inc/node";
import { AwsLambdaReceiver as Zoom } from "@zoom/rivet/users";
import { v2 as cloudinary } from "cloudinary";
import { verifyKey as verifyDiscord } from "discord-interactions";
import * as gocardless from "gocardless-nodejs/webhooks";
import { OAuth2Client } from "google-auth-library";
import * as livekit from "livekit-server-sdk";
import messagebird from "messagebird/lib/webhook-signature-jwt.js";
import OpenAI from "openai";
import Orb from "orb-billing";
import Pusher from "pusher";
import Razorpay from "razorpay";
import { validateWebhook as verifyReplicate } from "replicate";
import { Resend } from "resend";
import { symmetric as retell } from "retell-sdk/lib/webhook_auth";
import SnsValidator from "sns-validator";
import { Webhook as Svix } from "svix";
import Telnyx from "telnyx";

// The libraries demand credentials for their APIs, which no test calls.
const apiKey = "re_unused";
const anthropic = new Anthropic({ apiKey }).beta.webhooks;
const metronome = new Metronome({ bearerToken: apiKey }).webhooks;
const mux = new Mux({ tokenId: apiKey, tokenSecret: apiKey }).webhooks;
const openai = new OpenAI({ apiKey }).webhooks;
const orb = new Orb({ apiKey }).webhooks;
const paddle = new Paddle(apiKey).webhooks;
const resend = new Resend(apiKey).webhooks;
const telnyx = new Telnyx({ apiKey }).webhooks;
const workos = new WorkOS(apiKey).webhooks;

const discord = {
  verify: ({ secret, body, headers }) =>
    verifyDiscord(body, headers["x-signature-ed25519"], headers["x-signature-timestamp"], secret),
};

const pusher = (secret) => new Pusher({ appId: "1", key: "key", secret });

// Shopify's library tells its two kinds of webhooks apart by the headers.
const shopify = {
  verify: async ({ secret, body, headers, url }) => {
    const logger = { log: () => {} };
    const settings = { apiVersion: "2026-07", hostName: "sluice.test", isEmbeddedApp: false, logger };
    const api = shopifyApi({ apiKey, apiSecretKey: secret, ...settings });
    const rawRequest = { method: "POST", url, headers };
    return (await api.webhooks.validate({ rawBody: body, rawRequest, rawResponse: {} })).valid;
  },
};

// SNS's library fetches the certificate.
const withCertificate = async (certificate, verify) => {
  const { get } = https;
  https.get = (_url, answer) => {
    const response = Object.assign(new EventEmitter(), { statusCode: 200 });
    answer(response);
    response.emit("data", certificate);
    response.emit("end");
    return response;
  };
  try {
    return await verify();
  } finally {
    https.get = get;
  }
};

const iso = (time) => `${new Date(time * 1000).toISOString().slice(0, 19)}Z`;

const vendors = {
  anthropic: {
    verify: ({ secret, text, headers }) => anthropic.unwrap(text, { headers, key: secret }),
  },
  "aws-sns": {
    verify: ({ secret, text }) =>
      withCertificate(
        secret,
        () => new Promise((resolve) => new SnsValidator().validate(text, (error) => resolve(!error))),
      ),
  },
  clerk: {
    verify: ({ secret, body, headers, url }) =>
      verifyClerk(new Request(url, { method: "POST", headers, body }), { signingSecret: secret }),
  },
  cloudinary: {
    sign: ({ secret, text, time }) => ({
      "x-cld-timestamp": String(time),
      "x-cld-signature": cloudinary.utils.webhook_signature(text, time, { api_secret: secret }),
    }),
    verify: ({ secret, text, headers }) => {
      cloudinary.config({ api_secret: secret });
      const timestamp = Number(headers["x-cld-timestamp"]);
      return cloudinary.utils.verifyNotificationSignature(text, timestamp, headers["x-cld-signature"]);
    },
  },
  discord,
  "discord-events": discord,
  github: {
    sign: async ({ secret, text, id }) => ({
      "x-github-event": "pull_request",
      "x-github-delivery": id,
      "x-hub-signature-256": await octokit.sign(secret, text),
    }),
    verify: ({ secret, text, headers }) => octokit.verify(secret, text, headers["x-hub-signature-256"]),
  },
  gocardless: {
    verify: ({ secret, body, headers }) => gocardless.parse(body, secret, headers["webhook-signature"]),
  },
  "google-pubsub": {
    verify: async ({ secret, headers }) => {
      const token = headers.authorization.replace(/^Bearer /, "");
      const issuers = ["https://accounts.google.com", "accounts.google.com"];
      const audience = "https://sluice.test";
      const ticket = await new OAuth2Client().verifySignedJwtWithCertsAsync(token, { key: secret }, audience, issuers);
      return ticket.getPayload().email_verified === true;
    },
  },
  hubspot: {
    sign: ({ secret, text, time, url }) => {
      const timestamp = time * 1000;
      const options = { clientSecret: secret, requestBody: text, url, timestamp };
      return {
        "x-hubspot-request-timestamp": String(timestamp),
        "x-hubspot-signature-v3": HubSpot.getSignature("POST", "v3", options),
      };
    },
    verify: ({ secret, text, headers, url }) =>
      HubSpot.isValid({
        signatureVersion: "v3",
        signature: headers["x-hubspot-signature-v3"],
        clientSecret: secret,
        requestBody: text,
        url,
        timestamp: Number(headers["x-hubspot-request-timestamp"]),
      }),
  },
  line: {
    verify: ({ secret, body, headers }) => verifyLine(body, secret, headers["x-line-signature"]),
  },
  linear: {
    verify: ({ secret, body, headers }) => new LinearWebhookClient(secret).verify(body, headers["linear-signature"]),
  },
  livekit: {
    // The library gives the token a time of expiry, in seconds from now.
    sign: async ({ secret, body, time }) => {
      const ttl = time + 300 - Math.floor(Date.now() / 1000);
      const token = new livekit.AccessToken("APIkey", secret, { ttl });
      token.sha256 = createHash("sha256").update(body).digest("base64");
      return { authorization: await token.toJwt() };
    },
    verify: ({ secret, text, headers }) =>
      new livekit.WebhookReceiver("APIkey", secret).receive(text, headers.authorization),
  },
  messagebird: {
    verify: ({ secret, body, headers, url }) =>
      messagebird.verify(url, body, headers["messagebird-signature-jwt"], Buffer.from(secret)),
  },
  metronome: {
    sign: ({ secret, text, time }) => {
      const date = new Date(time * 1000).toUTCString();
      return {
        "x-metronome-date": date,
        "metronome-webhook-signature": metronome.signPayload(text, { date, secret }),
      };
    },
    verify: ({ secret, text, headers }) => metronome.unwrap(text, headers, secret),
  },
  mux: {
    verify: ({ secret, text, headers }) => mux.unwrap(text, headers, secret),
  },
  notion: {
    sign: async ({ secret, body }) => ({
      "x-notion-signature": await signNotion({ body, verificationToken: secret }),
    }),
    verify: ({ secret, body, headers }) =>
      verifyNotion({ body, signature: headers["x-notion-signature"], verificationToken: secret }),
  },
  onfido: {
    verify: ({ secret, body, headers }) =>
      new WebhookEventVerifier(secret).readPayload(body, headers["x-sha2-signature"]),
  },
  openai: {
    verify: ({ secret, text, headers }) => openai.unwrap(text, headers, secret),
  },
  orb: {
    sign: ({ secret, text, time }) => {
      const timestamp = iso(time);
      return { "x-orb-timestamp": timestamp, "x-orb-signature": orb.signPayload(text, { timestamp, secret }) };
    },
    verify: ({ secret, text, headers }) => orb.unwrap(text, headers, secret),
  },
  paddle: {
    verify: ({ secret, text, headers }) => paddle.isSignatureValid(text, secret, headers["paddle-signature"]),
  },
  polar: {
    verify: ({ secret, body, headers }) => polar.validateEvent(body, headers, secret),
  },
  pusher: {
    sign: ({ secret, text }) => ({
      "x-pusher-key": "key",
      "x-pusher-signature": pusher(secret).config.token.sign(text),
    }),
    verify: ({ secret, text, headers }) => pusher(secret).webhook({ headers, rawBody: text }).isValid(),
  },
  qstash: {
    verify: ({ secret, text, headers, url }) => {
      const receiver = new QStash({ currentSigningKey: "of-another-month", nextSigningKey: secret });
      return receiver.verify({ signature: headers["upstash-signature"], body: text, url });
    },
  },
  razorpay: {
    verify: ({ secret, text, headers }) =>
      Razorpay.validateWebhookSignature(text, headers["x-razorpay-signature"], secret),
  },
  replicate: {
    verify: ({ secret, text, headers }) => verifyReplicate({ headers, body: text }, secret),
  },
  resend: {
    verify: ({ secret, text, headers }) => {
      const { "svix-id": id, "svix-timestamp": timestamp, "svix-signature": signature } = headers;
      return resend.verify({ payload: text, headers: { id, timestamp, signature }, webhookSecret: secret });
    },
  },
  retell: {
    sign: async ({ secret, text, time }) => ({ "x-retell-signature": await retell.sign(text, secret, time * 1000) }),
    verify: ({ secret, text, headers }) => retell.verify(text, secret, headers["x-retell-signature"]),
  },
  sanity: {
    sign: async ({ secret, text, time, id }) => ({
      "idempotency-key": id,
      "sanity-webhook-signature": await sanity.encodeSignatureHeader(text, time * 1000, secret),
    }),
    verify: ({ secret, text, headers }) => sanity.isValidSignature(text, headers["sanity-webhook-signature"], secret),
  },
  sendgrid: {
    verify: ({ secret, body, headers }) => {
      const verifier = new EventWebhook();
      const name = "x-twilio-email-event-webhook";
      const key = verifier.convertPublicKeyToECDSA(secret);
      return verifier.verifySignature(key, body, headers[`${name}-signature`], headers[`${name}-timestamp`]);
    },
  },
  shopify,
  "shopify-events": shopify,
  svix: {
    sign: ({ secret, text, time, id }) => ({
      "svix-id": id,
      "svix-timestamp": String(time),
      "svix-signature": new Svix(secret).sign(id, new Date(time * 1000), text),
    }),
    verify: ({ secret, text, headers }) => new Svix(secret).verify(text, headers),
  },
  telnyx: {
    verify: ({ secret, text, headers }) => telnyx.unwrap(text, { headers, key: secret }),
  },
  vonage: {
    verify: ({ secret, headers }) => verifyVonage(headers.authorization.replace(/^Bearer /, ""), secret),
  },
  workos: {
    sign: async ({ secret, text, time }) => {
      const signature = await workos.computeSignature(time * 1000, text, secret);
      return { "workos-signature": `t=${time * 1000}, v1=${signature}` };
    },
    verify: ({ secret, text, headers }) =>
      workos.verifyHeader({ payload: text, sigHeader: headers["workos-signature"], secret, tolerance: 180_000 }),
  },
  zoom: {
    verify: async ({ secret, text, headers }) => {
      const handle = new Zoom({ webhooksSecretToken: secret }).start();
      return (await handle({ body: text, headers, isBase64Encoded: false })).statusCode === 200;
    },
  },
};

// Only answers belong on stdout.
console.debug = console.info = console.log = () => {};

for await (const line of createInterface({ input: process.stdin })) {
  const { do: action, vendor, body: encoded, ...rest } = JSON.parse(line);
  const body = Buffer.from(encoded, "base64");
  const input = { ...rest, body, text: body.toString() };
  let answer;
  if (action === "sign") {
    answer = { headers: await vendors[vendor].sign(input) };
  } else {
    try {
      // What doesn't throw is valid, unless it is false.
      answer = { valid: (await vendors[vendor].verify(input)) !== false };
    } catch (error) {
      answer = { valid: false, error: String(error) };
    }
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
