-- Writes or removes a value, if nobody has taken the lease of its name since. Returns its version,
-- or 0.
--   KEYS  values, changes, meta, fences
--   ARGV  the name that is led, the token of its lease, the file, its value (none removes it)
if redis.call('HGET', KEYS[4], ARGV[1]) ~= ARGV[2] then return 0 end
if ARGV[4] then
  redis.call('HSET', KEYS[1], ARGV[3], ARGV[4])
else
  redis.call('HDEL', KEYS[1], ARGV[3])
end
local version = redis.call('HINCRBY', KEYS[3], 'version', 1)
redis.call('ZADD', KEYS[2], version, ARGV[3])
return version
