-- Give one free replica to the first ticket in line.
--
-- KEYS[1] 3d:slots:{pool}:held     hash   url → "token expiry_ms"
-- KEYS[2] 3d:slots:{pool}:line     zset   ticket → order of arrival
-- KEYS[3] 3d:slots:{pool}:seen     zset   ticket → last time it asked, ms
-- KEYS[4] 3d:slots:{pool}:arrival  string counter
-- KEYS[5] 3d:slots:{pool}:members  hash   url → "rank expiry_ms": replicas that announced themselves
-- KEYS[6] 3d:slots:{pool}:away     hash   url → "failures until_ms": replicas that failed a moment ago
-- KEYS[7] (optional)                hash   only a ticket that is a field of it may ask
-- ARGV[1] ticket   ARGV[2] lease ms   ARGV[3] patience ms   ARGV[4] urls to avoid, by spaces   ARGV[5…] configured urls
-- Returns the url, or false: wait and ask again.
if KEYS[7] and redis.call('HEXISTS', KEYS[7], ARGV[1]) == 0 then return false end
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local ticket, lease, patience = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

local urls, rank = {}, {}
for i = 5, #ARGV do urls[#urls + 1], rank[ARGV[i]] = ARGV[i], 0 end
local members = redis.call('HGETALL', KEYS[5])
for i = 1, #members, 2 do
  local level, expiry = members[i + 1]:match('^(%d+) (%d+)$')
  if tonumber(expiry) <= now then
    redis.call('HDEL', KEYS[5], members[i])
  else
    if not rank[members[i]] then urls[#urls + 1] = members[i] end
    rank[members[i]] = tonumber(level)
  end
end

local avoid = {}
for url in ARGV[4]:gmatch('%S+') do avoid[url] = true end
local free, avoided = {}, {}
for _, url in ipairs(urls) do
  local held = redis.call('HGET', KEYS[1], url)
  local token, expiry
  if held then token, expiry = held:match('^(%S+) (%d+)$') end
  if token == ticket then -- a repeated call after a lost reply, or of one who was away until the lease had ended
    redis.call('HSET', KEYS[1], url, ticket .. ' ' .. (now + lease))
    return url
  end
  local away = redis.call('HGET', KEYS[6], url)
  if (not held or tonumber(expiry) <= now) and not (away and tonumber(away:match(' (%d+)$')) > now) then
    if avoid[url] then avoided[#avoided + 1] = url else free[#free + 1] = url end
  end
end
-- A stable choice: the order given is the caller's lot, the rank comes first.
local order = {}
for i, url in ipairs(free) do order[url] = i end
table.sort(free, function(a, b)
  if rank[a] ~= rank[b] then return rank[a] < rank[b] end
  return order[a] < order[b]
end)
for _, url in ipairs(avoided) do free[#free + 1] = url end

if not redis.call('ZSCORE', KEYS[2], ticket) then
  redis.call('ZADD', KEYS[2], redis.call('INCR', KEYS[4]), ticket)
end
redis.call('ZADD', KEYS[3], now, ticket)
-- Tickets whose holders stopped asking (killed, cancelled) leave the line.
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now - patience)) do
  redis.call('ZREM', KEYS[2], gone)
  redis.call('ZREM', KEYS[3], gone)
end
if redis.call('ZRANK', KEYS[2], ticket) >= #free then return false end
redis.call('ZREM', KEYS[2], ticket)
redis.call('ZREM', KEYS[3], ticket)
redis.call('HSET', KEYS[1], free[1], ticket .. ' ' .. (now + lease))
return free[1]
