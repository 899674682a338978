-- The tables, first edition. What PostgreSQL has is the same, but for what SQLite has no type for: lists are JSON.

-- name: editions
-- One row for each edition of the schema that was made here; the highest is the one there is.
CREATE TABLE editions (edition INTEGER PRIMARY KEY) STRICT;

-- name: events
-- An event's counters. All tickets up to given were given out at some time; those above never were, and are free.
CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    capacity INTEGER NOT NULL CHECK (capacity >= 0),
    count INTEGER NOT NULL CHECK (count BETWEEN 0 AND capacity),
    version INTEGER NOT NULL CHECK (version >= 0),
    given INTEGER NOT NULL CHECK (given BETWEEN 0 AND capacity)
) STRICT;

-- name: taken
-- The tickets that are sold or held. One ticket has one row: a second owner is refused, whatever a program believes.
CREATE TABLE taken (
    event INTEGER NOT NULL REFERENCES events (id),
    ticket INTEGER NOT NULL CHECK (ticket >= 1),
    order_id TEXT NOT NULL,
    PRIMARY KEY (event, ticket)
) STRICT, WITHOUT ROWID;

-- name: returned
-- The tickets that were given out, and came back.
CREATE TABLE returned (
    event INTEGER NOT NULL REFERENCES events (id),
    ticket INTEGER NOT NULL CHECK (ticket >= 1),
    PRIMARY KEY (event, ticket)
) STRICT, WITHOUT ROWID;

-- name: changes
-- The journal: what changed, with the version that it made. No version is made twice. A change of capacity has no order.
CREATE TABLE changes (
    event INTEGER NOT NULL REFERENCES events (id),
    version INTEGER NOT NULL CHECK (version >= 1),
    order_id TEXT,
    status TEXT NOT NULL CHECK (status IN ('sold', 'held', 'cancelled', 'expired', 'resized')),
    quantity INTEGER CHECK (quantity = json_array_length(tickets)),
    tickets TEXT,
    capacity INTEGER,
    count INTEGER NOT NULL CHECK (count >= 0),
    at REAL NOT NULL,
    buyer TEXT,
    expires_at REAL,
    key TEXT,
    asked TEXT,
    answer TEXT,
    PRIMARY KEY (event, version),
    CHECK (CASE status WHEN 'resized' THEN capacity IS NOT NULL ELSE order_id IS NOT NULL AND quantity >= 1 END)
) STRICT, WITHOUT ROWID;

-- name: changes_of_order
-- An order as it stands is its last change.
CREATE INDEX changes_of_order ON changes (order_id, version);

-- name: holds
-- The orders that are held, in the order of their ends.
CREATE TABLE holds (
    order_id TEXT PRIMARY KEY,
    event INTEGER NOT NULL,
    version INTEGER NOT NULL,
    expires_at REAL NOT NULL,
    FOREIGN KEY (event, version) REFERENCES changes (event, version)
) STRICT, WITHOUT ROWID;

-- name: holds_by_end
-- The holds of an event that end first.
CREATE INDEX holds_by_end ON holds (event, expires_at, order_id);

-- name: keys
-- What an idempotency key was used for: the change with that version or, where note is set, an answer without a change.
CREATE TABLE keys (
    key TEXT PRIMARY KEY,
    event INTEGER NOT NULL REFERENCES events (id),
    version INTEGER NOT NULL,
    at REAL NOT NULL,
    note TEXT
) STRICT, WITHOUT ROWID;
