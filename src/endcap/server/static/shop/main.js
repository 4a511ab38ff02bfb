// @ts-check
/** The shop: frame, search box, page of the address, and the panel beside it. */
import { CartGlyph, PulseGlyph, SearchGlyph } from "./glyphs.js";
import { html, render, useState } from "./html.js";
import { Insight, Notice } from "./insight.js";
import { Cart, Department, Home, Link, Product, Search } from "./pages.js";
import { go, route, toCart, toDepartment, toHome, toSearch } from "./router.js";
import { act, announcement, cartCount, departments, refreshInterest, revision } from "./store.js";
import { language, LANGUAGES, speak, t } from "../messages.js";

const PAGES = { home: Home, product: Product, cart: Cart, search: Search, department: Department };

function Shop() {
  const [open, setOpen] = useState(innerWidth >= 1200);
  const { page } = route.value;
  const Page = PAGES[page];
  document.title = page === "cart" ? `${t("cart.title")} · ${t("shop.name")}` : `${t("shop.name")} · ${t("shop.kind")}`;
  return html`
    <a class="skip" href="#content">${t("shop.skip")}</a>
    <header class="top">
      <div class="top-inner">
        <${Link} to=${toHome()} class="logo"><span class="logo-name">${t("shop.name")}</span> <span class="logo-kind">${t("shop.kind")}</span></${Link}>
        <${SearchBox} />
        <button type="button" class="top-button" aria-expanded=${open} aria-controls="panel" onClick=${() => setOpen(!open)}><${PulseGlyph} /><span>${t("panel.open")}</span></button>
        <${Link} to=${toCart()} class="top-button"><${CartGlyph} /><span>${t("nav.cart")}</span>${cartCount.value > 0 && html` <b>${cartCount.value}</b>`}</${Link}>
      </div>
      <nav class="aisles" aria-label=${t("nav.departments")}><ul>${departments.value.map(({ name }) => html`<li key=${name}><${Link} to=${toDepartment(name)} aria-current=${page === "department" && route.value.id === name ? "page" : null}>${name}</${Link}></li>`)}</ul></nav>
    </header>
    <div class=${open ? "frame has-panel" : "frame"}>
      <main id="content" data-revision=${revision.value}><${Page} /></main>
      <aside id="panel" aria-label=${t("panel.title")} hidden=${!open}>${open && html`<${Insight} close=${() => setOpen(false)} />`}</aside>
    </div>
    <footer class="foot"><p>${t("shop.note")}</p>
      <label class="field"><span>${t("shop.language")}</span> <select value=${language} onChange=${(/** @type {Event} */ event) => speak(/** @type {HTMLSelectElement} */ (event.target).value)}>
        ${Object.entries(LANGUAGES).map(([code, name]) => html`<option key=${code} value=${code} lang=${code}>${name}</option>`)}</select></label></footer>
    <${Notice} />
    <div class="spoken" aria-live="polite">${announcement.value}</div>`;
}

function SearchBox() {
  const onInput = (/** @type {Event} */ event) => {
    const query = /** @type {HTMLInputElement} */ (event.target).value.trim();
    if (query) go(toSearch(query), { replace: route.value.page === "search", keepFocus: true });
  };
  const query = route.value.page === "search" ? route.value.query : "";
  return html`<form class="search" role="search" onSubmit=${(/** @type {Event} */ event) => event.preventDefault()}>
    <label for="search" class="spoken">${t("search.label")}</label><${SearchGlyph} />
    <input id="search" type="search" placeholder=${t("search.placeholder")} defaultValue=${query} autocomplete="off" onInput=${onInput} /></form>`;
}

if (route.value.page === "product") act([{ type: "view", item_id: route.value.id }]);
else refreshInterest();
render(html`<${Shop} />`, /** @type {HTMLElement} */ (document.getElementById("shop")));
