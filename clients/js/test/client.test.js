// Against the real server (ENDCAP_URL, ENDCAP_KEYS; tests/test_javascript.py starts it) and against servers that are
// busy, broken or away.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Client, EndcapError } from "../endcap.js";

const URL_ = process.env.ENDCAP_URL, KEYS = JSON.parse(process.env.ENDCAP_KEYS);
const opened = [];
const open = (url, key, options) => (opened.push(new Client(url, key, options)), opened.at(-1));
after(() => Promise.all(opened.map((client) => client.close(0))));
const admin = open(URL_, KEYS.admin);

/** A server that answers as it is told and keeps what it got. */
const stub = async (script = [], otherwise = [200, {}, { accepted: 1, offset: 7 }]) => {
  const got = [];
  const told = { got, script, otherwise, url: "" };
  const server = createServer(async (request, answer) => {
    let body = "";
    for await (const part of request) body += part;
    got.push({ at: Date.now(), what: `${request.method} ${request.url}`, body: body && JSON.parse(body) });
    const [status, headers, text] = told.script.shift() ?? told.otherwise;
    if (status < 0) return void (status == -1 && request.socket.destroy()); // -2: no answer, ever
    answer.writeHead(status, headers).end(typeof text == "string" ? text : JSON.stringify(text));
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  after(() => (server.closeAllConnections(), server.close()));
  told.url = `http://127.0.0.1:${server.address().port}`;
  return told;
};
const error = (code, message = "no") => ({ error: { code, message } });
const until = async (true_) => {
  for (let n = 0; n < 500; n++) {
    if (true_()) return;
    await sleep(10);
  }
  assert.fail(`it did not happen: ${true_}`);
};
const away = process.env.ENDCAP_AWAY; // nobody listens there
const view = (item_id, anon_id = "a") => ({ type: "view", anon_id, item_id });

test("what was sent is known to the next slate", async () => {
  const items = Array.from({ length: 1200 }, (_, n) => ({ item_id: `p${n}`, title: `Product ${n}`, categories: [["Kitchen"]], price: 1 + n }));
  const stored = await admin.putItems(items); // more than one request may hold
  assert.deepEqual([stored.accepted, stored.rejected], [1200, []]);
  assert.deepEqual(await admin.item("p7"), items[7]);
  const ack = await admin.send(...[0, 1, 2, 3, 4, 5].map((n) => view(`p${n}`)), [{ type: "vew", anon_id: "a" }, view("p6")]);
  assert.deepEqual([ack.accepted, ack.rejected.map((one) => [one.index, one.code])], [7, [[6, "unknown_type"]]]);
  assert.equal(admin.offset, ack.offset);
  const slate = await admin.recommend({ placement: "home", anon_id: "a", n: 5, exclude: ["p0"], context: { device: "mobile" } });
  assert.ok(slate.offset >= ack.offset);
  assert.deepEqual([slate.items.length, slate.warmth, slate.impression], [5, "hot", "logged"]);
  const quiet = await admin.recommend({ anon_id: "a", filter: { lt: { price: 3 } } }, { shown: false });
  assert.ok(quiet.items.every((placed) => ["p0", "p1"].includes(placed.item_id)));
  assert.equal(quiet.impression, "not_asked");
});

test("the fields of a fallback are those of a slate", async () => {
  const real = await admin.recommend({ anon_id: "a" });
  const made = await admin.recommend({ placement: "hoem" }, { default: ["best", "second"] });
  assert.deepEqual(Object.keys(made).sort(), Object.keys(real).sort());
  assert.deepEqual([made.placement, made.rung, made.degraded, made.request_id], ["hoem", "static", ["client:invalid_input"], ""]);
  assert.deepEqual(made.items.map((placed) => placed.item_id), ["best", "second"]);
});

test("lists by address", async () => {
  const similar = await admin.similar("p1", { n: 3, exclude: ["p2", "p3"], anon_id: "a", by: "behaviour", personalization: false }, { shown: false });
  assert.equal(similar.placement, "similar_behaviour");
  assert.ok(similar.items.length <= 3 && !similar.items.some((placed) => ["p2", "p3"].includes(placed.item_id)));
  assert.equal((await admin.boughtTogether("p1", { n: 2 })).impression, "logged");
  assert.equal((await admin.trending({ n: 4, explain: true }, { shown: false })).items.length, 4);
  const found = await admin.search("shirt", { n: 2, lang: "en" });
  assert.ok(found.items.length <= 2 && found.placement === "search");
  await assert.rejects(admin.search(""), { code: "invalid_input", field: "q" });
  assert.deepEqual((await admin.search("", {}, { default: ["best"] })).items.map((placed) => placed.item_id), ["best"]);
  await assert.rejects(admin.similar("p1", { m: 3 }), { code: "invalid_input", field: "m" });
  assert.deepEqual((await admin.similar("nothing", {}, { default: [] })).degraded, ["client:not_found"]);
});

test("records and people", async () => {
  await admin.putItems(new Set([{ item_id: "a/b c", title: "Odd" }]));
  await admin.patchItem("a/b c", { title: "Even", price: 2 });
  assert.deepEqual(await admin.item("a/b c"), { item_id: "a/b c", title: "Even", price: 2 });
  assert.equal((await admin.items({ n: 2 })).items.length, 2);
  await admin.deleteItem("a/b c");
  await assert.rejects(admin.item("a/b c"), { name: "EndcapError", status: 404, code: "not_found" });
  const user = { user_id: "u/2", traits: { tier: "gold" } };
  await admin.putUser(user);
  assert.deepEqual(await admin.user("u/2"), user);
  await admin.send({ type: "view", user_id: "u/2", item_id: "p1" }, view("p1", "anon/1"));
  assert.equal((await admin.interest({ user_id: "u/2" })).items[0].name, "p1");
  assert.equal((await admin.interest({ anon_id: "anon/1" })).total_events, 1);
  assert.ok(Array.isArray((await admin.similarUsers("u/2", { n: 3 })).users));
  await admin.erase({ user_id: "u/2" });
  await assert.rejects(admin.user("u/2"), { status: 404 });
  await admin.erase({ anon_id: "anon/1" });
  assert.equal((await admin.interest({ anon_id: "anon/1" })).total_events, 0);
});

test("what came of a slate", async () => {
  const slate = await admin.recommend({ anon_id: "a", n: 3 });
  await admin.send({ ...view(slate.items[0].item_id), type: "click", request_id: slate.request_id });
  assert.equal((await admin.story(slate.request_id)).request_id, slate.request_id);
  assert.equal((await admin.feedback("home")).placement, "home");
});

test("the same events sent twice count once", async () => {
  const event = { ...view("p1", "twice"), event_id: "mine-1" };
  assert.equal((await admin.send(event)).accepted, 1);
  assert.equal((await admin.send(event)).duplicates, 1);
});

test("tracked events arrive, and an event that is none or refused is told", async () => {
  const told = [];
  const client = open(URL_, KEYS.server, { onDrop: (lost) => told.push(lost) });
  for (let n = 0; n < 700; n++) client.track({ ...view(`p${n}`, "tracker"), event_id: `tracked-${n}` });
  client.track({ anon_id: "a" });
  client.track(null);
  client.track({ ...view("p1"), price: 10n });
  client.track(view("x".repeat(300)));
  client.track(view("good"));
  assert.ok(await client.flush());
  assert.deepEqual(client.dropped, { unusable: 3, too_long: 1 });
  assert.deepEqual(told.map((one) => one.reason), ["unusable", "unusable", "unusable", "too_long"]);
  assert.match(told[3].events[0], /xxx/);
  const again = await client.send({ ...view("p699", "tracker"), event_id: "tracked-699" });
  assert.equal(again.duplicates, 1);
  assert.equal(client.offset, again.offset);
});

test("errors say what mends them, and a default hides them", async () => {
  const wrong = open(URL_, "srv_wrong");
  const caught = await wrong.recommend().catch((one) => one);
  assert.ok(caught instanceof EndcapError && caught instanceof Error);
  assert.deepEqual([caught.status, caught.code], [401, "unauthorized"]);
  assert.match(caught.message, /unknown/);
  assert.match(caught.remedy, /endcap keys/);
  assert.deepEqual((await wrong.recommend({}, { default: [] })).degraded, ["client:unauthorized"]);
  assert.deepEqual((await admin.recommend({ n: 10n }, { default: [] })).degraded, ["client:bad_query"]);
  const server = open(URL_, KEYS.server);
  await assert.rejects(server.erase({ user_id: "x" }), { status: 403, code: "forbidden" });
  assert.throws(() => new Client(URL_, "", { attempts: 0 }), { code: "invalid_input", remedy: /names/ });
  const lost = await open(away, "", { timeoutMs: 300 }).item("a").catch((one) => one);
  assert.deepEqual([lost.status, lost.code], [0, "unreachable"]);
  assert.match(lost.message, /127\.0\.0\.1:.*ECONNREFUSED/);
  assert.match(lost.remedy, /allow_origins/);
});

test("a busy server is asked again with the same events, never before Retry-After", async () => {
  const busy = await stub([[429, { "retry-after": "0.3" }, error("too_many_events")], [503, {}, "<html>"], [-1]]);
  const client = open(busy.url, "", { attempts: 5, timeoutMs: 5_000 });
  assert.equal((await client.send(view("i"))).offset, 7);
  assert.equal(busy.got.length, 4);
  for (const { body } of busy.got) assert.deepEqual(body, busy.got[0].body); // the id was made once, at the client
  assert.match(busy.got[0].body.events[0].event_id, /^[0-9a-f]{32}$/);
  assert.ok(busy.got[1].at - busy.got[0].at >= 290);
});

test("asking again would not help", async () => {
  for (const status of [400, 401, 404, 500]) {
    const firm = await stub([], [status, {}, error("c", "the words")]);
    await assert.rejects(open(firm.url).item("a"), { status, code: "c", message: "the words" });
    assert.equal(firm.got.length, 1);
  }
});

test("no call takes longer than its time", async () => {
  const slow = await stub([], [503, { "retry-after": "30" }, error("overloaded")]);
  await assert.rejects(open(slow.url).item("a"), { status: 503, code: "overloaded", retryAfterMs: 30_000 });
  assert.equal(slow.got.length, 1);
  const dated = await stub([], [503, { "retry-after": new Date(Date.now() + 60_000).toUTCString() }, ""]);
  const caught = await open(dated.url).item("a").catch((one) => one);
  assert.ok(caught.retryAfterMs > 50_000 && caught.retryAfterMs <= 60_000);
  const deaf = await stub([], [-2]);
  await assert.rejects(open(deaf.url, "", { timeoutMs: 100 }).item("a"), { status: 0, message: /none within/ });
});

test("a server that knows less is asked without the offset", async () => {
  const slate = { request_id: "r", items: [], placement: "home", offset: 3 };
  const server = await stub([[200, {}, { accepted: 1, offset: 99 }], [503, {}, error("behind")], [200, {}, slate]]);
  const client = open(server.url, "", { attempts: 1 });
  await client.send(view("i"));
  assert.equal((await client.recommend({ anon_id: "a" })).request_id, "r");
  assert.deepEqual(server.got.slice(1).map(({ body }) => body.at_least), [99, undefined]);
  assert.equal(client.offset, 0);
});

test("answers that are no answers", async () => {
  const hotel = await stub([], [200, {}, "<html>welcome to the hotel</html>"]);
  const client = open(hotel.url);
  for (const call of [() => client.recommend(), () => client.item("a"), () => client.send({ type: "home_view" })])
    await assert.rejects(call(), { code: "bad_answer", message: /is this the address/ });
  assert.deepEqual((await client.recommend({}, { default: [] })).degraded, ["client:bad_answer"]);
  const other = await stub([], [200, {}, [1]]);
  await assert.rejects(open(other.url).recommend(), { code: "bad_answer" });
});

test("events wait while the server is away, and the oldest give way", async () => {
  const told = [];
  const client = open(away, "", { outbox: 5, timeoutMs: 200, everyMs: 0, onDrop: (lost) => told.push(lost) });
  for (let n = 0; n < 3; n++) client.track(view(`i${n}`));
  await sleep(300); // it has been tried, and nothing was lost by that
  assert.equal(client.waiting, 3);
  assert.equal((await client.recommend({}, { default: ["x"] })).items[0].item_id, "x");
  for (let n = 3; n < 9; n++) client.track(view(`i${n}`));
  assert.equal(client.waiting, 5);
  assert.equal(client.dropped.full, 4);
  assert.equal(await client.flush(50), false);
  await client.close(1_000);
  assert.deepEqual(client.dropped, { full: 4, closed: 5 });
  client.track(view("late")); // after the end: told, not thrown
  assert.deepEqual(client.dropped, { full: 4, closed: 6 });
  assert.equal(new Set(told.flatMap((one) => one.events)).size, 10);
  assert.deepEqual(told.flatMap((one) => one.events.map((text) => JSON.parse(text).item_id)), ["i0", "i1", "i2", "i3", "i4", "i5", "i6", "i7", "i8", "late"]);
});

test("an event on its way is not what gives way", async () => {
  const deaf = await stub([[-2]], [200, {}, { accepted: 2, offset: 2 }]);
  const client = open(deaf.url, "", { outbox: 2, timeoutMs: 300, everyMs: 0, onDrop: () => {} });
  client.track(view("i0"));
  client.track(view("i1"));
  await until(() => deaf.got.length);
  client.track(view("i2"));
  assert.deepEqual([client.dropped, client.waiting], [{ full: 1 }, 2]);
  assert.ok(await client.flush());
  assert.deepEqual(deaf.got.map(({ body }) => body.events.map((event) => event.item_id)), [["i0", "i1"], ["i0", "i1"]]);
});

test("events that waited tell their time, others leave it to the server", async (t) => {
  const server = await stub([[503, { "retry-after": "0.2" }, ""]], [200, {}, { accepted: 2, offset: 2 }]);
  const began = Date.now();
  const client = open(server.url, "", { everyMs: 0 });
  client.track(view("i"));
  client.track({ ...view("j"), ts: 5 });
  await until(() => server.got.length == 1);
  t.mock.method(Date, "now", () => began + 6_000);
  assert.ok(await client.flush());
  assert.deepEqual(server.got.map(({ body }) => body.events.map((event) => "ts" in event)), [[false, true], [true, true]]);
  const [first, second] = server.got[1].body.events;
  assert.ok(first.ts >= began && first.ts < began + 6_000);
  assert.equal(second.ts, 5);
});

test("a batch that is too large is halved, and one that is refused is told", async () => {
  const told = [];
  const server = await stub([[413, {}, error("too_large")], [200, {}, { accepted: 2, offset: 2 }], [401, {}, error("unauthorized", "unknown key")]]);
  const client = open(server.url, "", { everyMs: 50, onDrop: (lost) => told.push(lost) });
  for (let n = 0; n < 4; n++) client.track(view(`i${n}`));
  assert.ok(await client.flush());
  assert.deepEqual(server.got.map(({ body }) => body.events.length), [4, 2, 2]);
  assert.deepEqual(told.map((one) => [one.reason, one.events.length, one.message]), [["unauthorized", 2, "unknown key"]]);
});

test("requests are bounded in number and size, and places count over all of them", async () => {
  const server = await stub([], [200, {}, { accepted: 1, rejected: [{ index: 0, code: "c", message: "m" }], offset: 1 }]);
  const client = open(server.url);
  const ack = await client.send(Array.from({ length: 1_001 }, () => view("i")));
  assert.deepEqual(server.got.map(({ body }) => body.events.length), [500, 500, 1]);
  assert.deepEqual(ack.rejected.map((one) => one.index), [0, 500, 1_000]);
  server.got.length = 0;
  await client.putItems(["a", "b", "c"].map((item_id) => ({ item_id, description: "é".repeat(200_000) })));
  assert.deepEqual(server.got.map(({ body }) => body.items.length), [2, 1]);
});

test("what onDrop throws stays there", async (t) => {
  t.mock.method(console, "error", () => {});
  const client = open(away, "", { onDrop: () => { throw Error("no") } });
  client.track({});
  assert.deepEqual(client.dropped, { unusable: 1 });
});
