-- One guarded change of a job: advance, finish, cancel, hand back, wait, resume. Compare-and-set on (state, version, token).
--
-- KEYS[1] job:{id}               hash  the job
-- KEYS[2] 3d:leases              zset  job id → end of the lease, ms
-- KEYS[3] 3d:claims              hash  token → job id
-- KEYS[4] 3d:queue               list  job ids ready for a worker
-- KEYS[5] 3d:unfinished:{owner}  set   ids of jobs that have not ended
-- KEYS[6] 3d:pace                hash  stage → how long it takes, s (a moving mean)
-- ARGV[1] id   ARGV[2] owner   ARGV[3] expected state   ARGV[4] expected version
-- ARGV[5] expected token ('*': whoever holds it, who is then told to stop)
-- ARGV[6] what becomes of the lease: 'keep' | 'drop' | 'requeue' (to the front) | 'queue' (to the end)
-- ARGV[7] events, one a line   ARGV[8] stages that ran: "stage seconds …"
-- ARGV[9] id of this write   ARGV[10…] changed field, value, …
-- Returns 'ok' or 'lost'.
local state, version, token, progress, write =
  unpack(redis.call('HMGET', KEYS[1], 'state', 'version', 'token', 'progress', 'write_id'))
if write and write == ARGV[9] then return 'ok' end -- a repeated call after a lost reply
if state ~= ARGV[3] or version ~= ARGV[4] or (ARGV[5] ~= '*' and (token == '' or token ~= ARGV[5])) then
  return 'lost'
end
local fields = {}
for i = 10, #ARGV, 2 do fields[ARGV[i]] = ARGV[i + 1] end
redis.call('HSET', KEYS[1], 'write_id', ARGV[9], unpack(ARGV, 10))
-- A heartbeat may have noted more than the writer knows; progress never goes back.
local least = tonumber(progress) or 0
if least > tonumber(fields.progress) then redis.call('HSET', KEYS[1], 'progress', least) else least = 0 end
if ARGV[6] ~= 'keep' then
  redis.call('ZREM', KEYS[2], ARGV[1])
  if token and token ~= '' then redis.call('HDEL', KEYS[3], token) end
  -- A job that somebody holds is in no queue; a queued one may be anywhere in it.
  if ARGV[5] == '*' then redis.call('LREM', KEYS[4], 0, ARGV[1]) end
end
if ARGV[6] == 'requeue' then redis.call('LPUSH', KEYS[4], ARGV[1]) end
if ARGV[6] == 'queue' then redis.call('RPUSH', KEYS[4], ARGV[1]) end
if fields.state == 'completed' or fields.state == 'failed' then redis.call('SREM', KEYS[5], ARGV[1]) end
for stage, seconds in ARGV[8]:gmatch('(%S+) (%S+)') do
  local before = tonumber(redis.call('HGET', KEYS[6], stage) or seconds)
  redis.call('HSET', KEYS[6], stage, string.format('%.3f', before + (seconds - before) * 0.2))
end
for event in ARGV[7]:gmatch('[^\n]+') do
  if least > 0 then
    local told = cjson.decode(event)
    told.progress = math.max(told.progress, least)
    event = cjson.encode(told)
  end
  tell(ARGV[1], ARGV[2], event)
end
if ARGV[5] == '*' then redis.call('PUBLISH', '3d:stop', ARGV[1]) end
return 'ok'
