// Endcap's client for pages and for Node. Methods and options: endcap.d.ts; behaviour: docs/clients.md.
// It asks again on AGAIN and on connections that fail, never on 500: a fault stays one, and would hold up all behind it.
// Asking again is safe: events carry ids, records replace records, questions change nothing.

const AGAIN = [0, 429, 502, 503, 504]; // 0: no answer
const FIRST_PAUSE_MS = 100, LONGEST_PAUSE_MS = 10_000;
const MAX_BATCH = 500; // records of one request
const LATE_MS = 5_000; // an event that waited longer tells its time; until then the server's clock is the better one
const page = typeof document == "object" ? document : null;
const MAX_BYTES = page ? 60_000 : 1_000_000; // of one request; a page that goes may leave 64 KiB on their way

const REMEDIES = {
  0: "check that an Endcap server runs at this address and, for a page, that its origin is in server.allow_origins",
  401: "give the client a key of this server; `endcap keys` lists and makes them",
  403: "use a key of a kind that may do this, and for a page list its origin in server.allow_origins",
  404: "check the id; `code` and `message` say what has none",
  413: "send less at once",
  429: "wait for retryAfterMs, then ask again",
  500: "look into the server's log",
};
REMEDIES[502] = REMEDIES[503] = REMEDIES[504] = REMEDIES[429];

export class EndcapError extends Error {
  constructor(message, { status = 0, code = "unreachable", field, retryAfterMs } = {}) {
    super(message);
    const remedy = REMEDIES[status] ?? (status < 500 ? "change what the message names; /docs has the schema" : REMEDIES[500]);
    Object.assign(this, { name: "EndcapError", status, code, remedy, field, retryAfterMs });
  }
}

const bytes = (text) => new TextEncoder().encode(text).length;
const within = (promise, ms) => {
  let timer;
  const late = new Promise((done) => (timer = setTimeout(done, ms)));
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
};
const newId = () => {
  const crypto = globalThis.crypto; // Node 18 has none, a page without TLS no randomUUID
  const words = crypto ? crypto.getRandomValues(new Uint32Array(4)) : [1, 2, 3, 4].map(() => Math.random() * 2 ** 32 >>> 0);
  return Array.from(words, (word) => word.toString(16).padStart(8, "0")).join("");
};
const withId = (event) => JSON.stringify({ ...event, event_id: event.event_id || newId() });

/** At random up to a bound that doubles, so that many clients do not come back together; never before Retry-After. */
const pauseMs = (attempt, retryAfterMs = 0) =>
  retryAfterMs + Math.random() * Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (attempt - 1));

/** Retry-After in seconds or as a date. */
const waitOf = (text) => {
  const ms = text == null || text === "" ? NaN : isNaN(text) ? Date.parse(text) - Date.now() : text * 1_000;
  return isNaN(ms) ? undefined : Math.max(0, ms);
};

const errorOf = ({ status, text, retryAfterMs }) => {
  let told;
  try { told = JSON.parse(text).error } catch { /* not ours: a proxy's page */ }
  const message = told?.message ?? (status ? `the server answered ${status}: ${text.slice(0, 200)}` : text);
  return new EndcapError(message, {
    status, code: told?.code ?? (status ? "bad_answer" : "unreachable"), field: told?.field, retryAfterMs,
  });
};

/** What a good answer holds; `has` is a field that no answer of an Endcap server to this question lacks. */
const read = ({ status, text }, has) => {
  try {
    const found = JSON.parse(text);
    if (!has || has in found) return found;
  } catch { /* told below */ }
  throw new EndcapError("the answer cannot be read; is this the address of an Endcap server?", { status, code: "bad_answer" });
};

/** The caller's own list in the shape of a slate; it has no request id, for nothing was learnt from it. */
const fallback = (placement, items, why) => ({
  request_id: "", placement, rung: items.length ? "static" : "refuse", degraded: [`client:${why}`],
  items: items.map((item_id) => ({ item_id, score: 0, reasons: [], sources: ["default"] })),
  offset: 0, ts: 0, strategy: "personal", warmth: "cold", session_events: 0, arm: "", arm_propensity: 1, variants: {},
  impression: "not_asked", versions: {}, missing_ids: [], explanation: null,
});

/** Records from `start` that go into one request; at least one. */
const batchOf = (records, start = 0, most = MAX_BATCH, room = MAX_BYTES) => {
  const batch = [];
  for (let size = 0; start < records.length && batch.length < most; start++) {
    size += bytes(records[start]) + 1;
    if (batch.length && size > room) break;
    batch.push(records[start]);
  }
  return batch;
};
const bodyOf = (field, batch) => `{"${field}":[${batch}]}`;

const addressOf = (path, query) => {
  const pairs = Object.entries(query).flatMap(([name, value]) => [value ?? []].flat().map((one) => [name, one === !!one ? +one : one]));
  return pairs.length ? `${path}?${new URLSearchParams(pairs)}` : path;
};
const item = (id, rest = "") => `/v1/items/${encodeURIComponent(id)}${rest}`;
const user = (id, rest = "") => `/v1/users/${encodeURIComponent(id)}${rest}`;

export class Client {
  #url; #headers; #timeoutMs; #attempts; #everyMs; #limit; #onDrop;
  #offset = 0; #dropped = {};
  #waiting = []; // {text, ts}; ts is 0 where the event has a time of its own
  #going = 0; // leading events that are on their way
  #running; #collecting; #wake; #urgent = false; #closing = false;

  constructor(url, key, { timeoutMs = 2_000, attempts = 3, everyMs = 200, outbox = 10_000, onDrop } = {}) {
    if (!(attempts >= 1 && outbox >= 1 && timeoutMs > 0))
      throw new EndcapError("expected attempts and outbox of 1 or more and timeoutMs above 0", { status: 400, code: "invalid_input" });
    this.#url = `${url}`.replace(/\/+$/, "");
    this.#headers = { "content-type": "application/json", ...(key && { authorization: `Bearer ${key}` }) };
    [this.#timeoutMs, this.#attempts, this.#everyMs, this.#limit] = [timeoutMs, attempts, everyMs, outbox];
    this.#onDrop = onDrop ?? ((lost) => console.warn(`endcap: ${lost.events.length} events dropped, ${lost.reason}: ${lost.message}`));
  }

  // slates

  recommend(query = {}, options = {}) {
    const path = `/v1/recommend${options.shown === false ? "?shown=0" : ""}`;
    return this.#slate(query.placement ?? "home", query, options, (asked) => this.#ask("POST", path, JSON.stringify(asked), "items"));
  }
  similar(itemId, query, options) { return this.#list("similar", item(itemId, "/similar"), query, options) }
  boughtTogether(itemId, query, options) { return this.#list("bought_together", item(itemId, "/bought-together"), query, options) }
  trending(query, options) { return this.#list("trending", "/v1/trending", query, options) }
  search(q, query, options = {}) {
    return this.#slate("search", { ...query, q }, options, (asked) => this.#ask("GET", addressOf("/v1/search", asked), undefined, "items"));
  }

  // events

  async send(...events) { return this.#postAll("/v1/events", "events", events.flat().map(withId)) }

  track(event) {
    let text;
    try {
      if (typeof event.type != "string") throw TypeError("an event is an object with a type");
      text = withId(event);
    } catch (wrong) {
      return this.#drop("unusable", [String(event)], wrong.message);
    }
    if (this.#closing) return this.#drop("closed", [text], "the client is closed");
    if (this.#waiting.length >= this.#limit) {
      const oldest = this.#waiting.splice(this.#going, 1)[0]?.text;
      this.#drop("full", [oldest ?? text], `${this.#limit} events wait already`);
      if (oldest == null) return;
    }
    this.#waiting.push({ text, ts: event.ts ? 0 : Date.now() });
    this.#running ??= this.#deliver();
  }

  async flush(timeoutMs = 5_000) {
    this.#urgent = true;
    this.#collecting?.();
    await within(this.#running, timeoutMs);
    this.#urgent = false;
    return !this.#waiting.length;
  }

  async close(timeoutMs = 5_000) {
    this.#closing = true;
    this.#wake?.();
    await within(this.#running, timeoutMs);
    this.#drop("closed", this.#waiting.splice(0).map((event) => event.text), "the client was closed before they could leave");
  }

  get waiting() { return this.#waiting.length }
  get dropped() { return { ...this.#dropped } }
  get offset() { return this.#offset }

  // records

  async putItems(items) { return this.#postAll("/v1/items", "items", Array.from(items, (one) => JSON.stringify(one))) }
  patchItem(itemId, fields) { return this.#write("PATCH", item(itemId), fields) }
  deleteItem(itemId) { return this.#write("DELETE", item(itemId)) }
  item(itemId) { return this.#ask("GET", item(itemId), undefined, "item_id") }
  items(query = {}) { return this.#ask("GET", addressOf("/v1/items", query), undefined, "items") }
  putUser(record) { return this.#write("PUT", user(record.user_id), record) }
  user(userId) { return this.#ask("GET", user(userId), undefined, "user_id") }
  interest({ user_id, anon_id }) { return this.#ask("GET", user(user_id ?? anon_id, "/interest" + (user_id ? "" : "?anon=1"))) }
  similarUsers(userId, query = {}) { return this.#ask("GET", addressOf(user(userId, "/similar"), query)) }
  async erase({ user_id, anon_id }) { await this.#ask("DELETE", user(user_id ?? anon_id, user_id ? "" : "?anon=1")) }

  // feedback

  feedback(placement) { return this.#ask("GET", `/v1/placements/${encodeURIComponent(placement)}/feedback`) }
  story(requestId) { return this.#ask("GET", `/v1/requests/${encodeURIComponent(requestId)}`) }

  // carrying out

  async #exchange(method, path, body, timeoutMs, keepalive = false) {
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(), timeoutMs);
    try {
      const answer = await fetch(this.#url + path, {
        method, body, headers: this.#headers, keepalive, signal: abort.signal, credentials: "omit",
      });
      return { status: answer.status, text: await answer.text(), retryAfterMs: waitOf(answer.headers.get("retry-after")) };
    } catch (wrong) {
      const why = abort.signal.aborted ? `none within ${Math.round(timeoutMs)} ms` : wrong.cause?.message || wrong.message;
      return { status: 0, text: `no answer from ${this.#url}: ${why}` };
    } finally {
      clearTimeout(timer);
    }
  }

  /** A whole call with its further attempts. */
  async #ask(method, path, body, has) {
    const deadline = Date.now() + this.#timeoutMs;
    for (let attempt = 1; ; attempt++) {
      const answer = await this.#exchange(method, path, body, Math.max(1, deadline - Date.now()));
      if (answer.status >= 200 && answer.status < 300) return read(answer, has);
      const pause = pauseMs(attempt, answer.retryAfterMs);
      if (!AGAIN.includes(answer.status) || attempt >= this.#attempts || Date.now() + pause >= deadline) throw errorOf(answer);
      await new Promise((done) => setTimeout(done, pause));
    }
  }

  #list(placement, path, query = {}, options = {}) {
    const shown = options.shown === false ? 0 : undefined;
    return this.#slate(placement, query, options, async (asked) => this.#ask("GET", addressOf(path, { ...asked, shown }), undefined, "items"));
  }

  async #slate(placement, query, options, ask) {
    try {
      try {
        return await ask({ ...query, at_least: query.at_least || this.#offset || undefined });
      } catch (wrong) {
        if (wrong.code != "behind" || query.at_least) throw wrong;
        this.#offset = 0; // another server, or one restored from a backup: an older answer is better than none
        return await ask(query);
      }
    } catch (wrong) {
      if (!options.default) throw wrong;
      return fallback(placement, options.default, wrong instanceof EndcapError ? wrong.code : "bad_query");
    }
  }

  /** In requests of bounded size, as one acknowledgement; places in `rejected` are those of the whole call. */
  async #postAll(path, field, records) {
    const total = { accepted: 0, duplicates: 0, rejected: [], offset: this.#offset, durable: true };
    for (let done = 0; done < records.length; ) {
      const batch = batchOf(records, done);
      const ack = this.#noted(await this.#ask("POST", path, bodyOf(field, batch), "accepted"));
      total.accepted += ack.accepted;
      total.duplicates += ack.duplicates ?? 0;
      total.rejected.push(...(ack.rejected ?? []).map((one) => ({ ...one, index: one.index + done })));
      total.offset = Math.max(total.offset, ack.offset);
      total.durable &&= ack.durable ?? true;
      done += batch.length;
    }
    return total;
  }

  async #write(method, path, record) { return this.#noted(await this.#ask(method, path, record && JSON.stringify(record), "accepted")) }

  #noted(ack) {
    this.#offset = Math.max(this.#offset, ack.offset);
    return ack;
  }

  // the outbox

  #drop(reason, events, message) {
    if (!events.length) return;
    this.#dropped[reason] = (this.#dropped[reason] ?? 0) + events.length;
    try { this.#onDrop({ reason, events, message }) } catch (wrong) { console.error("endcap: onDrop failed", wrong) }
  }

  #batch(from = 0, most = MAX_BATCH, room = MAX_BYTES) {
    const late = Date.now() - LATE_MS;
    const lines = this.#waiting.slice(from, from + most);
    return batchOf(lines.map(({ text, ts }) => (ts && ts < late ? `{"ts":${ts},${text.slice(1)}` : text)), 0, most, room);
  }

  /** Batches, one after the other and in order, until none waits. A batch stays inside until it is settled. */
  async #deliver() {
    let failures = 0, most = MAX_BATCH, pause = this.#everyMs;
    this.#listen(true);
    while (this.#waiting.length) {
      if (!this.#closing && (failures || !this.#urgent)) await this.#rest(pause, failures);
      const last = this.#closing;
      const batch = this.#batch(0, most);
      this.#going = batch.length;
      const answer = await this.#exchange("POST", "/v1/events", bodyOf("events", batch), this.#timeoutMs, !!page);
      this.#going = 0;
      if (AGAIN.includes(answer.status)) {
        if (last) break; // closing, and this was the last try
        pause = pauseMs(++failures, answer.retryAfterMs);
        continue;
      }
      [failures, pause] = [0, this.#everyMs];
      if (answer.status == 413 && batch.length > 1) {
        most = batch.length >> 1;
        continue;
      }
      const sent = this.#waiting.splice(0, batch.length).map((event) => event.text);
      try {
        if (answer.status < 200 || answer.status > 299) throw errorOf(answer);
        for (const one of this.#noted(read(answer, "accepted")).rejected ?? []) this.#drop(one.code, [sent[one.index]], one.message);
      } catch (wrong) {
        this.#drop(wrong.code ?? "bad_answer", sent, wrong.message);
      }
    }
    this.#running = null;
    this.#listen(false);
  }

  /** While events wait, know when the page or the process may end. */
  #listen(on) {
    if (!page) return globalThis.process?.[on ? "once" : "removeListener"]?.("beforeExit", this.#end);
    const what = on ? "addEventListener" : "removeEventListener";
    page[what]("visibilitychange", this.#hide);
    globalThis[what]("pagehide", this.#hide);
  }

  /** Wait; close ends it, flush ends only the wait for more events. A pause after a failure holds no process up. */
  #rest(ms, failures) {
    return new Promise((done) => {
      const timer = setTimeout(done, ms);
      this.#wake = () => (clearTimeout(timer), done());
      if (failures) timer.unref?.();
      else this.#collecting = this.#wake;
    }).finally(() => (this.#wake = this.#collecting = null));
  }

  /** The page may go: what waits leaves now, and outlives it. What is sent twice by this counts once, by its id. */
  #hide = ({ type }) => {
    if (type != "pagehide" && page.visibilityState != "hidden") return;
    if (this.#collecting) return this.#collecting();
    const under = this.#going ? bytes(bodyOf("events", this.#batch(0, this.#going))) : 0;
    const batch = this.#batch(this.#going, MAX_BATCH, MAX_BYTES - under);
    if (batch.length) this.#exchange("POST", "/v1/events", bodyOf("events", batch), this.#timeoutMs, true);
  };

  /** Nothing else is left to do in this process. */
  #end = () => this.close();
}
