/**
 * One call to the service, and what its end means.
 *
 * Every failure is definite or it is not. A problem of the service with 4xx or 503 means that certainly nothing was
 * done by this call. Whatever else is not a success means that nobody here knows: no reply, half a reply, a 500, an
 * error page of some proxy in between.
 */

import { clock } from "./clock.js";

/** How long a reply is waited for. The service gives up earlier than that, so this is for connections that hang. */
const PATIENCE_MS = 20_000;
const RETRY_AFTER_MS = 1_000;
const PROBLEM = "urn:turnstile:problem:";
const COME_AGAIN = [408, 503];

/**
 * Make one call. It never throws; it returns one of
 *
 * - `{kind: "done", body}`,
 * - `{kind: "refused", slug, body}`: certainly not done, and asking again would not help,
 * - `{kind: "busy", body, retry_ms}`: certainly not done, and it may be asked again after that time,
 * - `{kind: "unknown"}`,
 *
 * each with the `worker` that answered, where the service names it.
 */
export async function call(method, path, { body, key, signal } = {}) {
  const headers = {};
  if (body) headers["Content-Type"] = "application/json";
  if (key) headers["Idempotency-Key"] = key;
  const patience = AbortSignal.timeout(PATIENCE_MS);
  const sent = Date.now();
  let reply;
  let told;
  try {
    reply = await fetch(path, {
      method,
      headers,
      body: body && JSON.stringify(body),
      cache: "no-store",
      redirect: "error",
      signal: signal ? AbortSignal.any([signal, patience]) : patience,
    });
    clock.note(reply.headers.get("Date"), sent, Date.now());
    told = await reply.json();
  } catch {
    // What is missing then, the reply or its body, is looked at below.
  }
  return { ...meaning(reply, told), worker: reply?.headers.get("Turnstile-Worker") ?? null };
}

function meaning(reply, told) {
  const body = told ?? {};
  const slug = String(body.type).startsWith(PROBLEM) ? body.type.slice(PROBLEM.length) : null;
  if (reply?.ok && told) return { kind: "done", body };
  if (slug && COME_AGAIN.includes(reply.status)) {
    const after_s = Number(reply.headers.get("Retry-After"));
    return { kind: "busy", body, retry_ms: after_s > 0 ? after_s * 1000 : RETRY_AFTER_MS };
  }
  if (slug && reply.status >= 400 && reply.status < 500) return { kind: "refused", slug, body };
  return { kind: "unknown" };
}
