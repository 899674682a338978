// A k6 script to start from, for an event with plenty of tickets (EVENT):
// k6 run -e URL=http://127.0.0.1:8000 -e EVENT=load -e DURATION=10s k6.js
//
// The checks take "sold out" for an answer, so it fails where not one ticket was sold: else refusals would pass for sales.
// k6 measures, and does not judge: that no ticket is sold twice is what `python -m loadtest run URL` finds out.
import http from "k6/http";
import { check, sleep } from "k6";
import { Counter } from "k6/metrics";

const url = __ENV.URL || "http://127.0.0.1:8000";
const event = __ENV.EVENT || "default";
const sold = new Counter("tickets_sold");
const attemptsMax = 5;
const pauseMaxS = 5;
// Certainly nothing was done: the service was busy, or a proxy in front of it.
const notDone = [408, 429, 503];

export const options = {
  scenarios: { sale: { executor: "constant-arrival-rate", rate: 50, timeUnit: "1s", duration: __ENV.DURATION || "10s", preAllocatedVUs: 50 } },
  thresholds: { checks: ["rate==1"], tickets_sold: ["count>0"], http_req_duration: ["p(99)<1000"] },
};

// 409 is an answer too: fewer tickets are left than were asked for.
http.setResponseCallback(http.expectedStatuses(201, 409, ...notDone));

export function buy(quantity) {
  // One key for all attempts: what was done is not done twice, and the first answer comes again.
  const key = `${__VU}-${__ITER}-${Date.now()}-${Math.random().toString(36).slice(2)}`;
  const params = { headers: { "Content-Type": "application/json", "Idempotency-Key": key }, timeout: "10s" };
  let reply;
  for (let attempt = 0; attempt < attemptsMax; attempt += 1) {
    reply = http.post(`${url}/events/${event}/buy`, JSON.stringify({ quantity }), params);
    if (reply.status === 201 || (reply.status >= 400 && reply.status < 500 && !notDone.includes(reply.status))) {
      break;
    }
    // Who was busy says when to come again. No reply, or 500: nobody knows, so ask again with the same key.
    const toldS = Math.min(Number(reply.headers["Retry-After"]) || 0, pauseMaxS);
    sleep(toldS + Math.random() * 0.1 * 2 ** attempt);
  }
  return reply;
}

export default function () {
  const reply = buy(1 + Math.floor(Math.random() * 3));
  check(reply, { "bought, or sold out": (each) => each.status === 201 || each.status === 409 });
  sold.add(reply.status === 201 ? reply.json("quantity") : 0);
}
