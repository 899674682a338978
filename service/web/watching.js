/**
 * Watching an event: how many tickets are left, about once a second, and which ones, when something has changed.
 *
 * Nobody looks at a hidden page, so it does not ask. When the service does not answer, it asks more and more rarely.
 */

import { call } from "./service.js";

const POLL_MS = 1_000;
const POLL_MS_MAX = 5_000;

/**
 * Watch until the page is left. `part` is the first and the last ticket to look at, and `shown` is told what there is:
 *
 * - `event(body)` at each look, `tickets(body)` when they are another version or another part than before,
 * - `missing()` when there is no such event, `down(since)` at the second look that failed and at each one after it, and
 *   `up()` when that is over.
 *
 * Returned is `look(first, last)`: look now, and at these tickets from now on.
 */
export function watch(event, part, shown) {
  const path = `/events/${encodeURIComponent(event)}`;
  let seen = ""; // which tickets were shown, of which version
  let failed = 0;
  let since = 0;
  let wake = () => {};
  let again = false;

  async function look() {
    const found = await call("GET", path);
    if (found.kind !== "done" && found.kind !== "refused") return missed();
    if (failed > 1) shown.up();
    failed = 0;
    if (found.kind === "refused") return shown.missing();
    shown.event(found.body);
    const [first, last] = part;
    if (seen === `${first}-${last}@${found.body.version}`) return undefined;
    const tickets = await call("GET", `${path}/tickets?first=${first}&last=${last}`);
    if (tickets.kind !== "done" || part[0] !== first || part[1] !== last) return undefined; // the next look asks again
    seen = `${first}-${last}@${tickets.body.version}`;
    return shown.tickets({ ...tickets.body, first, last });
  }

  function missed() {
    since = failed ? since : Date.now();
    failed += 1;
    return failed > 1 ? shown.down(since) : undefined; // a single one may be chance
  }

  function pause() {
    return Math.min(POLL_MS * 2 ** Math.max(failed - 1, 0), POLL_MS_MAX);
  }

  function rested(wait_ms) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, wait_ms);
      wake = () => (clearTimeout(timer), resolve());
      if (again) wake();
    });
  }

  async function go() {
    for (;;) {
      again = false;
      if (!document.hidden) await look();
      await rested(document.hidden ? POLL_MS_MAX : pause());
    }
  }

  document.addEventListener("visibilitychange", () => document.hidden || wake());
  window.addEventListener("online", () => wake());
  go();
  return (first, last) => {
    part = [first, last];
    again = true;
    wake();
  };
}
