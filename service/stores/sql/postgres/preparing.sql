-- What is said before the service sells, in one transaction.

-- name: alone
-- Wait until nobody else prepares this database, until the end of the transaction: several hosts start at once.
SELECT pg_advisory_xact_lock(7306085102911829);

-- name: schema
-- Where everything is.
CREATE SCHEMA IF NOT EXISTS turnstile;

-- name: there
-- Whether there are tables already.
SELECT to_regclass('turnstile.editions') IS NOT NULL;

-- name: edition
-- The edition of the schema that is here; and whether there is one below all, which says that a copy is not whole.
SELECT coalesce(max(edition), 0), coalesce(min(edition), 0) FROM turnstile.editions;

-- name: remember
-- Remember that an edition of the schema was made.
INSERT INTO turnstile.editions (edition) VALUES (%s);

-- name: create
-- Make an event, unless it is there.
INSERT INTO turnstile.events (name, capacity, count, version, given)
VALUES (%(name)s, %(capacity)s, %(capacity)s, 0, 0) ON CONFLICT DO NOTHING;

-- name: any
-- An event, if there is one.
SELECT name FROM turnstile.events LIMIT 1;
