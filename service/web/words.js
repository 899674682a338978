/** What the pages say, in plain words. Pure. */

const NUMBER = new Intl.NumberFormat("en");
const DOING = { buy: "Buying", hold: "Holding", confirm: "Confirming", cancel: "Giving back" };
const DONE = { buy: "You have bought", hold: "You hold", confirm: "You have bought", cancel: "You have given back" };
const NOT_DONE = {
  buy: "Nothing was bought.",
  hold: "Nothing was held.",
  confirm: "The hold was not confirmed.",
  cancel: "Nothing was given back.",
};

export function number(value) {
  return NUMBER.format(value);
}

export function counted(quantity, one, many) {
  return `${number(quantity)} ${quantity === 1 ? one : many}`;
}

export function tickets(quantity) {
  return counted(quantity, "ticket", "tickets");
}

/** Return ticket numbers as a person would say them: "4 to 6 and 9". */
export function numbers(all) {
  const runs = [];
  for (const one of [...all].sort((a, b) => a - b)) {
    const run = runs.at(-1);
    if (run && run[1] === one - 1) run[1] = one;
    else runs.push([one, one]);
  }
  return listed(
    runs.flatMap(([first, last]) => (last - first > 1 ? [`${first} to ${last}`] : [...new Set([first, last])])),
  );
}

export function listed(parts) {
  return parts.length > 1 ? `${parts.slice(0, -1).join(", ")} and ${parts.at(-1)}` : (parts[0] ?? "");
}

/** Return a time that is left, as "0:25" or "1:02:03". It is rounded up: 0:00 means over. */
export function left(ms) {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  if (!parts[0]) parts.shift();
  return parts.map((part, place) => (place ? String(part).padStart(2, "0") : part)).join(":");
}

export function doing(asked) {
  return `${DOING[asked.kind]} ${tickets(asked.quantity)}`;
}

/** Return what the end of a command means. */
export function outcome(asked, end) {
  switch (end.kind) {
    case "done":
      return `${DONE[asked.kind]} ${end.body.quantity === 1 ? "ticket" : "tickets"} ${numbers(end.body.tickets)}.`;
    case "refused":
      return refusal(asked, end);
    case "busy":
      return `The service had no time for it. ${NOT_DONE[asked.kind]}`;
    default:
      return `${doing(asked)}: nobody here knows whether it was done.`;
  }
}

/** Return what a try that is not the last one means. */
export function trial(last) {
  if (!last) return "Asking …";
  return last.kind === "busy" ? "The service is busy, asking again …" : "No clear answer came, asking again …";
}

function refusal(asked, { slug, body }) {
  const not = NOT_DONE[asked.kind];
  switch (slug) {
    case "sold-out":
      if (!body.count) return `No ticket is left. ${not}`;
      return `Only ${counted(body.count, "is", "are")} left, and you asked for ${number(asked.quantity)}. ${not}`;
    case "hold-expired":
      return "The time of this hold was over, so its tickets can be sold again. You have not bought them.";
    case "order-cancelled":
      return "This order was cancelled before, so it cannot be confirmed.";
    case "no-such-event":
      return `There is no such event any more. ${not}`;
    case "no-such-order":
      return `The service does not know this order. ${not}`;
    default:
      return `The service did not accept this${body.detail ? `: ${body.detail}` : ""}. ${not}`;
  }
}
