/** Twenty buyers who come at one moment, as in the article: each looks, and then takes one to five, or what is left. */

import { newKey } from "./asking.js";
import { call } from "./service.js";

export const BUYERS = 20;
const QUANTITY_MAX = 5;

/** Let them buy, and tell `bought` of each one that has an answer. Nobody asks twice: it would hide what happened. */
export function rush(event, bought) {
  return Promise.all(Array.from({ length: BUYERS }, (_, place) => buy(event, place + 1).then(bought)));
}

async function buy(event, buyer) {
  const path = `/events/${encodeURIComponent(event)}`;
  const quantity = 1 + Math.floor(Math.random() * QUANTITY_MAX);
  const looked = await call("GET", path);
  const saw = looked.body?.count ?? null;
  const began = performance.now();
  const body = { quantity, partial: true, buyer: `lab buyer ${buyer}` };
  const end = await call("POST", `${path}/buy`, { body, key: newKey() });
  return {
    buyer,
    quantity,
    saw,
    kind: end.kind,
    slug: end.slug ?? "",
    order: end.body?.order ?? null,
    tickets: end.kind === "done" ? end.body.tickets : [],
    version: end.kind === "done" ? end.body.version : null,
    worker: end.worker,
    ms: performance.now() - began,
  };
}

/** Give back what was bought, one order after the other. Return how many of the tickets are free again. */
export async function giveBack(buys) {
  let freed = 0;
  for (const { order, tickets } of buys.filter(({ kind }) => kind === "done")) {
    const end = await call("DELETE", `/orders/${encodeURIComponent(order)}`, { key: newKey() });
    if (end.kind === "done") freed += tickets.length;
  }
  return freed;
}
