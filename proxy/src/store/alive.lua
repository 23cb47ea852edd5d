-- Says that an instance is alive; returns how many are, and the secret that they share.
--   KEYS  instances, by the time at which they are no longer alive; the secret
--   ARGV  the instance, for how many seconds it is alive now, the secret if there is none yet
local now = tonumber(redis.call('TIME')[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[2])
redis.call('SET', KEYS[2], ARGV[3], 'NX')
return { redis.call('ZCARD', KEYS[1]), redis.call('GET', KEYS[2]) }
