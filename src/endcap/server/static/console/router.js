// @ts-check
/** Addresses below /console: /console/PAGE/ID. The server gives the same page for all of them. */
import { html, signal } from "../shop/html.js";

const ROOT = "/console";

/** @typedef {{ page: string, id: string, query: URLSearchParams }} Route */

/** @returns {Route} */
function read() {
  const [page = "", ...rest] = location.pathname.slice(ROOT.length + 1).split("/");
  return { page: page || "live", id: decodeURIComponent(rest.join("/")), query: new URLSearchParams(location.search) };
}

export const route = signal(read());
addEventListener("popstate", () => (route.value = read()));

export function to(/** @type {string} */ page, id = "", /** @type {Record<string, string>} */ query = {}) {
  const search = new URLSearchParams(query).toString();
  return `${ROOT}/${page}${id && `/${encodeURIComponent(id)}`}${search && `?${search}`}`;
}

let underway = false;

/** Focus moves to the heading after a change of page, as it would on a new page; a page that is still fetched calls it again. */
export function arrive() {
  const heading = /** @type {HTMLElement | null} */ (document.querySelector("main h1"));
  if (!underway || !heading) return;
  underway = false;
  heading.focus({ preventScroll: true });
}

/** Go to an address without loading the page again. */
export function go(/** @type {string} */ address) {
  history.pushState(null, "", address);
  route.value = read();
  scrollTo(0, 0);
  underway = true;
  requestAnimationFrame(arrive);
}

/** @param {{ to: string, children?: unknown, [name: string]: unknown }} props */
export function Link({ to: address, children, ...rest }) {
  const onClick = (/** @type {MouseEvent} */ event) => {
    if (event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    go(address);
  };
  return html`<a href=${address} onClick=${onClick} ...${rest}>${children}</a>`;
}
