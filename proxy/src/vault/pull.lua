-- What has changed since a version, and how much all instances have seen.
--   KEYS  values, changes, meta, instances
--   ARGV  an epoch if there is none, the epoch that is known, the version that is known,
--         how many changes at most, the instance (empty for none), the version that it has put to
--         use, for how many milliseconds it is alive now
redis.call('HSETNX', KEYS[3], 'epoch', ARGV[1])
local epoch = redis.call('HGET', KEYS[3], 'epoch')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[5] ~= '' then
  local seen = epoch == ARGV[2] and ARGV[6] or '0'
  redis.call('HSET', KEYS[4], ARGV[5], string.format('%.0f %s', now + ARGV[7], seen))
end
local slowest = -1
local instances = redis.call('HGETALL', KEYS[4])
for i = 1, #instances, 2 do
  local alive, seen = string.match(instances[i + 1], '^(%d+) (%d+)$')
  if alive and tonumber(alive) >= now then
    seen = tonumber(seen)
    if slowest < 0 or seen < slowest then slowest = seen end
  else
    redis.call('HDEL', KEYS[4], instances[i])
  end
end
local since = epoch == ARGV[2] and '(' .. ARGV[3] or '-inf'
local changed =
  redis.call('ZRANGEBYSCORE', KEYS[2], since, '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[4])
local changes = {}
for i = 1, #changed, 2 do
  local value = redis.call('HGET', KEYS[1], changed[i])
  changes[#changes + 1] = { changed[i], changed[i + 1], value }
end
return { epoch, slowest, changes }
