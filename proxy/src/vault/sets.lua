-- Notes that a set of values is in use, and returns all that are or were.
--   KEYS  sets
--   ARGV  the set
redis.call('SADD', KEYS[1], ARGV[1])
return redis.call('SMEMBERS', KEYS[1])
