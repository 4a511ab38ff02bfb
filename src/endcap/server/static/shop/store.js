// @ts-check
/**
 * What the page knows: who visits, when and where, the cart, the catalogue, and the offset of the newest event. Every
 * action of the visitor goes through `act`: it sends the event, and whatever shows a slate asks again once the engine
 * has acknowledged it, naming that offset, so that no shelf is ever older than the last click.
 */
import { ApiError, catalogue, forget, getItem, interest, sendEvents } from "./api.js";
import { computed, signal } from "./html.js";
import { t } from "../messages.js";

/** @typedef {import("./api.js").Item} Item */
/** @typedef {{ placement?: string, position?: number, request_id?: string }} Origin where on a shelf a click happened */
/** @typedef {{ type: string, title: string, started: number, stored: number, answered: number, drawn: number,
 *   changed: number, all: number }} Timing */

function newId() {
  if (crypto.randomUUID) return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
}

/** A signal that survives a reload. @template T @param {string} key @param {T} initial */
function kept(key, initial) {
  let saved = null;
  try {
    saved = JSON.parse(localStorage.getItem(key) ?? "null");
  } catch {
    saved = null; // somebody else's value under our key, or no storage at all
  }
  const value = signal(/** @type {T} */ (saved ?? initial));
  value.subscribe((now) => {
    try {
      localStorage.setItem(key, JSON.stringify(now));
    } catch {
      // private mode: the visit works, it is only forgotten on reload
    }
  });
  return value;
}

export const visitor = kept("endcap.visitor", newId());
export const cart = kept("endcap.cart", /** @type {{ id: string, quantity: number }[]} */ ([]));
export const steps = kept("endcap.steps", /** @type {{ type: string, id?: string, text?: string }[]} */ ([]));
/** The moment as the visitor set it; null = as it is. */
export const moment = kept("endcap.moment", /** @type {{ hour: number | null, region: string, device: string }} */ ({
  hour: null,
  region: "United Kingdom",
  device: innerWidth < 700 ? "mobile" : "desktop",
}));

export const revision = signal(0); // rises with every action: shelves ask again
export const view = signal(/** @type {import("./api.js").InterestView | null} */ (null));
export const timings = signal(/** @type {Timing[]} */ ([]));
export const notice = signal(""); // spoken and shown: what went wrong or was done
export const announcement = signal(""); // spoken only: a shelf changed

export const cartCount = computed(() => cart.value.reduce((sum, line) => sum + line.quantity, 0));
export const hourNow = computed(() => moment.value.hour ?? new Date().getHours());

/** The query's context. The engine computes the local hour from the offset to UTC, so a chosen hour becomes an offset. */
export function context() {
  const { hour, region, device } = moment.value;
  const now = new Date();
  let minutes = -now.getTimezoneOffset();
  if (hour !== null) {
    const apart = (hour - now.getUTCHours() + 24) % 24;
    minutes = (apart > 14 ? apart - 24 : apart) * 60;
  }
  return { device, region, utc_offset_min: minutes };
}

// ---------------------------------------------------------------- catalogue

/** @type {Map<string, Item>} */
export const items = new Map();
export const catalogueSize = signal(0);

const loaded = (async () => {
  try {
    for await (const page of catalogue()) {
      for (const item of page) items.set(item.item_id, item);
      catalogueSize.value = items.size;
    }
  } catch (problem) {
    report(problem);
  }
})();

/** Waits until the records of these ids are here (those that exist at all). */
export async function ensure(/** @type {string[]} */ ids) {
  if (ids.every((id) => items.has(id))) return;
  await loaded;
  const missing = ids.filter((id) => !items.has(id));
  await Promise.all(missing.map((id) => getItem(id).then((item) => items.set(id, item), () => undefined)));
}

/** Departments with their leaves, in order of size. */
export const departments = computed(() => {
  /** @type {Map<string, Map<string, number>>} */
  const tree = new Map();
  if (!catalogueSize.value) return [];
  for (const item of items.values()) {
    const [top, leaf] = item.categories?.[0] ?? [];
    if (!top) continue;
    const leaves = tree.get(top) ?? tree.set(top, new Map()).get(top);
    leaves?.set(leaf, (leaves.get(leaf) ?? 0) + 1);
  }
  const size = (/** @type {Map<string, number>} */ leaves) => [...leaves.values()].reduce((a, b) => a + b, 0);
  return [...tree].sort((a, b) => size(b[1]) - size(a[1])).map(([name, leaves]) => ({ name, leaves: [...leaves.keys()].sort() }));
});

// ---------------------------------------------------------------- actions

let offset = 0;
/** @type {Promise<unknown>} */
let inFlight = Promise.resolve();
/** @type {(Timing & { revision: number }) | null} the click whose shelf has not been drawn yet */
let measured = null;

/** Resolves with the offset to name in the next query, once every action so far is acknowledged. */
export async function settled() {
  await inFlight;
  return offset;
}

export function report(/** @type {unknown} */ problem) {
  const message = problem instanceof ApiError ? problem.message : String(problem);
  notice.value = t("problem", { message });
}

/**
 * The visitor did something. `started` is the moment of the click on the page's clock.
 * @param {{ type: string, item_id?: string, query?: string, quantity?: number, price?: number, order_id?: string }[]} facts
 * @param {{ origin?: Origin, started?: number, text?: string }} [how]
 */
export function act(facts, { origin = {}, started = performance.now(), text } = {}) {
  const events = facts.map((fact) => ({
    ...fact,
    ...origin,
    event_id: newId(),
    anon_id: visitor.value,
    currency: fact.price === undefined ? undefined : "GBP",
    context: context(),
  }));
  const [{ type, item_id: id, query }] = facts;
  steps.value = [{ type, id, text: text ?? query }, ...steps.value].slice(0, 8);
  const number = revision.value + 1;
  const title = items.get(id ?? "")?.title ?? query ?? "";
  const mine = { type, title, started, stored: 0, answered: 0, drawn: 0, changed: 0, all: 0, revision: number };
  measured = mine;
  inFlight = sendEvents(events).then(
    (ack) => {
      offset = Math.max(offset, ack.offset);
      mine.stored = performance.now();
      refreshInterest();
    },
    (problem) => {
      measured = null;
      report(problem);
    },
  );
  revision.value = number;
}

/** The measured shelf has its answer for this revision: note the time. */
export function noteAnswered(/** @type {number} */ forRevision) {
  if (measured?.revision === forRevision) measured.answered = performance.now();
}

/** The measured shelf is on the screen. */
export function noteDrawn(/** @type {number} */ forRevision, /** @type {number} */ changed, /** @type {number} */ all) {
  if (measured?.revision !== forRevision || !measured.answered) return;
  timings.value = [{ ...measured, drawn: performance.now(), changed, all }, ...timings.value].slice(0, 24);
  measured = null;
}

export async function refreshInterest() {
  try {
    view.value = await interest(visitor.value);
  } catch (problem) {
    view.value = null;
    if (!(problem instanceof ApiError && problem.status === 404)) report(problem);
  }
}

export function addToCart(/** @type {Item} */ item, /** @type {number} */ started, /** @type {Origin} */ origin = {}) {
  const line = cart.value.find((other) => other.id === item.item_id);
  cart.value = line
    ? cart.value.map((other) => (other === line ? { ...line, quantity: line.quantity + 1 } : other))
    : [...cart.value, { id: item.item_id, quantity: 1 }];
  act([{ type: "cart_add", item_id: item.item_id, quantity: 1, price: item.price }], { origin, started });
}

export function takeFromCart(/** @type {string} */ id, /** @type {number} */ quantity, /** @type {number} */ started) {
  const line = cart.value.find((other) => other.id === id);
  if (!line) return;
  const left = line.quantity - quantity;
  cart.value = left > 0
    ? cart.value.map((other) => (other.id === id ? { id, quantity: left } : other))
    : cart.value.filter((other) => other.id !== id);
  if (left <= 0) act([{ type: "cart_remove", item_id: id }], { started });
}

export function buy(/** @type {number} */ started) {
  const order = `demo-${newId()}`;
  const facts = cart.value.map(({ id, quantity }) => (
    { type: "purchase", item_id: id, quantity, price: items.get(id)?.price, order_id: order }
  ));
  cart.value = [];
  if (facts.length) act(facts, { started });
}

/** Erases this visitor and starts a stranger. */
export async function forgetMe() {
  const old = visitor.value;
  visitor.value = newId();
  steps.value = [];
  cart.value = [];
  timings.value = [];
  view.value = null;
  revision.value += 1;
  try {
    const receipt = await forget(old);
    notice.value = t("panel.forgotten", { n: receipt.n_events ?? 0 });
  } catch (problem) {
    report(problem);
  }
}
