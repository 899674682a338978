/** The lab: what the mode promises, twenty buyers at once, and what happened to each ticket. */

import { BUYERS, giveBack, rush } from "./buyers.js";
import { claimed, owned, summed, told, verdict } from "./claims.js";
import { offer } from "./events.js";
import { found } from "./findings.js";
import { call } from "./service.js";
import { number, numbers, tickets } from "./words.js";

const $ = (id) => document.getElementById(id);
let mode = null;
let buys = [];
let running = false;

introduce();
offer($("events"), new URLSearchParams(location.search).get("event") || "default");
$("run").addEventListener("submit", (event) => {
  event.preventDefault();
  run($("events").value);
});
$("undo").addEventListener("click", undo);

async function introduce() {
  const asked = await call("GET", "/mode");
  if (asked.kind !== "done") {
    $("mode").textContent = "not known: the service does not answer";
    return;
  }
  mode = asked.body;
  $("mode").textContent = mode.mode;
  for (const [name, sentence] of claimed(mode)) $("claim").append(element("dt", name), element("dd", sentence));
}

async function run(event) {
  if (running) return;
  busy(true);
  await sent(event);
  busy(false);
}

async function sent(event) {
  if (!mode) await introduce();
  const before = await look(event);
  if (!mode || !before) return say("The service does not answer, so nobody was sent. Try again.");
  if (!before.count) return say(`No ticket of ${event} is left. Choose another event, or give back what was bought.`);
  buys = [];
  await rush(event, (bought) => {
    buys.push(bought);
    say(`${buys.length} of ${BUYERS} buyers have an answer …`);
  });
  return tell(before, await look(event));
}

async function look(event) {
  const looked = await call("GET", `/events/${encodeURIComponent(event)}`);
  return looked.kind === "done" ? looked.body : null;
}

function tell(before, after) {
  const seen = found(before, after, buys);
  $("happened").hidden = false;
  $("happened").dataset.wrong = String(seen.wrong);
  say(verdict(mode, seen));
  $("twice").textContent = seen.twice.length ? numbers(seen.twice) : "none";
  $("versions").textContent = seen.versions.length ? numbers(seen.versions) : "none";
  $("sums").textContent = summed(before, after, seen);
  $("workers").textContent = workers();
  $("tickets").replaceChildren(...[...seen.owners].sort(([one], [other]) => one - other).map(cell));
  $("buyers").replaceChildren(...buys.toSorted((one, other) => one.buyer - other.buyer).map((buy) => row(buy, seen)));
  $("undo").hidden = !seen.sold;
  offer($("events"), $("events").value);
}

function cell([ticket, buyers]) {
  const made = element("li", "");
  made.className = buyers.length > 1 ? "twice" : "once";
  made.append(element("b", ticket), element("span", `${buyers.length > 1 ? "buyers" : "buyer"} ${numbers(buyers)}`));
  made.title = owned(ticket, buyers);
  return made;
}

function row(buy, { twice, versions }) {
  const made = document.createElement("tr");
  const head = element("th", buy.buyer);
  head.scope = "row";
  const got = element("td", told(buy));
  if (buy.tickets.some((ticket) => twice.includes(ticket))) got.className = "bad";
  const version = element("td", buy.version ?? "–");
  if (versions.includes(buy.version)) version.className = "bad";
  made.append(
    head,
    element("td", buy.saw ?? "–"),
    element("td", buy.quantity),
    got,
    version,
    element("td", `${Math.round(buy.ms)} ms`),
  );
  return made;
}

function workers() {
  const names = new Set(buys.map(({ worker }) => worker).filter(Boolean));
  if (names.size) return `${names.size} of ${mode.workers}`;
  return mode.workers === 1 ? "1 of 1" : "not told: the service names them only to a load test";
}

async function undo() {
  if (running) return;
  busy(true);
  const freed = await giveBack(buys);
  busy(false);
  $("undo").hidden = true;
  say(`The service says that ${tickets(freed)} were given back.`);
  offer($("events"), $("events").value);
}

function busy(now) {
  running = now;
  for (const button of document.querySelectorAll("main button")) button.setAttribute("aria-disabled", String(now));
}

function say(text) {
  $("said").textContent = text;
}

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = typeof text === "number" ? number(text) : text;
  return made;
}
