// @ts-check
/** Addresses below /shop. The server gives the same page for all of them. */
import { signal } from "./html.js";

const ROOT = "/shop";

/** @typedef {{ page: "home" | "product" | "cart" | "search" | "department", id: string, leaf: string, query: string }} Route */

/** @returns {Route} */
function read() {
  const [page = "", id = "", leaf = ""] = location.pathname.slice(ROOT.length + 1).split("/").map(decodeURIComponent);
  const query = new URLSearchParams(location.search).get("q") ?? "";
  const known = /** @type {const} */ ({ p: "product", cart: "cart", search: "search", d: "department" });
  return { page: known[/** @type {keyof typeof known} */ (page)] ?? "home", id, leaf, query };
}

export const route = signal(read());
addEventListener("popstate", () => (route.value = read()));

export const toHome = () => ROOT;
export const toCart = () => `${ROOT}/cart`;
export const toItem = (/** @type {string} */ id) => `${ROOT}/p/${encodeURIComponent(id)}`;
export const toSearch = (/** @type {string} */ query) => `${ROOT}/search?q=${encodeURIComponent(query)}`;
export const toDepartment = (/** @type {string} */ name, leaf = "") =>
  `${ROOT}/d/${encodeURIComponent(name)}${leaf && `/${encodeURIComponent(leaf)}`}`;

/**
 * Go to an address without loading the page again. Focus moves to the heading, as it would on a new page; a search box
 * that navigates while it is typed in keeps it.
 */
export function go(/** @type {string} */ address, { replace = false, keepFocus = false } = {}) {
  history[replace ? "replaceState" : "pushState"](null, "", address);
  route.value = read();
  if (replace) return;
  scrollTo(0, 0);
  if (keepFocus) return;
  requestAnimationFrame(() => /** @type {HTMLElement | null} */ (document.querySelector("main h1"))?.focus({ preventScroll: true }));
}

/** A plain left click on one of our links; anything else is the browser's business. */
export function followed(/** @type {MouseEvent} */ event) {
  if (event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return false;
  event.preventDefault();
  return true;
}
