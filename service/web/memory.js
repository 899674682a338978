/**
 * What this browser remembers: orders, and commands whose outcome is not known yet.
 *
 * Each thing has an entry of its own. One list of all would be read, changed and written back, and two tabs that do so
 * at once would lose one of two orders: the very mistake that the service is there to avoid.
 */

const PREFIX = "turnstile";
const inside = new Map(); // for a browser that keeps nothing: it is forgotten with the page

export const orders = kept("order");
export const pending = kept("pending");

/** Whether what is kept is still there after a reload. */
export function lasting() {
  try {
    localStorage.setItem(`${PREFIX}:probe`, "1");
    localStorage.removeItem(`${PREFIX}:probe`);
    return true;
  } catch {
    return false;
  }
}

/** Call `changed` when another tab has remembered or forgotten something. */
export function follow(changed) {
  window.addEventListener("storage", (change) => {
    if (change.key === null || change.key.startsWith(`${PREFIX}:`)) changed();
  });
}

function kept(kind) {
  const name = (id) => `${PREFIX}:${kind}:${id}`;
  return {
    put(id, value) {
      try {
        localStorage.setItem(name(id), JSON.stringify(value));
      } catch {
        inside.set(name(id), value);
      }
    },
    get: (id) => read(name(id)),
    forget(id) {
      inside.delete(name(id));
      try {
        localStorage.removeItem(name(id));
      } catch {
        // It was not kept there.
      }
    },
    /** Return all of an event, the oldest first. */
    of(event) {
      return names(name(""))
        .map(read)
        .filter((value) => value?.event === event)
        .sort((one, other) => one.at - other.at);
    },
  };
}

function names(start) {
  let all = [...inside.keys()];
  try {
    all = all.concat(Object.keys(localStorage));
  } catch {
    // Only what is inside, then.
  }
  return [...new Set(all)].filter((name) => name.startsWith(start));
}

function read(name) {
  if (inside.has(name)) return inside.get(name);
  try {
    return JSON.parse(localStorage.getItem(name));
  } catch {
    return null; // not written by us
  }
}
