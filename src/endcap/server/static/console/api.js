// @ts-check
/** The engine's HTTP interface as the console uses it. The admin key lives in sessionStorage: it ends with the tab. */
import { signal } from "../shop/html.js";

const KEY = "endcap.key";

export const key = signal(sessionStorage.getItem(KEY) ?? "");
/** Whether the server took what we sent: null before the first answer. */
export const admitted = signal(/** @type {boolean | null} */ (null));

/** An answer that is not 2xx. */
export class ApiError extends Error {
  constructor(/** @type {number} */ status, /** @type {string} */ message) {
    super(message);
    this.status = status;
  }
}

export function signIn(/** @type {string} */ secret) {
  key.value = secret.trim();
  sessionStorage.setItem(KEY, key.value);
}

export function signOut() {
  sessionStorage.removeItem(KEY);
  key.value = "";
  admitted.value = false;
}

const headers = () => (key.value ? { authorization: `Bearer ${key.value}` } : {});

async function checked(/** @type {Response} */ answer) {
  if (answer.ok) return answer;
  if (answer.status === 401) admitted.value = false;
  const body = await answer.json().catch(() => ({}));
  throw new ApiError(answer.status, body?.error?.message ?? answer.statusText);
}

/** @returns {Promise<any>} */
export async function get(/** @type {string} */ path, /** @type {Record<string, unknown>} */ query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== "");
  const search = new URLSearchParams(given.map(([name, value]) => [name, String(value)]));
  return (await checked(await fetch(given.length ? `${path}?${search}` : path, { headers: headers() }))).json();
}

/** @returns {Promise<any>} */
export async function send(/** @type {string} */ method, /** @type {string} */ path, /** @type {unknown} */ body) {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return (await checked(await fetch(path, { method, headers: { ...headers(), "content-type": "application/json" }, body: text }))).json();
}

/** An id as one segment of an address. */
export const at = encodeURIComponent;

/**
 * Server-sent events, with the key in a header, which EventSource cannot send. Comes back after a break where it was.
 * Gives a function that ends it.
 * @param {string} path @param {(name: string, data: any) => void} heard @param {(problem: unknown) => void} failed
 */
export function follow(path, heard, failed) {
  const stop = new AbortController();
  let last = "";
  (async () => {
    while (!stop.signal.aborted) {
      try {
        const resumed = last ? { "last-event-id": last } : {};
        const answer = await checked(await fetch(path, { headers: { ...headers(), ...resumed }, signal: stop.signal }));
        const reader = /** @type {ReadableStream<Uint8Array>} */ (answer.body).pipeThrough(new TextDecoderStream()).getReader();
        let text = "";
        for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
          const blocks = (text + piece.value).split("\n\n");
          text = blocks.pop() ?? "";
          for (const block of blocks) {
            const fields = Object.fromEntries(block.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)]));
            if (fields.id) last = fields.id;
            if (fields.data) heard(fields.event, JSON.parse(fields.data));
          }
        }
      } catch (problem) {
        if (stop.signal.aborted) return;
        failed(problem);
        if (problem instanceof ApiError && problem.status < 429) return;
        await new Promise((done) => setTimeout(done, 2000));
      }
    }
  })();
  return () => stop.abort();
}
