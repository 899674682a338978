#!lua flags=no-writes
-- The page of a command, for who decides elsewhere: what it touches, as JSON. It writes nothing.
--
-- ARGV[1] is the command, as JSON.

local SWEEP_TICKETS_MAX = 100

local command = cjson.decode(ARGV[1])
local event = event_now()
if not event then
  return '{}'
end
local page = {event = event, free = {}, holds = {}, highest = 0}
if command.kind == 'buy' or command.kind == 'hold' then
  page.free = lowest(event, command.quantity)
  page.holds = first_to_end(command.quantity - event.count)
elseif command.kind == 'confirm' or command.kind == 'cancel' then
  page.order = order_now(command.order)
else
  page.holds = first_to_end(SWEEP_TICKETS_MAX)
  page.highest = command.kind == 'resize' and highest(event, page.holds) or 0
end
if command.key then
  local used = redis.call('GET', KEY .. command.key)
  page.used = used and cjson.decode(used) or nil
end
return cjson.encode(page)
