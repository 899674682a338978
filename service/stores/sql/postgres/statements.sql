-- What the service says to PostgreSQL while it sells. Each is prepared once for each connection.

-- name: begin
-- Begin a transaction in which each statement sees what was committed before it (READ COMMITTED).
BEGIN ISOLATION LEVEL READ COMMITTED;

-- name: begin_serializable
-- Begin a transaction that ends as if no other had run beside it, or fails with 40001.
BEGIN ISOLATION LEVEL SERIALIZABLE;

-- name: commit
-- Make all of it durable.
COMMIT;

-- name: rollback
-- Undo all of it.
ROLLBACK;

-- name: lock_row
-- Wait until nobody else has the event's row, and keep it until the end of the transaction.
SELECT FROM turnstile.events WHERE name = $1 FOR UPDATE;

-- name: lock_row_at_once
-- The same, or fail at once with 55P03.
SELECT FROM turnstile.events WHERE name = $1 FOR UPDATE NOWAIT;

-- name: lock_name
-- Wait until nobody else has the lock that an event's name stands for, and keep it until the end of the transaction. It
-- is a number of 64 bits; two names that share one wait for each other, and nothing else comes of it.
SELECT pg_advisory_xact_lock(hashtextextended($1, 20261129));

-- name: page
-- What commands of an event touch, as of one moment.
SELECT * FROM turnstile.page($1, $2, $3, $4, $5, $6);

-- name: record
-- Write what was decided, if the event stands as it was read.
SELECT turnstile.record($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15);

-- name: record_sale
-- Write one sale, if the event stands as it was read.
SELECT turnstile.record_sale($1, $2, $3, $4, $5, $6, $7);

-- name: sell
-- Sell tickets that are left.
SELECT * FROM turnstile.sell($1, $2, $3, $4, $5);

-- name: look
-- An event's counters.
SELECT capacity, count, version, id FROM turnstile.events WHERE name = $1;

-- name: names
-- Names of events behind one, in their order.
SELECT name FROM turnstile.events WHERE name > $1 ORDER BY name LIMIT $2;

-- name: create
-- Make an event, unless it is there.
INSERT INTO turnstile.events (name, capacity, count, version, given) VALUES ($1, $2, $2, 0, 0)
ON CONFLICT DO NOTHING RETURNING id;

-- name: find
-- An order as its last change left it, and the name of its event.
SELECT e.name, turnstile.line(c) FROM turnstile.changes AS c JOIN turnstile.events AS e ON e.id = c.event
WHERE c.order_id = $1 ORDER BY c.version DESC LIMIT 1;

-- name: tickets
-- How an event stands, which tickets of a range are taken, and which of these are held.
SELECT e.capacity, e.count, e.version,
    ARRAY(SELECT t.ticket FROM turnstile.taken AS t WHERE t.event = e.id AND t.ticket BETWEEN $2 AND $3 ORDER BY t.ticket),
    ARRAY(SELECT t.ticket FROM turnstile.taken AS t JOIN turnstile.holds AS h USING (order_id)
        WHERE t.event = e.id AND t.ticket BETWEEN $2 AND $3 ORDER BY t.ticket)
FROM turnstile.events AS e WHERE e.name = $1;

-- name: overdue
-- The events of which a hold has ended, and when the first of them did.
SELECT name, ends FROM (
    SELECT e.name, (SELECT min(h.expires_at) FROM turnstile.holds AS h WHERE h.event = e.id) AS ends
    FROM turnstile.events AS e
) AS every WHERE ends <= $1;

-- name: changes
-- The changes behind a version, in their order.
SELECT turnstile.line(c) FROM turnstile.changes AS c WHERE c.event = $1 AND c.version > $2 ORDER BY c.version LIMIT $3;
