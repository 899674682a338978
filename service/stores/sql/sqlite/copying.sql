-- What is said while a store is copied.

-- name: notes
-- The answers of an event that stand on no change, in the order in which they were kept.
SELECT keys.version, keys.note FROM keys JOIN events ON events.id = keys.event
WHERE events.name = ?1 AND keys.note IS NOT NULL ORDER BY keys.version, keys.at;

-- name: mark
-- Remember that a copy is being made here, and is not whole.
INSERT INTO editions (edition) VALUES (-1);

-- name: unmark
-- The copy is whole.
DELETE FROM editions WHERE edition = -1;

-- name: empty_keys
-- What an earlier copy has left.
DELETE FROM keys;

-- name: empty_holds
-- As above.
DELETE FROM holds;

-- name: empty_changes
-- As above.
DELETE FROM changes;

-- name: empty_returned
-- As above.
DELETE FROM returned;

-- name: empty_taken
-- As above.
DELETE FROM taken;

-- name: empty_events
-- As above.
DELETE FROM events;
