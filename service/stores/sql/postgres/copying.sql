-- What is said while a store is copied.

-- name: keep
-- Let nobody sell until the end of the transaction; who looks is not kept out.
LOCK TABLE turnstile.events IN EXCLUSIVE MODE;

-- name: notes
-- The answers of an event that stand on no change, in the order in which they were kept.
SELECT k.version, k.note FROM turnstile.keys AS k JOIN turnstile.events AS e ON e.id = k.event
WHERE e.name = %s AND k.note IS NOT NULL ORDER BY k.version, k.at;

-- name: marked
-- Whether a copy is being made here, and is not whole.
SELECT EXISTS (SELECT FROM turnstile.editions WHERE edition = -1);

-- name: mark
-- Remember that.
INSERT INTO turnstile.editions (edition) VALUES (-1);

-- name: unmark
-- The copy is whole.
DELETE FROM turnstile.editions WHERE edition = -1;

-- name: empty
-- Remove what an earlier copy has left.
TRUNCATE turnstile.keys, turnstile.holds, turnstile.changes, turnstile.returned, turnstile.taken, turnstile.events;
