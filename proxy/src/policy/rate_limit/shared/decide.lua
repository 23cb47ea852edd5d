-- Decides one request by all rules that count it, together: the arithmetic of `window.rs`, in
-- microseconds of the server's clock.
--
--   KEYS  one list per rule: the stamps of its window, oldest first; above a grain of 1 the number
--         of requests in the youngest grain stands behind them
--   ARGV  six numbers per rule: limit, window, grain, what must be left for the request to pass,
--         what it takes if it does, 1 if the rule only watches
--   returns 1 if it passes, and per rule: what was left, and the time until it would pass or, if
--         it does, until more quota comes back
--
-- A request that does not pass takes nothing. If the clock was set back, the stamps are moved back
-- with it: nobody waits for a time that has been already.

local passes = 1
local answer = { 1 }
local rules = {}

for i, key in ipairs(KEYS) do
  local a = i * 6 - 6
  local limit, window, grain = tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2]), tonumber(ARGV[a + 3])
  local need, watches = tonumber(ARGV[a + 4]), ARGV[a + 6] == '1'
  local tail = grain > 1 and 1 or 0
  local length = redis.call('LLEN', key)
  local youngest, oldest, last = grain, nil, nil
  if length > 0 then
    last = tonumber(redis.call('LINDEX', key, -1 - tail))
    if last > now then
      local stamps = redis.call('LRANGE', key, 0, -1)
      for s = 1, length - tail do stamps[s] = string.format('%.0f', stamps[s] - (last - now)) end
      redis.call('DEL', key)
      redis.call('RPUSH', key, unpack(stamps))
      redis.call('PEXPIRE', key, math.ceil(window / 1000))
      last = now
    end
    if now - last >= window then
      redis.call('DEL', key)
      length, last = 0, nil
    else
      oldest = tonumber(redis.call('LINDEX', key, 0))
      while now - oldest >= window do
        redis.call('LPOP', key)
        length = length - 1
        oldest = tonumber(redis.call('LINDEX', key, 0))
      end
      if tail == 1 then youngest = tonumber(redis.call('LINDEX', key, -1)) end
    end
  end
  local stamps = length > 0 and length - tail or 0
  local used = stamps > 0 and (stamps - 1) * grain + (tail == 1 and youngest or 1) or 0
  local left = math.max(limit - used, 0)
  local wait = oldest and oldest + window - now or window
  if left < need then
    if not watches then passes = 0 end
    local index = math.ceil((used + need - limit) / grain) - 1
    if index > 0 and stamps > 0 then
      wait = tonumber(redis.call('LINDEX', key, math.min(index, stamps - 1))) + window - now
    end
  end
  answer[i * 2], answer[i * 2 + 1] = left, wait
  rules[i] = { left >= need, stamps, youngest, grain, window, tail }
end

answer[1] = passes
if passes == 0 then return answer end

for i, key in ipairs(KEYS) do
  local enough, stamps, youngest, grain, window, tail = unpack(rules[i])
  local take = tonumber(ARGV[i * 6 - 1])
  if enough and take > 0 then
    if tail == 0 then
      redis.call('RPUSH', key, now)
      for _ = 2, take do redis.call('RPUSH', key, now) end
    else
      if stamps > 0 then
        local fits = math.min(take, grain - youngest)
        take = take - fits
        redis.call('LSET', key, -1, take > 0 and now or youngest + fits)
      end
      if take > 0 then
        local grains = math.ceil(take / grain)
        local begun = stamps > 0 and 1 or 0
        for _ = 1 + begun, grains do redis.call('RPUSH', key, now) end
        redis.call('RPUSH', key, take - (grains - 1) * grain)
      end
    end
    redis.call('PEXPIRE', key, math.ceil(window / 1000))
  end
end
return answer
