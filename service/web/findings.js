/** What a run of the buyers shows: a pure function of the event before and after, and of what each buyer was told. */

/**
 * `buys` are `{buyer, asked, kind, tickets, version}`, where `kind` is how the call ended. `before` and `after` are the
 * event as it was seen, or null. Returned are
 *
 * - `owners`: ticket -> the buyers who were told that it is theirs; `twice`: the tickets that have several,
 * - `versions`: those that were told more than once, as each change makes one of its own,
 * - `sold`, and `sums`: "right", "wrong" (with `missing`), or "unclear" with the reason `why`,
 * - `wrong`: whether anything of that must not be.
 */
export function found(before, after, buys) {
  const told = buys.filter(({ kind }) => kind === "done");
  const owners = new Map();
  for (const { buyer, tickets } of told) {
    for (const ticket of tickets) owners.set(ticket, [...(owners.get(ticket) ?? []), buyer]);
  }
  const twice = [...owners].filter(([, all]) => all.length > 1).map(([ticket]) => ticket);
  const seen = new Map();
  for (const { version } of told) seen.set(version, (seen.get(version) ?? 0) + 1);
  const versions = [...seen].filter(([, times]) => times > 1).map(([version]) => version);
  const sold = told.reduce((sum, { tickets }) => sum + tickets.length, 0);
  const unknown = buys.filter(({ kind }) => kind === "unknown").length;
  const sums = added(before, after, { changes: told.length, sold, unknown });
  const wrong = twice.length > 0 || versions.length > 0 || sums.state === "wrong";
  return { owners, twice: twice.sort((one, other) => one - other), versions, sold, unknown, sums, wrong };
}

/** Whether what was sold and what is left is what there was. It can be told only if nobody else changed the event. */
function added(before, after, { changes, sold, unknown }) {
  if (!before || !after) return { state: "unclear", why: "the event could not be read" };
  if (unknown) return { state: "unclear", why: "some buyers got no answer" };
  const made = after.version - before.version;
  if (made > changes) return { state: "unclear", why: "the event was changed by others too" };
  const missing = after.count - (before.count - sold);
  return missing || made < changes ? { state: "wrong", missing, lost: changes - made } : { state: "right" };
}
