/** Which events there are: a choice among them, for a page that shows one. */

import { call } from "./service.js";
import { number } from "./words.js";

const EVENTS_MAX = 200;

/** Fill `choice` with the events, and choose `event`. Return them. */
export async function offer(choice, event) {
  const found = await call("GET", `/events?limit=${EVENTS_MAX}`);
  const events = found.kind === "done" ? found.body.events : [];
  const options = events.map(({ event: name, count }) => new Option(`${name} (${number(count)} left)`, name));
  choice.replaceChildren(...options);
  choice.value = event;
  return events;
}
