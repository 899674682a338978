/**
 * The tickets of an event as a grid, a part at a time.
 *
 * Its cells are made once for a part, and only those that change are touched. The grid is one stop of the Tab key;
 * arrow keys move inside it, and the line below says in words what the ticket there is.
 */

import { number } from "./words.js";

export const PART = 500;
const STATES = {
  free: "free",
  held: "held by somebody",
  sold: "sold",
  holding: "held by you",
  mine: "yours",
};

/** `grid` gets the cells, `line` the words for the current one. */
export class Grid {
  #grid;
  #line;
  #first = 0;
  #states = [];
  #current = 0;

  constructor(grid, line) {
    this.#grid = grid;
    this.#line = line;
    grid.addEventListener("keydown", (event) => this.#move(event));
    grid.addEventListener("focusin", (event) => this.#at(this.#place(event.target)));
  }

  /** Show the tickets from `first` to `last`. `sold` and `held` are runs of them; `mine` is state by number. */
  show({ first, last, sold, held }, mine) {
    const states = new Array(last - first + 1).fill("free");
    for (const [state, runs] of Object.entries({ sold, held })) {
      for (const [from, to] of runs) states.fill(state, Math.max(from - first, 0), Math.max(to - first + 1, 0));
    }
    for (const [ticket, state] of mine) if (first <= ticket && ticket <= last) states[ticket - first] = state;
    if (first !== this.#first || states.length !== this.#states.length) this.#make(first, last);
    states.forEach((state, place) => state === this.#states[place] || this.#paint(place, state));
    this.#states = states;
    if (this.#line.textContent) this.#tell();
  }

  #make(first, last) {
    this.#first = first;
    this.#states = [];
    this.#current = 0;
    this.#line.textContent = "";
    this.#grid.dataset.digits = String(last).length;
    const cells = [];
    for (let ticket = first; ticket <= last; ticket += 1) {
      const cell = document.createElement("button");
      cell.type = "button";
      cell.textContent = ticket;
      cell.tabIndex = cells.length ? -1 : 0;
      cells.push(cell);
    }
    this.#grid.replaceChildren(...cells);
  }

  #paint(place, state) {
    const cell = this.#grid.children[place];
    cell.className = state;
    cell.setAttribute("aria-label", `ticket ${this.#first + place}, ${STATES[state]}`);
  }

  #place(cell) {
    return [...this.#grid.children].indexOf(cell);
  }

  #at(place) {
    if (place < 0) return;
    this.#grid.children[this.#current].tabIndex = -1;
    this.#grid.children[place].tabIndex = 0;
    this.#current = place;
    this.#tell();
  }

  #tell() {
    const text = `Ticket ${number(this.#first + this.#current)} is ${STATES[this.#states[this.#current]]}.`;
    if (this.#line.textContent !== text) this.#line.textContent = text;
  }

  #move(event) {
    const columns = getComputedStyle(this.#grid).gridTemplateColumns.split(" ").length;
    const end = this.#states.length - 1;
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, Home: -end, End: end };
    const step = steps[event.key];
    if (!step || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    const place = this.#current + step;
    if (Math.abs(step) === end) this.#grid.children[step < 0 ? 0 : end].focus();
    else if (place >= 0 && place <= end) this.#grid.children[place].focus();
  }
}
