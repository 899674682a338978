-- What is written.

-- name: begin
-- Begin a transaction that is the only one that writes. A plain BEGIN would be refused the write later, when another had
-- written since it read.
BEGIN IMMEDIATE;

-- name: edition
-- Remember that an edition of the schema was made.
INSERT INTO editions (edition) VALUES (?1);

-- name: create
-- Make an event, unless it is there.
INSERT INTO events (name, capacity, count, version, given) VALUES (?1, ?2, ?2, 0, 0) ON CONFLICT DO NOTHING;

-- name: event
-- Let an event stand as it was decided, if it stands as it was read. Tickets are given out from the lowest number on.
UPDATE events SET capacity = ?3, count = ?4, version = ?5, given = min(max(given, ?6), ?3)
WHERE name = ?1 AND version = ?2 RETURNING id, given;

-- name: free
-- Take a ticket from the order that has it.
DELETE FROM taken WHERE event = ?1 AND ticket = ?2 AND order_id = ?3;

-- name: take
-- Give a ticket to an order.
INSERT INTO taken (event, ticket, order_id) VALUES (?1, ?2, ?3);

-- name: leave
-- A ticket that came back is sold again.
DELETE FROM returned WHERE event = ?1 AND ticket = ?2;

-- name: come_back
-- A ticket came back.
INSERT INTO returned (event, ticket) VALUES (?1, ?2) ON CONFLICT DO NOTHING;

-- name: cut
-- There are fewer tickets from now on.
DELETE FROM returned WHERE event = ?1 AND ticket > ?2;

-- name: change
-- Record a change.
INSERT INTO changes (event, version, order_id, status, quantity, tickets, capacity, count, at, buyer, expires_at,
    key, asked, answer)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14);

-- name: hold
-- An order is held.
INSERT INTO holds (event, order_id, version, expires_at)
SELECT event, order_id, version, expires_at FROM changes
WHERE event = ?1 AND order_id = ?2 AND status = 'held';

-- name: unhold
-- An order is held no longer.
DELETE FROM holds WHERE order_id = ?1;

-- name: key
-- Remember what a key was used for. One that has an answer keeps it for a day.
INSERT INTO keys (key, event, version, at, note) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (key) DO UPDATE SET event = excluded.event, version = excluded.version, at = excluded.at, note = excluded.note
WHERE excluded.at - keys.at > 86400.0;
