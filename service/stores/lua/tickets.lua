#!lua flags=no-writes
-- Which tickets are sold and held, and how the event stands at the same moment.
--
-- ARGV[1] and ARGV[2] are the first and the last ticket. Returns capacity, count, version, and a letter for each ticket
-- that was ever given out; nothing, if there is no event.

local event = event_now()
if not event then
  return {}
end
return {event.capacity, event.count, event.version, redis.call('GETRANGE', TICKETS, ARGV[1] - 1, ARGV[2] - 1)}
