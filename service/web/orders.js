/**
 * The visitor's orders as cards: what each one is, how long a hold still lasts, and what can be done with it.
 *
 * A card is made once and brought up to date in place, so that whoever has the focus on one of its buttons keeps it.
 */

import { clock } from "./clock.js";
import { left, numbers, tickets } from "./words.js";

const TEMPLATE = document.querySelector("#order");
const ENDED = ["cancelled", "expired", "unknown"];
const CALLED = {
  sold: "bought",
  held: "held",
  over: "time is over",
  expired: "time was over",
  cancelled: "given back",
  unknown: "not known to the service",
};

/** What an order is now: a hold is over when its time is, whoever has noticed. */
export function standing(order) {
  return order.status === "held" && order.expires_at * 1000 <= clock.now() ? "over" : order.status;
}

export class Orders {
  #list;
  #cards = new Map();

  /** `act(deed, order)` is called for "confirm", "cancel" and "forget". */
  constructor(list, act) {
    this.#list = list;
    this.act = act;
  }

  /** Show these orders, the newest first; `busy` are the identifiers of those that something is being asked about. */
  show(orders, busy) {
    const gone = new Set(this.#cards.keys());
    for (const order of orders) {
      gone.delete(order.id);
      const card = this.#cards.get(order.id) ?? this.#made(order);
      card.order = order;
      this.#refresh(card, busy.has(order.id));
    }
    for (const id of gone) {
      this.#cards.get(id).element.remove();
      this.#cards.delete(id);
    }
  }

  #made(order) {
    const element = TEMPLATE.content.firstElementChild.cloneNode(true);
    const part = (name) => element.querySelector(`[data-part="${name}"]`);
    const card = { element, part, order, asking: false };
    element.dataset.order = order.id;
    part("numbers").textContent = `${order.tickets.length === 1 ? "Ticket" : "Tickets"} ${numbers(order.tickets)}`;
    part("id").textContent = `order ${order.id.slice(-8)}`;
    for (const button of element.querySelectorAll("button")) {
      button.addEventListener("click", () => this.#pressed(card, button.dataset.deed));
    }
    this.#cards.set(order.id, card);
    this.#list.prepend(element);
    return card;
  }

  /** What was bought is given back only after a second question, for somebody else may have it a moment later. */
  #pressed(card, deed) {
    if (deed === "ask" || deed === "keep") {
      card.asking = deed === "ask";
      this.#refresh(card, false);
      card.element.querySelector(`[data-deed="${card.asking ? "keep" : "ask"}"]`).focus();
    } else {
      card.asking = false;
      this.act(deed, card.order);
    }
  }

  #refresh({ element, part, order, asking }, busy) {
    const status = standing(order);
    const sure = status === "sold" && asking;
    element.className = `card ${status}`;
    setText(part("status"), CALLED[status]);
    part("left").hidden = status !== "held";
    setText(part("left"), status === "held" ? left(order.expires_at * 1000 - clock.now()) : "");
    part("question").hidden = !sure;
    setText(part("question"), sure ? `Give ${tickets(order.tickets.length)} back?` : "");
    const offered = {
      confirm: status === "held",
      cancel: status === "held" || sure,
      ask: status === "sold" && !asking,
      keep: sure,
      forget: ENDED.includes(status),
    };
    const focused = element.contains(document.activeElement) && document.activeElement;
    for (const button of element.querySelectorAll("button")) {
      button.hidden = !offered[button.dataset.deed];
      button.setAttribute("aria-disabled", String(busy));
    }
    if (focused && focused.hidden) element.focus();
  }
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
