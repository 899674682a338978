/**
 * A command is asked until it is settled, always with the same key.
 *
 * The service answers a repeat with its first answer, so asking again can never buy twice. Before anything is sent the
 * command is remembered, with `doubt`: whether it may have been done. A page that is closed or reloaded in the middle
 * finds it there and goes on asking.
 */

import { pending } from "./memory.js";
import { call } from "./service.js";

const TRIES_MAX = 8;
const WAIT_MS = 500;
const WAIT_MS_MAX = 8_000;
/** The service forgets a key after 24 hours. A command that is asked after that would be a new one. */
const KEY_MS = 23 * 3600 * 1000;

/** Return a new command. */
export function command(kind, event, asked) {
  return { key: newKey(), kind, event, ...asked, at: Date.now(), doubt: false };
}

/** Whether it can still be asked without the danger of doing it twice. */
export function fresh(asked) {
  return Date.now() - asked.at < KEY_MS;
}

/**
 * Ask until it is settled, until all tries are used up, or until `signal` says to stop.
 *
 * `tell` hears `{trying}` before each call, and `{trying, waiting_ms, last}` before each pause. Returned is what `call`
 * returns: `done` and `refused` are settled; `busy` is that it was not done; after `unknown` it is still remembered.
 */
export async function settled(asked, signal, tell) {
  let last = { kind: asked.doubt ? "unknown" : "busy", body: {} };
  for (let trying = 1; trying <= TRIES_MAX && !signal.aborted; trying += 1) {
    tell({ trying });
    const doubt = asked.doubt;
    asked.doubt = true; // until a reply is here: this page may be gone before that
    pending.put(asked.key, asked);
    last = await call(...request(asked), { body: body(asked), key: asked.key, signal });
    if (last.kind === "done" && !last.body.order) last = { kind: "unknown" }; // whoever said this was not the service
    if (last.kind === "done" || last.kind === "refused") break;
    asked.doubt = doubt || last.kind === "unknown";
    pending.put(asked.key, asked);
    if (trying < TRIES_MAX && !signal.aborted) {
      const waiting_ms = Math.max(last.retry_ms ?? 0, pause(trying));
      tell({ trying, waiting_ms, last });
      await slept(waiting_ms, signal);
    }
  }
  if (last.kind === "busy" && asked.doubt) last = { kind: "unknown" };
  if (last.kind !== "unknown") pending.forget(asked.key);
  return last;
}

function request(asked) {
  switch (asked.kind) {
    case "buy":
      return ["POST", `/events/${encodeURIComponent(asked.event)}/buy`];
    case "hold":
      return ["POST", `/events/${encodeURIComponent(asked.event)}/holds`];
    case "confirm":
      return ["POST", `/orders/${encodeURIComponent(asked.order)}/confirm`];
    default:
      return ["DELETE", `/orders/${encodeURIComponent(asked.order)}`];
  }
}

function body(asked) {
  if (asked.kind === "buy") return { quantity: asked.quantity };
  if (asked.kind === "hold") return { quantity: asked.quantity, ttl_s: asked.ttl_s };
  return undefined;
}

/** Longer each time, and by chance, so that many browsers do not come back at one moment. */
function pause(trying) {
  return Math.min(WAIT_MS * 2 ** (trying - 1), WAIT_MS_MAX) * (0.75 + Math.random() / 2);
}

function slept(wait_ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, wait_ms);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}

/** 128 random bits. `crypto.randomUUID` is there in a secure context only, which plain HTTP to another host is not. */
export function newKey() {
  if (crypto.randomUUID) return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
