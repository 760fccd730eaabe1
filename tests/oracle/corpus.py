"""Text for prompts: short pieces of code in many languages, and prose, all written for this purpose."""

PIECES = {
    "python": '''
import heapq
from collections.abc import Iterable, Iterator


def merge_sorted(*streams: Iterable[int]) -> Iterator[int]:
    """Yields the numbers of several sorted streams in order."""
    heap = []
    for order, stream in enumerate(streams):
        iterator = iter(stream)
        for first in iterator:
            heap.append((first, order, iterator))
            break
    heapq.heapify(heap)
    while heap:
        value, order, iterator = heap[0]
        yield value
        following = next(iterator, None)
        if following is None:
            heapq.heappop(heap)
        else:
            heapq.heapreplace(heap, (following, order, iterator))
''',
    "python-class": """
class Account:
    def __init__(self, owner, balance=0):
        self.owner = owner
        self.balance = balance
        self.history = []

    def deposit(self, amount):
        if amount <= 0:
            raise ValueError("amount must be positive")
        self.balance += amount
        self.history.append(("deposit", amount))

    def withdraw(self, amount):
        if amount > self.balance:
            raise ValueError("insufficient funds")
        self.balance -= amount
        self.history.append(("withdraw", amount))

    def transfer(self, other, amount):
        self.withdraw(amount)
        other.deposit(amount)
""",
    "rust": """
use std::collections::HashMap;

pub struct Interner {
    ids: HashMap<String, u32>,
    names: Vec<String>,
}

impl Interner {
    pub fn new() -> Self {
        Interner { ids: HashMap::new(), names: Vec::new() }
    }

    pub fn intern(&mut self, name: &str) -> u32 {
        if let Some(&id) = self.ids.get(name) {
            return id;
        }
        let id = self.names.len() as u32;
        self.ids.insert(name.to_string(), id);
        self.names.push(name.to_string());
        id
    }

    pub fn lookup(&self, id: u32) -> Option<&str> {
        self.names.get(id as usize).map(|name| name.as_str())
    }
}
""",
    "go": """
package queue

import (
	"context"
	"errors"
	"sync"
)

var ErrClosed = errors.New("queue: closed")

type Queue struct {
	mu     sync.Mutex
	items  []string
	closed bool
	ready  chan struct{}
}

func (q *Queue) Push(item string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return ErrClosed
	}
	q.items = append(q.items, item)
	select {
	case q.ready <- struct{}{}:
	default:
	}
	return nil
}

func (q *Queue) Pop(ctx context.Context) (string, error) {
	for {
		q.mu.Lock()
		if len(q.items) > 0 {
			item := q.items[0]
			q.items = q.items[1:]
""",
    "javascript": """
export function debounce(callback, delay) {
  let timer = null;
  return function (...args) {
    if (timer !== null) {
      clearTimeout(timer);
    }
    timer = setTimeout(() => {
      timer = null;
      callback.apply(this, args);
    }, delay);
  };
}

export async function fetchAll(urls, limit = 4) {
  const results = new Array(urls.length);
  let next = 0;
  async function worker() {
    while (next < urls.length) {
      const index = next++;
      const response = await fetch(urls[index]);
      if (!response.ok) {
        throw new Error(`HTTP ${response.status}: ${urls[index]}`);
      }
      results[index] = await response.json();
    }
  }
  await Promise.all(Array.from({ length: limit }, worker));
  return results;
}
""",
    "typescript": """
interface Point {
  readonly x: number;
  readonly y: number;
}

type Shape =
  | { kind: "circle"; center: Point; radius: number }
  | { kind: "polygon"; points: Point[] };

function area(shape: Shape): number {
  switch (shape.kind) {
    case "circle":
      return Math.PI * shape.radius ** 2;
    case "polygon": {
      let twice = 0;
      for (let i = 0; i < shape.points.length; i++) {
        const a = shape.points[i];
        const b = shape.points[(i + 1) % shape.points.length];
        twice += a.x * b.y - b.x * a.y;
      }
      return Math.abs(twice) / 2;
    }
  }
}
""",
    "java": """
package org.example.text;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

public final class WordCounter {
    private final Map<String, Integer> counts = new TreeMap<>();

    public void add(String line) {
        for (String word : line.split("\\\\W+")) {
            if (!word.isEmpty()) {
                counts.merge(word.toLowerCase(), 1, Integer::sum);
            }
        }
    }

    public List<String> mostFrequent(int limit) {
        List<Map.Entry<String, Integer>> entries = new ArrayList<>(counts.entrySet());
        entries.sort((a, b) -> Integer.compare(b.getValue(), a.getValue()));
        List<String> words = new ArrayList<>();
        for (Map.Entry<String, Integer> entry : entries.subList(0, Math.min(limit, entries.size()))) {
            words.add(entry.getKey());
        }
        return words;
    }
""",
    "c": """
#include <stdlib.h>
#include <string.h>

struct buffer {
    char *data;
    size_t length;
    size_t capacity;
};

int buffer_reserve(struct buffer *buffer, size_t wanted)
{
    size_t capacity = buffer->capacity ? buffer->capacity : 64;
    char *data;

    if (wanted <= buffer->capacity)
        return 0;
    while (capacity < wanted)
        capacity *= 2;
    data = realloc(buffer->data, capacity);
    if (data == NULL)
        return -1;
    buffer->data = data;
    buffer->capacity = capacity;
    return 0;
}

int buffer_append(struct buffer *buffer, const char *text, size_t length)
{
    if (buffer_reserve(buffer, buffer->length + length) != 0)
        return -1;
""",
    "cpp": """
#include <algorithm>
#include <cstddef>
#include <stdexcept>
#include <vector>

template <typename T>
class RingBuffer {
 public:
  explicit RingBuffer(std::size_t capacity) : items_(capacity) {}

  void push(T value) {
    items_[(head_ + size_) % items_.size()] = std::move(value);
    if (size_ < items_.size()) {
      ++size_;
    } else {
      head_ = (head_ + 1) % items_.size();
    }
  }

  T pop() {
    if (size_ == 0) {
      throw std::out_of_range("ring buffer is empty");
    }
    T value = std::move(items_[head_]);
    head_ = (head_ + 1) % items_.size();
    --size_;
    return value;
  }
""",
    "csharp": """
using System;
using System.Collections.Generic;
using System.Linq;

namespace Inventory
{
    public record Item(string Name, int Quantity, decimal Price);

    public class Warehouse
    {
        private readonly Dictionary<string, Item> items = new();

        public void Receive(Item item)
        {
            if (items.TryGetValue(item.Name, out var known))
            {
                item = known with { Quantity = known.Quantity + item.Quantity };
            }
            items[item.Name] = item;
        }

        public decimal TotalValue() => items.Values.Sum(item => item.Quantity * item.Price);
""",
    "sql": """
CREATE TABLE orders (
    id          BIGINT PRIMARY KEY,
    customer_id BIGINT NOT NULL REFERENCES customers (id),
    placed_at   TIMESTAMP NOT NULL,
    total_cents INTEGER NOT NULL CHECK (total_cents >= 0)
);

CREATE INDEX orders_by_customer ON orders (customer_id, placed_at);

-- Customers who spent more this month than in the month before.
WITH monthly AS (
    SELECT customer_id,
           date_trunc('month', placed_at) AS month,
           sum(total_cents) AS spent
    FROM orders
    GROUP BY customer_id, date_trunc('month', placed_at)
)
SELECT this.customer_id, this.spent - last.spent AS growth
FROM monthly AS this
JOIN monthly AS last
  ON last.customer_id = this.customer_id
""",
    "shell": """
#!/usr/bin/env bash
set -euo pipefail

usage() {
    echo "usage: $0 [-n] source destination" >&2
    exit 2
}

dry_run=false
while getopts "n" option; do
    case "$option" in
        n) dry_run=true ;;
        *) usage ;;
    esac
done
shift $((OPTIND - 1))
[ $# -eq 2 ] || usage

find "$1" -type f -name '*.log' -mtime +7 -print0 |
    while IFS= read -r -d '' file; do
        target="$2/$(basename "$file").gz"
        if "$dry_run"; then
            echo "would archive $file to $target"
        else
""",
    "html": """
<!DOCTYPE html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <title>Weather report</title>
    <link rel="stylesheet" href="style.css">
  </head>
  <body>
    <header>
      <h1>Weather report</h1>
      <nav>
        <ul>
          <li><a href="#today">Today</a></li>
          <li><a href="#tomorrow">Tomorrow</a></li>
        </ul>
      </nav>
    </header>
    <main>
      <section id="today">
        <h2>Today</h2>
        <table>
          <tr><th>Hour</th><th>Temperature</th><th>Wind</th></tr>
          <tr><td>09:00</td><td>12 °C</td><td>4 m/s</td></tr>
""",
    "css": """
:root {
  --accent: #3366cc;
  --gap: 1rem;
}

.grid {
  display: grid;
  grid-template-columns: repeat(auto-fill, minmax(16rem, 1fr));
  gap: var(--gap);
}

.card {
  border: 1px solid #ddd;
  border-radius: 0.5rem;
  padding: var(--gap);
  transition: box-shadow 150ms ease-in;
}

.card:hover {
  box-shadow: 0 2px 8px rgba(0, 0, 0, 0.2);
}

@media (max-width: 40rem) {
  .grid {
    grid-template-columns: 1fr;
""",
    "yaml": """
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels:
    app: web
spec:
  replicas: 3
  selector:
    matchLabels:
      app: web
  template:
    metadata:
      labels:
        app: web
    spec:
      containers:
        - name: web
          image: example/web:1.4.2
          ports:
            - containerPort: 8080
          readinessProbe:
            httpGet:
              path: /healthz
""",
    "kotlin": """
package org.example.cache

import kotlin.time.Duration
import kotlin.time.TimeSource

class ExpiringCache<K, V>(private val lifetime: Duration) {
    private data class Entry<V>(val value: V, val expires: TimeSource.Monotonic.ValueTimeMark)

    private val entries = mutableMapOf<K, Entry<V>>()

    fun get(key: K): V? {
        val entry = entries[key] ?: return null
        if (entry.expires.hasPassedNow()) {
            entries.remove(key)
            return null
        }
        return entry.value
    }

    fun put(key: K, value: V) {
        entries[key] = Entry(value, TimeSource.Monotonic.markNow() + lifetime)
    }
""",
    "haskell": """
module Expression where

import qualified Data.Map as Map

data Expr
  = Number Double
  | Variable String
  | Add Expr Expr
  | Multiply Expr Expr
  deriving (Eq, Show)

evaluate :: Map.Map String Double -> Expr -> Either String Double
evaluate _ (Number value) = Right value
evaluate env (Variable name) =
  case Map.lookup name env of
    Nothing -> Left ("unbound variable: " ++ name)
    Just value -> Right value
evaluate env (Add a b) = (+) <$> evaluate env a <*> evaluate env b

simplify :: Expr -> Expr
simplify (Add (Number 0) e) = simplify e
simplify (Multiply (Number 1) e) =
""",
    "ruby": """
require "json"
require "net/http"

module Feed
  Entry = Struct.new(:title, :url, :published_at, keyword_init: true)

  class Client
    def initialize(base_url)
      @base_url = base_url
    end

    def entries(limit: 20)
      response = Net::HTTP.get_response(URI("#{@base_url}/entries.json"))
      raise "unexpected status #{response.code}" unless response.is_a?(Net::HTTPSuccess)

      JSON.parse(response.body).first(limit).map do |item|
        Entry.new(title: item["title"], url: item["url"], published_at: Time.parse(item["published_at"]))
      end
    end
""",
    "prose-lighthouse": """
The lighthouse had not been lit for eleven years when the new keeper arrived. She came on the morning ferry with two
suitcases and a crate of books, and the only person waiting on the pier was a boy who had been sent to carry them.
"They said you would be older," he told her. She laughed and asked him how many stairs there were. He did not know;
nobody he knew had ever climbed them all. By the evening she had counted them twice, two hundred and four going up and
two hundred and five coming down, and had found a bird's nest in the lamp. It seemed wrong to disturb it before the
summer was over, so she wrote a letter to the harbour office to explain why the light would
""",
    "prose-tides": """
Tides are caused by the gravity of the Moon and, to a lesser degree, of the Sun. Because the pull of the Moon is
stronger on the near side of the Earth than on the far side, the water of the oceans is stretched into two bulges, one
facing the Moon and one opposite to it. As the Earth turns, a place on the coast passes through both bulges in a little
more than a day, which is why most coasts have two high tides and two low tides daily. When the Sun and the Moon are in
line, their effects add up and the range is largest; these are called spring tides. When they stand at right angles,
""",
    "prose-dialogue": """
Question: What is the difference between a process and a thread?
Answer: A process has its own memory; threads of one process share it. Switching between threads is therefore cheaper,
but a mistake in one thread can damage the data of all the others.

Question: When would you choose processes?
Answer: When the parts of a program should not be able to harm each other, or when they run on several machines.

Question: What is a race condition?
Answer: A fault that depends on the order in which things happen to be done. For example, two threads read a counter,
both add one, and both write the result: one of the two additions is lost.

Question: How can that be prevented?
Answer:
""",
    "readme": """
# tinyqueue

A small job queue on top of SQLite, for programs that run on one machine.

## Features

- Jobs survive a crash: a job is removed only after its handler has returned.
- Delayed and repeated jobs.
- No server to install and no dependencies.

## Usage

```python
from tinyqueue import Queue

queue = Queue("jobs.db")

@queue.task(retries=3)
def send_mail(address, text):
    ...

send_mail.later("someone@example.org", "Hello")
```

Start a worker with `tinyqueue work jobs.db`. The worker stops after the current job when it
""",
}
