-- A ledger that all Gateways have in common, in Redis: each call is one script, which Redis runs alone.
--
-- KEYS: of each account a sorted set of its requests by when they were begun, a hash of their tokens (and, as "sum", of
-- all of them), and a sorted set of those that have not ended by when they are given up.
-- ARGV: begin, reserve or end; the request; its tokens (-1: it leaves); milliseconds after which a request that has not
-- ended is given up, as its Gateway was lost; then of each account its requests, tokens and concurrent requests, -1 for
-- no limit.
-- Returns nothing if it is done, or else the account's position from 0, its limit's from 1, what is left of that, and the
-- milliseconds until there is room (-1: unknown).

local WINDOW_MS = 60000
local operation, request, tokens, lease_ms = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME') -- one clock for all Gateways
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local accounts = {}

-- What is entered of a request, and the sum of all.
local function entered(account, id)
  local numbers = redis.call('HMGET', account.tokens, id, 'sum')
  return tonumber(numbers[1] or 0), tonumber(numbers[2] or 0)
end

local function set_tokens(account, id, value)
  if redis.call('ZSCORE', account.begun, id) then
    local before, sum = entered(account, id)
    redis.call('HSET', account.tokens, id, value, 'sum', sum - before + value)
  end
end

local function leave(account, id)
  set_tokens(account, id, 0)
  redis.call('ZREM', account.begun, id)
  redis.call('HDEL', account.tokens, id)
end

local function refusal(position, account, limit, left, missing)
  local freed = 0
  local entries = redis.call('ZRANGE', account.begun, 0, limit == 2 and -1 or missing - 1, 'WITHSCORES')
  for i = 1, #entries, 2 do
    freed = freed + (limit == 2 and tonumber(redis.call('HGET', account.tokens, entries[i]) or 0) or 1)
    if freed >= missing then
      return {position, limit, left, entries[i + 1] + WINDOW_MS - now}
    end
  end
  return {position, limit, left, WINDOW_MS}
end

-- At its end a request needs no room: nothing is looked for that has become old.
local function expire(account)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', account.begun, '-inf', now - WINDOW_MS)) do
    leave(account, id)
  end
  if operation == 'begin' then
    redis.call('ZREMRANGEBYSCORE', account.running, '-inf', now)
  end
end

for i = 1, #KEYS / 3 do
  accounts[i] = {
    begun = KEYS[3 * i - 2], tokens = KEYS[3 * i - 1], running = KEYS[3 * i],
    max_requests = tonumber(ARGV[3 * i + 2]), max_tokens = tonumber(ARGV[3 * i + 3]),
    max_running = tonumber(ARGV[3 * i + 4]),
  }
  if operation ~= 'end' then
    expire(accounts[i])
  end
end

for i, account in ipairs(accounts) do
  if operation == 'begin' then
    if account.max_running >= 0 and redis.call('ZCARD', account.running) >= account.max_running then
      return {i - 1, 3, 0, -1}
    end
    if account.max_requests >= 0 and redis.call('ZCARD', account.begun) >= account.max_requests then
      return refusal(i - 1, account, 1, 0, 1)
    end
  elseif operation == 'reserve' and account.max_tokens >= 0 then
    local before, sum = entered(account, request)
    local left = account.max_tokens - (sum - before)
    if tokens > left then
      for j = 1, i do
        set_tokens(accounts[j], request, 0)
      end
      return refusal(i - 1, account, 2, left, tokens - left)
    end
  end
end

for _, account in ipairs(accounts) do
  if operation == 'begin' then
    redis.call('ZADD', account.begun, now, request)
    redis.call('ZADD', account.running, now + lease_ms, request)
    redis.call('PEXPIRE', account.begun, WINDOW_MS)
    redis.call('PEXPIRE', account.running, lease_ms)
  else
    if operation == 'end' then
      redis.call('ZREM', account.running, request)
    end
    if tokens < 0 then leave(account, request) else set_tokens(account, request, tokens) end
    redis.call('PEXPIRE', account.tokens, WINDOW_MS)
  end
end
