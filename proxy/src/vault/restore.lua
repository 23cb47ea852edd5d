-- Gives a value back to a store that has lost it. Returns its version, or 0 if there is one.
--   KEYS  values, changes, meta
--   ARGV  the file, its value
if redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2]) == 0 then return 0 end
local version = redis.call('HINCRBY', KEYS[3], 'version', 1)
redis.call('ZADD', KEYS[2], version, ARGV[1])
return version
