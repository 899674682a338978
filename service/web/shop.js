/**
 * The page of an event: how many tickets are left and which, buying and holding them, and the visitor's own orders.
 *
 * What is shown as bought is what a reply of the service said, and nothing else.
 */

import { offer } from "./events.js";
import { Grid, PART } from "./grid.js";
import { follow, lasting, orders } from "./memory.js";
import { Orders, standing } from "./orders.js";
import { call } from "./service.js";
import { Unsettled } from "./unsettled.js";
import { watch } from "./watching.js";
import { doing, number, outcome } from "./words.js";

const TICK_MS = 250;
const DEFAULT_EVENT = "default";

const $ = (id) => document.getElementById(id);
const name = new URLSearchParams(location.search).get("event") || DEFAULT_EVENT;
const grid = new Grid($("grid"), $("line"));
const cards = new Orders($("orders"), act);
const unsettled = new Unsettled($("pending"), show, ended);
let mine = orders.of(name);
let map = null; // the tickets that were seen last
let first = 1;
let capacity = 0;
let version = -1;

$("event").textContent = name;
document.title = `${name} · Turnstile`;
if (!lasting()) $("none").textContent = "None yet. This browser keeps nothing: they are forgotten with this page.";
follow(remembered);
const look = watch(name, [first, PART], { event: seen, tickets: mapped, missing, down, up });
setInterval(() => document.hidden || show(), TICK_MS);
mine.filter(({ status }) => status === "held" || status === "sold").forEach(reconcile);
unsettled.resume(name);
offer($("events"), name).then((events) => ($("choice").hidden = events.every(({ event }) => event === name)));

$("events").addEventListener("change", () => (location.search = new URLSearchParams({ event: $("events").value })));
$("back").addEventListener("click", () => turn(first - PART));
$("on").addEventListener("click", () => turn(first + PART));
$("go").addEventListener("submit", (event) => {
  event.preventDefault();
  turn($("ticket").valueAsNumber);
});
$("counter").addEventListener("submit", (event) => {
  event.preventDefault();
  if (unsettled.placing) return;
  const kind = event.submitter?.value === "hold" ? "hold" : "buy";
  const quantity = $("quantity").valueAsNumber;
  ask(kind, kind === "hold" ? { quantity, ttl_s: $("ttl").valueAsNumber } : { quantity });
});

function act(deed, order) {
  if (deed === "forget") {
    orders.forget(order.id);
    remembered();
  } else if (!unsettled.orders.has(order.id)) {
    ask(deed, { order: order.id, quantity: order.tickets.length });
  }
}

function ask(kind, what) {
  say(`${doing({ kind, ...what })} …`);
  unsettled.begin(kind, name, what);
}

/** What became of a command. */
function ended(asked, end) {
  say(outcome(asked, end));
  if (end.kind === "done") remember(end.body);
  if (end.kind === "refused" && asked.order) reconcile(orders.get(asked.order));
  look(first, first + PART - 1);
}

/** Keep what the service says of an order, unless something newer is known already. */
function remember(body) {
  const known = orders.get(body.order);
  if (known && known.version > body.version) return;
  const { order: id, event, status, tickets, version: made, expires_at } = body;
  orders.put(id, { at: known?.at ?? Date.now(), id, event, status, tickets, version: made, expires_at });
  remembered();
}

function remembered() {
  mine = orders.of(name);
  show();
}

/** Ask the service what has become of an order. */
async function reconcile(order) {
  if (!order) return;
  const found = await call("GET", `/orders/${encodeURIComponent(order.id)}`);
  if (found.kind === "done") remember(found.body);
  if (found.kind === "refused" && found.slug === "no-such-order") {
    orders.put(order.id, { ...order, status: "unknown" });
    remembered();
  }
}

function seen(event) {
  const changed = event.version !== version;
  ({ capacity, version } = event);
  $("count").textContent = number(event.count);
  $("of").textContent = event.count ? `of ${number(capacity)} tickets left` : `left: all ${number(capacity)} are taken`;
  $("meter").style.inlineSize = `${capacity ? (100 * event.count) / capacity : 0}%`;
  mine.filter((order) => standing(order) === "over" || (changed && order.status === "held")).forEach(reconcile);
  if (first > Math.max(capacity, 1)) turn(capacity);
}

function mapped(tickets) {
  map = { ...tickets, last: Math.min(tickets.last, tickets.capacity) };
  $("turn").hidden = tickets.capacity <= PART;
  $("part").textContent = `${number(map.first)} to ${number(map.last)} of ${number(tickets.capacity)}`;
  $("back").disabled = map.first === 1;
  $("on").disabled = map.last === tickets.capacity;
  $("ticket").max = tickets.capacity;
  show();
}

/** Show the part in which a ticket is. */
function turn(ticket) {
  const inside = Math.min(Math.max(ticket, 1), Math.max(capacity, 1));
  first = inside - ((inside - 1) % PART);
  look(first, first + PART - 1);
}

function show() {
  cards.show(mine, unsettled.orders);
  $("none").hidden = mine.length > 0;
  for (const button of $("counter").querySelectorAll("button")) {
    button.setAttribute("aria-disabled", String(unsettled.placing));
  }
  if (!map) return;
  const states = { held: "holding", sold: "mine" };
  grid.show(
    map,
    new Map(
      mine
        .flatMap((order) => order.tickets.map((ticket) => [ticket, states[standing(order)]]))
        .filter(([, state]) => state),
    ),
  );
}

function say(text) {
  $("said").textContent = text;
}

function missing() {
  $("count").textContent = "–";
  $("of").textContent = "there is no such event";
}

function down(since) {
  const silent = `The service has not answered since ${new Date(since).toLocaleTimeString()}.`;
  const text = `${silent} What you see is how it was then. Asking again every few seconds.`;
  if ($("down").textContent !== text) $("down").textContent = text;
}

function up() {
  $("down").textContent = "";
  say("The service answers again.");
  mine.filter(({ status }) => status === "held" || status === "sold").forEach(reconcile);
}
