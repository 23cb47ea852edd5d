-- Takes, renews or gives back the lease of a name. Returns its token, or 0 if it is another's.
--   KEYS  lease, fences, meta
--   ARGV  the name, for how many milliseconds (0 gives it back), the token (empty takes it)
if ARGV[3] == '' then
  if redis.call('EXISTS', KEYS[1]) == 1 then return '0' end
  -- Tokens grow, also past a store that was emptied.
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local last = tonumber(redis.call('HGET', KEYS[3], 'fence') or 0)
  local token = string.format('%.0f', math.max(last + 1, now))
  redis.call('HSET', KEYS[3], 'fence', token)
  redis.call('HSET', KEYS[2], ARGV[1], token)
  redis.call('SET', KEYS[1], token, 'PX', ARGV[2])
  return token
end
if redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[3] then return '0' end
if ARGV[2] == '0' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[2])
end
return ARGV[3]
