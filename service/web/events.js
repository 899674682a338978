/** Which events there are: a choice among them, for a page that shows one. */

import { call } from "./service.js";

const EVENTS_MAX = 200;

/** Fill `choice` with the events, and choose `event`. Return them. */
export async function offer(choice, event) {
  const found = await call("GET", `/events?limit=${EVENTS_MAX}`);
  const events = found.kind === "done" ? found.body.events : [];
  const options = events.map(({ event: name }) => new Option(name, name)); // how many are left would soon be wrong
  choice.replaceChildren(...options);
  choice.value = event;
  return events;
}
