/**
 * The commands that are not settled: asked one beside the other, and shown as cards when that takes a while.
 */

import { command, fresh, settled } from "./asking.js";
import { pending } from "./memory.js";
import { doing, trial } from "./words.js";

const TEMPLATE = document.querySelector("#open");
/** What is settled sooner than this needs no card. */
const CARD_MS = 700;
const UNKNOWN = "No clear answer came. Ask again: that tells whether it was done, and cannot do it twice.";
const OLD =
  "This was asked so long ago that the service has forgotten its key. Asking again could do it a second time.";

export class Unsettled {
  #list;
  #changed;
  #ended;
  #running = new Map(); // key -> {asked, stop}
  #cards = new Map();

  /** `changed()` is called when another command begins or ends, `ended(asked, end)` with what became of one. */
  constructor(list, changed, ended) {
    this.#list = list;
    this.#changed = changed;
    this.#ended = ended;
  }

  /** Whether tickets are being asked for now. A second click shall not buy a second time. */
  get placing() {
    return [...this.#running.values()].some(({ asked }) => asked.kind === "buy" || asked.kind === "hold");
  }

  /** The orders about which something is being asked. */
  get orders() {
    return new Set([...this.#running.values()].map(({ asked }) => asked.order));
  }

  begin(kind, event, what) {
    return this.#run(command(kind, event, what));
  }

  /** Go on with what an earlier visit to this page has left open. */
  resume(event) {
    for (const asked of pending.of(event)) {
      if (fresh(asked)) this.#run(asked);
      else this.#left(asked);
    }
  }

  async #run(asked) {
    const stop = new AbortController();
    this.#running.set(asked.key, { asked, stop });
    this.#changed();
    const card = setTimeout(() => this.#open(asked, trial(), ["stop"]), CARD_MS);
    const end = await settled(asked, stop.signal, ({ last }) => {
      if (last) clearTimeout(card);
      if (last || this.#cards.has(asked.key)) this.#open(asked, trial(last), ["stop"]);
    });
    clearTimeout(card);
    this.#running.delete(asked.key);
    if (end.kind === "unknown") this.#left(asked);
    else this.#close(asked.key);
    this.#changed();
    this.#ended(asked, end);
  }

  #left(asked) {
    if (fresh(asked)) this.#open(asked, UNKNOWN, ["again"]);
    else this.#open(asked, OLD, ["forget"]);
  }

  #open(asked, state, deeds) {
    const card = this.#cards.get(asked.key) ?? this.#made(asked);
    card.querySelector('[data-part="state"]').textContent = state;
    for (const button of card.querySelectorAll("button")) button.hidden = !deeds.includes(button.dataset.deed);
  }

  #made(asked) {
    const card = TEMPLATE.content.firstElementChild.cloneNode(true);
    card.querySelector('[data-part="what"]').textContent = doing(asked);
    card.addEventListener("click", (event) => this.#pressed(asked, event.target.dataset.deed));
    this.#cards.set(asked.key, card);
    this.#list.append(card);
    return card;
  }

  #pressed(asked, deed) {
    if (deed === "stop") this.#running.get(asked.key)?.stop.abort();
    if (deed === "again") {
      if (fresh(asked)) this.#run(asked);
      else this.#left(asked);
    }
    if (deed === "forget") {
      pending.forget(asked.key);
      this.#close(asked.key);
    }
  }

  #close(key) {
    this.#cards.get(key)?.remove();
    this.#cards.delete(key);
  }
}
