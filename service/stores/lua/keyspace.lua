-- An event in Redis. This stands before each of the other scripts.
--
-- KEYS[1] is the event's own key, such as {turnstile:default}; all others begin with it, so that in a cluster they are
-- on one node. A script runs alone, from its first line to its last, and what it wrote is kept together. Redis does
-- not undo one that fails in the middle, so all is looked at before anything is written.
--
--   {..}           hash    capacity, count, version, and given: all tickets above this number were never given out
--   {..}:returned  zset    the free tickets up to given, by number
--   {..}:tickets   string  a letter for each ticket that was ever given out: s sold, h held, - free
--   {..}:orders    hash    each order as its last change left it
--   {..}:holds     zset    the live holds, by when they end
--   {..}:changes   list    every change, in the order of writing
--   {..}:key:K     string  what the idempotency key K was used for
--
-- Moments are decimal texts, as Python wrote them: cjson would round them to 14 digits.

local ROOT = KEYS[1]
local RETURNED, TICKETS, ORDERS = ROOT .. ':returned', ROOT .. ':tickets', ROOT .. ':orders'
local HOLDS, CHANGES, KEY = ROOT .. ':holds', ROOT .. ':changes', ROOT .. ':key:'
-- How long a key is kept: an hour longer than it counts, for the clocks of hosts differ, and the rule looks by itself.
local KEPT_S = 25 * 3600
local PIECE = 4096

local function event_now()
  local said = redis.call('HMGET', ROOT, 'capacity', 'count', 'version', 'given')
  if not said[1] then
    return nil
  end
  local capacity, count, version, given = unpack(said)
  return {
    capacity = tonumber(capacity), count = tonumber(count), version = tonumber(version), given = tonumber(given),
  }
end

local function keep(event)
  local left, given = event.count, event.given
  redis.call('HSET', ROOT, 'capacity', event.capacity, 'count', left, 'version', event.version, 'given', given)
end

local function order_now(id)
  local text = redis.call('HGET', ORDERS, id)
  return text and cjson.decode(text) or nil
end

-- The lowest free tickets: so many, or all.
local function lowest(event, quantity)
  local tickets = {}
  for i, ticket in ipairs(redis.call('ZRANGE', RETURNED, 0, quantity - 1)) do
    tickets[i] = tonumber(ticket)
  end
  for ticket = event.given + 1, math.min(event.given + quantity - #tickets, event.capacity) do
    tickets[#tickets + 1] = ticket
  end
  return tickets
end

-- The live holds that end first: enough of them for so many tickets, or all. Each has a ticket at least.
local function first_to_end(tickets)
  local found = {}
  if tickets <= 0 then
    return found
  end
  for _, id in ipairs(redis.call('ZRANGE', HOLDS, 0, tickets - 1)) do
    if tickets > 0 then
      local hold = order_now(id)
      found[#found + 1] = hold
      tickets = tickets - hold.quantity
    end
  end
  return found
end

-- The highest ticket that is sold or held, but for those of these holds; 0 if there is none.
local function highest(event, holds)
  local but = {}
  for _, hold in ipairs(holds) do
    for _, ticket in ipairs(hold.tickets) do
      but[ticket] = true
    end
  end
  local last = event.given
  while last > 0 do
    local first = math.max(last - PIECE + 1, 1)
    local letters = redis.call('GETRANGE', TICKETS, first - 1, last - 1)
    for ticket = last, first, -1 do
      local letter = letters:sub(ticket - first + 1, ticket - first + 1)
      if (letter == 's' or letter == 'h') and not but[ticket] then
        return ticket
      end
    end
    last = first - 1
  end
  return 0
end

local function mark(tickets, letter)
  local first = 1
  while first <= #tickets do
    local last = first
    while tickets[last + 1] == tickets[last] + 1 do
      last = last + 1
    end
    redis.call('SETRANGE', TICKETS, tickets[first] - 1, letter:rep(last - first + 1))
    first = last + 1
  end
end

local function take(event, tickets)
  local back = {}
  for _, ticket in ipairs(tickets) do
    if ticket <= event.given then
      back[#back + 1] = ticket
    else
      event.given = ticket
    end
  end
  if #back > 0 then
    redis.call('ZREM', RETURNED, unpack(back))
  end
end

local function give_back(tickets)
  local scored = {}
  for _, ticket in ipairs(tickets) do
    scored[#scored + 1] = ticket
    scored[#scored + 1] = ticket
  end
  redis.call('ZADD', RETURNED, unpack(scored))
end

-- What is cut off was free: its letters say so, and may stay until somebody has it again.
local function resize(event, capacity)
  event.capacity = capacity
  if capacity < event.given then
    event.given = capacity
    redis.call('ZREMRANGEBYSCORE', RETURNED, capacity + 1, '+inf')
  end
end

-- Write a change of an order, or of the capacity, whatever stood there before. The event is kept by who calls.
-- Returns the change as it is written.
local function write(event, change)
  local text = cjson.encode(change)
  redis.call('RPUSH', CHANGES, text)
  event.count, event.version = change.count, change.version
  if change.capacity then
    resize(event, change.capacity)
    return text
  end
  redis.call('HSET', ORDERS, change.id, text)
  local was_held = redis.call('ZREM', HOLDS, change.id) == 1
  if change.status == 'held' then
    redis.call('ZADD', HOLDS, change.expires_at, change.id)
    take(event, change.tickets)
    mark(change.tickets, 'h')
  elseif change.status == 'sold' then
    if not was_held then
      take(event, change.tickets)
    end
    mark(change.tickets, 's')
  else
    give_back(change.tickets)
    mark(change.tickets, '-')
  end
  return text
end

-- Keep what an idempotency key was used for.
local function use(key, used)
  redis.call('SET', KEY .. key, used, 'EX', KEPT_S)
end
