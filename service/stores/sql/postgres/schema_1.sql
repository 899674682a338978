-- The tables and functions, first edition. All is in a schema of its own, so that a database may have other things too.

-- name: editions
-- One row for each edition of the schema that was made here; the highest is the one there is.
CREATE TABLE turnstile.editions (edition integer PRIMARY KEY);

-- name: events
-- An event's counters. All tickets up to given were given out at some time; those above never were, and are free. Every
-- order updates its event's one row: pages that are mostly empty have room for the new version beside the old one.
CREATE TABLE turnstile.events (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE,
    capacity integer NOT NULL CHECK (capacity >= 0),
    count integer NOT NULL CHECK (count BETWEEN 0 AND capacity),
    version bigint NOT NULL CHECK (version >= 0),
    given integer NOT NULL CHECK (given BETWEEN 0 AND capacity)
) WITH (fillfactor = 10);

-- name: taken
-- The tickets that are sold or held. One ticket has one row: a second owner is refused, whatever a program believes.
-- There is no foreign key: events are never deleted, and its trigger would cost each order a tenth.
CREATE TABLE turnstile.taken (
    event integer NOT NULL,
    ticket integer NOT NULL CHECK (ticket >= 1),
    order_id text COLLATE "C" NOT NULL,
    PRIMARY KEY (event, ticket)
);

-- name: returned
-- The tickets that were given out, and came back.
CREATE TABLE turnstile.returned (
    event integer NOT NULL,
    ticket integer NOT NULL CHECK (ticket >= 1),
    PRIMARY KEY (event, ticket)
);

-- name: changes
-- The journal: what changed, with the version that it made. No version is made twice. A change of capacity has no order.
CREATE TABLE turnstile.changes (
    event integer NOT NULL,
    version bigint NOT NULL CHECK (version >= 1),
    order_id text COLLATE "C",
    status text NOT NULL CHECK (status IN ('sold', 'held', 'cancelled', 'expired', 'resized')),
    quantity integer CHECK (quantity = cardinality(tickets)),
    tickets integer[],
    capacity integer,
    count integer NOT NULL CHECK (count >= 0),
    at double precision NOT NULL,
    buyer text,
    expires_at double precision,
    key text,
    asked text,
    answer text,
    PRIMARY KEY (event, version),
    CHECK (CASE status WHEN 'resized' THEN capacity IS NOT NULL ELSE order_id IS NOT NULL AND quantity >= 1 END)
);

-- name: changes_of_order
-- An order as it stands is its last change.
CREATE INDEX changes_of_order ON turnstile.changes (order_id, version);

-- name: holds
-- The orders that are held.
CREATE TABLE turnstile.holds (
    order_id text COLLATE "C" PRIMARY KEY,
    event integer NOT NULL,
    version bigint NOT NULL,
    expires_at double precision NOT NULL,
    FOREIGN KEY (event, version) REFERENCES turnstile.changes (event, version)
);

-- name: holds_by_end
-- The holds of an event that end first.
CREATE INDEX holds_by_end ON turnstile.holds (event, expires_at, order_id);

-- name: keys
-- What an idempotency key was used for: the change with that version or, where note is set, an answer without a change.
CREATE TABLE turnstile.keys (
    key text COLLATE "C" PRIMARY KEY,
    event integer NOT NULL,
    version bigint NOT NULL,
    at double precision NOT NULL,
    note text
);

-- name: line
-- A change as an object with the members that its line in the journal has.
CREATE FUNCTION turnstile.line(change turnstile.changes) RETURNS json LANGUAGE sql IMMUTABLE AS $$
    SELECT json_build_object(
        'version', change.version, 'order', change.order_id, 'status', change.status, 'quantity', change.quantity,
        'tickets', change.tickets, 'capacity', change.capacity, 'count', change.count, 'at', change.at,
        'buyer', change.buyer, 'expires_at', change.expires_at,
        'key', change.key, 'asked', change.asked, 'answer', change.answer
    )
$$;

-- name: page
-- What commands of one event touch: its counters, the lowest tickets that came back, the holds that end first where too
-- few tickets are left or somebody asks for them, orders, keys, and the highest ticket that is taken but for these holds.
-- STABLE: all of it is read as of one moment, that of the statement which calls it. Who waits for a lock must call it in
-- a statement behind that which waited, for one that waits sees what was there before it did.
CREATE FUNCTION turnstile.page(
    of_event text, quantity integer, ending integer, order_ids text[], some_keys text[], with_highest boolean,
    OUT capacity integer, OUT count integer, OUT version bigint, OUT given integer,
    OUT returned integer[], OUT holds json, OUT orders json, OUT used json, OUT highest integer
) LANGUAGE plpgsql STABLE AS $$
DECLARE
    number integer;
    holds_max integer := ending;
BEGIN
    SELECT e.id, e.capacity, e.count, e.version, e.given INTO number, capacity, count, version, given
    FROM turnstile.events AS e WHERE e.name = of_event;
    IF count > capacity - given THEN
        returned := ARRAY(
            SELECT r.ticket FROM turnstile.returned AS r WHERE r.event = number ORDER BY r.ticket LIMIT quantity
        );
    END IF;
    IF quantity > count THEN
        holds_max := greatest(holds_max, quantity);
    END IF;
    IF holds_max > 0 THEN
        SELECT json_agg(turnstile.line(c) ORDER BY h.expires_at, h.order_id) INTO holds FROM (
            SELECT * FROM turnstile.holds AS every
            WHERE every.event = number ORDER BY every.expires_at, every.order_id LIMIT holds_max
        ) AS h JOIN turnstile.changes AS c ON c.event = h.event AND c.version = h.version;
    END IF;
    IF order_ids IS NOT NULL THEN
        SELECT json_agg(turnstile.line(c)) INTO orders FROM (
            SELECT DISTINCT ON (every.order_id) every.event, every.version FROM turnstile.changes AS every
            WHERE every.order_id = ANY (order_ids) AND every.event = number
            ORDER BY every.order_id, every.version DESC
        ) AS o JOIN turnstile.changes AS c ON c.event = o.event AND c.version = o.version;
    END IF;
    IF some_keys IS NOT NULL THEN
        SELECT json_agg(json_build_object('note', k.note, 'change', turnstile.line(c))) INTO used
        FROM turnstile.keys AS k
        LEFT JOIN turnstile.changes AS c ON c.event = k.event AND c.version = k.version AND k.note IS NULL
        WHERE k.key = ANY (some_keys);
    END IF;
    IF with_highest THEN
        SELECT max(t.ticket) INTO highest FROM turnstile.taken AS t
        WHERE t.event = number AND t.order_id NOT IN (
            SELECT h.order_id FROM turnstile.holds AS h
            WHERE h.event = number ORDER BY h.expires_at, h.order_id LIMIT holds_max
        );
    END IF;
END
$$;

-- name: record
-- Write what was decided, if the event stands as it was read (seen); else TS001, and nothing is done. All is in one
-- statement, so an order costs one round trip. Arrays and objects without anything in them are NULL.
CREATE FUNCTION turnstile.record(
    of_event text, seen bigint, new_capacity integer, new_count integer, new_version bigint, rows json,
    freed integer[], freed_of text[], sold integer[], sold_to text[], back integer[],
    held text[], ended text[], with_keys boolean, notes json
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    number integer;
    last_given integer;
    done integer;
BEGIN
    UPDATE turnstile.events AS e
    SET capacity = new_capacity, count = new_count, version = new_version,
        given = least(greatest(e.given, sold[cardinality(sold)]), new_capacity)
    WHERE e.name = of_event AND e.version = seen
    RETURNING e.id, e.given INTO number, last_given;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'TS001', MESSAGE = 'another change came first';
    END IF;
    INSERT INTO turnstile.changes
    SELECT number, r.version, r."order", r.status, r.quantity, r.tickets, r.capacity, r.count, r.at, r.buyer,
        r.expires_at, r.key, r.asked, r.answer
    FROM json_to_recordset(rows) AS r(
        version bigint, "order" text, status text, quantity integer, tickets integer[], capacity integer,
        count integer, at double precision, buyer text, expires_at double precision, key text, asked text, answer text
    );
    IF freed IS NOT NULL THEN
        DELETE FROM turnstile.taken AS t USING unnest(freed, freed_of) AS f(ticket, order_id)
        WHERE t.event = number AND t.ticket = f.ticket AND t.order_id = f.order_id;
        GET DIAGNOSTICS done = ROW_COUNT;
        IF done <> cardinality(freed) THEN
            RAISE EXCEPTION USING ERRCODE = 'TS002', MESSAGE = 'a ticket was given back that its order did not have';
        END IF;
    END IF;
    IF sold IS NOT NULL THEN
        INSERT INTO turnstile.taken SELECT number, s.ticket, s.order_id FROM unnest(sold, sold_to) AS s(ticket, order_id);
        DELETE FROM turnstile.returned AS r WHERE r.event = number AND r.ticket = ANY (sold);
    END IF;
    IF back IS NOT NULL THEN
        INSERT INTO turnstile.returned
        SELECT number, b.ticket FROM unnest(back) AS b(ticket) WHERE b.ticket <= last_given ON CONFLICT DO NOTHING;
    END IF;
    IF last_given = new_capacity THEN
        DELETE FROM turnstile.returned AS r WHERE r.event = number AND r.ticket > last_given;
    END IF;
    IF held IS NOT NULL THEN
        INSERT INTO turnstile.holds SELECT c.order_id, c.event, c.version, c.expires_at FROM turnstile.changes AS c
        WHERE c.event = number AND c.version > seen AND c.order_id = ANY (held) AND c.status = 'held';
    END IF;
    IF ended IS NOT NULL THEN
        DELETE FROM turnstile.holds AS h WHERE h.order_id = ANY (ended);
    END IF;
    IF with_keys THEN
        PERFORM turnstile.remember(c.key, number, c.version, c.at, NULL)
        FROM turnstile.changes AS c WHERE c.event = number AND c.version > seen AND c.key IS NOT NULL;
    END IF;
    IF notes IS NOT NULL THEN
        PERFORM turnstile.remember(n.key, number, n.version, n.at, n.line)
        FROM json_to_recordset(notes) AS n(key text, version bigint, at double precision, line text);
    END IF;
END
$$;

-- name: remember
-- Remember what a key was used for. One that has an answer keeps it for a day: TS001 says that another used it first.
CREATE FUNCTION turnstile.remember(
    new_key text, number integer, new_version bigint, new_at double precision, new_note text
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO turnstile.keys AS k (key, event, version, at, note)
    VALUES (new_key, number, new_version, new_at, new_note)
    ON CONFLICT (key) DO UPDATE SET event = number, version = new_version, at = new_at, note = new_note
    WHERE new_at - k.at > 86400.0;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'TS001', MESSAGE = 'another used the key first';
    END IF;
END
$$;

-- name: put_sale
-- Record a sale, and give its tickets to its order.
CREATE FUNCTION turnstile.put_sale(
    number integer, version bigint, order_id text, tickets integer[], count integer, at double precision, buyer text
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO turnstile.changes (event, version, order_id, status, quantity, tickets, count, at, buyer)
    VALUES (number, version, order_id, 'sold', cardinality(tickets), tickets, count, at, buyer);
    INSERT INTO turnstile.taken SELECT number, unnest(tickets), order_id;
END
$$;

-- name: record_sale
-- Do as record does, for the most frequent of all pages: one sale, without a key. It is spared a quarter of the work.
CREATE FUNCTION turnstile.record_sale(
    of_event text, seen bigint, new_count integer, order_id text, tickets integer[], at double precision, buyer text
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    number integer;
BEGIN
    UPDATE turnstile.events AS e
    SET count = new_count, version = seen + 1, given = greatest(e.given, tickets[cardinality(tickets)])
    WHERE e.name = of_event AND e.version = seen
    RETURNING e.id INTO number;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'TS001', MESSAGE = 'another change came first';
    END IF;
    PERFORM turnstile.put_sale(number, seen + 1, order_id, tickets, new_count, at, buyer);
    DELETE FROM turnstile.returned AS r WHERE r.event = number AND r.ticket = ANY (tickets);
END
$$;

-- name: sell
-- The one place where the rule is said again, for the plainest of all commands: a purchase of tickets that are left.
-- The UPDATE keeps others out of the event until the end of its transaction, so what follows it sees what they did.
-- No row comes back where too few are left, or there is no such event.
CREATE FUNCTION turnstile.sell(
    of_event text, order_id text, wanted integer, buyer text, at double precision,
    OUT tickets integer[], OUT count integer, OUT version bigint
) RETURNS SETOF record LANGUAGE plpgsql ROWS 1 AS $$
DECLARE
    number integer;
    last_given integer;
    returned integer[];
BEGIN
    UPDATE turnstile.events AS e
    SET count = e.count - wanted, version = e.version + 1,
        given = e.given + wanted - least(wanted, e.count - (e.capacity - e.given))
    WHERE e.name = of_event AND e.count >= wanted
    RETURNING e.id, e.count, e.version, e.given INTO number, count, version, last_given;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    returned := ARRAY(
        SELECT r.ticket FROM turnstile.returned AS r WHERE r.event = number ORDER BY r.ticket LIMIT wanted
    );
    tickets := returned || ARRAY(
        SELECT generate_series(last_given - wanted + cardinality(returned) + 1, last_given)
    );
    IF cardinality(returned) > 0 THEN
        DELETE FROM turnstile.returned AS r WHERE r.event = number AND r.ticket = ANY (returned);
    END IF;
    PERFORM turnstile.put_sale(number, version, order_id, tickets, count, at, buyer);
    RETURN NEXT;
END
$$;
