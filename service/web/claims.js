/** What a mode claims and what a run showed, in sentences. Pure. */

import { counted, listed, number, numbers, tickets } from "./words.js";

const REACH = {
  nowhere: "It keeps nobody apart: two buyers who come at one moment may be sold the same ticket.",
  threads: "It keeps the threads of one process apart, and no ticket is sold twice there.",
  processes: "It keeps all processes on this machine apart: no ticket is sold twice.",
  hosts: "It keeps all processes apart, on this machine and on others: no ticket is sold twice.",
};
const WAITS = {
  "does not wait": "Nobody waits for anybody.",
  polls: "The others look again and again whether it is their turn.",
  "sleeps in the kernel": "The others sleep until it is their turn.",
  queues: "The others stand in a queue, and what waits there is written together.",
  retries: "Who was overtaken starts again.",
};
const MISHAPS = {
  "killed holder": "the death of the one inside",
  "paused holder": "a pause of the one inside",
  "power loss": "a loss of power",
};

/** Whether the claim covers a service of so many processes. */
function covers({ claim, workers }) {
  return claim.reach === "processes" || claim.reach === "hosts" || (claim.reach === "threads" && workers === 1);
}

/** Return the claim as pairs of a name and a sentence. */
export function claimed({ claim, workers, threads }) {
  const promised = [REACH[claim.reach]];
  if (claim.reach === "threads" && workers > 1)
    promised.push(`Here are ${workers} processes, which is more than that.`);
  const mishaps = claim.survives.map((mishap) => MISHAPS[mishap] ?? mishap);
  const waiting = [WAITS[claim.waits] ?? `${sentence(claim.waits)}.`];
  if (claim.fair) waiting.push("First come, first served.");
  else if (claim.waits !== "does not wait") waiting.push("Who comes later may be first.");
  return [
    ["Promise", promised.join(" ")],
    ["Survives", mishaps.length ? `${sentence(listed(mishaps))}.` : "Nothing."],
    ["Waiting", waiting.join(" ")],
    ["Price", `${sentence(claim.price)}.`],
    ["Served by", `${counted(workers, "process", "processes")} of ${counted(threads, "thread", "threads")}.`],
  ];
}

/** Return in a sentence or two whether anything went wrong. */
export function verdict(mode, seen) {
  const word = promise(mode, seen.wrong);
  const all = tickets(seen.owners.size);
  if (seen.wrong) return `It went wrong: ${listed(faults(seen))}. ${word}`;
  if (!seen.owners.size) return "Nobody was told of a ticket, so nothing could go wrong, and nothing was shown.";
  if (seen.sums.state === "right")
    return `Nothing went wrong: each of ${all} has one owner, and the sums are right. ${word}`;
  return `Each of ${all} has one owner. Whether the sums are right cannot be told: ${seen.sums.why}.`;
}

function faults({ twice, versions, sums }) {
  const parts = [];
  if (twice.length) parts.push(`${counted(twice.length, "ticket was", "tickets were")} sold twice or more often`);
  if (versions.length) parts.push(`${counted(versions.length, "version was", "versions were")} told to several buyers`);
  if (sums.missing > 0) parts.push(`${counted(sums.missing, "sold ticket counts", "sold tickets count")} as left`);
  if (sums.missing < 0) parts.push(`${counted(-sums.missing, "unsold ticket is", "unsold tickets are")} not left`);
  if (!parts.length) parts.push(`${counted(sums.lost, "sale", "sales")} left no version`);
  return parts;
}

function promise(mode, wrong) {
  if (covers(mode)) return wrong ? `So ${mode.mode} broke its promise.` : `So ${mode.mode} kept its promise this time.`;
  const little = mode.claim.reach === "nowhere" ? "promises nothing" : "does not promise that much";
  return wrong
    ? `${mode.mode} ${little}, and here is what that means.`
    : `${mode.mode} ${little}: try again, and it may go wrong.`;
}

/** Return the sums in words. */
export function summed(before, after, { sold, sums }) {
  if (!before || !after) return "The event could not be read.";
  const is = `${number(before.count)} were left before, ${number(sold)} were sold, and ${number(after.count)} are left`;
  if (sums.state === "unclear") return `${is}; whether that is right cannot be told, for ${sums.why}.`;
  return sums.state === "right" ? `${is}: right.` : `${is}; it should be ${number(before.count - sold)}.`;
}

/** Return who had a ticket sold to them, for a cell of the grid. */
export function owned(ticket, buyers) {
  return buyers.length === 1
    ? `ticket ${ticket}: buyer ${buyers[0]}`
    : `ticket ${ticket}, sold ${buyers.length} times: buyers ${numbers(buyers)}`;
}

/** Return what one buyer was told. */
export function told({ kind, slug, tickets: got }) {
  if (kind === "done") return numbers(got);
  if (kind === "refused") return slug === "sold-out" ? "none: sold out" : `none: ${slug || "refused"}`;
  return kind === "busy" ? "none: the service was busy" : "no answer: unknown";
}

function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
