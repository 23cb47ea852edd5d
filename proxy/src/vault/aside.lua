-- Renames a value that cannot be used, if it is still the one that was seen. Returns whether it was.
--   KEYS  values, changes, meta
--   ARGV  the file, its version, its new name
if tonumber(redis.call('ZSCORE', KEYS[2], ARGV[1])) ~= tonumber(ARGV[2]) then return 0 end
local value = redis.call('HGET', KEYS[1], ARGV[1])
if not value then return 0 end
redis.call('HSET', KEYS[1], ARGV[3], value)
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[2], redis.call('HINCRBY', KEYS[3], 'version', 1), ARGV[1])
return 1
