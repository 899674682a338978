#!lua
-- Write the changes of a page, whatever stands there by now: to keep others out was the business of who calls.
--
-- ARGV[1] is the changes, as JSON; ARGV[2] an idempotency key, or nothing, and ARGV[3] what it was used for.

local event = event_now()
local changes = cjson.decode(ARGV[1])
for _, change in ipairs(changes) do
  write(event, change)
end
if #changes > 0 then
  keep(event)
end
if ARGV[2] ~= '' then
  use(ARGV[2], ARGV[3])
end
