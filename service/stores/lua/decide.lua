#!lua
-- The booking rule, restated: what rules.py says in Python, word for word as far as the language lets it. A property
-- test holds the two to the same replies, so that whoever changes one of them is told of the other.
--
-- ARGV[1] is the moment of the decision. Each further argument is a command, as JSON; they are decided one after the
-- other. Returns a note for each: what is answered, as JSON. It is also what is kept for an idempotency key.

local NOW = ARGV[1]
local now = tonumber(NOW)
local KEY_S = 24 * 3600
local SWEEP_TICKETS_MAX = 100
local NO_SUCH_EVENT, NO_SUCH_ORDER = '{"answer":"no-such-event"}', '{"answer":"no-such-order"}'

-- A note that is about the event, and one that is about an order, of which this is the text.
local function note(answer, event, more)
  local said = more or {}
  said.answer, said.capacity, said.count, said.version = answer, event.capacity, event.count, event.version
  return cjson.encode(said)
end

local function note_of(answer, text)
  return '{"answer":"' .. answer .. '","about":' .. text .. '}'
end

local function overdue(order)
  return order.expires_at and tonumber(order.expires_at) <= now
end

-- Let an order go on to a status, and return its text; unless it is sold then, its tickets are free.
local function ended(event, order, status)
  order.status = status
  order.count = event.count + (status == 'sold' and 0 or order.quantity)
  order.version, order.at = event.version + 1, NOW
  return write(event, order)
end

-- Let those of the holds end whose time is over, and return how many they are.
local function swept(event, holds)
  local count = 0
  for _, hold in ipairs(holds) do
    if overdue(hold) then
      ended(event, hold, 'expired')
      count = count + 1
    end
  end
  return count
end

local function placed(event, command)
  if command.quantity > event.count then
    swept(event, first_to_end(command.quantity - event.count))
  end
  local quantity = command.partial and math.min(command.quantity, event.count) or command.quantity
  if quantity > event.count or event.count == 0 then
    return note('sold-out', event, {quantity = command.quantity})
  end
  local order = {
    id = command.order,
    status = command.expires_at and 'held' or 'sold',
    quantity = quantity,
    tickets = lowest(event, quantity),
    count = event.count - quantity,
    version = event.version + 1,
    at = NOW,
    buyer = command.buyer,
    expires_at = command.expires_at,
  }
  return note_of(order.status, write(event, order))
end

local function confirmed(event, command)
  local order = order_now(command.order)
  if not order then
    return NO_SUCH_ORDER
  end
  if order.status == 'sold' then
    return note_of('confirmed', cjson.encode(order))
  end
  if order.status == 'cancelled' then
    return note('order-cancelled', event, {order = order.id})
  end
  if order.status == 'held' then
    if not overdue(order) then
      return note_of('confirmed', ended(event, order, 'sold'))
    end
    ended(event, order, 'expired')
  end
  return note('hold-expired', event, {order = order.id})
end

local function cancelled(event, command)
  local order = order_now(command.order)
  if not order then
    return NO_SUCH_ORDER
  end
  if order.status == 'cancelled' then
    return note_of('cancelled', cjson.encode(order))
  end
  if order.status == 'held' and overdue(order) then
    ended(event, order, 'expired')
  elseif order.status == 'held' or order.status == 'sold' then
    return note_of('cancelled', ended(event, order, 'cancelled'))
  end
  return note('hold-expired', event, {order = order.id})
end

-- The lowest capacity that the event can have while those of the holds live that are left.
local function least(event, high, holds)
  local most = math.max(event.capacity - event.count, high)
  for _, hold in ipairs(holds) do
    if hold.status == 'held' then
      most = math.max(most, unpack(hold.tickets))
    end
  end
  return most
end

local function resized(event, command)
  local holds = first_to_end(SWEEP_TICKETS_MAX)
  local high = highest(event, holds)
  if command.capacity < least(event, high, holds) then
    swept(event, holds)
  end
  local lowest_capacity = least(event, high, holds)
  if command.capacity < lowest_capacity then
    return note('capacity-taken', event, {least = lowest_capacity})
  end
  local more = command.capacity - event.capacity
  if more ~= 0 then
    write(event, {capacity = command.capacity, count = event.count + more, version = event.version + 1, at = NOW})
  end
  return note('sized', event)
end

local function swept_only(event)
  local count = swept(event, first_to_end(SWEEP_TICKETS_MAX))
  return note('swept', event, {ended = count})
end

local RULES = {
  buy = placed, hold = placed, confirm = confirmed, cancel = cancelled, resize = resized, sweep = swept_only,
}

local function decided(event, command)
  if not event then
    return NO_SUCH_EVENT
  end
  local used = command.key and redis.call('GET', KEY .. command.key)
  used = used and cjson.decode(used)
  if used and now - tonumber(used.at) <= KEY_S then
    return used.asked == command.asked and used.reply or note('key-reused', event)
  end
  local reply = RULES[command.kind](event, command)
  if command.key and reply ~= NO_SUCH_ORDER then
    use(command.key, cjson.encode({asked = command.asked, at = NOW, reply = reply}))
  end
  return reply
end

local event = event_now()
local before = event and event.version
local notes = {}
for i = 2, #ARGV do
  notes[i - 1] = decided(event, cjson.decode(ARGV[i]))
end
if event and event.version ~= before then
  keep(event)
end
return notes
