#!lua
-- Make an event of so many tickets, and return 1; or 0, if it is there already.
--
-- ARGV[1] is the capacity.

if redis.call('EXISTS', ROOT) == 1 then
  return 0
end
local capacity = tonumber(ARGV[1])
keep({capacity = capacity, count = capacity, version = 0, given = 0})
return 1
