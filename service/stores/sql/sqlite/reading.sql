-- What is asked for.

-- name: tables
-- What there is at all.
SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%';

-- name: edition
-- The edition of the schema that is here; and whether there is one below all, which says that a copy is not whole.
SELECT max(edition), min(edition) FROM editions;

-- name: look
-- An event's counters.
SELECT id, capacity, count, version, given FROM events WHERE name = ?1;

-- name: names
-- Names of events behind one, in their order.
SELECT name FROM events WHERE name > ?1 ORDER BY name LIMIT ?2;

-- name: returned
-- The lowest tickets that came back.
SELECT ticket FROM returned WHERE event = ?1 ORDER BY ticket LIMIT ?2;

-- name: holds
-- The holds that end first, each as its last change.
SELECT changes.* FROM holds JOIN changes USING (event, version)
WHERE holds.event = ?1 ORDER BY holds.expires_at, holds.order_id LIMIT ?2;

-- name: order
-- An order of an event as its last change left it.
SELECT * FROM changes WHERE order_id = ?2 AND event = ?1 ORDER BY version DESC LIMIT 1;

-- name: find
-- An order as its last change left it, and the name of its event.
SELECT events.name, changes.* FROM changes JOIN events ON events.id = changes.event
WHERE order_id = ?1 ORDER BY changes.version DESC LIMIT 1;

-- name: used
-- What a key was used for: a line of its own, or the change that was made for it.
SELECT keys.note, changes.* FROM keys LEFT JOIN changes
ON changes.event = keys.event AND changes.version = keys.version AND keys.note IS NULL
WHERE keys.key = ?1;

-- name: highest
-- The highest ticket that is sold or held, but for the holds that end first.
SELECT coalesce(max(ticket), 0) FROM taken WHERE event = ?1 AND order_id NOT IN
(SELECT order_id FROM holds WHERE event = ?1 ORDER BY expires_at, order_id LIMIT ?2);

-- name: tickets
-- Which tickets of a range are taken, and whether they are held.
SELECT ticket, EXISTS (SELECT 1 FROM holds WHERE holds.order_id = taken.order_id)
FROM taken WHERE event = ?1 AND ticket BETWEEN ?2 AND ?3 ORDER BY ticket;

-- name: overdue
-- The events of which a hold has ended, and when the first of them did.
SELECT name, ends FROM (SELECT name, (SELECT min(expires_at) FROM holds WHERE event = events.id) AS ends FROM events)
WHERE ends <= ?1;

-- name: changes
-- The changes behind a version, in their order.
SELECT * FROM changes WHERE event = ?1 AND version > ?2 ORDER BY version LIMIT ?3;
