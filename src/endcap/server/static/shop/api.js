// @ts-check
/**
 * The engine's HTTP interface, as far as the shop uses it. Field meanings stand in the API's own documentation at /docs.
 *
 * @typedef {{ item_id: string, title?: string, categories?: string[][], brand?: string, price?: number, currency?: string,
 *   availability?: string, color?: string, material?: string, pattern?: string,
 *   attributes?: Record<string, unknown> }} Item
 * @typedef {{ code: string, share?: number, item_id?: string, value?: string }} Reason
 * @typedef {{ item_id: string, score: number, reasons: Reason[], sources: string[], propensity?: number }} Placed
 * @typedef {{ request_id: string, items: Placed[], placement: string, rung?: string, degraded?: string[],
 *   strategy?: string, warmth?: string }} Slate
 * @typedef {{ device?: string, region?: string, utc_offset_min?: number }} Context
 * @typedef {{ anon_id: string, placement: string, n?: number, items?: string[], context?: Context, at_least?: number,
 *   filter?: object, exclude?: string[], personalization?: boolean }} Query
 * @typedef {{ name: string, weight: number, short: number, long: number }} Weighted
 * @typedef {{ warmth: string, items: Weighted[], categories: Weighted[], brands: Weighted[], price_level: number | null,
 *   session_events: number, total_events: number, offset: number }} InterestView
 */

/** An answer that is not 2xx. */
export class ApiError extends Error {
  constructor(/** @type {number} */ status, /** @type {string} */ message) {
    super(message);
    this.status = status;
  }
}

const pause = (/** @type {number} */ ms) => new Promise((done) => setTimeout(done, ms));

/** One call. A server that asks for patience (429, 503) gets one second try; writes are idempotent by event id. */
async function call(/** @type {string} */ path, /** @type {RequestInit} */ init = {}, again = true) {
  const answer = await fetch(path, init);
  if (answer.ok) return answer.json();
  if (again && (answer.status === 429 || answer.status === 503)) {
    await pause(1000 * Number(answer.headers.get("retry-after") ?? 1));
    return call(path, init, false);
  }
  const body = await answer.json().catch(() => ({}));
  throw new ApiError(answer.status, body?.error?.message ?? answer.statusText);
}

const post = (/** @type {string} */ path, /** @type {unknown} */ body) =>
  call(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });

/** @returns {Promise<{ accepted: number, offset: number }>} */
export const sendEvents = (/** @type {object[]} */ events) => post("/v1/events", { events });

/** The slate for a query; it is logged as shown. @returns {Promise<Slate>} */
export const recommend = (/** @type {Query} */ query) => post("/v1/recommend", query);

/** @returns {Promise<Item>} */
export const getItem = (/** @type {string} */ id) => call(`/v1/items/${encodeURIComponent(id)}`);

/** The whole catalogue, page by page. @returns {AsyncGenerator<Item[]>} */
export async function* catalogue() {
  let after = "";
  do {
    const page = await call(`/v1/items?n=1000${after && `&after=${encodeURIComponent(after)}`}`);
    yield page.items;
    after = page.next ?? "";
  } while (after);
}

/** @returns {Promise<InterestView>} */
export const interest = (/** @type {string} */ anon) => call(`/v1/users/${encodeURIComponent(anon)}/interest?anon=1`);

export const forget = (/** @type {string} */ anon) =>
  call(`/v1/users/${encodeURIComponent(anon)}?anon=1`, { method: "DELETE" });
