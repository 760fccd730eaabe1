-- The requests of llama.vim, sent from Neovim as that plug-in sends them: by curl, from a buffer, the answer shown
-- as ghost text and taken into the buffer.
--
--     CODEGEMMA_URL=http://127.0.0.1:8000 nvim --clean --headless -l tests/clients/neovim/llama_vim.lua

local url = assert(vim.env.CODEGEMMA_URL, "CODEGEMMA_URL is not set")
local here = vim.fs.dirname(debug.getinfo(1, "S").source:sub(2))
local asked = vim.json.decode(table.concat(vim.fn.readfile(here .. "/../asked.json"), "\n"))
vim.o.virtualedit = "onemore" -- the cursor may stand behind a line's end, as in insert mode
local ghost = vim.api.nvim_create_namespace("ghost_text")

local TIMEOUT_MS = 60000
local FIELDS = {
  "content",
  "timings/prompt_n",
  "timings/prompt_ms",
  "timings/prompt_per_token_ms",
  "timings/prompt_per_second",
  "timings/predicted_n",
  "timings/predicted_ms",
  "timings/predicted_per_token_ms",
  "timings/predicted_per_second",
  "truncated",
  "tokens_cached",
}

local function curl(path, body)
  local command = { "curl", "--silent", "--no-buffer", "--request", "POST", "--url", url .. path }
  vim.list_extend(command, { "--header", "Content-Type: application/json", "--header", "Authorization: Bearer " })
  vim.list_extend(command, { "--data", "@-" })
  return vim.system(command, { stdin = vim.json.encode(body), text = true })
end

local function answer(path, body)
  local ended = curl(path, body):wait(TIMEOUT_MS)
  assert(ended.code == 0, ("curl ended with %d: %s"):format(ended.code, ended.stderr))
  return ended.stdout
end

local function infill(fields)
  local body = {
    input_prefix = "",
    input_suffix = "",
    input_extra = {},
    prompt = "",
    n_predict = 8,
    n_indent = 0,
    top_k = 40,
    top_p = 0.9,
    samplers = { "top_k", "top_p", "infill" },
    stop = {},
    stream = false,
    cache_prompt = true,
    id_slot = 0,
    t_max_prompt_ms = 500,
    t_max_predict_ms = 60000, -- the plug-in says 250: a machine that tests share must not decide where the text ends
    response_fields = FIELDS,
    model = "",
  }
  return answer("/infill", vim.tbl_extend("force", body, fields))
end

-- A buffer with the cursor at the end of what is asked about, and what the plug-in makes of it.
local function open()
  vim.cmd("enew!")
  local lines = vim.split(asked.prefix .. asked.suffix, "\n")
  vim.api.nvim_buf_set_lines(0, 0, -1, true, lines)
  local row = #vim.split(asked.prefix, "\n")
  vim.api.nvim_win_set_cursor(0, { row, #lines[row] })
  return {
    input_prefix = table.concat(lines, "\n", 1, row - 1) .. "\n",
    prompt = lines[row],
    input_suffix = "\n" .. table.concat(lines, "\n", row + 1) .. "\n",
  }
end

local function hint(raw)
  assert(raw:find('"content":"', 1, true), "the plug-in finds no content in " .. raw) -- with a space it shows nothing
  return vim.split(vim.json.decode(raw).content, "\n")
end

local function show(lines)
  local row, column = unpack(vim.api.nvim_win_get_cursor(0))
  local below = vim.tbl_map(function(line) return { { line, "Comment" } } end, vim.list_slice(lines, 2))
  local mark = { virt_text = { { lines[1], "Comment" } }, virt_text_pos = "inline", virt_lines = below }
  return vim.api.nvim_buf_set_extmark(0, ghost, row - 1, column, mark)
end

local function accept(lines)
  local row, column = unpack(vim.api.nvim_win_get_cursor(0))
  vim.api.nvim_buf_clear_namespace(0, ghost, 0, -1)
  vim.api.nvim_buf_set_text(0, row - 1, column, row - 1, column, lines)
end

local tests = {}

tests["ghost text is shown, and its first line taken into the buffer"] = function()
  local lines = hint(infill(open()))
  local mark = vim.api.nvim_buf_get_extmark_by_id(0, ghost, show(lines), { details = true })
  assert(vim.startswith(mark[3].virt_text[1][1], asked.filled_in), vim.inspect(mark))
  accept({ lines[1] })
  local before = vim.split(asked.prefix, "\n")
  before[#before] = before[#before] .. asked.filled_in
  local due = vim.list_extend(before, vim.list_slice(vim.split(asked.suffix, "\n"), 2))
  local got = vim.api.nvim_buf_get_lines(0, 0, -1, true)
  assert(vim.deep_equal(due, got), vim.inspect(got))
end

tests["the request that is sent ahead finds its prompt in the cache"] = function()
  local at_cursor = open()
  at_cursor.input_prefix = ("# a line of code\n"):rep(60) .. at_cursor.input_prefix -- more than a page of the cache
  local first = vim.json.decode(infill(at_cursor))
  at_cursor.prompt = at_cursor.prompt .. vim.split(first.content, "\n")[1]
  local ahead = vim.json.decode(infill(at_cursor))
  assert(ahead["tokens_cached"] > 0, vim.inspect(ahead))
  for _, field in ipairs(FIELDS) do
    assert(ahead[field] ~= nil, "without " .. field)
  end
end

tests["a warm-up with other files is answered with nothing"] = function()
  local extra = { { text = "def sub(a, b):\n    return a - b\n", time = { 502, 1459241660 }, filename = "sub.py" } }
  local warm = { input_extra = extra, n_predict = 0, t_max_prompt_ms = 1, t_max_predict_ms = 1, temperature = 0.0 }
  local raw = infill(vim.tbl_extend("force", warm, { response_fields = { "" }, samplers = {} }))
  assert(vim.deep_equal(vim.json.decode(raw), vim.empty_dict()), raw)
end

tests["a request that was ended does not hold up the next"] = function()
  local long = vim.tbl_extend("force", open(), { n_predict = 4096, stream = false })
  for _ = 1, 16 do -- more than there are rows
    local running = curl("/infill", long)
    vim.wait(50)
    running:kill("sigterm")
    running:wait(TIMEOUT_MS)
  end
  assert(vim.startswith(hint(infill(open()))[1], asked.filled_in))
end

tests["an instruction is answered as it comes"] = function()
  local raw = answer("/v1/chat/completions", {
    messages = {
      { role = "system", content = "You edit text. Respond only with the result." },
      { role = "user", content = "INSTRUCTION: make it 20" },
    },
    temperature = 0.1,
    min_p = 0.1,
    samplers = { "min_p", "temperature" },
    id_slot = 0,
    cache_prompt = true,
    stream = true,
    max_tokens = 16,
    model = "",
  })
  local text = ""
  for line in vim.gsplit(raw, "\n") do
    local data = line:match("^data: ({.*})$")
    local choice = data and vim.json.decode(data).choices[1]
    text = text .. (choice and choice.delta.content or "")
  end
  assert(text ~= "", raw)
end

local failed = 0
for name, test in vim.spairs(tests) do
  local passed, fault = xpcall(test, debug.traceback)
  failed = failed + (passed and 0 or 1)
  io.stdout:write(passed and "ok      " or "FAILED  ", name, "\n", passed and "" or fault .. "\n")
end
io.stdout:write(("%d passed, %d failed\n"):format(vim.tbl_count(tests) - failed, failed))
os.exit(failed == 0 and 0 or 1)
